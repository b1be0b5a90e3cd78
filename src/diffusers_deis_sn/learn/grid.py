"""The time grid of equal cost, as a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusers_deis_sn.core.coefficients import starts_from_noise
from diffusers_deis_sn.core.grids import Ends, check_steps
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.path import ENDS, SchedulePath
from diffusers_deis_sn.statistics.cost import preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

# sigma / alpha above which a run from noise alone spends no step: the noisiest level of EDM, arXiv 2206.00364, table 1
PATH_TOP = 80.0
SPREAD = 0.3  # of the solver's cost, where nobody says: chosen on the suite's choosing networks
EVEN = 2.0  # k of the times tau^(1/k) that this share is even in


@dataclass(frozen=True, eq=False)
class Learned:
    """Steps of equal length along a path; `Learned.of` makes it from statistics.

    In a run to clean data the last step goes on from the cleanest measured level, where the path ends. In a run from
    noise alone the first step enters the path, which is that below sigma / alpha = 80.

    Args:
        path: The path.
    """

    path: SchedulePath

    @classmethod
    def of(
        cls,
        statistics: ScoreStatistics,
        process: NoiseSchedule,
        cost: str | None = None,
        velocity: str = "sigma",
        spread: float | None = None,
    ) -> Learned:
        """The grid of a model.

        Args:
            statistics: With costs.
            process: Its noise schedule.
            cost: "solver", "corrector" or "predictor"; `preferred_cost` if None.
            velocity: v of the cost, a name of `learn.path.VELOCITIES`.
            spread: Share of the path that is spread evenly in tau^(1/2); `SPREAD` of the solver's cost if None, and
                nothing of the others.

        Raises:
            MissingCostError: The cost is not there.
            ScheduleError: Costs that are no path.
        """
        return cls(learned_path(statistics, process.progress(np.exp(statistics.log_rho)), cost, velocity, spread))

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `core.grids.Grid`. Raises ScheduleError for a start above the path."""
        last = ends.last(process)
        levels = self.path.run(check_steps(process, steps, last), self.start(process, ends), last)
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
        cost: See `Learned.of`, likewise the next two.
        velocity: v of the cost.
        spread: Share that is spread evenly.

    Raises:
        MissingCostError: The cost is not there.
        ScheduleError: Costs that are no path, or a share that is none.
    """
    cost = cost or preferred_cost(statistics.costs, velocity)
    if spread is None:
        spread = SPREAD if cost == "solver" else 0.0
    path = SchedulePath.of(statistics, cost, velocity)
    return path.spread(float(spread), np.asarray(tau, dtype=np.float64) ** (1.0 / EVEN))
