"""The time grid of equal cost, as values: `EqualCost` asks for it, `Learned` is that of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusers_deis_sn.core.codec import register
from diffusers_deis_sn.core.coefficients import starts_from_noise
from diffusers_deis_sn.core.grids import Ends, check_steps
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.value_types import checked, is_number
from diffusers_deis_sn.errors import ConfigurationError, ScheduleError, StatisticsError
from diffusers_deis_sn.learn.path import ENDS, SchedulePath, check_velocity
from diffusers_deis_sn.statistics.cost import COST_ORDERS, preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

# sigma / alpha above which a run from noise alone spends no step: the noisiest level of EDM, arXiv 2206.00364, table 1
PATH_TOP = 80.0
SPREAD = 0.3  # of the solver's cost, where nobody says: chosen on the suite's choosing networks
EVEN = 2.0  # k of the times tau^(1/k) that this share is even in


@checked(ConfigurationError, velocity=ScheduleError)
@register("equal_cost")
@dataclass(frozen=True)
class EqualCost:
    """Times of equal cost, learned from the statistics that a scheduler has (docs/explanation/score-optimal.md).

        t_i = Lambda^{-1}(i / N Lambda(1)),    Lambda(t) = int_0^t delta(u)^(1/p) du

    where a small step from t costs delta(t) dt^p.

    Args:
        cost: "solver", "corrector" or "predictor". If None, the first of these that the statistics have (with another
            velocity than "sigma", the first of the last two).
        velocity: v in the factor v^2 of the paper's costs: "sigma" (sigma / alpha, the paper's), "vp_sigma" (the noise
            scale of x_t) or "unit".
        spread: Share of the path's length, 0 to 1, that is spread evenly in tau^(1/2), so that no single step crosses
            a long stretch of low cost. If None, 0.3 for the solver's cost and 0 for the others.

    Raises:
        ConfigurationError: An unknown cost, or no share.
        ScheduleError: An unknown velocity.

    Examples:
        >>> EqualCost(cost="solver")
        EqualCost(cost='solver', velocity='sigma', spread=None)

    References:
        Williams et al., Score-Optimal Diffusion Schedules, https://arxiv.org/abs/2412.07877: theorem 3.1, with the
        costs of eq. 13 (corrector) and 14 (predictor), and v = sigma as in section 3.3. The solver's cost and the
        spread are this package's.
    """

    cost: str | None = None
    velocity: str = "sigma"
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.cost not in (None, *COST_ORDERS):
            raise ConfigurationError(f"`cost` must be one of {', '.join(COST_ORDERS)} or None, got {self.cost!r}.")
        check_velocity(self.velocity)
        if self.spread is not None and not (is_number(self.spread) and 0.0 <= self.spread <= 1.0):
            raise ConfigurationError(f"`spread` is a share of the path, 0 to 1, or None, got {self.spread!r}.")

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`; but without a model there are no levels: raises ConfigurationError. `of` has them."""
        raise ConfigurationError("EqualCost is learned from statistics with costs, and there are none here.")

    @checked(StatisticsError)
    def of(self, statistics: ScoreStatistics, process: NoiseSchedule) -> Learned:
        """The grid of a model.

        Args:
            statistics: With costs.
            process: Its noise schedule.

        Returns:
            The same for this model: a grid that has levels.

        Raises:
            MissingCostError: The cost is not there.
            ScheduleError: Costs that are no path.
        """
        tau = process.progress(np.exp(statistics.log_rho))
        return Learned(learned_path(statistics, tau, self.cost, self.velocity, self.spread))


@dataclass(frozen=True, eq=False)
class Learned:
    """Steps of equal length along a path; `EqualCost.of` makes it from statistics.

    In a run to clean data the last step goes on from the cleanest measured level, where the path ends. In a run from
    noise alone the first step enters the path, which is that below sigma / alpha = 80.

    Args:
        path: The path.
    """

    path: SchedulePath

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `core.grids.Grid`. Raises ScheduleError for a start above the path."""
        last = ends.last(process)
        levels = self.path.run(check_steps(process, steps), self.start(process, ends), last)
        return np.append(ends.first(process), levels[1:])

    def later(self, process: NoiseSchedule, steps: int, ends: Ends, before: int, whole: bool = False) -> Array | None:
        """The run of image-to-image pipelines, which begins after some steps at the share of the process that is left.

        Args:
            process: The process.
            steps: Number of steps N of the whole run.
            ends: Of the whole run.
            before: How many of them are not gone.
            whole: Whether to round to distinct whole training times.

        Returns:
            Levels of as many steps, of equal length from there on; None where nothing lies below. (N + 1,)
        """
        last, start = ends.last(process), ends.first(process, 1.0 - before / steps)
        if start <= max(self.path.levels[0], last):
            return None
        tail = self.path.run(steps - before, start, last)
        tail = process.whole(tail) if whole else tail
        head = self.path.partition(before, self.start(process, ends), float(tail[0]))
        return np.append((process.whole(head) if whole else head)[:-1], tail)

    def start(self, process: NoiseSchedule, ends: Ends) -> float:
        """Where the path of a run begins: below noise alone, which has no bound and costs no steps."""
        start = ends.first(process)
        return min(start, PATH_TOP) if starts_from_noise(process, np.array([start])) else start

    def check(self, process: NoiseSchedule, ends: Ends) -> None:
        """Raise ScheduleError unless the costs are known up to where runs start."""
        start, top = self.start(process, ends), float(self.path.levels[-1])
        if start > top * (1.0 + ENDS):
            raise ScheduleError(
                f"The costs are known up to the noise level {top:.6g}, tau = {process.progress(top):.3g}, and runs "
                f"start at {start:.6g}. Measure them on full runs (text to image, or strength=1), or set start_time."
            )


def learned_path(
    statistics: ScoreStatistics,
    tau: Array,
    cost: str | None = None,
    velocity: str = "sigma",
    spread: float | None = None,
) -> SchedulePath:
    """The path that steps share equally: of a cost, a part of it spread evenly in tau^(1/2).

    Args:
        statistics: With costs.
        tau: `progress` of the measured levels, up to a constant factor; (K,).
        cost: See `EqualCost`, likewise the next two.
        velocity: v of the cost.
        spread: Share that is spread evenly.

    Raises:
        MissingCostError: The cost is not there.
        ScheduleError: Costs that are no path, or a share that is none.
    """
    cost = preferred_cost(statistics.costs, velocity) if cost is None else cost
    spread = default_spread(cost) if spread is None else spread
    path = SchedulePath.of(statistics, cost, velocity)
    return path.spread(float(spread), np.asarray(tau, dtype=np.float64) ** (1.0 / EVEN))


def default_spread(cost: str) -> float:
    """The share of a cost's path that is spread evenly where nobody says."""
    return SPREAD if cost == "solver" else 0.0
