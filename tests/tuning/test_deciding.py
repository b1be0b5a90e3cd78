"""Who decides about plans: the pipeline's own runs, with the schedulers that everybody uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diffusers_deis_sn import calibrate
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.tuning.deciding import Jury, WithoutPlan, check_fine
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.meter import Meter
from diffusers_deis_sn.tuning.running import Running, rivals
from diffusers_deis_sn.tuning.samples import batches
from diffusers_deis_sn.tuning.teacher import Goal
from refusals import refused
from toy_models import ToyPipeline


@pytest.fixture(scope="module")
def stats():
    return calibrate(ToyPipeline(), None, 4, 25, trials=2, progress=False)


def jury(stats: Any, pipe: Any = None) -> Jury:
    pipe = ToyPipeline() if pipe is None else pipe
    config = dict(pipe.scheduler.config)
    others = rivals(config, "vp") | {"Broken": lambda: "no scheduler"}
    running = Running(pipe, batches(plan_calls(pipe, None, 4, 0, {}), list(range(4)), 4))
    return Jury(running, config, stats, others, 1.0, Meter(False, 4, 4, (4,), 3))


def test_what_there_is_without_a_plan_is_known(stats):
    before = jury(stats).without(5)
    assert before.guidance == 1.0 and before.shift == 1.0 and len(before.run) == 5
    assert "Broken" not in before.rivals and len(before.rivals) >= 4
    assert all(end.shape == before.end.shape for end in before.rivals.values())
    assert before.menu[0] is before.recipe and len(before.menu) == 1 + 3 + 3
    assert before.recipe.solver == before.menu[-1].solver
    outcome = jury(stats).outcome(before, {}, fine := jury(stats).fine(), Goal(80, 0.0))
    assert before.errors(fine) == (outcome.default.geometric, outcome.best_rival[1].geometric)


def test_a_plan_that_is_the_run_itself_is_worth_the_same(stats):
    who = jury(stats)
    before, fine = who.without(5), who.fine()
    outcome = who.checked(before, TunedPlan(before.run), fine)
    assert outcome.tuned is not None and outcome.default == Judged.of(before.end, fine)
    assert outcome.tuned.geometric == pytest.approx(outcome.default.geometric, rel=1e-4)


def test_nothing_found_is_no_plan(stats):
    who = jury(stats)
    outcome = who.outcome(who.without(4), {}, who.fine(), Goal(80, 0.0))
    assert outcome.plan is None and outcome.tuned is None and dict(outcome.tries) == {}


def test_a_plan_of_another_size_is_replaced(stats):
    who = jury(stats)
    before = who.without(4)
    other = stats.with_origin(sample_shape=None).with_plans(Plans((TunedPlan(before.run),), (9, 9, 9)))
    who.statistics = other
    assert who.with_plans(TunedPlan(before.run)).plans.sample_shape == who.shape == (2, 4, 4)


def test_a_fine_run_that_is_not_finite_is_none(stats):
    pipe = ToyPipeline()
    pipe.stepped = lambda x, t: pipe.scheduler.step(x * np.nan, t, x, return_dict=False)[0]
    with pytest.raises(CalibrationError, match="not finite"):
        jury(stats, pipe).fine()


@pytest.mark.parametrize("errors", [{5: 0.1, 8: 0.05}, {8: float("nan")}])
def test_runs_that_do_not_converge_are_no_goal_for_any_plan(errors):
    words = ["40 and of 80 steps differ by 0.3", *(f"{error:.3g} in {calls}" for calls, error in errors.items())]
    refused(CalibrationError, [*words, "`steps`"], check_fine, Goal(80, 0.1), errors)
    check_fine(Goal(80, 0.1), errors | {4: 0.11})  # each plan has to be nearer by itself


def test_equal_sigmas_of_flows_are_no_times_of_their_own():
    one = WithoutPlan.from_config(ToyPipeline("flow").scheduler.config, stats=False)
    for sigmas, given in (([1.0, 0.75, 0.5, 0.25], False), ([1.0, 0.7, 0.4, 0.1], True)):
        one.set_timesteps(sigmas=sigmas)
        assert one.given == given
    one.set_timesteps(4, torch.device("cpu"))
    assert not one.given
