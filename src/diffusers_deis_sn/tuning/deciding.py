"""What decides about plans: runs of the pipeline itself on samples that nothing is fitted on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError, StatisticsMismatchError
from diffusers_deis_sn.schedulers._given import Times
from diffusers_deis_sn.schedulers._options_to_recipe import followed
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.candidates import FREEDOMS, blended
from diffusers_deis_sn.tuning.judging import Judged, score
from diffusers_deis_sn.tuning.keeping import Fit
from diffusers_deis_sn.tuning.meter import FINE_CALLS, Meter
from diffusers_deis_sn.tuning.outcome import Candidate, Outcome
from diffusers_deis_sn.tuning.running import Make, Running
from diffusers_deis_sn.tuning.teacher import FINE, GRID, ORDER, Goal

logger = logging.getLogger("diffusers_deis_sn")

FINE_ENOUGH = 0.3  # how far off a fine run may be, in terms of what a plan leaves
WANTED = 0.5 * FINE_ENOUGH  # the same of a plan that halves what the better one of the default and the rivals leaves
BLEND = 0.5  # of a plan with the run without it, where the whole plan is not accepted
SIMPLER = 0.005  # by which the score has to fall for a freedom more
POWERS = (1.5, 2.0, 2.5)  # of times, beside the grids of recipes that were tried


@dataclass(frozen=True, eq=False)
class Without:
    """Runs of one number of steps without a plan.

    Args:
        recipe: That is followed.
        run: Its numbers.
        shift: Of its levels.
        guidance: That the scheduler sees.
        end: Where it ends, of samples held out.
        rivals: Where others end.
        menu: Recipes whose grids a search may start on.
        seen: Whether the scheduler sees that guidance by itself.
    """

    recipe: Recipe
    run: Tuned
    shift: float
    guidance: float
    end: Tensor
    rivals: Mapping[str, Tensor]
    menu: tuple[Recipe, ...]
    seen: bool = True

    def errors(self, fine: Tensor) -> tuple[float, float]:
        """Geometric means of the distances to the fine run: of these runs, and of the best rival's."""
        own, *others = (Judged.of(end, fine).geometric for end in (self.end, *self.rivals.values()))
        return own, min(others, default=own)


