"""How much the predicted clean sample bends along a trajectory: what a solver of order two misses in a step.

The formula is in `statistics.cost`. No network call is made for it: the outputs of a recording are enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost

# How far the points of a difference are apart at least. Neighbours of a fine run differ by little more than rounding.
OF_TAU = 0.3  # as a share of tau, for near clean data all happens on this scale
IN_TAU = 0.04  # and no more than that: steps of twenty calls are as wide


class Bends:
    """d^2 x_0 / d tau^2 along one run, by differences over its outputs so far."""

    def __init__(self) -> None:
        """No outputs yet."""
        self._points: list[tuple[float, Tensor]] = []

    def square(self, tau: float, clean: Tensor) -> NDArray[np.float64] | None:
        """Mean square of the second derivative over the components; (B,). None while there are too few points.

        Args:
            tau: Progress of the level, falling from call to call.
            clean: The clean samples predicted there; (B, *event).
        """
        apart, here = min(IN_TAU, OF_TAU * tau), (tau, clean.detach().float())
        middle = self._before(tau, apart)
        first = None if middle is None else self._before(middle[0], apart)
        if not self._points or self._points[-1][0] - tau >= 0.5 * apart:
            # Three reaches back there is nothing that a later difference would want.
            self._points = [*(one for one in self._points if one[0] - tau <= 4.0 * IN_TAU), here]
        if middle is None or first is None:
            return None
        newer, older = ((b[1] - a[1]) / (b[0] - a[0]) for a, b in ((middle, here), (first, middle)))
        bend = (newer - older) * (2.0 / (tau - first[0]))
        return np.asarray(bend.flatten(1).double().square().mean(1).cpu())

    def _before(self, tau: float, apart: float) -> tuple[float, Tensor] | None:
        """The last point at least so far before."""
        return next((one for one in reversed(self._points) if one[0] - tau >= apart), None)


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
    # The first steps of a run have too few points behind them: theirs is the bend of the nearest that has enough.
    nearest = known[np.abs(np.arange(len(squares))[:, None] - known).argmin(axis=1)]
    survives = data_scale**2 / (data_scale**2 + levels[:-1] ** 2)
    weight = survives * (1.0 - levels[:-1] / levels[1:]) ** 2 * np.diff(progress) ** 4
    return LocalCost(weight * squares[nearest], weight * errors[nearest], COST_ORDERS["solver"], num_samples)
