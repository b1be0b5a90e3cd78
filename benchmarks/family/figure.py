"""Figure and table of what run.py measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from diffusers_deis_sn.plots.style import house_style

Curves = dict[tuple[str, bool], dict[int, float]]
FAMILIES = {
    "multistep": "multistep, full order to the end",
    "corrected": "multistep + corrector of order",
    "data": "multistep on predicted data",
    "Runge-Kutta": "Runge-Kutta in rho",
    "Diffusers": "Diffusers' own",
}
TITLES = {"mixture": "exact mixture of 1797 digits"}
TABLE_CALLS = (5, 8, 10, 15, 20, 50)
OVERVIEW_CALLS = (5, 10, 20)
TICKS = (4, 5, 6, 8, 10, 15, 20, 30, 50)
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
    """A row of panels for each family, a column for each problem; broken lines are without normalisation."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    problems = list(dict.fromkeys(row["problem"] for row in rows))
    with house_style():
        figure = Figure(figsize=(4.4 * len(problems) + 1.8, 3.3 * len(FAMILIES)), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(FAMILIES), len(problems), squeeze=False, sharex=True, sharey="col")
        for j, problem in enumerate(problems):
            rivals = _best(curves(rows, problem, "Diffusers"))
            errors = [row["error"] for row in rows if row["problem"] == problem]
            for i, (family, title) in enumerate(FAMILIES.items()):
                panel = axes[i, j]
                if family != "Diffusers":
                    panel.plot(*zip(*sorted(rivals.items()), strict=True), color="#c4c9cf", linewidth=6, zorder=1)
                found = curves(rows, problem, family)
                names = list(dict.fromkeys(name for name, _ in found))
                for (name, normalised), curve in found.items():
                    colour = colormaps["tab20" if len(names) > 10 else "tab10"](names.index(name))
                    line = "-" if normalised or family in ("data", "Diffusers") else "--"
                    label = name if normalised or family in ("data", "Diffusers") else None
                    panel.plot(*zip(*sorted(curve.items()), strict=True), line, color=colour, label=label, zorder=2)
                panel.set(xscale="log", yscale="log")
                panel.set_ylim(max(1e-4, 0.7 * min(errors)), min(3.0, 1.2 * max(errors)))
                panel.set_xticks(
                    [4, 5, 6, 8, 10, 15, 20, 30, 50], labels=["4", "5", "6", "8", "10", "15", "20", "30", "50"]
                )
                panel.minorticks_off()
                panel.set_title(f"{title}\n{_title(problem)}" if i == 0 else title)
                if j == len(problems) - 1:
                    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
                if j == 0:
                    panel.set_ylabel("RMS error")
                if i == len(FAMILIES) - 1:
                    panel.set_xlabel("network calls")
        figure.suptitle(
            "Full lines: with score normalisation, broken lines: without. Grey: the best of Diffusers' own."
        )
        figure.savefig(path)


def _title(problem: str) -> str:
    return TITLES.get(problem, f"shipped pipeline, {problem}")


def _best(found: Curves) -> dict[int, float]:
    """The least error that so many calls buy."""
    calls = sorted({n for curve in found.values() for n in curve})
    return {n: min(error for curve in found.values() for m, error in curve.items() if m <= n) for n in calls}


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
