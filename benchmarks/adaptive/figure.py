"""Figure and table of what train.py measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.places import write_figure
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style

SCHEDULES = ("linear", "log-linear", "adaptive")
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


def draw(problems: list[dict[str, Any]], path: Path) -> None:
    """Write the figure, on light paper and on dark."""
    write_figure(path, lambda palette: figure(problems, palette))


def figure(problems: list[dict[str, Any]], palette: Palette = LIGHT) -> Any:
    """A column of panels for each problem, so that they are legible at half size."""
    from matplotlib.figure import Figure

    panels = (_schedule, _costs, _energy, _score, _likelihood)
    with house_style(palette):
        drawn = Figure(figsize=(4.6 * len(problems), 3.1 * len(panels)), dpi=110, layout="constrained")
        for row, panel in zip(drawn.subplots(len(panels), len(problems), squeeze=False), panels, strict=True):
            for axis, problem in zip(row, problems, strict=True):
                panel(axis, problem, palette)
                axis.set_title(f"{TITLES[problem['name']]}:\n{axis.get_title(loc='left')}")
    return drawn


def looks(palette: Palette) -> dict[str, str]:
    """The colour of each schedule."""
    return dict(zip(SCHEDULES, (palette.orange, palette.muted, palette.blue), strict=True))


def _schedule(axis: Any, problem: dict[str, Any], palette: Palette) -> None:
    """Every tenth level over training, beside the partition of the exact path."""
    row = of(problem, "adaptive")[0]
    levels, batches = np.array(row["history"]["levels"]), row["history"]["batch"]
    shown = np.arange(0, levels.shape[1], max(1, (levels.shape[1] - 1) // 10))
    axis.plot(batches, levels[:, shown], color=palette.blue, linewidth=1.1)
    ends = np.full(len(shown), 1.03 * problem["steps"]), np.array(problem["exact"]["optimum"])[shown]
    axis.plot(*ends, "<", color=palette.ink, markersize=4, label="equal parts of the exact path")
    axis.set(yscale="log", xlabel="batches of training", ylabel="noise level σ", title="adaptive: every tenth level")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 0.03), handletextpad=0.1)


def _costs(axis: Any, problem: dict[str, Any], palette: Palette) -> None:
    steps = np.arange(1, problem["intervals"] + 1)
    before = of(problem, "adaptive")[0]["costs"]["first"]
    axis.plot(steps, before, color=palette.blue, alpha=0.4, linewidth=0.9, label="adaptive, before")
    for name, colour in looks(palette).items():
        costs = of(problem, name)[0]["costs"]["last"]
        axis.plot(steps, costs, color=colour, label=f"{name}, after" if name == "adaptive" else name)
    axis.set(yscale="log", xlabel="step, noisiest first", title="incremental costs")
    axis.legend()


def _energy(axis: Any, problem: dict[str, Any], palette: Palette) -> None:
    for name, colour in looks(palette).items():
        history = of(problem, name)[0]["history"]
        axis.plot(history["batch"], history["energy"], color=colour, label=name)
        axis.plot(history["batch"], np.square(history["length"]), color=colour, linestyle=DASHED, linewidth=1.0)
    axis.plot([], [], color=palette.ink, linestyle=DASHED, linewidth=1.0, label="length² of the path")
    axis.set(xlabel="batches of training", title="energy, and the least it could be")
    axis.set_ylim(0.0, 1.3 * axis.get_ylim()[1])
    axis.legend(loc="upper left", ncols=2)


def _score(axis: Any, problem: dict[str, Any], palette: Palette) -> None:
    """Means over seeds, and their range; the area below is the score error of the table."""
    for name, colour in looks(palette).items():
        errors = np.array([row["score_errors"] for row in of(problem, name)]) / problem["dimension"]
        axis.plot(problem["sigma"], errors.mean(0), color=colour, label=name)
        axis.fill_between(problem["sigma"], errors.min(0), errors.max(0), color=colour, alpha=0.2, linewidth=0)
    axis.set(xscale="log", xlabel="noise level σ", title="score error, E |Δε|² / d", ylim=(0.0, None))
    axis.legend()


def _likelihood(axis: Any, problem: dict[str, Any], palette: Palette) -> None:
    """Dots are seeds, lines their means."""
    for place, (name, colour) in enumerate(looks(palette).items()):
        gaps = [row["gap"] for row in of(problem, name)]
        axis.hlines(np.mean(gaps), place - 0.25, place + 0.25, color=colour, linewidth=2.4)
        axis.plot(np.full(len(gaps), place), gaps, "o", color=colour, markersize=4.5, alpha=0.7)
    axis.set(
        xticks=range(len(SCHEDULES)), xticklabels=SCHEDULES, xlim=(-0.5, 2.5), title="log-likelihood below truth, nats"
    )
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
        means = {
            name: [np.mean([value(row) for row in of(problem, name)], 0) for *_, value in shown] for name in SCHEDULES
        }
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
