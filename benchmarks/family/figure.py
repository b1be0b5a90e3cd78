"""Figure and table of what run.py measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.places import write_figure
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style

Curves = dict[tuple[str, bool], dict[int, float]]
TITLES = {"mixture": "exact mixture of 1797 digits"}
TABLE_CALLS = (5, 8, 10, 15, 20, 50)
OVERVIEW_CALLS = (5, 10, 20)
TICKS = (4, 6, 10, 15, 20, 30, 50)
OVERVIEW = (  # what README shows: name, normalised
    *((name, False) for name in ("DDIM", "DPM++ 2M", "UniPC", "DEIS (Diffusers)", "Heun (Diffusers)")),
    *((name, on) for name in ("tAB 2", "tAB 4", "iPNDM 3", "kutta3", "tAB 2 + 4") for on in (False, True)),
    ("tAB 2 + 3, no limit", True),
    ("tAB 3 + 3 of x0", False),
    ("log-rho AB 2 of x0", False),
)


def curves(rows: list[dict[str, Any]], problem: str, family: str | None = None) -> Curves:
    """Error by calls for each name and normalisation."""
    found: Curves = defaultdict(dict)
    for row in rows:
        if row["problem"] == problem and family in (None, row["family"]):
            found[row["name"], row["normalised"]][row["calls"]] = row["error"]
    return found


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the figure, on light paper and on dark."""
    write_figure(path, lambda palette: figure(rows, palette))


def figure(rows: list[dict[str, Any]], palette: Palette = LIGHT) -> Any:
    """A panel for each problem: five members in colour, the default marked, and all others in grey."""
    from matplotlib.figure import Figure

    problems = list(dict.fromkeys(row["problem"] for row in rows))
    looks = shown(palette)
    with house_style(palette):
        drawn = Figure(figsize=(4.0 * len(problems), 4.5), dpi=110, layout="constrained")
        axes = drawn.subplots(1, len(problems), squeeze=False)[0]
        for panel, problem in zip(axes, problems, strict=True):
            found = curves(rows, problem)
            for curve in (curve for key, curve in found.items() if key not in looks):
                panel.plot(*zip(*sorted(curve.items()), strict=True), color=palette.grey, linewidth=0.8, zorder=1)
            for key, (label, look) in looks.items():
                panel.plot(*zip(*sorted(found[key].items()), strict=True), label=label, **look)
            errors = [error for curve in found.values() for error in curve.values()]
            panel.set(xscale="log", yscale="log", ylim=(max(1e-4, 0.7 * min(errors)), min(3.0, 1.2 * max(errors))))
            panel.set_xticks(TICKS, labels=[str(n) for n in TICKS])
            panel.minorticks_off()
            panel.tick_params(labelsize=10.5)
            panel.set_title(_title(problem), fontsize=12)
            panel.set_xlabel("network calls", fontsize=11)
        axes[0].set_ylabel("RMS error: lower is better", fontsize=11)
        handles, labels = axes[0].get_legend_handles_labels()
        grey = axes[0].plot([], [], color=palette.grey, linewidth=0.8)
        others = f"{len(curves(rows, problems[0])) - len(looks)} others"
        drawn.legend([*handles, *grey], [*labels, others], loc="outside lower center", ncols=3, fontsize=11)
    return drawn


def shown(palette: Palette) -> dict[tuple[str, bool], tuple[str, dict[str, Any]]]:
    """The members in colour, by name and normalisation: what they are called, and how they are drawn."""
    looks = (
        ("DPM++ 2M", False, "DPM++ 2M", palette.orange, "s", 1.8),
        ("UniPC", False, "UniPC", palette.purple, "^", 1.8),
        ("kutta3", True, "Runge-Kutta of order 3, normalised", palette.green, "D", 1.8),
        ("tAB 2", True, "DEIS-SN without corrector", palette.sky, "v", 1.8),
        ("tAB 2 + 4", True, "DEIS-SN, default options", palette.blue, "o", 3.4),
    )
    return {
        (name, on): (label, {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": width, "zorder": 2 + i})
        for i, (name, on, label, colour, marker, width) in enumerate(looks)
    }


def _title(problem: str) -> str:
    return TITLES.get(problem, f"shipped pipeline, {problem}")


def _at(curve: dict[int, float], calls: int) -> float | None:
    """Error of the run with the most calls up to `calls`, None where three calls less would do as well."""
    affordable = [n for n in curve if calls - 3 < n <= calls]
    return curve[max(affordable)] if affordable else None


def summary(rows: list[dict[str, Any]]) -> str:
    """A Markdown table for each problem: every member at some numbers of calls, the best of each column bold."""
    parts = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        found = curves(rows, problem)
        table = {key: [_at(curve, n) for n in TABLE_CALLS] for key, curve in found.items()}
        best = [min(error for error in column if error is not None) for column in zip(*table.values(), strict=True)]
        lines = [
            f"**{_title(problem)[0].upper()}{_title(problem)[1:]}**",
            "",
            "| solver | " + " | ".join(f"{n} calls" for n in TABLE_CALLS) + " |",
            "|---" * (len(TABLE_CALLS) + 1) + "|",
        ]
        for (name, normalised), errors in table.items():
            cells = map(_cell, errors, best)
            lines.append(f"| {name}{', normalised' if normalised else ''} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    parts.append("RMS error. Solvers of several calls a step have the most steps that so many calls allow.")
    return "\n\n".join(parts)


def overview(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of a few members on all problems."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    found = {problem: curves(rows, problem) for problem in problems}
    columns = [(problem, n) for problem in problems for n in OVERVIEW_CALLS]
    table = {key: [_at(found[problem][key], n) for problem, n in columns] for key in OVERVIEW}
    best = [min(error for error in column if error is not None) for column in zip(*table.values(), strict=True)]
    lines = [
        "| solver | " + " | ".join(f"{problem}, {n} calls" for problem, n in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for (name, normalised), errors in table.items():
        cells = map(_cell, errors, best)
        lines.append(f"| {name}{', normalised' if normalised else ''} | " + " | ".join(cells) + " |")
    lines += ["", "RMS error; the whole table is benchmarks/family/family.md."]
    return "\n".join(lines)


def _cell(error: float | None, best: float) -> str:
    if error is None:
        return ""
    text = f"{error:.3f}" if error >= 0.01 else f"{error:.4f}"
    return f"**{text}**" if error == best else text
