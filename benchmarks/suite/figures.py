"""Pictures of the suite: what every network makes of five calls."""

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
from diffusers_deis_sn.plots.style import house_style, png

SHOWN, FEW = 8, 5  # samples of a picture, and its calls


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
