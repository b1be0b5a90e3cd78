"""What rows say together: a cell is one problem in so many calls, with everybody's errors pooled over the seeds.

The best rival of a cell is found here, by each measure for itself, among all that ran from the noise of every seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchmarks.suite.measures import Ratio, geometric_mean, paired_ratio, rms, trimmed_rms, worst_share
from benchmarks.suite.reference import ALLOWED
from benchmarks.suite.rows import OURS, RIVAL, Row
from benchmarks.suite.samplers import FIXED, LEARNED, PLAIN
from benchmarks.suite.samplers import OURS as DEIS_SN

MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "geometric mean": geometric_mean,
    "RMS": rms,
    "RMS without the worst tenth": trimmed_rms,
}
GEOMETRIC = "geometric mean"


@dataclass(frozen=True)
class Entrant:
    """One sampler in a cell: its rows, a seed each, in the order of the seeds."""

    name: str
    kind: str
    rows: tuple[Row, ...]

    @cached_property
    def errors(self) -> np.ndarray:
        """Per-sample errors of all seeds."""
        return np.concatenate([row.sample_errors for row in self.rows])

    def error(self, measure: str) -> float:
        """One of `MEASURES`, over all seeds."""
        return MEASURES[measure](self.errors)

    @property
    def share(self) -> float:
        """Of the worst tenth of the samples in the squared error."""
        return worst_share(self.errors)

    def mean(self, name: str) -> float | None:
        """Mean over seeds of a column of the rows, None where there is none."""
        values = [getattr(row, name) for row in self.rows]
        return None if not values or None in values else float(np.mean(values))


@dataclass(frozen=True)
class Cell:
    """One problem in so many network calls."""

    problem: str
    role: str
    group: str
    calls: int
    entrants: dict[str, Entrant] = field(repr=False)

    @property
    def rivals(self) -> list[Entrant]:
        """Those of Diffusers."""
        return [one for one in self.entrants.values() if one.kind == RIVAL]

    def best(self, measure: str = GEOMETRIC) -> Entrant:
        """The best rival."""
        return min(self.rivals, key=lambda one: one.error(measure))

    def ratio(self, name: str, measure: str = GEOMETRIC, over: str | None = None) -> float | None:
        """Error of one of ours over the best rival's, or over another of ours; None where one of them is missing."""
        if name not in self.entrants or (over is not None and over not in self.entrants):
            return None
        other = self.best(measure) if over is None else self.entrants[over]
        return self.entrants[name].error(measure) / other.error(measure)

    def interval(self, name: str) -> Ratio:
        """The ratio of geometric means to the best rival, with its bootstrap over samples."""
        return paired_ratio(self.entrants[name].errors, self.best().errors)

    def grain_over_best(self, name: str, excess: bool = False) -> float | None:
        """Grain of one of ours over the best rival's; with `excess`, blur (grain below 1) counts as none on either."""
        ours, theirs = self.entrants[name].mean("grain"), self.best().mean("grain")
        if ours is None or not theirs:
            return None
        return max(ours, 1.0) / max(theirs, 1.0) if excess else ours / theirs

    @property
    def doubt(self) -> float:
        """How far two converged runs are apart, in terms of the smallest error in the cell."""
        least = min(one.error(GEOMETRIC) for one in self.entrants.values())
        apart = [row.disagreement or 0.0 for one in self.entrants.values() for row in one.rows]
        return max(apart) / least

    @property
    def doubtful(self) -> bool:
        """Whether that is more than a comparison bears."""
        return self.doubt > ALLOWED


def cells_of(rows: Iterable[Row]) -> list[Cell]:
    """The cells of rows, choosing problems first and shipped ones last; without rivals, or ours, there is none."""
    found: dict[tuple[str, int], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    rows = list(rows)
    samples: dict[str, int] = defaultdict(int)
    for row in rows:
        samples[row.problem] = max(samples[row.problem], row.samples)
    for row in rows:
        if not row.failure and row.samples == samples[row.problem]:
            found[row.problem, row.asked][row.sampler].append(row)
    made = [cell for key, samplers in found.items() if (cell := _cell(*key, samplers)) is not None]
    return sorted(made, key=lambda cell: (cell.role, cell.group, cell.problem, cell.calls))


def _cell(problem: str, calls: int, samplers: dict[str, list[Row]]) -> Cell | None:
    by_kind = [{row.seed for own in samplers.values() for row in own if row.kind == kind} for kind in (RIVAL, OURS)]
    seeds = set.intersection(*by_kind)  # of a suite that is still running, those which both have got to
    found = {name: [row for row in own if row.seed in seeds] for name, own in samplers.items()}
    whole = {name: sorted(own, key=lambda row: row.seed) for name, own in found.items() if len(own) == len(seeds) > 0}
    kinds = {own[0].kind for own in whole.values()}
    if not {RIVAL, OURS} <= kinds:
        return None
    entrants = {name: Entrant(name, own[0].kind, tuple(own)) for name, own in whole.items()}
    first = next(iter(whole.values()))[0]
    return Cell(problem, first.role, first.group, calls, entrants)


# ---------------------------------------------------------------------------------------------------------- over cells


@dataclass(frozen=True)
class Summary:
    """A ratio over many cells: its geometric mean, how many are won, the largest and whose it is."""

    mean: float
    won: int
    run: int
    largest: float
    worst: str


def summary(cells: Sequence[Cell], ratio: Callable[[Cell], float | None]) -> Summary | None:
    """A ratio over cells, each counting the same; None where no cell has it."""
    known = [(value, cell.problem) for cell in cells if (value := ratio(cell)) is not None]
    if not known:
        return None
    values = [value for value, _ in known]
    largest, worst = max(known)
    return Summary(geometric_mean(np.array(values)), sum(v < 1.0 for v in values), len(values), largest, worst)


SUBSETS: dict[str, Callable[[Cell], bool]] = {
    "all": lambda cell: True,
    "choosing": lambda cell: cell.role == "choosing",
    "reporting": lambda cell: cell.role == "reporting",
    "shipped": lambda cell: cell.group == "shipped",
}

__all__ = [
    "DEIS_SN",
    "FIXED",
    "GEOMETRIC",
    "LEARNED",
    "MEASURES",
    "PLAIN",
    "SUBSETS",
    "Cell",
    "Entrant",
    "Summary",
    "cells_of",
    "summary",
]
