"""The path from noise to data, measured by what its steps cost, and cut into steps of equal length.

With L(t, t') ~ delta |t' - t|^p for small steps, the length element delta^(1/p) dt adds up to

    Lambda(t) = int_0^t delta(u)^(1/p) du,      and the best schedule of T steps is t_i = Lambda^{-1}(i Lambda(1) / T),

which goes through the path at constant speed, each step at the same cost (arXiv 2412.07877, theorem 3.1, for p = 2).
The length does not depend on how a fine schedule was laid; the energy T^(p-1) sum (Lambda(t_i) - Lambda(t_{i+1}))^p of
any schedule is at least Lambda(1)^p, and equal to it for the best one. All of this is about small steps: measure costs
on a fine schedule, and take the partition of its path. What one long step costs is another number, and may be a small
one: a leap from far above the scale of the data to far below it hardly changes the score that L_c compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import checked, is_whole, shown
from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.part import MOST
from diffusers_deis_sn.statistics.cost import MOST_ORDER
from diffusers_deis_sn.statistics.record import ScoreStatistics

ENDS = 2e-3  # relative: levels this close beyond the path are its ends; betas rounded on their way move them
LAST_DIGITS = 1e-14  # of log sigma
FLOOR = (
    1e-6  # least density of length in log sigma, relative to the mean: a stretch that costs nothing is crossed at once
)

VELOCITIES: dict[str, Callable[[Array], Array]] = {
    "sigma": lambda sigma: sigma,
    "vp_sigma": lambda sigma: sigma / np.sqrt(1.0 + sigma**2),
    "unit": np.ones_like,
}
"""v(sigma) by name: the paper's v = sigma of the variance-exploding coordinate, the noise scale of the
variance-preserving one, and one."""


@checked(ScheduleError)
@dataclass(frozen=True, eq=False)
class SchedulePath:
    """Cumulative length over noise levels (arXiv 2412.07877, theorem 3.1); `from_costs` and `of` make one.

    Args:
        levels: sigma (sigma / alpha of the process), positive and rising, cleanest first; (K,), K >= 2.
        lengths: Length L^(1/p) of the step that enters level k from level k + 1, not negative; (K - 1,).
        order: Local order p of the cost.

    Raises:
        ScheduleError: A value that breaks a rule above, or no length at all.

    Examples:
        >>> path = SchedulePath.from_costs([0.1, 1.0, 10.0], [4.0, 1.0])  # lengths 2 and 1
        >>> path.path_length
        3.0
        >>> path.partition(3).round(2).tolist()  # three steps of length 1
        [10.0, 1.0, 0.23, 0.1]
    """

    levels: Array
    lengths: Array
    order: int = 2

    def __post_init__(self) -> None:
        levels, lengths = (np.array(row, dtype=np.float64) for row in (self.levels, self.lengths))
        if levels.ndim != 1 or len(levels) < 2:
            raise ScheduleError(f"A path needs at least two noise levels in one row, got shape {levels.shape}.")
        if not np.all(np.isfinite(levels)) or levels[0] <= 0.0 or np.any(np.diff(levels) <= 0.0):
            raise ScheduleError(f"The levels of a path must be positive and rise, got {levels.tolist()}.")
        if lengths.shape != (len(levels) - 1,):
            raise ScheduleError(f"A path of {len(levels)} levels has {len(levels) - 1} steps, got {lengths.shape}.")
        sound = np.isfinite(lengths) & (lengths >= 0.0)
        if not np.all(sound):
            raise ScheduleError(
                f"Costs must be finite and not negative, and the step to the level {levels[np.argmin(sound)]:.6g} has "
                f"the length {lengths[np.argmin(sound)]}. Measure again with `deis-sn calibrate --cost ...`."
            )
        if not np.any(lengths > 0.0):
            raise ScheduleError("All costs are zero, so no schedule is better than another. Use a named spacing.")
        check_order(self.order)
        for name, row in (("levels", levels), ("lengths", lengths)):
            row.flags.writeable = False
            object.__setattr__(self, name, row)

    @classmethod
    @checked(ScheduleError)
    def from_costs(cls, levels: ArrayLike, costs: ArrayLike, order: int = 2, velocity: str = "sigma") -> SchedulePath:
        """The path of measured costs.

        Args:
            levels: Noise levels, rising or falling; (K,).
            costs: L of each step between neighbours, in the order of `levels`, with v = sigma; (K - 1,).
            order: Local order p.
            velocity: Another v, a name of `VELOCITIES`: costs are multiplied by (v / sigma)^2 at the level entered.

        Returns:
            The path with lengths L^(1/p).

        Raises:
            ScheduleError: See the class; or a negative cost, or an unknown velocity.
        """
        check_velocity(velocity)
        check_order(order)
        sigma, cost = (np.atleast_1d(np.asarray(row, dtype=np.float64)) for row in (levels, costs))
        if sigma.size and sigma.flat[0] > sigma.flat[-1]:
            sigma, cost = sigma[::-1], cost[::-1]
        if velocity != "sigma" and cost.shape == sigma[:-1].shape:
            cost = cost * velocity_factor(sigma[:-1], velocity)
        if np.any(cost < 0.0):
            raise ScheduleError(
                f"Costs must not be negative, got {np.min(cost):.6g}. Measure again with more samples "
                "(`deis-sn calibrate --cost ... --tolerance ...`)."
            )
        return cls(sigma, cost ** (1.0 / order), order)

    @classmethod
    @checked(ScheduleError)
    def of(cls, statistics: ScoreStatistics, cost: str = "corrector", velocity: str = "sigma") -> SchedulePath:
        """The path of a model, from a cost in its statistics.

        Args:
            statistics: With this cost.
            cost: "solver", "corrector" or "predictor".
            velocity: v, a name of `VELOCITIES`; the solver's cost has none and ignores it.

        Returns:
            The path over the measured levels.

        Raises:
            MissingCostError: The cost is not in the statistics.
            ScheduleError: See the class; or an unknown velocity.
        """
        local = statistics.cost(cost)
        check_velocity(velocity)
        if cost == "solver":  # the velocity is that of a Langevin corrector
            velocity = "sigma"
        return cls.from_costs(np.exp(statistics.log_rho), local.values, local.order, velocity)

    @checked(ScheduleError)
    def spread(self, share: float, position: ArrayLike) -> SchedulePath:
        """The same levels, with a share of the length spread evenly over another measure of position (this package's).

            Lambda' = (1 - share) Lambda / Lambda(1) + share (position - position_0) / (position_K - position_0)

        Costs are those of small steps: where they are next to nothing, equal cost leaps, and a leap costs more than its
        small steps did. With a share spread evenly no step is longer than 1 / share of an even one.

        Args:
            share: 0, the path itself, to 1, the even one.
            position: Rising with `levels`; (K,).

        Returns:
            A path of length 1; this one where the share is 0.

        Raises:
            ScheduleError: A share outside 0 to 1, or a position that does not rise.
        """
        if not 0.0 <= share <= 1.0:
            raise ScheduleError(f"The share of a path that is spread evenly is 0 to 1, got {share!r}.")
        if share == 0.0:
            return self
        even = np.diff(np.atleast_1d(np.asarray(position, dtype=np.float64)))
        if even.shape != self.lengths.shape or not np.all(even > 0.0):
            raise ScheduleError("The position that a path is spread over must rise with its levels.")
        own = np.diff(self.cumulative)
        return SchedulePath(self.levels, (1.0 - share) * own / np.sum(own) + share * even / np.sum(even), self.order)

    # ------------------------------------------------------------------------------------------------- measures

    @property
    def path_length(self) -> float:
        """Lambda(1), the length of the whole path."""
        return float(self.cumulative[-1])

    @cached_property
    def cumulative(self) -> Array:
        """Lambda at `levels`, zero at the cleanest; strictly rising, for no stretch is quite free; (K,)."""
        widths = np.diff(np.log(self.levels))
        floor = FLOOR * np.sum(self.lengths) * widths / np.sum(widths)
        return np.append(0.0, np.cumsum(np.maximum(self.lengths, floor)))

    @checked(ScheduleError)
    def energy(self, levels: ArrayLike) -> float:
        """T^(p-1) sum_i (Lambda(t_i) - Lambda(t_{i+1}))^p of a schedule.

        Args:
            levels: sigma_0, ..., sigma_T; (T + 1,).

        Returns:
            At least (Lambda(t_0) - Lambda(t_T))^p, as equal steps have it: `path_length`^p over the whole path.

        Raises:
            ScheduleError: Levels beyond the path, or fewer than two.
        """
        steps = np.abs(np.diff(np.atleast_1d(self.position(levels))))
        if steps.ndim > 1 or len(steps) == 0:
            raise ScheduleError(f"The energy of a schedule needs at least two levels in one row, got {levels!r}.")
        return float(len(steps) ** (self.order - 1) * np.sum(steps**self.order))

    # ----------------------------------------------------------------------------------------------------- maps

    @cached_property
    def _inverse(self) -> Any:
        """log sigma as a monotone cubic of Lambda (Fritsch and Carlson), through all measured levels."""
        from scipy.interpolate import PchipInterpolator  # a second to import

        return PchipInterpolator(self.cumulative, np.log(self.levels))

    @checked(ScheduleError)
    def level(self, position: ArrayLike) -> Array:
        """sigma = Lambda^{-1}(position), by a monotone cubic in log sigma (arXiv 2412.07877, Algorithm 1).

        Args:
            position: Lambda, from 0 (cleanest) to `path_length`; of any shape. What lies beyond is held at the ends.

        Returns:
            Noise levels; the same shape.

        Raises:
            ScheduleError: NaN.
        """
        inside = np.clip(np.asarray(position, dtype=np.float64), 0.0, self.path_length)
        if np.any(np.isnan(inside)):
            raise ScheduleError(f"`position` must be numbers, got {position!r}.")
        return np.exp(self._inverse(inside))

    @checked(ScheduleError)
    def position(self, level: ArrayLike) -> Array:
        """Lambda(sigma), the inverse of `level`.

        Args:
            level: sigma; of any shape.

        Returns:
            Lengths from the cleanest level; the same shape.

        Raises:
            ScheduleError: A level beyond the path.
        """
        sigma = np.asarray(level, dtype=np.float64)
        low, high = self.levels[[0, -1]]
        if sigma.size and not (low * (1.0 - ENDS) <= np.min(sigma) and np.max(sigma) <= high * (1.0 + ENDS)):
            raise ScheduleError(
                f"Costs are known between the noise levels {low:.6g} and {high:.6g}, got {np.min(sigma):.6g} to "
                f"{np.max(sigma):.6g}."
            )
        u = np.log(np.clip(sigma, low, high))
        return np.vectorize(self._locate, otypes=[np.float64])(u) if sigma.size else sigma

    def _locate(self, u: float) -> float:
        """The position at which log sigma is `u`."""
        from scipy.optimize import brentq

        k = int(np.clip(np.searchsorted(np.log(self.levels), u) - 1, 0, len(self.levels) - 2))
        a, b = self.cumulative[k], self.cumulative[k + 1]
        below, above = self._inverse(a) - u, self._inverse(b) - u
        # At a measured level exactly: where the cubic is flat there, its rounding is as much as 1e-8 of a position.
        if below >= -LAST_DIGITS or above <= LAST_DIGITS:
            return float(a if below >= -LAST_DIGITS else b)
        return float(brentq(lambda position: self._inverse(position) - u, a, b, xtol=1e-14 * self.path_length))

    @checked(ScheduleError)
    def partition(self, steps: int, start: float | None = None, end: float | None = None) -> Array:
        """Levels of steps of equal length, t_i = Lambda^{-1}(i Lambda(1) / T) (arXiv 2412.07877, theorem 3.1).

        Args:
            steps: Number of steps T, at least 1.
            start: Noisiest level; that of the path if None.
            end: Cleanest level; that of the path if None.

        Returns:
            sigma, strictly falling; (T + 1,).

        Raises:
            ScheduleError: `start` or `end` beyond the path, or not in this order; or no step.
        """
        first, last = (float(self.levels[k] if level is None else level) for k, level in ((-1, start), (0, end)))
        if not (1 <= steps <= MOST and first > last):
            raise ScheduleError(
                f"A schedule falls in at least one step, {MOST} at most, got {steps!r} steps from the level {first:.6g}"
                f" to {last:.6g}."
            )
        ends = self.position([first, last])
        levels = self.level(np.linspace(ends[0], ends[1], steps + 1))
        levels[0], levels[-1] = first, last
        if np.any(np.diff(levels) >= 0.0):
            raise ScheduleError(f"From {first:.6g} to {last:.6g} there are no {steps} steps along this path.")
        return levels

    @checked(ScheduleError)
    def run(self, steps: int, start: float | None = None, end: float = 0.0) -> Array:
        """Levels of a sampling run of steps of equal length.

        A run that ends below the path, such as at clean data, has its last step go on from the end of the path: no
        score is known there. A call at the cleanest level, as named grids of sigmas have it, measured worse: it is one
        of a few for a stretch that hardly changes a sample.

        Args:
            steps: Number of steps T, at least 1.
            start: Level of the first call; the noisiest of the path if None.
            end: Where the run ends, zero or more.

        Returns:
            sigma, strictly falling; (T + 1,).

        Raises:
            ScheduleError: As `partition`; or a negative end.
        """
        if not end >= 0.0:
            raise ScheduleError(f"A run ends at a noise level of zero or more, got {end!r}.")
        levels = self.partition(steps, start, max(end, float(self.levels[0])))
        levels[-1] = end
        return levels


def check_order(order: int) -> None:
    """Raise ScheduleError for what is no local order of a cost."""
    if not is_whole(order, 1, MOST_ORDER):
        raise ScheduleError(f"`order` of a cost must be a whole number from 1 to {MOST_ORDER}, got {shown(order)}.")


def velocity_factor(entered: Array, velocity: str) -> Array:
    """(v / sigma)^2, by which costs of v = sigma become those of another velocity (arXiv 2412.07877, eq. 13, 14).

    Args:
        entered: sigma of the levels entered, positive; of any shape.
        velocity: A name of `VELOCITIES`.

    Returns:
        The factor; the same shape.

    Raises:
        ScheduleError: An unknown velocity.
    """
    check_velocity(velocity)
    return (VELOCITIES[velocity](entered) / entered) ** 2


def check_velocity(velocity: str) -> None:
    """Raise ScheduleError for an unknown velocity."""
    if velocity not in VELOCITIES:
        raise ScheduleError(f"`velocity` must be one of {', '.join(VELOCITIES)}, got {velocity!r}.")