@dataclass
class Jury:
    """Runs a pipeline on samples held out, and says of plans whether they may take the place of what there is.

    Args:
        running: The pipeline and the samples.
        config: Of the model's own scheduler.
        statistics: Of the model.
        others: Makers of other schedulers, by name.
        guidance: What the pipeline's arguments say of it.
        meter: Told of plans that are accepted.
        checks: Whether it only looks at plans from before, of whatever size of samples.
    """

    running: Running
    config: Mapping[str, Any]
    statistics: ScoreStatistics
    others: Mapping[str, Make]
    guidance: float | None
    meter: Meter
    checks: bool = False
    shape: tuple[int, ...] = field(init=False, default=())

    def with_plans(self, *plans: TunedPlan) -> ScoreStatistics:
        """The statistics with these plans beside those from before."""
        before = self.statistics.plans
        same = before is not None and (self.checks or before.sample_shape == self.shape)
        return self.statistics.with_plans(before.with_plans(*plans) if before and same else Plans(plans, self.shape))

    def fine(self, calls: int = FINE_CALLS) -> Tensor:
        """Where a fine run of so many calls ends. Raises CalibrationError for values that are not finite."""
        make = partial(FineScheduler.from_config, self.config, stats=False, solver=FINE, grid=GRID)
        end = self.running.ends(make, calls)
        if not bool(torch.isfinite(end).all()):
            raise CalibrationError(f"A run of {calls} steps ends in values that are not finite.")
        return end

    def without(self, calls: int) -> Without:
        """The run that is made without a plan, and others. Raises CalibrationError where none can be fitted."""
        scheduler = WithoutPlan.from_config(dict(self.config), stats=self.statistics, tuned=False)
        end = self.running.ends(lambda: scheduler, calls)
        self.running.shards.led(self._affordable)
        if scheduler.given or scheduler.config["thresholding"] or not scheduler._planner.follows:
            raise CalibrationError(NO_PLANS)
        self.shape = tuple(end.shape[1:])
        self._check_size()
        run = scheduler._run
        if run is None or len(run.plan) != calls or run.plan.steps != calls:
            raise CalibrationError(
                f"The pipeline asks for {0 if run is None else len(run.plan)} calls where {calls} steps were wanted. "
                "Plans are for one call a step."
            )
        planner, options = scheduler._planner.at(run.guidance), run.options
        record, menu = planner.statistics, [run.recipe]
        for method, _ in () if record is None or record.trials is None else record.trials.ranking(calls)[:3]:
            menu.append(planner.recipe(followed(planner.options, method, record), run.shift, True))
        solver, scale = run.recipe.solver, run.recipe.scale
        menu += [
            Recipe(run.recipe.process, Whole(Power("t", k)), solver, scale, run.recipe.ends, options.prediction_type)
            for k in POWERS
        ]
        seen = run.guidance if run.guidance is not None else self.guidance
        guidance = seen if seen is not None else self.statistics.origin.guidance_scale or 1.0
        ends = {
            name: ended
            for name, make in self.others.items()
            if (ended := _tried(self.running, name, make, calls)) is not None
        }
        tuned = Tuned.of_plan(run.plan, run.shift)
        known = seen is None or run.options.guidance_scale is not None
        return Without(run.recipe, tuned, run.shift, float(guidance), end, ends, tuple(menu), known)

    def _affordable(self) -> bytes:
        """Time passes differently in other processes, so that one decides."""
        self.meter.check()
        return b""

    def _check_size(self) -> None:
        """Raise StatisticsMismatchError where plans could not be kept beside the statistics, before any is fitted."""
        measured = self.statistics.origin.sample_shape
        if not self.checks and measured is not None and tuple(measured) != self.shape:
            raise StatisticsMismatchError(
                f"The statistics were measured on samples of shape {tuple(measured)}, and these are {self.shape}. Tune "
                "at that size (`height`, `width`): its plans serve others too; or measure statistics at this one."
            )

    def outcome(self, before: Without, found: Mapping[str, Fit], fine: Tensor, goal: Goal) -> Outcome:
        """A plan that is better, or none.

        Args:
            before: Runs without one.
            found: What was found, by what was left free.
            fine: Where the fine run ends.
            goal: How fine that is.
        """
        tries = [self._try(one.run, name, before, fine, goal) for name, one in found.items()]
        ranked = sorted(tries, key=lambda one: one.score + SIMPLER * FREEDOMS.index(one.freedom))
        best = next((one for one in ranked if not one.objections), None)
        if best is None and ranked:
            name = ranked[0].freedom
            whole, recipe = found[name].run, before.menu[found[name].place]
            half = self._try(blended(whole, recipe, before.run, BLEND), f"{name}, half", before, fine, goal)
            best = half if not half.objections else ranked[0]
        told = self._told(before, fine, best)
        goal_is_there = best is not None and goal.far <= FINE_ENOUGH * best.judged.geometric
        return replace(told, tries={one.freedom: one.judged for one in ranked}, goal=goal_is_there)

    def checked(self, before: Without, plan: TunedPlan, fine: Tensor) -> Outcome:
        """Whether a plan from before is still better than runs without."""
        return self._told(before, fine, self._try(plan.run, "as it is", before, fine, Goal(FINE_CALLS, 0.0)))

    def _try(self, run: Tuned, freedom: str, before: Without, fine: Tensor, goal: Goal) -> Candidate:
        end = self._planned(run, before)
        judged = Judged.of(end, fine)
        default, *others = (Judged.of(one, fine) for one in (before.end, *before.rivals.values()))
        objections = judged.objections(default, others)
        if goal.far > FINE_ENOUGH * judged.geometric:
            objections.append(
                f"the fine run of {goal.calls} steps is itself off by {goal.far:.3g}, by that of {goal.calls // 2}: no "
                "goal for this plan"
            )
        return Candidate(run, freedom, judged, score(end, fine), tuple(objections))

    def _told(self, before: Without, fine: Tensor, best: Candidate | None) -> Outcome:
        """The outcome for the best plan, if there is any."""
        default = Judged.of(before.end, fine)
        others = {name: Judged.of(end, fine) for name, end in before.rivals.items()}
        none = Outcome(len(before.run), before.guidance, default, others)
        if best is None:
            return none
        told = replace(none, tuned=best.judged, freedom=best.freedom, objections=best.objections)
        if best.objections:
            return told
        rival = min((one.geometric for one in others.values()), default=default.geometric)
        errors = (best.judged.geometric, default.geometric, rival)
        plan = TunedPlan(replace(best.run, shift=before.shift), before.guidance, len(fine), *errors)
        there = self.with_plans(plan).plans
        if not before.seen and there is not None and there.find(plan.calls, None) is None:
            logger.warning(UNSEEN, plan.calls, plan.guidance)
        self.meter.say(str(plan), steps=plan.calls, accepted=True)
        return replace(told, plan=plan)

    def _planned(self, run: Tuned, before: Without) -> Tensor:
        """Where the pipeline's own runs end with a plan, through the scheduler that everybody uses."""
        run = replace(run, shift=before.shift)
        said: dict[str, Any] = {} if before.seen else {"guidance_scale": before.guidance}
        scheduler = DEISSNScheduler.from_config(
            dict(self.config), stats=self.with_plans(TunedPlan(run, before.guidance)), **said
        )
        end = self.running.ends(lambda: scheduler, len(run))
        if scheduler.plan is None:
            raise CalibrationError(NO_PLANS)
        return end


