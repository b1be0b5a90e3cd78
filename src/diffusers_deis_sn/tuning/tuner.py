"""The course of tuning: runs without plans, fine runs, fits, and what decides on samples that were held out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.collect.calls import PipelineCalls
from diffusers_deis_sn.collect.progress import Progress
from diffusers_deis_sn.core.flow import equal_sigmas
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.update import has_bands
from diffusers_deis_sn.errors import CalibrationError, DeisSnError
from diffusers_deis_sn.schedulers._factors import followed
from diffusers_deis_sn.schedulers._planner import Times
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.candidates import FREEDOMS, OutOfTimeError, blended, candidates
from diffusers_deis_sn.tuning.judging import Judged, score
from diffusers_deis_sn.tuning.meter import CHECK_CALLS, FINE_CALLS, Meter
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.outcome import Candidate, Outcome, Tuning
from diffusers_deis_sn.tuning.running import Make, Running, rivals
from diffusers_deis_sn.tuning.samples import batches
from diffusers_deis_sn.tuning.search import Found, Search
from diffusers_deis_sn.tuning.teacher import FINE, GRID, Teacher

logger = logging.getLogger("diffusers_deis_sn")

FINE_ENOUGH = 0.3  # how far off a fine run may be, in terms of what a plan leaves
FIRST_ORDER = 3.0  # how many times nearer to the truth than to the coarser run the fine one is, of order two
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
    """

    recipe: Recipe
    run: Tuned
    shift: float
    guidance: float
    end: Tensor
    rivals: Mapping[str, Tensor]
    menu: tuple[Recipe, ...]


