"""The exponential integrator as a scheduler: config in, a `Recipe` and its `Plan` once a run, Diffusers' names out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusers_deis_sn.core.flow import equal_sigmas, shift_factor
from diffusers_deis_sn.core.noise import Array, NoiseSchedule
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.spacing import levels_from_sigmas, levels_from_times
from diffusers_deis_sn.errors import ConfigurationError, DeisSnError, StepError, TimestepsError
from diffusers_deis_sn.learn.grid import Learned
from diffusers_deis_sn.learn.path import SchedulePath
from diffusers_deis_sn.schedulers._contract import logger, only_time
from diffusers_deis_sn.schedulers._options import Options, recipe_of, scale_of, tried_method
from diffusers_deis_sn.schedulers._own_config import RECIPE_OPTIONS, configured, default_options
from diffusers_deis_sn.schedulers._statistics import StatisticsScheduler
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import LEARNED, Method

Times = Sequence[float] | Array | None


@dataclass(frozen=True, eq=False)
class Run:
    """What a run was planned from.

    Args:
        options: Those in use.
        recipe: Made of them.
        plan: The run.
        method: The tried method that it follows, or None.
        shift: Of its grid.
        begin: The call that it was planned anew from, or None.
        begun_at: The time of that call before.
        own_grid: Whether its times are not spaced like shares of the process, and nobody gave them by hand.
    """

    options: Options
    recipe: Recipe
    plan: Plan
    method: Method | None = None
    shift: float = 1.0
    begin: int | None = None
    begun_at: float | None = None
    own_grid: bool = False


class ExponentialIntegrator(StatisticsScheduler):
    """A scheduler with every solver of the DEIS family; subclasses say which grid is theirs by default."""

    _learns_grid: ClassVar[bool] = False
    _silent: ClassVar[bool] = False  # a recorder is plain DEIS by intent
    _run: Run | None = None
    _read: tuple[Any, Options] | None = None  # of which config
    _made: tuple[Options, tuple[object, ...], NoiseSchedule] | None = None  # of which options, and which process
    _grids: dict[tuple[str | None, str, float | None], Learned]

    def _set_up(self, stats: ScoreStatistics | str | PathLike[str] | bool | None) -> None:
        """What is left of `__init__` once the config is registered.

        Raises:
            ConfigurationError: An option is unknown, out of range or at odds with another.
            StatisticsError: See `set_stats`.
        """
        self.statistics: ScoreStatistics | None = None
        options = self._configured
        options.check()
        self._start(self.noise)
        self._scale_start(self.noise.top)
        self.order = recipe_of(options, self.noise, None, None).solver.calls_per_step
        self.model_outputs = [None] * options.solver_order
        remembered = self._private.get("stats")  # of a whole config, Scheduler(**config)
        if stats is not None or remembered is not None:
            self.set_stats(remembered if stats is None else None if isinstance(stats, bool) else stats)

    # -------------------------------------------------------------------------------------------------- options

    @property
    def _configured(self) -> Options:
        """The options of the config, as pipelines and users may have edited it."""
        if self._read is None or self._read[0] is not self.config:  # a config that was edited is another object
            self._read = (self.config, Options.of(configured(self.config, type(self))))
        return self._read[1]

    @property
    def noise(self) -> NoiseSchedule:
        """The noise schedule of the current config."""
        options = self._configured
        if self._made is None or self._made[0] is not options:
            key = options.process_key()
            known = self._made is not None and self._made[1] == key
            self._made = (options, key, self._made[2] if known else options.noise())  # type: ignore[index]
        return self._made[2]

    @property
    def options(self) -> dict[str, Any]:
        """All options in use by name; those of the method in the place of the config's where one is followed."""
        chosen, used = configured(self.config, type(self)), self._in_use
        return chosen | {one.name: getattr(used, one.name) for one in fields(used) if one.name in chosen}

    @property
    def method(self) -> Method | None:
        """The tried method that the current run follows, None where it follows the options."""
        return None if self._run is None else self._run.method

    @property
    def recipe(self) -> Recipe:
        """What the current run really uses: process, grid, solver, scale; before a run, what the options say."""
        if self._run is not None:
            return self._run.recipe
        return self._recipe(self._configured)

    @property
    def spacing(self) -> str:
        """Name of the grid that is used: one of the flags, or this scheduler's own `timestep_spacing`."""
        return self._configured.spacing if self.method is None else self.method.timestep_spacing

    @property
    def normalised(self) -> bool:
        """Whether outputs are divided by r(t)."""
        return self.statistics is not None and self._configured.normalise

    @property
    def normaliser(self) -> Normaliser:
        """r(t) of the statistics, or nu(t) for the data form; flat without."""
        return scale_of(self._in_use, self.statistics)

    @property
    def path(self) -> SchedulePath:
        """The path that learned grids are partitions of.

        Raises:
            ConfigurationError: There are no statistics.
        """
        if self.statistics is None:
            raise ConfigurationError(
                f"{type(self).__name__} learns its time grid from statistics with costs, and has none. Pass stats=, "
                "measured by `deis-sn calibrate MODEL --cost corrector -o FOLDER`; or give the pipeline `timesteps=` "
                "or `sigmas=`."
            )
        return self._learned_of(self.statistics, self._in_use).path

    @property
    def _in_use(self) -> Options:
        """The options in use."""
        return _followed(self._configured, self.method)

    def _forget_method(self) -> None:
        if self._run is not None and self._run.method is not None:
            self._run = replace(self._run, method=None, own_grid=False)

    @property
    def _follows(self) -> bool:
        """Whether tried methods are followed: as the option says; by default where no option they decide was chosen."""
        chosen, defaults = configured(self.config, type(self)), default_options(type(self))
        if chosen["recipe"] is not None:
            return bool(chosen["recipe"] == "measured")
        return all(chosen[name] == defaults[name] for name in RECIPE_OPTIONS if name in defaults)

    # ----------------------------------------------------------------------------------------------- statistics

    def _check_statistics(self, statistics: ScoreStatistics) -> None:
        """Raise StatisticsError for statistics of another process, or that lack what the options ask for."""
        options = self._configured
        statistics.check(self.noise, options.prediction_type)
        scale_of(options, statistics)
        if options.spacing == LEARNED and options.grid is None:
            self._learned_of(statistics, options).check(self.noise, options.ends)

    def _learned_of(self, statistics: ScoreStatistics, options: Options) -> Learned:
        """The learned grid of statistics; raises MissingCostError or ScheduleError where they tell none."""
        of, noise = getattr(self, "_grids_of", (None, None)), self.noise
        if of[0] is not statistics or of[1] is not noise:
            self._grids_of, self._grids = (statistics, noise), {}
        key = (options.cost, options.velocity, options.spread)
        if key not in self._grids:
            self._grids[key] = Learned.of(statistics, noise, *key)
        return self._grids[key]

    def _can_learn(self, options: Options) -> bool:
        """Whether the statistics tell a grid for whole runs."""
        if self.statistics is None:
            return False
        try:
            self._learned_of(self.statistics, options).check(self.noise, options.ends)
        except DeisSnError:
            return False
        return True

    # ----------------------------------------------------------------------------------------------------- plan

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Times = None,
        timesteps: Times = None,
    ) -> None:
        """Plan a run: choose the times and compute all coefficients, in float64 on the host.

        Args:
            num_inference_steps: Number of steps N; of network calls too, unless the solver takes several a step.
            device: Where `timesteps` are to lie.
            mu: Shift of flow-matching schedules by resolution, where the config says `use_dynamic_shifting`.
            sigmas: Noise levels sigma / alpha of the calls, falling, used exactly as given; a final zero may be there
                or not and is no call. Of flow-matching models sigma itself, which is then shifted, as in Diffusers;
                1, ..., 1 / N in equal steps, which many of their pipelines always pass, chooses nothing but N.
            timesteps: Training times of the calls, falling, used exactly as given. Of flow-matching models together
                with `sigmas` they are what the network is called with (CogView4).

        Raises:
            TimestepsError: None or several of the three ways to choose times, or times that cannot be walked.
            ConfigurationError: `mu` given to a model that is no flow, or missing where it is needed.
        """
        options, steps = self._configured, num_inference_steps
        options.check()
        if timesteps is None and self.noise.path == "flow" and (number := equal_sigmas(sigmas)):
            steps, sigmas = number, None
        given = sigmas is not None or timesteps is not None
        method = tried_method(options, self._follows, self.statistics, None if given else steps, self._kind(options))
        options = _followed(options, method)
        options.check()
        if self.statistics is not None:
            self._check_statistics(self.statistics)
        shift = _shift_of(options, self.noise, mu)
        recipe = self._recipe(options, shift, method is not None)
        levels = self._levels(recipe, options, shift, steps, sigmas, timesteps)
        plan = self._planned(recipe, levels)
        if sigmas is not None and timesteps is not None:
            plan = plan.called_at(timesteps)
        own = not given and (method is not None or self._has_own_grid(options))
        run = Run(options, recipe, plan, method, shift, own_grid=own)
        self._begin(run, device)
        if self.statistics is None and not self._silent:
            self._warn_once("plain", "No score statistics given: plain DEIS is used. Measure them with `calibrate`.")

    def _kind(self, options: Options) -> bool | None:
        """Whether a tried method is to have the learned grid, or one with a name; None for either."""
        return True if self._learns_grid else None if self._can_learn(options) else False

    def _recipe(self, options: Options, shift: float = 1.0, tried: bool = False) -> Recipe:
        """The recipe of options, with what the statistics have."""
        learned = None
        if options.spacing == LEARNED and options.grid is None and self.statistics is not None:
            learned = self._learned_of(self.statistics, options)
        return recipe_of(options, self.noise, self.statistics, learned, shift=shift, tried=tried)

    def _levels(
        self, recipe: Recipe, options: Options, shift: float, steps: int | None, sigmas: Times, timesteps: Times
    ) -> Array:
        """Noise levels of the run, from whichever of the three the caller gave; (N + 1,)."""
        process, ends = recipe.process, recipe.ends
        if sigmas is not None and timesteps is not None and process.path != "flow":
            raise TimestepsError("Give `timesteps` or `sigmas`, not both: each fixes the run.")
        if sigmas is not None:
            levels = process.shifted(levels_from_sigmas(process, sigmas, ends), shift, options.shift_terminal)
        elif timesteps is not None:
            levels = levels_from_times(process, timesteps, ends)
        elif steps is not None:
            return recipe.grid.levels(process, steps, ends)
        else:
            raise TimestepsError("Give `num_inference_steps`, `timesteps` or `sigmas`.")
        if self._learns_grid:
            what = "timesteps" if timesteps is not None else "sigmas"
            logger.info("The given %s are used, and not the grid learned from the model.", what)
        elif steps is not None and steps != len(levels) - 1:
            logger.info("The %d given times override num_inference_steps=%d.", len(levels) - 1, steps)
        return levels

    def _planned(self, recipe: Recipe, levels: Array) -> Plan:
        """The run through these levels."""
        return recipe.over(levels)

    def _begin(self, run: Run, device: str | torch.device | None) -> None:
        """Make `run` the current one; where there is no such device, nothing has changed."""
        self._adopt(run.plan, device, self._numbered(run))
        self._run = run
        self.order = run.recipe.solver.calls_per_step
        if run.begin is None:  # else the pipeline has its noise already
            self._scale_start(run.plan.levels[0])

    def _numbered(self, run: Run) -> bool:
        """Whether times that are whole are integers: not where a run that is planned anew would not fit in."""
        fractions = run.method is not None or (self._learns_grid and not run.options.whole_timesteps)
        return self.noise.path == "vp" and not fractions

    def _scale_start(self, level: float) -> None:
        if self.noise.path == "ve":
            self.init_noise_sigma = self.noise.start_scale(level)

    # ----------------------------------------------------------------------------------------- image to image

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t x_0 + sigma_t eps; see `PlannedScheduler.add_noise`.

        Called before the first step of a run that begins later, as image-to-image pipelines do, it plans the run anew:
        `strength` is a share of the process, and the times of a tried method, or learned ones, are not spaced like
        shares. The times are changed in place, for the pipeline holds a view of them.
        """
        run = self._run
        begin = None if run is None else self._later_begin(run, timesteps)
        if begin is not None:
            self._replan(run, begin)  # type: ignore[arg-type]
            run = self._run
        if run is not None and run.begin is not None and self._step_index is None:
            if only_time(timesteps) == run.begun_at:
                timesteps = torch.as_tensor(run.plan.times[run.begin])
        return super().add_noise(original_samples, noise, timesteps)

    def _later_begin(self, run: Run, timesteps: Tensor) -> int | None:
        """The call that a run with a grid of its own begins with; None if at the first, or if it runs already."""
        if self._step_index is not None or not run.own_grid:
            return None
        begin, plan = self._begin_index, run.plan
        if begin is None and not self._learns_grid:  # some pipelines cut the list of times and say nothing
            time = only_time(timesteps)
            begin = None if time is None or time == run.begun_at else plan.index(time)
        if begin is None or not 0 < begin < len(plan) or not plan.starts[begin]:
            return None  # at the first, or nowhere, as `step` will say
        return begin if begin != run.begin else None

    def _replan(self, run: Run, begin: int) -> None:
        """Plan the present run anew, by the options, as one that begins at a later call; or leave it."""
        options = self._configured
        recipe = self._recipe(options, run.shift)
        if recipe.solver.calls_per_step != run.recipe.solver.calls_per_step:
            return  # it would not fit into the pipeline's list
        levels: Array | None
        if options.spacing == LEARNED and self.statistics is not None and options.grid is None:
            learned, before = self._learned_of(self.statistics, options), sum(run.plan.starts[:begin])
            levels = learned.later(recipe.process, run.plan.steps, recipe.ends, before, options.whole_timesteps)
        else:
            levels = recipe.grid.levels(recipe.process, run.plan.steps, recipe.ends)
        if levels is None:
            return  # nothing to go through: the pipeline's own list stays
        plan = self._planned(recipe, levels)
        if not len(plan) == len(run.plan) == len(self.timesteps):
            return
        again = Run(options, recipe, plan, None, run.shift, begin, run.plan.times[begin], self._has_own_grid(options))
        shown, former, said = (self.timesteps, self.sigmas), self._former, self._begin_index
        self._begin(again, self.timesteps.device)
        shown[0].copy_(self.timesteps)
        shown[1].copy_(self.sigmas)
        self.timesteps, self.sigmas = shown
        self._grid, self._former, self._begin_index = self.timesteps, former, said

    def _has_own_grid(self, options: Options) -> bool:
        return self.statistics is not None and options.spacing == LEARNED and options.grid is None

    def _begin_step(self, timestep: float | Tensor) -> int:
        """As ever; of a run planned anew the first time is read, once, for the pipeline may hold a copy of the old."""
        first, run = self._step_index is None, self._run
        n = super()._begin_step(timestep)
        if first and run is not None and run.begin is not None and n < len(run.plan):
            time = float(torch.as_tensor(timestep).flatten()[0])
            if abs(run.plan.times[n] - time) > run.plan.tolerance:
                raise StepError(
                    f"The run was planned anew from step {n} when its noise was added, and is there at timestep "
                    f"{run.plan.times[n]:g}, but `step` was called with {time:g}: of a copy of `scheduler.timesteps`. "
                    "Walk through the scheduler's own tensor or a slice of it, or use recipe='fixed' (DEISSNScheduler)."
                )
        return n


def _followed(options: Options, method: Method | None) -> Options:
    """The options with those of a method in their place."""
    return options if method is None else replace(options, **method.options())


def _shift_of(options: Options, process: NoiseSchedule, mu: float | None) -> float:
    """Shift of a run: of its resolution, or that of the config."""
    if mu is not None and process.path != "flow":
        raise ConfigurationError(
            f"`mu` shifts the schedule of flow-matching models, got {mu!r} for a {process.path} schedule. Leave it "
            "out, or say use_flow_sigmas=True if this is such a model."
        )
    if not options.use_dynamic_shifting:
        return float(options.flow_shift)  # some pipelines pass `mu` always
    if mu is None:
        raise ConfigurationError(
            "This model's shift depends on the resolution (use_dynamic_shifting=True), and `mu` is missing. Pass "
            "set_timesteps(..., mu=...), as its pipeline does, or use_dynamic_shifting=False and flow_shift."
        )
    return shift_factor(mu, options.time_shift_type)
