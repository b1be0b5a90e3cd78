"""How much r, the learned path and the samples depend on guidance, and what a file of several guidances makes of it.

    python -m benchmarks.calibration.guidances           # both shipped models; goes on where it stopped

Of a file with guidance 1, 3, 5 and 7.5 the statistics of those in between are interpolated;
for those four themselves, a file without them is asked. Runs with these are held against runs with the guidance's own
measurement, with that of guidance 1 and that of guidance 3 alone, and with none.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration.guidance import RIVALS
from benchmarks.calibration.size import distance
from benchmarks.places import ROOT, results, write_figure
from benchmarks.suite.extra_problems import Digits, Emoji
from benchmarks.suite.problems import CALIBRATED_FROM, SHARED, Problem
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import settle
from benchmarks.suite.samplers import rivals
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics, calibrate
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style, panels

MODELS: dict[str, Callable[[float], Problem]] = {
    "tiny-sd-digits": lambda guidance: Digits(ROOT, guidance),
    "tiny-flow-emoji": lambda guidance: Emoji(ROOT, SHARED, guidance),
}
FAMILY = (1.0, 3.0, 5.0, 7.5)
OTHERS = {"tiny-sd-digits": (2.0, 4.0, 6.0), "tiny-flow-emoji": (2.0,)}  # of the slower network one in between
STEPS, SAMPLES, SEED = (5, 8, 10), 24, 1
OURS = {"DEIS-SN": DEISSNScheduler, "ScoreOptimal": ScoreOptimalScheduler}
WITH = ("interpolated", "of guidance 3", "of guidance 1", "none")
USUAL = 3.0  # guidance of the shipped files


def all_of(name: str) -> tuple[float, ...]:
    """Every guidance that a model is measured and run at, rising."""
    return tuple(sorted(FAMILY + OTHERS[name]))


def measured(name: str, guidance: float, folder: Path) -> ScoreStatistics:
    """The statistics of a model at one guidance, kept in a folder."""
    file = folder / f"{name}-{guidance:g}.safetensors"
    if not file.exists():
        problem = MODELS[name](guidance)
        prompts = problem.prompts(64, CALIBRATED_FROM)
        calibrate(problem.pipe, prompts, seed=CALIBRATED_FROM, guidance_scale=guidance, progress=False).save(file)
    return ScoreStatistics.load(file)


def without(records: dict[float, ScoreStatistics], guidance: float) -> ScoreStatistics:
    """What a file of the other guidances of `FAMILY` says of this one."""
    rest = [records[one] for one in FAMILY if one != guidance]
    return ScoreStatistics.together(rest).at(guidance)


def schedulers(config: Any, records: dict[float, ScoreStatistics], guidance: float) -> dict[str, Callable[[], Any]]:
    """Name of a scheduler and of what it has -> how to make it; the pipeline's guidance is told it."""
    sources = {
        "own": records[guidance],
        "interpolated": without(records, guidance),
        "of guidance 3": records[3.0],
        "of guidance 1": records[1.0],
        "none": False,
    }
    return {
        f"{ours}, {source}": partial(kind.from_config, config, stats=stats, guidance_scale=guidance)
        for ours, kind in OURS.items()
        for source, stats in sources.items()
        if ours == "DEIS-SN" or stats is not False
    }


def errors(name: str, guidance: float, folder: Path, references: Path) -> dict[str, dict[str, float]]:
    """Sampler -> number of calls -> geometric mean of the distance to a converged run."""
    problem = MODELS[name](guidance)
    records = {one: measured(name, one, folder) for one in all_of(name)}
    end = kept(problem, SAMPLES, SEED, references).end
    makers = schedulers(problem.config, records, guidance)
    all_rivals = rivals(problem.config, problem.family, guidance > 1.0)
    makers |= {one: make for one, make in all_rivals.items() if any(one.startswith(rival) for rival in RIVALS)}
    return {
        one: {f"{n}": distance(problem.end(make(), n, SAMPLES, SEED), end) for n in STEPS}
        for one, make in makers.items()
    }


# --------------------------------------------------------------------------------------------------------- the tables


def shares(record: ScoreStatistics) -> np.ndarray:
    """Share of the solver's path up to each time; (K,)."""
    cost = record.cost("solver")
    lengths = np.concatenate([[0.0], np.cumsum(cost.values ** (1.0 / cost.order))])
    return lengths / lengths[-1]


def curves(records: dict[float, ScoreStatistics]) -> Iterator[str]:
    """A line for each guidance: how far r, the path and what is interpolated are from the guidance's own."""
    titles = (f"r, from guidance {USUAL:g}", "length of path", "share of it", "r, interpolated", "share, interpolated")
    yield f"| guidance | {' | '.join(titles)} |"
    yield "|---" * 6 + "|"
    usual = records[USUAL]
    for guidance, record in records.items():
        between = without(records, guidance) if 1.0 < guidance < 7.5 else None
        cells = [f"{guidance:g}", percent(record.mean_abs / usual.mean_abs - 1.0)]
        cells.append(f"{length(record) / length(usual) - 1.0:+.0%}")
        cells.append(f"{np.abs(shares(record) - shares(usual)).max():.3f}")
        if between is None:
            cells += ["-", "-"]
        else:
            cells.append(percent(between.mean_abs / record.mean_abs - 1.0))
            cells.append(f"{np.abs(shares(between) - shares(record)).max():.3f}")
        yield "| " + " | ".join(cells) + " |"


