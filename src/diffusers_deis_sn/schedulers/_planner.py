"""From a config and score statistics to a run: options, the method that is followed, recipe, plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from diffusers_deis_sn.core.flow import shift_factor
from diffusers_deis_sn.core.grids import Ends, Power
from diffusers_deis_sn.core.named_grids import levels_from_sigmas, levels_from_times
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import Exact
from diffusers_deis_sn.core.tuned_later import Inside, levels_inside
from diffusers_deis_sn.errors import ConfigurationError, DeisSnError, TimestepsError
from diffusers_deis_sn.learn.grid import EqualCost, Learned
from diffusers_deis_sn.schedulers._given import Request, labelled_before_shift, overridden
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.schedulers._options_to_recipe import followed, recipe_of, scale_of, tried_method
from diffusers_deis_sn.schedulers._own_config import RECIPE_OPTIONS, configured, default_options
from diffusers_deis_sn.schedulers._planned_run import Run
from diffusers_deis_sn.schedulers._stepping import logger
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method

EDM_EXPONENT = 7.0  # of the levels of EDM's schedulers in Diffusers


class Planner:
    """Plans the runs of one config with one set of statistics; what it makes on the way is kept.

    Args:
        config: Of a scheduler.
        kind: Its class.
        statistics: Of the model, or None.
        before: The planner of the config before, whose process and grids are kept where they are the same.
        edited: The process that somebody has made of the config's, by writing into `alphas_cumprod`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        kind: type[Any],
        statistics: ScoreStatistics | None = None,
        before: Planner | None = None,
        edited: NoiseSchedule | None = None,
    ) -> None:
        self.edited = edited
        self.config, self.kind, self.statistics = config, kind, statistics
        self.by_name = configured(config, kind)
        grid = kind.default_grid if self.by_name["grid"] is None else self.by_name["grid"]
        self.options = Options.of(self.by_name | {"grid": grid})
        self._last_told: Options | None = None
        self._checked = False  # the options, once
        self._fitting: ScoreStatistics | None = None  # likewise, whether these statistics do
        self._key = self.options.process_key()
        same = before is not None and before._key == self._key
        self._process: NoiseSchedule | None = before._process if before is not None and same else None
        keeps = before is not None and same and before.statistics is statistics and before.edited is edited
        self._grids: dict[EqualCost, Learned] = before._grids if before and keeps else {}
        self._last_at: tuple[float | None, Planner] | None = None

    def at(self, guidance: float | None) -> Planner:
        """The planner of one guidance, where the statistics are of several; that of the option wins over the one given.

        Where neither is known it is that of the record's own curves.
        """
        if self.statistics is None or not self.statistics.others:
            return self
        wanted = guidance if self.options.guidance_scale is None else self.options.guidance_scale
        last = self._last_at  # read once: another thread may put its own in the place
        if last is None or last[0] != wanted:
            statistics = self.statistics.at(wanted)
            self._last_at = last = wanted, type(self)(self.config, self.kind, statistics, self, self.edited)
        return last[1]

    @property
    def process(self) -> NoiseSchedule:
        """The noise schedule of the config, or what was made of it. Raises NoiseScheduleError where there is none."""
        if self.edited is not None:
            return self.edited
        if self._process is None:
            self._process = self.options.noise()
        return self._process

    def of_same_process(self, other: Planner) -> bool:
        """Whether two configs are of one process."""
        return self._key == other._key

    def training_levels(self) -> Array:
        """Levels of all training times, noisiest first, shifted as those of Diffusers' schedulers; (T,)."""
        process, options = self.process, self.options
        levels = process.training_levels()[::-1]
        if process.path == "flow":  # by resolution no run is known yet
            shift = 1.0 if options.use_dynamic_shifting else float(options.flow_shift)
            return process.shifted(np.append(levels, 0.0), shift)[:-1]
        if process.kind != "edm":
            return levels
        own = options.grid if isinstance(options.grid, Power) else Power("sigma", EDM_EXPONENT)
        grid = Power("sigma", np.inf) if options.use_exponential_sigmas else own
        return grid.levels(process, len(process), Ends())[:-1]

    @cached_property
    def follows(self) -> bool:
        """Whether tried methods are followed: as the option says; by default where no option they decide was chosen."""
        chosen, defaults = self.by_name, default_options(self.kind)
        if self.options.recipe is not None:
            return self.options.recipe == "measured"
        return [chosen[name] for name in RECIPE_OPTIONS] == [defaults[name] for name in RECIPE_OPTIONS]

    def check(self, statistics: ScoreStatistics) -> None:
        """Raise StatisticsError for statistics of another process, or that lack what the options ask for."""
        statistics.check(self.process, self.options.prediction_type)
        scale_of(self.options, statistics)
        if self.options.learns:
            self.learned(self.options, statistics).check(self.process, self.options.ends)

    # ---------------------------------------------------------------------------------------------------- recipes

    def learned(self, options: Options, statistics: ScoreStatistics | None = None) -> Learned:
        """The learned grid. Raises ConfigurationError without statistics, and as `EqualCost.of`."""
        record = self.statistics if statistics is None else statistics
        if record is None:
            raise ConfigurationError(
                f"{self.kind.__name__} learns its time grid from statistics with costs, and has none. Pass stats=, "
                "measured by `deis-sn calibrate MODEL --cost corrector -o FOLDER`; or give the pipeline `timesteps=` "
                "or `sigmas=`."
            )
        wanted = options.grid if isinstance(options.grid, EqualCost) else EqualCost()
        if record is not self.statistics:
            return wanted.of(record, self.process)
        if wanted not in self._grids:
            self._grids[wanted] = wanted.of(record, self.process)
        return self._grids[wanted]

    def recipe(self, options: Options, shift: float = 1.0, tried: bool = False) -> Recipe:
        """The recipe of options, with what the statistics have."""
        learned = self.learned(options) if self._has_learned(options) else None
        return recipe_of(options, self.process, self.statistics, learned, shift=shift, tried=tried)

    def _has_learned(self, options: Options) -> bool:
        return self.statistics is not None and options.learns

    @cached_property
    def _can_learn(self) -> bool:
        """Whether the statistics tell a grid for whole runs."""
        try:
            self.learned(self.options).check(self.process, self.options.ends)
        except DeisSnError:
            return False
        return True

    # ------------------------------------------------------------------------------------------------------- runs

    def run(self, request: Request) -> Run:
        """A run. Raises TimestepsError or ConfigurationError as `set_timesteps` does."""
        if not self._checked:
            self.options.check()
            self._checked = True
        request, given = self.understood(request)
        tuned = self._tuned(request)
        if tuned is not None:
            return self._run_of(tuned, request)
        method = self._method(request)
        if not request.given and method is None and self.options.learns and self.kind.default_grid is None:
            self.learned(self.options)  # who asks for it by name is told where there is none
        options = followed(self._told(request.guidance), method, self.statistics)
        if method is not None:
            replace(options, recipe=None).check()  # its grid and solver are nobody's own
        if self.statistics is not None and self._fitting is not self.statistics:
            self.check(self.statistics)
            self._fitting = self.statistics
        shift = self._shift(request)
        recipe = self.recipe(options, shift, method is not None)
        plan = self.plan(recipe, self.levels(recipe, options, shift, request))
        if request.sigmas is not None and request.timesteps is not None:
            plan = plan.called_at(request.timesteps)
        if request.unshifted:
            plan = labelled_before_shift(plan, self.process, shift)
        if options.whole_timesteps and not request.given and not plan.whole:
            raise ConfigurationError(
                f"whole_timesteps=True, and {type(recipe.solver).__name__} calls the network between the times of a "
                "run. Use solver='multistep', 'ipndm', 'euler' or 'heun'."
            )
        own_grid = not request.given and (
            method is not None or self._has_learned(options) or bool(self._plans(options.guidance_scale))
        )
        return Run(
            options,
            recipe,
            plan,
            method,
            shift,
            own_grid=own_grid,
            guidance=request.guidance,
            given=given,
            unshifted=request.unshifted,
            overridden=self._overridden(request) if given else None,
        )

    def has_numbers(self, run: Run) -> bool:
        """Whether times of a run that are whole are shown as integers: not where one planned anew would not fit in."""
        fractions = (run.follows or self.options.learns) and not run.options.whole_timesteps
        return self.process.numbered and not fractions

    def understood(self, request: Request) -> tuple[Request, bool]:
        """What is asked for, and whether by a list that no pipeline has of itself.

        A list that pipelines always pass chooses nothing but how many: a method, a plan or a grid that was chosen is
        used. Where there is none of these the list is used as it is, if it is one of levels.
        """
        if request.sigmas is None or self.process.path == "vp":
            return request, request.given
        options = self.options
        number = request.as_number(self.process, self._shift(request), options.shift_terminal)
        if number is None:
            return request, True
        if (
            self.process.path != "flow"
            or request.is_own_grid
            or self._method(number)
            or self._tuned(number)
            or self.chooses_grid(number)
        ):
            return number, False
        return request, False

    def chooses_grid(self, request: Request) -> bool:
        """Whether the options, or the class, have chosen a grid for a run without a list."""
        return self._overridden(replace(request, sigmas=())) is not None

    def _overridden(self, request: Request) -> str | None:
        return overridden(request, self.by_name, default_options(self.kind), self._has_learned(self.options))

    def _takes_plans(self) -> Plans | None:
        """The plans of the model, None where somebody chose otherwise."""
        statistics, options = self.statistics, self.options
        if statistics is None or not options.tuned or not self.follows:
            return None
        return None if self.kind.default_grid is not None or options.thresholding else statistics.plans

    def _plans(self, guidance: float | None) -> list[TunedPlan]:
        """Those for runs at a guidance."""
        plans = self._takes_plans()
        return [] if plans is None else plans.all_serving(guidance, self.process)

    def _tuned(self, request: Request) -> TunedPlan | None:
        """The plan that was fitted for such a run, if there is one and nobody chose otherwise; whatever the shift."""
        plans = self._takes_plans()
        if plans is None or request.given or not isinstance(request.steps, int):
            return None
        guidance = self._told(request.guidance).guidance_scale
        found = plans.serving(request.steps, guidance, self.process)
        if found is not None:
            return found
        return plans.between_calls(request.steps, guidance, self.process, self._exact(request))

    def _shift(self, request: Request) -> float:
        return shift_of(self.options, self.process, request.mu) if request.shift is None else request.shift

    def _exact(self, request: Request) -> Exact:
        """The weights that such a run has without a plan, over whatever levels."""

        def exact(levels: Array) -> Tuned:
            method = self._method(request)
            options = followed(self._told(request.guidance), method, self.statistics)
            shift = self._shift(request)
            return Tuned.of_recipe(self.recipe(options, shift, method is not None), levels)

        return exact

    def _run_of(self, tuned: TunedPlan, request: Request) -> Run:
        """The run of a plan. Raises StatisticsMismatchError where it is another model's."""
        if self.statistics is not None and self._fitting is not self.statistics:
            self.check(self.statistics)
            self._fitting = self.statistics
        options, run = self.options, tuned.run
        shift = self._shift(request)
        recipe = Recipe(self.process, run, run, prediction=options.prediction_type)
        plan = run.plan(self.process, options.prediction_type)
        if request.unshifted:
            plan = labelled_before_shift(plan, self.process, shift)
        told, guidance = self._told(request.guidance), request.guidance
        unshifted = request.unshifted
        return Run(told, recipe, plan, None, shift, own_grid=True, guidance=guidance, tuned=tuned, unshifted=unshifted)

    def again(self, run: Run, begin: int) -> Run | None:
        """A run anew, by the options, as one that begins at a later call; None to leave it as it is."""
        options = self._told(run.guidance)
        recipe = self.recipe(options, run.shift)
        if recipe.solver.calls_per_step != run.recipe.solver.calls_per_step:
            return None  # it would not fit into the pipeline's list
        levels: Array | None
        if self._has_learned(options):
            learned, before = self.learned(options), sum(run.plan.starts[:begin])
            levels = learned.later(recipe.process, run.plan.steps, recipe.ends, before, options.whole_timesteps)
        else:
            recipe, levels = self._inside(recipe, run, begin)
        if levels is None:
            return None  # nothing to go through: the pipeline's own list stays
        plan = self.plan(recipe, levels)
        if len(plan) != len(run.plan):
            return None
        if run.unshifted:
            plan = labelled_before_shift(plan, self.process, run.shift)
        again = replace(run, options=options, recipe=recipe, plan=plan, method=None, tuned=None)
        own_grid = self._has_learned(options) or again.inside
        return replace(again, begin=begin, begun_at=run.plan.times[begin], own_grid=own_grid)

    def _inside(self, recipe: Recipe, run: Run, begin: int) -> tuple[Recipe, Array]:
        """The recipe and its levels, those from `begin` on inside the times of plans where they tell some."""
        levels = recipe.levels(run.plan.steps)
        plans = self._plans(self._told(run.guidance).guidance_scale)
        ending = [one.run for one in plans if one.run.rho[-1] == levels[-1]]
        inside = levels_inside(ending, float(levels[begin]), len(levels) - 1 - begin, recipe.process)
        if inside is None or recipe.solver.calls_per_step != 1:
            return recipe, levels
        grid = Inside(np.append(levels[:begin], inside))
        return replace(recipe, grid=grid), grid.values

    def _told(self, guidance: float | None) -> Options:
        """The options, with the guidance that the pipeline runs with where they say none."""
        if guidance is None or self.options.guidance_scale is not None:
            return self.options
        last = self._last_told
        if last is None or last.guidance_scale != guidance:
            self._last_told = last = replace(self.options, guidance_scale=guidance)
        return last

    def _method(self, request: Request) -> Method | None:
        """The tried method that a run is to follow; of the learned grid alone where that is the class's own."""
        if request.given or not self.follows:
            return None
        if self.options.learns:
            learned: bool | None = True
        else:
            learned = None if self.statistics is not None and self._can_learn else False
        path = self.process.path
        method = tried_method(self._told(request.guidance), self.statistics, request.steps, learned, path)
        if method is not None and self.statistics is None and (request.steps or 0) >= len(self.process):
            return replace(method, final_sigmas_type="zero")  # every training time is called, the first one too
        return method

    def levels(self, recipe: Recipe, options: Options, shift: float, request: Request) -> Array:
        """Noise levels of a run, from whichever of the three the caller gave; (N + 1,).

        Raises:
            TimestepsError: None of the three, two that contradict each other, or times that cannot be walked.
        """
        process, ends, steps = recipe.process, recipe.ends, request.steps
        if request.sigmas is not None and request.timesteps is not None and process.path != "flow":
            raise TimestepsError("Give `timesteps` or `sigmas`, not both: each fixes the run.")
        if request.sigmas is not None:
            levels = process.shifted(levels_from_sigmas(process, request.sigmas, ends), shift, options.shift_terminal)
        elif request.timesteps is not None:
            levels = levels_from_times(process, request.timesteps, ends)
        elif steps is not None:
            return recipe.levels(steps)
        else:
            raise TimestepsError("Give `num_inference_steps`, `timesteps` or `sigmas`.")
        if steps is not None and steps != len(levels) - 1 and self._overridden(request) is None:  # one line is enough
            logger.warning("The %d given times override num_inference_steps=%d.", len(levels) - 1, steps)
        return levels

    def plan(self, recipe: Recipe, levels: Array) -> Plan:
        """The run through these levels."""
        return recipe.over(levels)


def shift_of(options: Options, process: NoiseSchedule, mu: float | None) -> float:
    """Shift of a run: of its resolution, or that of the config.

    Raises:
        ConfigurationError: `mu` for what is no flow, or none where the shift depends on the resolution.
    """
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
