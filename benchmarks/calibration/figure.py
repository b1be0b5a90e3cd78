"""Figure and table of `benchmarks.calibration.size`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.places import write_figure
from diffusers_deis_sn.collect.trying import CALLS, MENU, TINY
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style, panels
from diffusers_deis_sn.statistics.trials import Trials

CHOSEN_ON = (1, 2, 3, 4, 6, 8)
JUDGED_FROM = 8  # samples before that are those recipes are chosen on
Found = dict[str, dict[str, list[dict[str, Any]]]]


def size_ratios(found: Found) -> dict[tuple[str, str, int, int], dict[str, float]]:
    """(scheduler, spacing, samples, steps) -> problem -> error over that of the largest measurement.

    Geometric mean over calls; `nan` where such a measurement gives the scheduler nothing to run with.
    """
    ratios: dict[tuple[str, str, int, int], dict[str, float]] = {}
    for problem, rows in found.items():
        last = size_of(rows["sizes"][-1])
        best = {(row["scheduler"], row["calls"]): row["error"] for row in rows["sizes"] if size_of(row) == last}
        for key in {(row["scheduler"], *size_of(row)) for row in rows["sizes"]}:
            mine = [row for row in rows["sizes"] if (row["scheduler"], *size_of(row)) == key]
            mine = [row for row in mine if (row["scheduler"], row["calls"]) in best]
            logs = [np.log(row["error"] / best[row["scheduler"], row["calls"]]) for row in mine]
            ratios.setdefault(key, {})[problem] = float(np.exp(np.mean(logs))) if logs else float("nan")
    return ratios


def size_of(row: dict[str, Any]) -> tuple[str, int, int]:
    """Spacing, samples, steps."""
    return row["spacing"], row["samples"], row["steps"]


def sizes_of(ratios: dict[tuple[str, str, int, int], dict[str, float]]) -> list[tuple[str, int, int]]:
    """All spacings, samples and steps, by the number of calls."""
    return sorted({key[1:] for key in ratios}, key=lambda size: (size[1] * size[2], size))


def trials_of(rows: list[dict[str, Any]], samples: slice) -> Trials:
    """The trials that some of the samples make."""
    cell = {(row["recipe"], row["calls"]): row for row in rows[1:]}
    numbers = sorted({row["recipe"] for row in rows[1:]})
    fine = max(float(np.mean(rows[0]["bands"][samples])), TINY)
    errors = np.array([[cell[i, n]["errors"][samples] for n in CALLS] for i in numbers])
    grain = np.array([[np.mean(cell[i, n]["bands"][samples]) / fine for n in CALLS] for i in numbers])
    means, roots = np.exp(np.log(errors).mean(2)), np.sqrt(np.square(errors).mean(2))
    return Trials(tuple(MENU[i] for i in numbers), CALLS, means, roots, grain, errors.shape[2])


def tried(found: Found) -> Found:
    """Those that recipes were tried on."""
    return {problem: rows for problem, rows in found.items() if rows["recipes"]}


def regrets(found: Found) -> dict[int, dict[str, float]]:
    """Samples chosen on -> problem -> error of the choice over that of the recipe that is best on other samples."""
    result: dict[int, dict[str, float]] = {}
    for problem, rows in tried(found).items():
        judge = trials_of(rows["recipes"], slice(JUDGED_FROM, None))
        for count in CHOSEN_ON:
            choice = trials_of(rows["recipes"], slice(0, count))
            logs = []
            for j, n in enumerate(CALLS):
                recipe = choice.best(n)
                assert recipe is not None
                at = judge.error[:, j]
                logs.append(np.log(at[judge.recipes.index(recipe)] / at[judge.recipes.index(judge.best(n))]))
            result.setdefault(count, {})[problem] = float(np.exp(np.mean(logs)))
    return result


def summary(values: dict[str, float]) -> tuple[float, float, str]:
    """Geometric mean over problems, the largest, and whose it is."""
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    worst = max(known, key=known.__getitem__)
    return float(np.exp(np.mean(np.log(list(known.values()))))), known[worst], worst


def table(found: Found) -> str:
    """Both questions' answers."""
    lines = [
        "| measured | network calls | settings | coefficients move | DEIS-SN | its worst | ScoreOptimal | its worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ratios = size_ratios(found)
    for size in sizes_of(ratios):
        moved = [row["change"] for rows in found.values() for row in rows["sizes"] if size_of(row) == size]
        settings = len(ratios[("DEISSNScheduler", *size)])
        cells = [f"{size[1]} samples x {size[2]} steps, {size[0]}", str(size[1] * size[2]), str(settings)]
        cells.append(f"{np.median(moved):.3f}")
        for scheduler in ("DEISSNScheduler", "ScoreOptimalScheduler"):
            mean, worst, whose = summary(ratios[(scheduler, *size)])
            cells += [f"{mean:.3f}", f"{worst:.2f} ({whose})"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Error in 5, 8 and 10 calls over that with the largest measurement of the network, geometric mean over "
        "settings; recipes tried on eight samples, and in "
        f"{len(found) - len(tried(found))} settings in the suite's own measurement.",
        "",
        "| recipes tried on | calls of the trials | error over the best recipe's | worst |",
        "|---|---|---|---|",
    ]
    for count, values in sorted(regrets(found).items()):
        mean, worst, whose = summary(values)
        calls = count * (len(MENU) * sum(CALLS) + 80 + 2 * CALLS[0])
        lines.append(f"| {count} sample{'s' * (count > 1)} | {calls} | {mean:.3f} | {worst:.2f} ({whose}) |")
    lines += ["", f"On eight other samples, geometric mean over 4 to 20 calls and {len(tried(found))} settings."]
    return "\n".join(lines)


def draw(found: Found, path: Path) -> None:
    """Write the figure, on light paper and on dark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_figure(path, lambda palette: figure(found, palette))


def figure(found: Found, palette: Palette = LIGHT) -> Any:
    """Error against calibration calls, a thin line for each setting; and against samples of trials."""
    with house_style(palette):
        drawn, (left, right) = panels(2, 4.8, 3.8)
        _draw_sizes(left, found, palette)
        by_count = regrets(found)
        for problem in tried(found):
            right.plot(CHOSEN_ON, [by_count[k][problem] for k in CHOSEN_ON], color=palette.grey, linewidth=0.7)
        means = [summary(by_count[k])[0] for k in CHOSEN_ON]
        right.plot(CHOSEN_ON, means, color=palette.green, marker="o", linewidth=2.2)
        right.set(xlabel="samples that recipes are tried on", ylabel="error over the best recipe's", ylim=(0.95, 1.6))
        right.axhline(1.0, color=palette.muted, linewidth=0.8)
        drawn.suptitle(f"What a measurement needs, {len(found)} settings of the suite")
    return drawn


def _draw_sizes(axes: Any, found: Found, palette: Palette) -> None:
    """One colour a scheduler, one stroke a spacing of the times."""
    ratios = size_ratios(found)
    for scheduler, colour in (("DEISSNScheduler", palette.blue), ("ScoreOptimalScheduler", palette.orange)):
        for spacing, style in (("dense", "-"), ("uniform", "--")):
            sizes = [size for size in sizes_of(ratios) if size[0] == spacing]
            calls = [samples * steps for _, samples, steps in sizes]
            for problem in found:
                points = [ratios[(scheduler, *size)].get(problem, np.nan) for size in sizes]
                axes.plot(calls, points, style, color=palette.grey, alpha=0.5, linewidth=0.6)
            means = [summary(ratios[(scheduler, *size)])[0] for size in sizes]
            label = f"{scheduler}, {spacing} times"
            axes.plot(calls, means, style, color=colour, marker="o", linewidth=2.2, label=label)
    axes.set(xscale="log", xlabel="network calls of the measurement", ylabel="error over the largest one's")
    axes.set_ylim(0.7, 1.6)
    axes.axhline(1.0, color=palette.muted, linewidth=0.8)
    axes.legend(loc="lower left", handlelength=3.5)