def percent(change: np.ndarray) -> str:
    return f"{change[np.argmax(np.abs(change))]:+.1%}"


def length(record: ScoreStatistics) -> float:
    cost = record.cost("solver")
    return float(np.sum(cost.values ** (1.0 / cost.order)))


def ratios(rows: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    """Error over that with the guidance's own statistics, and of those over the best rival."""
    names = [f"{ours}, {source}" for ours in OURS for source in WITH if ours == "DEIS-SN" or source != "none"]
    yield "| guidance | calls | DEIS-SN, own / best rival | " + " | ".join(names) + " |"
    yield "|---" * (3 + len(names)) + "|"
    logs: dict[str, list[float]] = {name: [] for name in names}
    for guidance, cells in rows.items():
        best = {n: min(cell[n] for name, cell in cells.items() if name.startswith(RIVALS)) for n in map(str, STEPS)}
        for n in map(str, STEPS):
            found = {name: cells[name][n] / cells[f"{name.split(',')[0]}, own"][n] for name in names}
            for name, ratio in found.items():
                logs[name].append(float(np.log(ratio)))
            line = [
                f"{guidance}",
                n,
                f"{cells['DEIS-SN, own'][n] / best[n]:.2f}",
                *(f"{one:.2f}" for one in found.values()),
            ]
            yield "| " + " | ".join(line) + " |"
    yield "| all | geometric mean | | " + " | ".join(f"{np.exp(np.mean(one)):.2f}" for one in logs.values()) + " |"
    yield "| all | worst | | " + " | ".join(f"{np.exp(np.max(one)):.2f}" for one in logs.values()) + " |"


def document(found: dict[str, Any], records: dict[str, dict[float, ScoreStatistics]]) -> str:
    lines = [
        f"Errors are geometric means over {SAMPLES} samples of the distance to a converged run at the same guidance, "
        "as ratios to those of a run with statistics of that very guidance; below one is better than with those. "
        '"Interpolated" is what a file of the others of guidance 1, 3, 5 and 7.5 says, beyond them the nearest. '
        "Changes of r are the largest over all times, relative; those of a share of the solver's path absolute.",
    ]
    for name, rows in found.items():
        lines += ["", f"**{name}**", "", *curves(records[name]), "", *ratios(rows)]
    return "\n".join(lines) + "\n"


def figure(records: dict[str, dict[float, ScoreStatistics]], palette: Palette = LIGHT) -> Any:
    """r(t), and the share of the path, at each guidance; broken lines are interpolated."""
    from matplotlib import colormaps

    with house_style(palette):
        drawn, axes = panels(2, 4.5, 3.2, rows=len(records))
        for row, (name, members) in enumerate(records.items()):
            left, right = axes[2 * row : 2 * row + 2]
            for shade, (guidance, record) in zip(np.linspace(0.1, 0.9, len(members)), members.items(), strict=True):
                color = colormaps["viridis"](shade)
                left.plot(record.log_snr, record.mean_abs, color=color, label=f"guidance {guidance:g}")
                right.plot(record.log_snr, shares(record), color=color)
                if guidance in OTHERS[name]:
                    between = without(members, guidance)
                    for panel, curve in ((left, between.mean_abs), (right, shares(between))):
                        panel.plot(record.log_snr, curve, color=palette.ink, linewidth=0.8, linestyle=(0, (4, 4)))
            left.set(title=name, xlabel="log SNR", ylabel="r = E|ε|")
            right.set(title="share of the solver's path", xlabel="log SNR")
            for one in (left, right):
                one.invert_xaxis()
            left.legend()
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=Path, default=ROOT / "runs/suite/references")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/guidances", help="where what is done is kept")
    parser.add_argument("--output", type=Path, default=results("calibration"))
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(MODELS))
    options = parser.parse_args()
    settle()
    options.runs.mkdir(parents=True, exist_ok=True)
    file = options.runs / "guidances.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in options.models:
        for guidance in all_of(name):
            cell = found.setdefault(name, {})
            if f"{guidance:g}" not in cell:
                cell[f"{guidance:g}"] = errors(name, guidance, options.runs, options.references)
                file.write_text(json.dumps(found) + "\n")
                print(f"{name} at guidance {guidance:g}", flush=True)
    records = {name: {one: measured(name, one, options.runs) for one in all_of(name)} for name in options.models}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "guidances.json").write_text(json.dumps(found) + "\n")
    (options.output / "guidances.md").write_text(document(found, records))
    write_figure(options.output / "guidances.png", lambda palette: figure(records, palette))
    print((options.output / "guidances.md").read_text())


if __name__ == "__main__":
    main()
