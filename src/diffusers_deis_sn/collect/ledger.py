"""What a recording has taken down so far, as a state that can be kept and taken up again bit for bit.

The rows of a batch are collected first and merged when the batch is through. So a batch that fails, or is cut short by
Ctrl-C, leaves no trace; a sample that turns NaN half way has not been counted at earlier times; and sums are merged in
the same order whether or not the measurement was interrupted in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.collect.reducers import CURVES, MeanReducer
from diffusers_deis_sn.errors import CalibrationError

MOMENTS, BENDS, COST = "moments", "bends", "cost_"  # the kinds of rows; a cost's is COST and its name
TABLES = ("count", "mean", "spread")
TINY = 1e-300


@dataclass
class Batch:
    """Rows of samples that are still being drawn.

    Args:
        first: Number of the first sample.
        skip_invalid: Whether samples with values that are not finite are left out, instead of an error.
    """

    first: int
    skip_invalid: bool
    rows: list[tuple[str, int, int, NDArray[np.float64]]] = field(default_factory=list)
    invalid: set[int] = field(default_factory=set)
    seen: dict[tuple[str, int], int] = field(default_factory=dict)

    def tables(self) -> Iterator[tuple[str, list[int], NDArray[np.float64]]]:
        """The rows of sound samples: kind, P places, each once, and (M, P, B); in the order in which they came."""
        for kind in dict.fromkeys(kind for kind, *_ in self.rows):
            places, kept = list[int](), list[NDArray[np.float64]]()
            for index, sound in self._sound(kind):
                if index in places or (kept and sound.shape != kept[0].shape):
                    yield kind, places, np.stack(kept, axis=1)
                    places, kept = [], []
                places.append(index)
                kept.append(sound)
            if kept:
                yield kind, places, np.stack(kept, axis=1)

    def _sound(self, kind: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
        for one, index, first, rows in self.rows:
            if one != kind:
                continue
            if self.invalid:
                rows = rows[:, [first + i not in self.invalid for i in range(rows.shape[1])]]
            if rows.shape[1]:
                yield index, rows


class Ledger:
    """Means of everything that a recording sees, at each of its times.

    Attributes:
        times: Of all runs, in the order of a run; none before the first.
        reducers: By kind, see `MOMENTS`, `BENDS` and `COST`.
        invalid: Numbers of the samples that were left out.
        first: Number of its first sample; others were drawn before it, or are being drawn elsewhere.
    """

    def __init__(self, first: int = 0) -> None:
        """Nothing seen yet."""
        self.first = first
        self.times: tuple[float, ...] = ()
        self.reducers: dict[str, MeanReducer] = {}
        self.invalid: list[int] = []
        self._batch: Batch | None = None

    def begin(self, times: tuple[float, ...]) -> None:
        """Set the times of all runs."""
        self.times = times
        self.reducers = {MOMENTS: MeanReducer(CURVES, len(times)), BENDS: MeanReducer(1, len(times))}

    def expect(self, costs: Sequence[str]) -> None:
        """Make place for costs of the intervals."""
        for name in costs:
            self.reducers.setdefault(COST + name, MeanReducer(1, len(self.times) - 1))

    def beside(self, first: int) -> Ledger:
        """An empty one of the same times, for samples from `first` on."""
        ledger = Ledger(first)
        if self.times:
            ledger.begin(self.times)
        return ledger

    def merge(self, other: Ledger) -> None:
        """Take in other samples of the same times. Raises CalibrationError for other times."""
        if not self.times:
            self.begin(other.times)
        if self.times != other.times:
            raise CalibrationError("All processes must measure at the same times. Give all of them the same pipeline.")
        self.expect(list(other.costs))
        for kind, one in other.reducers.items():
            self.reducers[kind].merge(one)
        self.invalid = sorted(self.invalid + other.invalid)

    @property
    def moments(self) -> MeanReducer:
        """Means of |eps|, eps^2 and |x_0|."""
        return self.reducers.get(MOMENTS, MeanReducer(CURVES, 0))

    @property
    def bends(self) -> MeanReducer:
        """Means of the squared bends."""
        return self.reducers[BENDS]

    @property
    def costs(self) -> dict[str, MeanReducer]:
        """Means of the probed costs, by name."""
        return {name.removeprefix(COST): one for name, one in self.reducers.items() if name.startswith(COST)}

    @property
    def num_samples(self) -> int:
        """Number of samples in the means: those that every time has seen, or the most of them where times differ."""
        count = self.moments.count
        return int(count.max()) if len(count) else 0

    @property
    def drawn(self) -> int:
        """Number of samples drawn: those in the means, and those left out."""
        return self.num_samples + len(self.invalid)

    @property
    def relative_error(self) -> float:
        """Largest standard error of r relative to it; infinite before a time was seen by two samples."""
        moments = self.moments
        seen = moments.count >= 2
        if not seen.any():
            return float("inf")
        return float(np.max(moments.standard_error[0, seen] / np.maximum(moments.mean[0, seen], TINY)))

    @contextmanager
    def batch(self, skip_invalid: bool = False) -> Iterator[None]:
        """All rows taken down within count when the block ends well, and none of them otherwise.

        Args:
            skip_invalid: Leave out samples with values that are not finite, at all times, instead of an error.
        """
        self._batch = batch = Batch(self.first + self.drawn, skip_invalid)
        try:
            yield
        finally:
            self._batch = None
        for kind, places, rows in batch.tables():
            self.reducers[kind].add_samples(places, rows)
        self.invalid += sorted(batch.invalid)

    def add(self, kind: str, index: int, rows: NDArray[np.float64]) -> None:
        """Take in numbers of some samples at one time; at once outside of a `batch`.

        Args:
            kind: Which means they belong to.
            index: Which time, or interval.
            rows: (M, B), a column a sample.

        Raises:
            CalibrationError: A value that is not finite, unless samples that have any are to be skipped.
        """
        batch, count = self._batch, int(self.reducers[kind].count[index])
        first = count if batch is None else batch.first + batch.seen.get((kind, index), 0)
        finite = np.isfinite(rows)
        bad = np.zeros(0, dtype=int) if finite.all() else first + np.flatnonzero(~finite.all(0))
        if len(bad) and not (batch and batch.skip_invalid):
            others = f" and {len(bad) - 1} others of its batch" if len(bad) > 1 else ""
            raise CalibrationError(
                f"The network returned values that are not finite: at t = {self.times[index]:g}, for sample {bad[0]}"
                f"{others}. Try another dtype (float32 or bfloat16), fewer or simpler pipeline options, or leave such "
                "samples out with skip_invalid=True (--skip-invalid)."
            )
        if batch is None:
            self.reducers[kind].add_samples([index], rows[:, None])
            return
        batch.seen[kind, index] = first - batch.first + rows.shape[1]
        batch.rows.append((kind, index, first, rows))
        batch.invalid.update(bad.tolist())

    # ------------------------------------------------------------------------------------------------ as a state

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays by name."""
        tables = {f"{kind}.{name}": getattr(one, name).copy() for kind, one in self.reducers.items() for name in TABLES}
        facts = {"times": np.array(self.times, dtype=np.float64), "invalid": np.array(self.invalid, dtype=np.int64)}
        return tables | facts

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> Ledger:
        """The ledger that has these `tensors`.

        Raises:
            KeyError: One is missing.
            ValueError: One has another shape than the others ask for.
        """
        ledger = cls()
        ledger.begin(tuple(tensors["times"].tolist()))
        ledger.invalid = tensors["invalid"].tolist()
        counts = [name.removesuffix(".count") for name in sorted(tensors) if name.endswith(".count")]
        ledger.expect([kind.removeprefix(COST) for kind in counts if kind.startswith(COST)])
        for kind, one in ledger.reducers.items():
            for name in TABLES:
                table, empty = tensors[f"{kind}.{name}"], getattr(one, name)
                if table.shape != empty.shape or table.dtype != empty.dtype:
                    raise ValueError(f"{kind}.{name} is {table.dtype} {table.shape}, not {empty.dtype} {empty.shape}")
                setattr(one, name, table.copy())
        return ledger
