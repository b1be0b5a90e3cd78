"""Figures of the suite: ratios against calls, a panel a network; and what every network makes of five calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.suite.cells import DEIS_SN, LEARNED, Cell
from benchmarks.suite.problems import Problem, load, names, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.samplers import Sampler, ours, rivals
from diffusers_deis_sn.plots.style import BLUE, INK, MUTED, ORANGE, house_style, png

ACROSS = 4  # panels in a row
AIM = 0.85  # up to ten calls
STROKES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))  # guidances, in rising order
SHOWN, FEW = 8, 5  # samples of a picture, and its calls

# --------------------------------------------------------------------------------------------------------------- ratios


def draw_ratios(cells: Sequence[Cell], path: Path) -> None:
    """Error of DEIS-SN and of ScoreOptimal over the best rival's against calls; below 1 they win."""
    path.write_bytes(png(ratios_figure(cells)))


def ratios_figure(cells: Sequence[Cell]) -> Any:
    """The figure: a panel a network, a line a guidance."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(network_of(cell.problem) for cell in cells))
    down = -(-len(networks) // ACROSS)
    with house_style():
        figure = Figure(figsize=(2.9 * ACROSS, 2.35 * down + 0.5), dpi=160, layout="constrained")
        axes = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).flatten()
        for axis, network in zip(axes, networks, strict=False):
            _panel(axis, network, [cell for cell in cells if network_of(cell.problem) == network])
        for axis in axes[len(networks) :]:
            axis.set_visible(False)
        for axis in axes[: len(networks)][-ACROSS:]:
            axis.set_xlabel("network calls")
            axis.tick_params(labelbottom=True)
        figure.legend(handles=_legend(), loc="outside upper center", ncols=6)
        figure.supylabel("error / best rival's (geometric mean)", fontsize=9, color=INK)
    return figure


def network_of(problem: str) -> str:
    """The name without the guidance."""
    return problem.rpartition("@")[0] or problem


def _panel(axis: Any, network: str, cells: Sequence[Cell]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    problems = list(dict.fromkeys(cell.problem for cell in cells))
    axis.axhline(1.0, color=INK, linewidth=0.9)
    axis.axhline(AIM, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)))
    for name, colour in ((LEARNED, ORANGE), (DEIS_SN, BLUE)):
        for problem, stroke in zip(problems, STROKES, strict=False):
            own = sorted((c for c in cells if c.problem == problem and name in c.entrants), key=lambda c: c.calls)
            values = [cell.ratio(name) for cell in own]
            axis.plot([c.calls for c in own], values, color=colour, linestyle=stroke, marker="o", markersize=2.6)
    guidances = [problem.rpartition("@")[2] for problem in problems if "@" in problem]
    suffix = f", guidance {', '.join(guidances)}" if guidances else ""
    axis.set_title(f"{network}{suffix}", fontsize=8.5)
    role = cells[0].role if cells[0].group != "shipped" else "reporting, shipped"
    axis.text(0.02, 0.03, role, transform=axis.transAxes, fontsize=7.5, color=MUTED)
    axis.set(xscale="log", yscale="log", ylim=(0.28, 3.2))
    axis.xaxis.set_major_locator(FixedLocator([4, 5, 6, 8, 10, 15, 20]))
    axis.yaxis.set_major_locator(FixedLocator([0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0]))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(ScalarFormatter())
        side.set_minor_locator(NullLocator())


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    known = [
        Line2D([], [], color=BLUE, label=DEIS_SN),
        Line2D([], [], color=ORANGE, label=f"{LEARNED} (learned times)"),
    ]
    words = ("least guidance", "middle", "most")
    known.append(
        Line2D([], [], color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)), label=f"{AIM:g}: aim up to ten calls")
    )
    return known + [Line2D([], [], color=INK, linestyle=s, label=w) for s, w in zip(STROKES, words, strict=True)]


# ------------------------------------------------------------------------------------------------------------- pictures


def draw_pictures(cells: Sequence[Cell], references: Path, statistics: Path, folder: Path) -> None:
    """For every problem that can run here: converged, best rival, DEIS-SN and ScoreOptimal in five calls, one noise."""
    folder.mkdir(parents=True, exist_ok=True)
    available = set(names())
    for cell in cells:
        if cell.calls == FEW and cell.problem in available:
            problem = load(cell.problem)
            rows = _rows(problem, cell, references, statistics)
            (folder / f"{slug(cell.problem)}.png").write_bytes(png(_sheet(cell, rows)))


def _rows(problem: Problem, cell: Cell, references: Path, statistics: Path) -> dict[str, Tensor]:
    """Pictures (B, C, H, W) in [0, 1] by what made them."""
    first = next(iter(cell.entrants.values())).rows[0]
    samples, seed = len(first.sample_errors), first.seed
    own = ours(problem.config, problem.statistics(statistics))
    best = rivals(problem.config, problem.family, problem.guidance > 1.0)[cell.best().name]
    ends = {"converged": kept(problem, samples, seed, references).end[:SHOWN]}
    entrants: list[Sampler] = [best, *(own[name] for name in (DEIS_SN, LEARNED) if name in own)]
    for sampler in entrants:
        ends[sampler.name] = problem.end(sampler(), sampler.steps(FEW), samples, seed)[:SHOWN]
    return {name: problem.pictures(end) for name, end in ends.items()}


def _sheet(cell: Cell, rows: dict[str, Tensor]) -> Any:
    from matplotlib.figure import Figure

    padded = {name: torch.nn.functional.pad(pictures, (1, 1, 0, 0), value=1.0) for name, pictures in rows.items()}
    strips = {name: torch.cat(list(pictures), dim=2) for name, pictures in padded.items()}
    height, width = next(iter(strips.values())).shape[1:]
    left, across, top = 1.75, 0.95 * SHOWN, 0.3
    tall = across * height / width + 0.06
    with house_style():
        figure = Figure(figsize=(left + across, len(strips) * tall + top), dpi=160)
        for i, (name, strip) in enumerate(strips.items()):
            bottom = (len(strips) - 1 - i) * tall
            whole = figure.get_size_inches()
            axis = figure.add_axes((left / whole[0], bottom / whole[1], across / whole[0], (tall - 0.06) / whole[1]))
            axis.imshow(strip.permute(1, 2, 0).expand(-1, -1, 3).numpy(), interpolation="nearest", aspect="auto")
            axis.set_axis_off()
            ratio = "" if name not in (DEIS_SN, LEARNED) else f"\n{cell.ratio(name):.2f} of its error"
            rival = "\n(best rival)" if name == cell.best().name else ""
            axis.text(-0.01, 0.5, name + rival + ratio, transform=axis.transAxes, ha="right", va="center", fontsize=7.5)
        title = f"{cell.problem}, {FEW} network calls, the same noise in every row"
        figure.text(0.005, 1.0 - 0.06 / figure.get_size_inches()[1], title, fontsize=8.5, va="top")
    return figure