def check_fine(goal: Goal, errors: Mapping[int, float]) -> None:
    """Raise CalibrationError where the fine run is no nearer to the truth than runs of any number of steps to it.

    Args:
        goal: How fine it is.
        errors: Of runs without a plan, by their numbers of steps.
    """
    if any(goal.far < error for error in errors.values()):
        return
    coarse = ", ".join(f"{error:.3g} in {calls}" for calls, error in errors.items())
    raise CalibrationError(
        f"The model's long runs do not converge: those of {goal.calls // 2} and of {goal.calls} steps differ by "
        f"{ORDER * goal.far:.3g}, and runs without a plan are off by {coarse} steps. So nobody could tell whether a "
        "plan is nearer. Use a higher precision (`dtype`), a smaller guidance scale or fewer `steps`, and check that "
        "the network gives the same output for the same input."
    )


NO_PLANS = (
    "The pipeline's runs do not take plans: it gives its own times, or its scheduler's config says thresholding=True "
    "or has chosen an option of a recipe (solver, order, grid, ends). Leave these out, or do without a plan."
)


UNSEEN = (
    "There are plans of %d steps for several guidances, and this pipeline does not tell its scheduler which it runs "
    "with. Say it there: DEISSNScheduler.from_config(..., guidance_scale=%g)."
)


class WithoutPlan(DEISSNScheduler):
    """One that knows whether the times of its run were given by hand."""

    given = False

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        mu: float | None = None,
        sigmas: Times = None,
        timesteps: Times = None,
    ) -> None:
        """As ever."""
        super().set_timesteps(num_inference_steps, device, mu, sigmas, timesteps)
        self.given = self._run is None or self._run.given


class FineScheduler(DEISSNScheduler):
    """That of fine runs, which have no statistics by intent."""

    _silent = True


def _tried(running: Running, name: str, make: Make, calls: int) -> Tensor | None:
    """Where runs of another scheduler end; None where the pipeline does not take it."""
    try:
        end = running.ends(make, calls)
    except Exception as error:  # whatever a pipeline raises at a scheduler that is not made for it
        logger.info("Not compared with %s: %s", name, error)
        return None
    return end if bool(torch.isfinite(end).all()) else None
