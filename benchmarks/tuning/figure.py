"""The first figure of README: error against network calls on the shipped models, and against the best rival on others.

python -m benchmarks.tuning.figure --output runs/suite

Rows of the suite and of plans are those of `benchmarks.tuning.run --output`; nothing is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.places import results
from benchmarks.suite.cells import DEIS_SN, GEOMETRIC, Cell, cells_of
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.rows import read_all
from benchmarks.tuning.table import TUNED
from diffusers_deis_sn.plots.style import BLUE, GREEN, INK, MUTED, house_style, png

CALLS = (4, 5, 6, 8, 10, 12, 15, 20)
SHOWN = {
    "tiny-sd-digits@3": "Stable Diffusion, small (digits)",
    "tiny-flow-emoji@3": "Stable Diffusion 3, small (emoji)",
}
COLOURS = {DEIS_SN: BLUE, TUNED: GREEN}
BEST = "best of Diffusers at each number of calls"


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/suite"))
    folder = parser.parse_args().output
    results("tuning", "errors.png").write_bytes(png(figure(cells_of(pooled(folder))), dpi=150))


def pooled(folder: Path) -> list[Any]:
    """Rows of the suite and of plans; where both have ours, that beside the plan."""
    tuned = [row for row in read_all(folder / "tuned" / "rows") if row.sampler == TUNED]
    return read_all(folder / "rows") + tuned


def figure(cells: Sequence[Cell]) -> Any:
    """A panel for each shipped model with errors, and one of ratios on the networks that only report."""
    from matplotlib.figure import Figure

    with house_style():
        drawn = Figure(figsize=(10.4, 3.3), dpi=160, layout="constrained")
        *models, ratios = drawn.subplots(1, len(SHOWN) + 1)
        for axis, (problem, title) in zip(models, SHOWN.items(), strict=True):
            _errors(axis, title, [cell for cell in cells if cell.problem == problem])
        models[0].set_ylabel("distance to the converged picture's latents")
        _ratios(ratios, [cell for cell in cells if cell.role == "reporting"])
        drawn.legend(*models[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn


def _errors(axis: Any, title: str, cells: Sequence[Cell]) -> None:
    own = sorted(cells, key=lambda cell: cell.calls)
    _line(axis, [(cell.calls, cell.best().error(GEOMETRIC)) for cell in own], INK, BEST, (0, (4, 1.5)))
    for name, colour in COLOURS.items():
        _line(axis, [(c.calls, c.entrants[name].error(GEOMETRIC)) for c in own if name in c.entrants], colour, name)
    axis.set_title(title)
    _scaled(axis)


def _ratios(axis: Any, cells: Sequence[Cell]) -> None:
    """The geometric mean over networks, and from the least to the largest."""
    axis.axhline(1.0, color=INK, linewidth=1.2, linestyle=(0, (4, 1.5)))
    networks = 0
    for name, colour in COLOURS.items():
        found = {n: [r for c in cells if c.calls == n and (r := c.ratio(name)) is not None] for n in CALLS}
        known = {n: np.array(values) for n, values in found.items() if values}
        _line(axis, [(n, geometric_mean(values)) for n, values in known.items()], colour, name)
        low, high = ([reduce(v) for v in known.values()] for reduce in (np.min, np.max))
        axis.fill_between(list(known), low, high, color=colour, alpha=0.13, linewidth=0)
        networks = max([networks, *map(len, known.values())])
    axis.set_title(f"over the best of Diffusers, {networks} settings")
    axis.text(0.03, 0.03, "shaded: least to largest", transform=axis.transAxes, fontsize=7.5, color=MUTED)
    _scaled(axis)


def _line(axis: Any, points: Iterable[tuple[int, float]], colour: str, name: str, stroke: Any = "-") -> None:
    points = list(points)
    axis.plot(
        [n for n, _ in points],
        [value for _, value in points],
        color=colour,
        linestyle=stroke,
        marker="o",
        markersize=3.6,
        label=name,
    )


def _scaled(axis: Any) -> None:
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, ScalarFormatter

    axis.set(xscale="log", yscale="log", xlabel="network calls (steps)")
    axis.xaxis.set_major_locator(FixedLocator([4, 5, 6, 8, 10, 15, 20]))
    axis.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(ScalarFormatter())
        side.set_minor_locator(NullLocator())


if __name__ == "__main__":
    main()