@dataclass
class Tuner:
    """Tunes a pipeline, see `tuning.run.tune`.

    Args:
        pipe: The pipeline.
        calls: How to call it.
        statistics: Of its model.
        steps: Numbers of steps.
        fitted: Numbers of the samples to fit on.
        held_out: Numbers of those that decide.
        batch_size: Number of samples drawn at once.
        guidance: What the pipeline's arguments say of it.
        budget: Seconds, or None.
        progress: As in `tune`.
    """

    pipe: Any
    calls: PipelineCalls
    statistics: ScoreStatistics
    steps: tuple[int, ...]
    fitted: list[int]
    held_out: list[int]
    batch_size: int
    guidance: float | None
    budget: float | None = None
    progress: bool | str | Progress = False
    meter: Meter = field(init=False)
    _shape: tuple[int, ...] = field(init=False, default=())

    def tuned(self) -> Tuning:
        """All of it; raises as `tune`."""
        config = dict(self.pipe.scheduler.config)
        others = rivals(config, self._scheduler(config).noise.kind)
        self.meter = Meter(
            self.progress, len(self.fitted), len(self.held_out), self.steps, 1 + len(others), self.budget
        )
        running = Running(self.pipe, batches(self.calls, self.held_out, self.batch_size), self.meter)
        try:
            before = {calls: self._without(calls, running, config, others) for calls in self.steps}
            fine = running.ends(
                partial(FineScheduler.from_config, config, stats=False, solver=FINE, grid=GRID), FINE_CALLS
            )
            if not bool(torch.isfinite(fine).all()):
                raise CalibrationError(f"A run of {FINE_CALLS} steps ends in values that are not finite.")
            found, far = self._found(before)
            outcomes = [
                self._outcome(calls, running, config, before[calls], found[calls], fine, far) for calls in self.steps
            ]
        finally:
            self.meter.close()
        accepted = [one.plan for one in outcomes if one.plan is not None]
        record = self._with(*accepted) if accepted else self.statistics
        return Tuning(record, tuple(outcomes), self.meter.done, self.meter.seconds)

    # --------------------------------------------------------------------------------------------- without a plan

    def _scheduler(self, config: Mapping[str, Any], *plans: TunedPlan, **options: Any) -> DEISSNScheduler:
        record = self._with(*plans) if plans else self.statistics
        return DEISSNScheduler.from_config(dict(config), stats=record, **options)

    def _with(self, *plans: TunedPlan) -> ScoreStatistics:
        before, shape = self.statistics.plans, self._shape
        same = before is not None and before.sample_shape == shape
        return self.statistics.with_plans(before.with_plans(*plans) if before and same else Plans(plans, shape))

    def _without(self, calls: int, running: Running, config: Mapping[str, Any], others: Mapping[str, Make]) -> Without:
        """The run that is made without a plan, and those of others."""
        scheduler = WithoutPlan.from_config(dict(config), stats=self.statistics, tuned=False)
        end = running.ends(lambda: scheduler, calls)
        self.meter.check()
        if scheduler.given or scheduler.config["thresholding"] or not scheduler._planner.follows:
            raise CalibrationError(NO_PLANS)
        self._shape = tuple(end.shape[1:])
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
            name: ended for name, make in others.items() if (ended := _tried(running, name, make, calls)) is not None
        }
        tuned = Tuned.of_plan(run.plan, run.shift)
        return Without(run.recipe, tuned, run.shift, float(guidance), end, ends, tuple(menu))

    # -------------------------------------------------------------------------------------------------------- fits

    def _found(self, before: Mapping[int, Without]) -> tuple[dict[int, dict[str, Found]], float]:
        """What was found for each number of steps by what was left free, and how far off the fine run is."""
        with Asker(self.pipe, batches(self.calls, self.fitted, self.batch_size), self.meter) as asker:
            model = Model(asker.noise, asker.prediction, asker, asker.start)
            teacher, coarser = Teacher.of(model, FINE_CALLS), Teacher.of(model, CHECK_CALLS)
            far = Judged.of(coarser.end, teacher.end).geometric / FIRST_ORDER
            bands = 2 if has_bands(teacher.end.shape) else 1
            found: dict[int, dict[str, Found]] = {}
            for place, calls in enumerate(self.steps):
                search = Search(model, teacher, self._clock(place, calls))
                try:
                    found[calls] = dict(candidates(search, before[calls].menu, calls, bands))
                except DeisSnError as error:
                    logger.warning("No plan of %d steps: %s", calls, error)
                    found[calls] = {}
            return found, far

    def _clock(self, place: int, calls: int) -> Callable[[Found], None]:
        """Told of every fit; ends the search in time, and shows the least error so far."""
        deadline, least = self.meter.deadline(place), float("inf")

        def spent(found: Found) -> None:
            nonlocal least
            if found.score < least:
                least = found.score
                error = float(torch.tensor(found.score).exp())
                self.meter.say(f"{calls} steps: {error:.3g}", steps=calls, error=error)
            if self.meter.seconds > deadline:
                raise OutOfTimeError

        return spent

    # ----------------------------------------------------------------------------------------------- what decides

    def _outcome(
        self,
        calls: int,
        running: Running,
        config: Mapping[str, Any],
        before: Without,
        found: Mapping[str, Found],
        fine: Tensor,
        far: float,
    ) -> Outcome:
        """A plan that is better on samples held out, or none."""
        default = Judged.of(before.end, fine)
        others = {name: Judged.of(end, fine) for name, end in before.rivals.items()}

        def tried(run: Tuned, freedom: str, place: int) -> tuple[float, Candidate]:
            end = self._planned(run, running, config, before)
            judged = Judged.of(end, fine)
            objections = judged.objections(default, list(others.values()))
            if far > FINE_ENOUGH * judged.geometric:
                objections.append(
                    f"the fine run of {FINE_CALLS} steps is itself off by {far:.3g}: no goal for this plan"
                )
            return score(end, fine) + SIMPLER * place, Candidate(run, freedom, judged, tuple(objections))

        tries = [tried(one.run, name, FREEDOMS.index(name)) for name, one in found.items()]
        ranked = [one for _, one in sorted(tries, key=lambda pair: pair[0])]
        best = next((one for one in ranked if not one.objections), None)
        if best is None and ranked:
            name = ranked[0].freedom
            _, half = tried(blended(found[name], before.run, BLEND), f"{name}, half", FREEDOMS.index(name))
            best = half if not half.objections else ranked[0]
        judged = {one.freedom: one.judged for one in ranked}
        found_none = Outcome(calls, before.guidance, default, others, tries=judged)
        if best is None:
            return found_none
        told = replace(found_none, tuned=best.judged, freedom=best.freedom, objections=best.objections)
        if best.objections:
            return told
        rival = min((one.geometric for one in others.values()), default=default.geometric)
        errors = (best.judged.geometric, default.geometric, rival)
        plan = TunedPlan(replace(best.run, shift=before.shift), before.guidance, len(fine), *errors)
        self.meter.say(str(plan), steps=calls, accepted=True)
        return replace(told, plan=plan)

    def _planned(self, run: Tuned, running: Running, config: Mapping[str, Any], before: Without) -> Tensor:
        """Where the pipeline's own runs end with a plan, through the scheduler that everybody uses."""
        run = replace(run, shift=before.shift)
        scheduler = self._scheduler(config, TunedPlan(run, before.guidance))
        end = running.ends(lambda: scheduler, len(run))
        if scheduler.plan is None:
            raise CalibrationError(NO_PLANS)
        return end


NO_PLANS = (
    "The pipeline's runs do not take plans: it gives its own times, or its scheduler's config says thresholding=True "
    "or has chosen an option of a recipe (solver, order, grid, ends). Leave these out, or do without a plan."
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
        equal = sigmas is not None and self.noise.path == "flow" and equal_sigmas(sigmas) is not None
        self.given = timesteps is not None or (sigmas is not None and not equal)


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
