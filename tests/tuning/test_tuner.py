"""The course of tuning: what decides, what is kept, and what is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics, calibrate
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.tuning import deciding
from diffusers_deis_sn.tuning import tuner as course
from diffusers_deis_sn.tuning.deciding import NO_PLANS
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.running import Running
from diffusers_deis_sn.tuning.samples import batches
from diffusers_deis_sn.tuning.teacher import Teacher
from diffusers_deis_sn.tuning.tuner import Tuner
from toy_models import PROCESSES, SHAPE, ToyPipeline

MEASURED: dict[str, ScoreStatistics] = {}


def statistics(name: str) -> ScoreStatistics:
    if name not in MEASURED:
        MEASURED[name] = calibrate(ToyPipeline(name), None, 4, 25, trials=0, progress=False)
    return MEASURED[name]


def tuner(pipe: Any, name: str = "vp", steps: tuple[int, ...] = (4,), **facts: Any) -> Tuner:
    record = facts.pop("statistics", None) or statistics(name)
    calls = plan_calls(pipe, None, 4, 0, {})
    return Tuner(pipe, calls, record, steps, list(range(6)), list(range(6, 10)), 4, 1.0, **facts)


@pytest.mark.parametrize("name", PROCESSES)
def test_what_it_says_of_a_plan_is_what_everybody_gets(name):
    pipe = ToyPipeline(name)
    before = pipe.scheduler
    tuning = tuner(pipe, name).tuned()
    assert pipe.scheduler is before
    (outcome,) = tuning.outcomes
    assert outcome.plan is not None and outcome.tuned is not None, str(tuning)
    assert outcome.tuned.geometric < 0.9 * outcome.default.geometric
    running = Running(pipe, batches(plan_calls(pipe, None, 4, 0, {}), list(range(6, 10)), 3))

    def end(**options: Any) -> torch.Tensor:
        return running.ends(lambda: DEISSNScheduler.from_config(before.config, **options), options.pop("steps", 4))

    fine = running.ends(
        lambda: deciding.FineScheduler.from_config(
            before.config, stats=False, solver=deciding.FINE, grid=deciding.GRID
        ),
        80,
    )
    for stats, told in ((tuning.statistics, outcome.tuned), (statistics(name), outcome.default)):
        found = Judged.of(end(stats=stats), fine)
        assert found.geometric == pytest.approx(told.geometric, rel=1e-3)
    assert outcome.plan.error == outcome.tuned.geometric and outcome.plan.default_error == outcome.default.geometric


def test_plans_stand_beside_those_from_before():
    pipe = ToyPipeline()
    first = tuner(pipe, steps=(3,)).tuned()
    both = tuner(pipe, statistics=first.statistics).tuned().statistics
    assert both.plans is not None and {one.calls for one in both.plans.entries} == {3, 4}
    again = tuner(pipe, statistics=both).tuned()
    assert again.outcomes[0].default.geometric > again.outcomes[0].tuned.geometric  # without the plan from before
    assert len(again.statistics.plans) == 2


def worse(monkeypatch: Any, factor: float) -> None:
    """Fits whose weights are off by a factor."""
    found = course.candidates

    def spoilt(*arguments: Any) -> Any:
        for name, one in found(*arguments):
            run = replace(one.run, weights=factor * one.run.weights)
            yield name, replace(one, fitted=replace(one.fitted, run=run))

    monkeypatch.setattr(course, "candidates", spoilt)


def test_a_plan_that_is_worse_is_none_and_says_why(monkeypatch):
    worse(monkeypatch, 1.5)
    tuning = tuner(ToyPipeline()).tuned()
    (outcome,) = tuning.outcomes
    assert outcome.plan is None and outcome.objections and "geometric mean" in outcome.objections[0]
    assert tuning.statistics is statistics("vp") and tuning.plans == () and "no plan" in str(tuning)


def test_without_anything_found_there_is_no_plan(monkeypatch):
    def nothing(*arguments: Any) -> Any:
        raise CalibrationError("nothing")

    monkeypatch.setattr(course, "candidates", nothing)
    (outcome,) = tuner(ToyPipeline()).tuned().outcomes
    assert outcome.plan is None and outcome.tuned is None


def test_a_fine_run_that_is_not_fine_is_no_goal(monkeypatch):
    monkeypatch.setattr(deciding, "FINE_ENOUGH", 1e-9)
    (outcome,) = tuner(ToyPipeline()).tuned().outcomes
    assert outcome.plan is None and any("fine run of 80 steps" in one for one in outcome.objections)


def test_a_model_whose_runs_do_not_converge_is_refused_before_anything_is_fitted(monkeypatch):
    made = Teacher.of

    def unsteady(model: Any, steps: int) -> Any:
        found = made(model, steps)
        return replace(found, samples=(*found.samples[:-1], found.end * (1.0 + 0.1 * steps)))

    monkeypatch.setattr(Teacher, "of", unsteady)
    monkeypatch.setattr(course, "candidates", lambda *_: pytest.fail("fitted"))
    with pytest.raises(CalibrationError, match="80 and of 160 steps"):
        tuner(ToyPipeline()).tuned()


class Given(ToyPipeline):
    """Gives its own times."""

    def drawn(self, generators: Any, steps: int) -> Any:
        scheduler = self.scheduler
        set_timesteps = type(scheduler).set_timesteps
        own = np.linspace(999, 0, steps + 1).round().astype(int)[:-1].tolist()
        type(scheduler).set_timesteps = lambda self, *_: set_timesteps(self, timesteps=own)
        try:
            return super().drawn(generators, steps)
        finally:
            type(scheduler).set_timesteps = set_timesteps


@pytest.mark.parametrize("options", [{"thresholding": True}, {"solver_order": 3}, None])
def test_runs_that_take_no_plans_are_refused_before_anything_is_fitted(options):
    pipe = Given() if options is None else ToyPipeline()
    if options is not None:
        pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=statistics("vp"), **options)
    with pytest.raises(CalibrationError) as raised:
        tuner(pipe).tuned()
    assert str(raised.value) == NO_PLANS and pipe.calls <= 4


def test_steps_of_several_calls_are_refused():
    pipe = ToyPipeline()
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, solver="heun", recipe="measured")
    with pytest.raises(CalibrationError, match="one call a step"):
        tuner(pipe).tuned()


def test_all_calls_are_counted_and_the_shape_is_that_of_the_samples():
    pipe, told = ToyPipeline(), list[float]()
    tuning = tuner(pipe, steps=(3,), progress=lambda done, total: told.append(done)).tuned()
    assert told == sorted(told) and tuning.asked >= told[-1] > 0 and tuning.seconds > 0.0
    plans = tuning.statistics.plans
    assert isinstance(plans, Plans) and plans.sample_shape == SHAPE
    assert all(isinstance(one, TunedPlan) and one.guidance == 1.0 for one in plans.entries)
