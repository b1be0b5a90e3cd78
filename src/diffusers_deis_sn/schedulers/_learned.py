"""The time grid of equal cost, learned from the model's statistics."""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.errors import ConfigurationError, DeisSnError, ScheduleError
from diffusers_deis_sn.maths.coefficients import starts_from_noise
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule, TableSchedule
from diffusers_deis_sn.maths.spacing import check_steps, end_level, whole_levels
from diffusers_deis_sn.optimise.path import ENDS, SchedulePath
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator
from diffusers_deis_sn.statistics.cost import preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

# sigma / alpha above which a run from noise alone spends no step: the noisiest level of EDM, arXiv 2206.00364, table 1
PATH_TOP = 80.0
SPREAD = 0.3  # of the solver's cost, where nobody says: chosen on the suite's choosing networks
EVEN = 2.0  # k of the times tau^(1/k) that this share is even in


class LearnedGrid(ExponentialIntegrator):
    """An exponential integrator that can take times of equal cost from its statistics."""

    def _path_of(self, statistics: ScoreStatistics) -> SchedulePath:
        config, noise = self.options, self.noise
        velocity = config.get("velocity", "sigma")
        cost = config.get("cost") or preferred_cost(statistics.costs, velocity)
        spread = config.get("spread") if self._recipe is None else self._recipe.spread
        if spread is None:
            spread = SPREAD if cost == "solver" else 0.0
        key = (statistics, cost, velocity, spread, type(noise), noise.top, noise.bottom)
        if getattr(self, "_path", (None, None))[0] != key:
            path = SchedulePath.of(statistics, cost, velocity)
            self._path = (key, path.spread(float(spread), noise.progress(path.levels) ** (1.0 / EVEN)))
        return self._path[1]

    @property
    def path(self) -> SchedulePath:
        """The path that runs are partitions of.

        Raises:
            ConfigurationError: There are no statistics.
        """
        if self.statistics is None:
            raise ConfigurationError(
                f"{type(self).__name__} learns its time grid from statistics with costs, and has none. Pass stats=, "
                "measured by `deis-sn calibrate MODEL --cost corrector -o FOLDER`; or give the pipeline `timesteps=` "
                "or `sigmas=`."
            )
        return self._path_of(self.statistics)

    def _check_path(self, statistics: ScoreStatistics) -> None:
        """Raise MissingCostError or ScheduleError where no grid can be learned from these statistics."""
        start, top = self._path_start(self.noise), float(self._path_of(statistics).levels[-1])
        if start > top * (1.0 + ENDS):
            raise ScheduleError(
                f"The costs are known up to the noise level {top:.6g}, tau = {self.noise.progress(top):.3g}, and runs "
                f"start at {start:.6g}. Measure them on full runs (text to image, or strength=1), or set start_time."
            )

    def _can_learn(self, statistics: ScoreStatistics) -> bool:
        """Whether they tell a grid for whole runs."""
        try:
            self._check_path(statistics)
        except DeisSnError:
            return False
        return True

    def _learned_levels(self, noise: NoiseSchedule, steps: int) -> Array:
        """Levels of a run of so many steps of equal cost; (steps + 1,)."""
        last, start = self._end(noise), self._start_level(noise, 1.0)
        levels = self.path.run(check_steps(noise, steps, last), self._path_start(noise), last)
        return self._legal(noise, np.append(start, levels[1:]))

    def _path_start(self, noise: NoiseSchedule) -> float:
        """Where the path of a run begins: below noise alone, which has no bound and costs no steps."""
        start = self._start_level(noise, 1.0)
        return min(start, PATH_TOP) if starts_from_noise(noise, np.array([start])) else start

    def _start_level(self, noise: NoiseSchedule, share: float) -> float:
        """The level at a share of the process, of which a run goes through the part below `start_time`."""
        tau = share * float(self.options["start_time"])
        return noise.top if tau == 1.0 else float(noise.level(tau))

    def _end(self, noise: NoiseSchedule) -> float:
        return end_level(noise, self.options["final_sigmas_type"], self.options["end_time"])

    def _legal(self, noise: NoiseSchedule, levels: Array) -> Array:
        """The levels as they are, or at distinct whole times."""
        if self.options.get("whole_timesteps") and isinstance(noise, TableSchedule):
            return whole_levels(noise, levels)
        return levels
