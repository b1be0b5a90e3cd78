"""Distances of pictures to the converged ones, and how surely one scheduler's are smaller than another's.

Prompt i has distances d_i by one scheduler and e_i by another, from the same noise. With P prompts,

    geometric mean = exp(mean_i log d_i)
    ratio          = exp(m),  m = mean_i log(d_i / e_i),  standard error s = std_i log(d_i / e_i) / P^(1/2)

Pairing takes out what makes a prompt hard for both. The interval of a ratio is exp(m - t s) to exp(m + t s), t being
the quantile of Student's distribution of P - 1 degrees of freedom that leaves out `LEFT_OUT` on both sides together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, log

import numpy as np
from numpy.typing import NDArray

TINIEST = 1e-12  # a distance of zero, where a run is the converged one, has no logarithm
LEFT_OUT = 0.05
WORST = 0.1  # share of the prompts


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of one scheduler's distances over another's, paired.

    Args:
        value: Below one where the first is nearer.
        low: End of the interval; None, as the two below, of a single prompt.
        high: The other end.
        error: Standard error of the logarithm.
    """

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None

    @classmethod
    def of(cls, ones: NDArray[np.float64], others: NDArray[np.float64]) -> Ratio:
        """Of distances (P,) of the same prompts."""
        logs = np.log(np.maximum(ones, TINIEST)) - np.log(np.maximum(others, TINIEST))
        mean = float(logs.mean())
        if len(logs) < 2:
            return cls(exp(mean))
        from scipy.stats import t

        error = float(logs.std(ddof=1) / np.sqrt(len(logs)))
        half = error * float(t.ppf(1.0 - LEFT_OUT / 2.0, len(logs) - 1))
        return cls(exp(mean), exp(mean - half), exp(mean + half), error)

    @property
    def surely_less(self) -> bool:
        """Whether the whole interval is below one."""
        return self.high is not None and self.high < 1.0

    @property
    def surely_more(self) -> bool:
        """Whether the whole interval is above one."""
        return self.low is not None and self.low > 1.0


@dataclass(frozen=True, eq=False)
class Row:
    """What one scheduler achieves in so many network calls.

    Args:
        scheduler: Its name.
        calls: Network calls of each picture; the column.
        distances: RMS distance of each prompt's final sample to the converged one, over the components; (P,).
        seconds: Of each picture, in a batch.
        steps: `num_inference_steps` for it; the calls, but of schedulers that make others.
        made: Network calls that were made; fewer from an image, alike for all.
        ours: Whether the scheduler is of this package.
        further: Whether it was run to see how many calls a rival needs, and is in no column.
        timesteps: Times of the calls.
        sigmas: Noise levels of the calls and the end; empty where they are not known.
    """

    scheduler: str
    calls: int
    distances: NDArray[np.float64]
    seconds: float = 0.0
    steps: int = 0
    made: int = 0
    ours: bool = False
    further: bool = False
    timesteps: tuple[float, ...] = field(default=(), repr=False)
    sigmas: tuple[float, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        distances = np.array(self.distances, dtype=np.float64)
        distances.flags.writeable = False
        object.__setattr__(self, "distances", distances)
        object.__setattr__(self, "steps", self.steps or self.calls)
        object.__setattr__(self, "made", self.made or self.calls)

    @property
    def geometric_mean(self) -> float:
        """Of the distances, which a few prompts that end elsewhere do not decide."""
        return exp(float(np.log(np.maximum(self.distances, TINIEST)).mean()))

    @property
    def rms(self) -> float:
        """Root of their mean square, which those few decide."""
        return float(np.sqrt(np.square(self.distances).mean()))

    @property
    def worst_tenth(self) -> float:
        """RMS of the worst tenth of the prompts, at least one."""
        return float(np.sqrt(np.square(np.sort(self.distances)[-ceil(WORST * len(self.distances)) :]).mean()))


def nearest(rows: Iterable[Row], ours: bool | None = None) -> Row | None:
    """The row of least geometric mean, of ours or of rivals; None of none."""
    chosen = [row for row in rows if ours in (None, row.ours)]
    return min(chosen, key=lambda row: row.geometric_mean) if chosen else None


def at(rows: Iterable[Row], calls: int) -> list[Row]:
    """The rows of a column."""
    return [row for row in rows if row.calls == calls and not row.further]


def columns(rows: Iterable[Row]) -> tuple[int, ...]:
    """The numbers of calls that all were compared in."""
    return tuple(sorted({row.calls for row in rows if not row.further}))


def guess(known: Sequence[tuple[int, float]], target: float) -> float:
    """Number of calls in which an error would be `target`, as a power law through the last two that are known."""
    (n, a), (m, b) = known[-2:]
    if not (n < m and b < a and target > 0.0):
        return 2.0 * m
    slope = log(a / b) / log(m / n)
    return float(m * exp(min(log(b / target) / slope, 3.0)))
