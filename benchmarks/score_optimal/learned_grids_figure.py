"""Figure and table of learned_grids.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg

from diffusers_deis_sn.plots.style import house_style, panels

LOOK: dict[str, dict[str, Any]] = {
    "trailing": {"color": "#7a828c", "linestyle": ":"},
    "log-linear": {"color": "#7a828c", "linestyle": "--"},
    "rho = 3": {"color": "#e3b27e"},
    "rho = 7": {"color": "#c8611a"},
    "rho = 100": {"color": "#7a3a10"},
    "learned, corrector": {"color": "#1f5fa8", "linewidth": 2.4},
    "learned, predictor": {"color": "#4fa3d1", "linewidth": 2.4},
}
MEASURES = {"rms": "RMS distance to the fine run", "frechet": "Frechet distance of features"}
TITLES = {"mixture": "exact mixture of digits", "pipeline": "shipped pipeline, guidance 3"}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Both measures against the number of steps, a panel for each problem and measure."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    with house_style():
        figure, axes = panels(2 * len(problems), width=3.6, height=3.4)
        FigureCanvasAgg(figure)
        cells = [(problem, measure) for problem in problems for measure in MEASURES]
        for panel, (problem, measure) in zip(axes, cells, strict=True):
            for grid, look in LOOK.items():
                points = [(r["steps"], r[measure]) for r in rows if (r["problem"], r["grid"]) == (problem, grid)]
                if points:
                    panel.plot(*zip(*points, strict=True), marker="o", markersize=3.0, label=grid, **look)
            panel.set(xscale="log", yscale="log", xlabel="steps", ylabel=MEASURES[measure], title=TITLES[problem])
            steps = sorted({row["steps"] for row in rows})
            panel.set_xticks(steps, [str(n) for n in steps])
            panel.minorticks_off()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(path, dpi=120)


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
        for grid in LOOK:
            found = [cells.get((grid, problem, n)) for n in steps]
            if not all(found):
                continue
            texts = []
            for n, row in zip(steps, found, strict=True):
                shown = []
                for measure in MEASURES:
                    least = min(cells[g, problem, n][measure] for g in LOOK if (g, problem, n) in cells)
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
