"""Figure and table of what train.py measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffusers_deis_sn.plots.style import BLUE, INK, MUTED, ORANGE, house_style

LOOKS = {"linear": ORANGE, "log-linear": MUTED, "adaptive": BLUE}
TITLES = {"bimodal": "bimodal normal distribution", "digits": "digits, 8×8"}
DASHED = (0, (3, 2))
COLUMNS = (  # of the table: heading, how many digits, whether less is better (None: neither), value of a row
    ("energy / length², first → last", 3, None, lambda row: row["ratio"]),
    ("on the exact path", 3, True, lambda row: row["ratio_exact"]),
    ("score error, nats", 4, True, lambda row: row["score_error"]),
    ("likelihood gap, nats", 4, True, lambda row: row["gap"]),
    ("held-out log-likelihood, nats", 2, False, lambda row: row.get("held_out")),
)


def of(problem: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Rows of a schedule, one for each seed."""
    return [row for row in problem["rows"] if row["schedule"] == name]


# -------------------------------------------------------------------------------------------------------------- figure


@house_style()
def draw(problems: list[dict[str, Any]], path: Path) -> None:
    """A row of panels for each problem."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = (_schedule, _costs, _energy, _score, _likelihood)
    figure = Figure(figsize=(18.0, 3.9 * len(problems)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subfigures(len(problems), 1, squeeze=False, hspace=0.04)[:, 0]
    for row, problem in zip(rows, problems, strict=True):
        row.suptitle(TITLES[problem["name"]], x=0.006, horizontalalignment="left", fontweight="bold")
        axes = row.subplots(1, len(panels), width_ratios=[1, 1, 1, 1, 0.7])
        for axis, panel in zip(axes, panels, strict=True):
            panel(axis, problem)
    figure.savefig(path)


def _schedule(axis: Any, problem: dict[str, Any]) -> None:
    """Every tenth level over training, beside the partition of the exact path."""
    row = of(problem, "adaptive")[0]
    levels, batches = np.array(row["history"]["levels"]), row["history"]["batch"]
    shown = np.arange(0, levels.shape[1], max(1, (levels.shape[1] - 1) // 10))
    axis.plot(batches, levels[:, shown], color=BLUE, linewidth=1.1)
    ends = np.full(len(shown), 1.03 * problem["steps"]), np.array(problem["exact"]["optimum"])[shown]
    axis.plot(*ends, "<", color=INK, markersize=4, label="equal parts of the exact path")
    axis.set(yscale="log", xlabel="batches of training", ylabel="noise level σ", title="adaptive: every tenth level")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 0.03), handletextpad=0.1)


def _costs(axis: Any, problem: dict[str, Any]) -> None:
    steps = np.arange(1, problem["intervals"] + 1)
    before = of(problem, "adaptive")[0]["costs"]["first"]
    axis.plot(steps, before, color=BLUE, alpha=0.4, linewidth=0.9, label="adaptive, before")
    for name, colour in LOOKS.items():
        costs = of(problem, name)[0]["costs"]["last"]
        axis.plot(steps, costs, color=colour, label=f"{name}, after" if name == "adaptive" else name)
    axis.set(yscale="log", xlabel="step, noisiest first", title="incremental costs")
    axis.legend()


def _energy(axis: Any, problem: dict[str, Any]) -> None:
    for name, colour in LOOKS.items():
        history = of(problem, name)[0]["history"]
        axis.plot(history["batch"], history["energy"], color=colour, label=name)
        axis.plot(history["batch"], np.square(history["length"]), color=colour, linestyle=DASHED, linewidth=1.0)
    axis.plot([], [], color=INK, linestyle=DASHED, linewidth=1.0, label="length² of the path")
    axis.set(xlabel="batches of training", title="energy, and the least it could be")
    axis.set_ylim(0.0, 1.3 * axis.get_ylim()[1])
    axis.legend(loc="upper left", ncols=2)


def _score(axis: Any, problem: dict[str, Any]) -> None:
    """Means over seeds, and their range; the area below is the score error of the table."""
    for name, colour in LOOKS.items():
        errors = np.array([row["score_errors"] for row in of(problem, name)]) / problem["dimension"]
        axis.plot(problem["sigma"], errors.mean(0), color=colour, label=name)
        axis.fill_between(problem["sigma"], errors.min(0), errors.max(0), color=colour, alpha=0.2, linewidth=0)
    axis.set(xscale="log", xlabel="noise level σ", title="score error, E |Δε|² / d", ylim=(0.0, None))
    axis.legend()


def _likelihood(axis: Any, problem: dict[str, Any]) -> None:
    """Dots are seeds, lines their means."""
    for place, (name, colour) in enumerate(LOOKS.items()):
        gaps = [row["gap"] for row in of(problem, name)]
        axis.hlines(np.mean(gaps), place - 0.25, place + 0.25, color=colour, linewidth=2.4)
        axis.plot(np.full(len(gaps), place), gaps, "o", color=colour, markersize=4.5, alpha=0.7)
    axis.set(xticks=range(len(LOOKS)), xticklabels=LOOKS, xlim=(-0.5, 2.5), title="log-likelihood below truth, nats")
    axis.margins(y=0.25)
    axis.grid(visible=False, axis="x")


# --------------------------------------------------------------------------------------------------------------- table


def table(problems: list[dict[str, Any]]) -> str:
    """A Markdown table: means over seeds, the best of each column bold."""
    parts = []
    for problem in problems:
        shown = [column for column in COLUMNS if column[3](problem["rows"][0]) is not None]
        lines = [f"**{TITLES[problem['name']].capitalize()}**", ""]
        lines += ["| schedule | " + " | ".join(column[0] for column in shown) + " |", "|---" * (len(shown) + 1) + "|"]
        means = {name: [np.mean([value(row) for row in of(problem, name)], 0) for *_, value in shown] for name in LOOKS}
        for name, values in means.items():
            cells = [name]
            for k, (_, digits, less, _) in enumerate(shown):
                text = " → ".join(f"{value:.{digits}f}" for value in np.atleast_1d(values[k]))
                best = less is not None and values[k] == (min if less else max)(row[k] for row in means.values())
                cells.append(f"**{text}**" if best else text)
            lines.append("| " + " | ".join(cells) + " |")
        seeds = len(of(problem, "adaptive"))
        lines += ["", f"{problem['intervals']} steps, {problem['steps']} batches, means of {seeds} seed(s)."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
