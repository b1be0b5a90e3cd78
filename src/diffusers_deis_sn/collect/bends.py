"""How much the predicted clean sample bends along a trajectory: what a solver of order two misses in a step.

The formula is ours, see `statistics.cost` and docs/explanation/score-optimal.md. No network call is made for it: the
outputs of a recording are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost

# How far the points of a difference are apart at least. Neighbours of a fine run differ by little more than rounding.
OF_TAU = 0.3  # as a share of tau, for near clean data all happens on this scale
IN_TAU = 0.04  # and no more than that: steps of twenty calls are as wide


@dataclass(frozen=True)
class Point:
    """An output of a run: number of its step, tau, and the clean samples predicted there, (B, *event)."""

    step: int
    tau: float
    clean: Tensor


class Bends:
    """d^2 x_0 / d tau^2 along one run, by differences over its outputs so far."""

    def __init__(self) -> None:
        """No outputs yet."""
        self._points: list[Point] = []
        self._told = -1

    def square(self, step: int, tau: float, clean: Tensor) -> tuple[int, NDArray[np.float64]] | None:
        """Mean square of the second derivative over the components, at the middle one of three points of the run.

        Args:
            step: Number of the step, rising.
            tau: Progress of the level, falling.
            clean: The clean samples predicted there; (B, *event).

        Returns:
            Number of the middle point's step, and (B,). None while there are too few points, or if it was told before.
        """
        apart, here = min(IN_TAU, OF_TAU * tau), Point(step, tau, clean.detach().float())
        middle = self._before(tau, apart)
        first = None if middle is None else self._before(middle.tau, min(IN_TAU, OF_TAU * middle.tau))
        self._keep(here, first, apart)
        if middle is None or first is None or middle.step <= self._told:
            return None
        self._told = middle.step
        newer, older = ((b.clean - a.clean) / (b.tau - a.tau) for a, b in ((middle, here), (first, middle)))
        bend = (newer - older) * (2.0 / (tau - first.tau))
        return middle.step, np.asarray(bend.flatten(1).double().square().mean(1).cpu())

    def _before(self, tau: float, apart: float) -> Point | None:
        """The last point at least so far before."""
        return next((one for one in reversed(self._points) if one.tau - tau >= apart), None)

    def _keep(self, here: Point, first: Point | None, apart: float) -> None:
        """Take in a point, a few for each difference, and let go of those that no later one can want."""
        if first is not None:
            self._points = [one for one in self._points if one.step >= first.step]
        if not self._points or self._points[-1].tau - here.tau >= 0.25 * apart:
            self._points.append(here)


def solver_cost(
    squares: NDArray[np.float64],
    errors: NDArray[np.float64],
    levels: NDArray[np.float64],
    progress: NDArray[np.float64],
    data_scale: float,
    num_samples: int,
) -> LocalCost | None:
    """The solver's cost of every interval, see `statistics.cost`; None if no bend is known.

    Args:
        squares: Mean square bend at the entered end of each interval, cleanest first, NaN where unknown; (K - 1,).
        errors: Their standard errors.
        levels: rho of the times, rising; (K,).
        progress: tau of the times; (K,).
        data_scale: Standard deviation c of the data.
        num_samples: Number of samples behind the bends.
    """
    known = np.flatnonzero(np.isfinite(squares) & np.isfinite(errors))
    if not len(known):
        return None
    # The ends of a run have too few points on one side: theirs is the bend of the nearest that has enough.
    nearest = known[np.abs(np.arange(len(squares))[:, None] - known).argmin(axis=1)]
    survives = data_scale**2 / (data_scale**2 + levels[:-1] ** 2)
    weight = survives * (1.0 - levels[:-1] / levels[1:]) ** 2 * np.diff(progress) ** 4
    return LocalCost(weight * squares[nearest], weight * errors[nearest], COST_ORDERS["solver"], num_samples)
