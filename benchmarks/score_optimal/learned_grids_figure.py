"""Figure and table of learned_grids.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.places import write_figure
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style

GRIDS = ("trailing", "log-linear", "rho = 3", "rho = 7", "rho = 100", "learned, corrector", "learned, predictor")
MEASURES = {"rms": "RMS distance to the fine run", "frechet": "Frechet distance of features"}
TITLES = {"mixture": "exact mixture of digits", "pipeline": "shipped pipeline, guidance 3"}


def looks(palette: Palette) -> dict[str, dict[str, Any]]:
    """How each grid is drawn; those that lie on one another are broad below and thin above."""
    return {
        "rho = 100": {"color": palette.grey, "linewidth": 5.0, "marker": None},
        "rho = 7": {"color": palette.orange, "marker": "s"},
        "rho = 3": {"color": palette.purple, "marker": "^"},
        "log-linear": {"color": palette.ink, "linestyle": (0, (4, 2)), "marker": "x", "linewidth": 1.1},
        "trailing": {"color": palette.ink, "linestyle": (0, (1, 1.4)), "marker": "o"},
        "learned, predictor": {"color": palette.sky, "linewidth": 2.6, "marker": "v"},
        "learned, corrector": {"color": palette.blue, "linewidth": 2.6, "marker": "D"},
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the figure, on light paper and on dark."""
    write_figure(path, lambda palette: figure(rows, palette))


def figure(rows: list[dict[str, Any]], palette: Palette = LIGHT) -> Any:
    """Both measures against the number of steps: a row of panels for each problem, a column for each measure."""
    from matplotlib.figure import Figure

    problems = list(dict.fromkeys(row["problem"] for row in rows))
    steps = sorted({row["steps"] for row in rows})
    with house_style(palette):
        drawn = Figure(figsize=(9.4, 3.6 * len(problems) + 0.6), dpi=110, layout="constrained")
        for line, problem in zip(drawn.subplots(len(problems), len(MEASURES), squeeze=False), problems, strict=True):
            for panel, (measure, name) in zip(line, MEASURES.items(), strict=True):
                for grid, look in looks(palette).items():
                    points = [(r["steps"], r[measure]) for r in rows if (r["problem"], r["grid"]) == (problem, grid)]
                    if points:
                        panel.plot(*zip(*points, strict=True), markersize=4.5, label=grid, **look)
                panel.set(xscale="log", yscale="log")
                panel.set_title(f"{TITLES[problem]}:\n{name}", fontsize=11.5)
                panel.set_xlabel("steps, one network call each", fontsize=10.5)
                panel.set_ylabel("lower is better", fontsize=10.5)
                panel.set_xticks(steps, [str(n) for n in steps])
                panel.minorticks_off()
                panel.tick_params(labelsize=10.5)
        handles, labels = drawn.axes[0].get_legend_handles_labels()
        named = [f"Karras, {label}" if label.startswith("rho") else label for label in labels]
        drawn.legend(handles, named, loc="outside lower center", ncols=4, fontsize=10.5)
    return drawn


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: RMS and Frechet distance of each grid, the least of each column bold."""
    columns = list(dict.fromkeys((row["problem"], row["steps"]) for row in rows))
    cells = {(row["grid"], row["problem"], row["steps"]): row for row in rows}
    parts = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        steps = [n for name, n in columns if name == problem]
        lines = [
            f"| {TITLES[problem]} | " + " | ".join(f"{n} steps" for n in steps) + " |",
            "|---" * (len(steps) + 1) + "|",
        ]
        for grid in GRIDS:
            found = [cells.get((grid, problem, n)) for n in steps]
            if not all(found):
                continue
            texts = []
            for n, row in zip(steps, found, strict=True):
                shown = []
                for measure in MEASURES:
                    least = min(cells[g, problem, n][measure] for g in GRIDS if (g, problem, n) in cells)
                    text = f"{row[measure]:.2g}" if row[measure] < 0.01 else f"{row[measure]:.3f}"
                    shown.append(f"**{text}**" if row[measure] == least else text)
                texts.append(" · ".join(shown))
            lines.append(f"| {grid} | " + " | ".join(texts) + " |")
        parts.append("\n".join(lines))
    note = (
        "RMS distance to the fine run · Frechet distance of features. DEIS-SN's defaults on every grid, one call a "
        "step, to sigma zero."
    )
    return "\n\n".join([*parts, note])
