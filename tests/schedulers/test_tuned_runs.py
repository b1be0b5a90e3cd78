"""Plans of a model in its scheduler: which runs take one, that they are those of the plan, and which are left alone."""

from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe, sample
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import run_between
from diffusers_deis_sn.core.tuned_later import levels_inside
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError, StatisticsMismatchError, StepError
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from records import costed_record, edm_record, gaussian_record
from tiny_pipelines.studio import Studio

VP = vp_schedule(**SD_BETAS)
SHAPE = (3, 4, 4)


def fitted(process: NoiseSchedule = VP, calls: int = 5, prediction: str = "epsilon", **changes: Any) -> Tuned:
    """Numbers that no recipe has."""
    plan = Recipe(process, Whole(Power("t", 1.3)), Multistep(2, of="data"), prediction=prediction).plan(calls)
    tuned = Tuned.of_plan(plan)
    return replace(tuned, weights=1.01 * tuned.weights, low=0.02 * tuned.weights, **changes)


def statistics(*plans: TunedPlan, record: ScoreStatistics | None = None) -> ScoreStatistics:
    some = plans or (TunedPlan(fitted(), 3.0),)
    return (costed_record(VP) if record is None else record).with_plans(Plans(some, SHAPE))


def scheduler(**options: Any) -> DEISSNScheduler:
    return DEISSNScheduler(**{**SD_BETAS, "stats": statistics(), "guidance_scale": 3.0} | options)


def plan_of(one: Any, steps: int = 5) -> TunedPlan | None:
    one.set_timesteps(steps)
    found: TunedPlan | None = one.plan
    return found


def network(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.tanh(x * 1.3) * (0.5 + 0.2 * np.cos(t))


def run(one: Any, x: torch.Tensor, steps: int = 5) -> torch.Tensor:
    one.set_timesteps(steps)
    for t in one.timesteps:
        x = one.step(network(one.scale_model_input(x, t), float(t)), t, x, return_dict=False)[0]
    return x


def noise() -> torch.Tensor:
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))


def test_a_run_with_a_plan_is_that_of_the_plan():
    one, tuned = scheduler(), fitted()
    plan = tuned.plan(VP, "epsilon")
    assert torch.equal(run(one, noise()), sample(plan, network, noise()))
    assert one.plan == TunedPlan(tuned, 3.0) and one.method is None and one.spacing == "Tuned"
    assert one.timesteps.tolist() == list(plan.times) and one.recipe.grid is one.recipe.solver
    assert len(one.timesteps) == one.num_inference_steps == 5


@pytest.mark.parametrize(
    "options",
    [
        {"tuned": False},
        {"recipe": "fixed"},
        {"solver_order": 3},
        {"use_karras_sigmas": True},
        {"guidance_scale": 7.5},
        {"guidance_scale": 1.0},
        {"thresholding": True},
        {"stats": costed_record(VP)},
    ],
    ids=str,
)
def test_runs_that_it_was_not_fitted_for_are_as_ever(options):
    one = scheduler(**options)
    same = scheduler(**options | {"stats": costed_record(VP)})
    assert plan_of(one) is None
    assert torch.equal(run(one, noise()), run(same, noise()))


def test_other_numbers_of_steps_and_given_times_are_as_ever():
    one = scheduler()
    assert plan_of(one, 4) is None and plan_of(one, 6) is None and plan_of(one, 5) is not None
    one.set_timesteps(timesteps=[900, 700, 500, 300, 100])
    assert one.plan is None
    assert plan_of(ScoreOptimalScheduler(**SD_BETAS, stats=statistics(), guidance_scale=3.0)) is None


def test_where_nobody_says_the_guidance_a_plan_without_sisters_serves():
    assert plan_of(DEISSNScheduler(**SD_BETAS, stats=statistics())) is not None
    two = statistics(TunedPlan(fitted(), 3.0), TunedPlan(fitted(), 1.0))
    assert plan_of(DEISSNScheduler(**SD_BETAS, stats=two)) is None
    assert plan_of(DEISSNScheduler(**SD_BETAS, stats=two, guidance_scale=1.0)).guidance == 1.0


def test_between_two_guidances_a_run_lies_between_their_plans():
    two = statistics(TunedPlan(fitted(), 3.0), TunedPlan(replace(fitted(), transfer=0.9 * fitted().transfer), 7.0))
    one = DEISSNScheduler(**SD_BETAS, stats=two, guidance_scale=4.0)
    found = plan_of(one)
    assert found is not None and found.guidance == 4.0
    np.testing.assert_allclose(found.run.transfer, 0.975 * fitted().transfer)
    for guidance in (2.0, 7.5, 12.0):
        assert plan_of(DEISSNScheduler(**SD_BETAS, stats=two, guidance_scale=guidance)) is None


def test_between_two_numbers_of_steps_a_run_lies_between_their_plans():
    six, eight = (TunedPlan(fitted(calls=calls), 3.0) for calls in (6, 8))
    one = scheduler(stats=statistics(six, eight))
    assert plan_of(one, 6) == six and plan_of(one, 8) == eight
    found = plan_of(one, 7)
    assert found is not None and found.calls == len(one.timesteps) == 7
    plain = scheduler(stats=costed_record(VP))
    plain.set_timesteps(7)
    exact = partial(Tuned.of_recipe, plain.recipe)
    assert found.run == run_between(six.run, eight.run, 7, VP, exact)
    assert torch.equal(run(one, noise(), 7), sample(found.run.plan(VP, "epsilon"), network, noise()))
    for steps in (5, 9):
        assert plan_of(one, steps) is None
    for options in ({"tuned": False}, {"solver_order": 3}, {"guidance_scale": 7.5}):
        assert plan_of(scheduler(stats=statistics(six, eight), **options), 7) is None
    wide = statistics(TunedPlan(fitted(calls=5), 3.0), eight)
    assert plan_of(scheduler(stats=wide), 7) is None


def test_other_processes_have_plans_of_theirs():
    edm = EDMSchedule()
    one = DEISSNScheduler(process="edm", stats=statistics(TunedPlan(fitted(edm)), record=edm_record()))
    start = 0.5 * edm.top
    low = fitted(edm)
    low = replace(
        low, rho=np.append(start, low.rho[1:]), times=np.append(edm.call_times(np.array([start])), low.times[1:])
    )
    low = replace(low, told=low.times)
    assert plan_of(one) is not None and one.init_noise_sigma == pytest.approx(edm.start_scale(edm.top))
    one.set_stats(statistics(TunedPlan(low), record=edm_record()))
    assert plan_of(one) is not None and one.init_noise_sigma == pytest.approx(edm.start_scale(start))


def flow(**options: Any) -> DEISSNScheduler:
    """A flow with a plan of shift 3."""
    flow = FlowSchedule()
    record = gaussian_record(flow).with_origin(prediction_type="flow_prediction")
    plans = [TunedPlan(fitted(flow, calls, "flow_prediction", shift=3.0)) for calls in (5, 8)]
    base = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "stats": statistics(*plans, record=record)}
    return DEISSNScheduler(**base | options)


def test_at_another_shift_a_plan_keeps_its_own_times_which_is_said_once(caplog):
    own = flow(flow_shift=3.0)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        assert plan_of(own) is not None and not caplog.messages
        other = flow(flow_shift=1.0)
        for _ in range(2):
            assert plan_of(other) == own.plan
    assert other.timesteps.tolist() == own.timesteps.tolist()
    (said,) = caplog.messages
    assert "fitted at shift 3" in said and "at shift 1" in said and "tuned=False" in said
    assert plan_of(flow(flow_shift=1.0, tuned=False)) is None


def test_a_shift_by_resolution_leaves_a_plan_its_times():
    moving = flow(use_dynamic_shifting=True)
    for mu in (np.log(3.0), np.log(2.0)):
        moving.set_timesteps(sigmas=np.linspace(1.0, 1.0 / 5, 5).tolist(), mu=float(mu))
        assert moving.plan is not None and moving.plan.run.shift == 3.0
    with pytest.raises(ConfigurationError, match="`mu`"):
        moving.set_timesteps(5)


def test_a_run_from_an_image_starts_where_the_shift_of_the_run_says():
    one = from_image(flow(flow_shift=1.0), 8, 2)
    plain = from_image(flow(flow_shift=1.0, tuned=False), 8, 2)
    assert one.spacing == "Inside" and one.sigmas[2] == plain.sigmas[2]
    assert one.sigmas[3:-1].tolist() != plain.sigmas[3:-1].tolist()


def test_plans_of_another_model_are_refused():
    other = statistics(TunedPlan(fitted(vp_schedule())))
    with pytest.raises(StatisticsMismatchError, match="another noise schedule"):
        DEISSNScheduler(**SD_BETAS, stats=other)


@pytest.mark.parametrize("shape", [(3, 6, 4), (3, 5, 7), (1, 4, 4)])
def test_samples_of_another_size_take_the_plan_which_is_said_once(shape, caplog):
    one, tuned = scheduler(), fitted()
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(7))
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        assert torch.equal(run(one, noise()), sample(tuned.plan(VP, "epsilon"), network, noise()))
        assert not caplog.messages
        for _ in range(2):
            assert torch.equal(run(one, x), sample(tuned.plan(VP, "epsilon"), network, x))
        run(scheduler(tuned=False), x)
    (said,) = caplog.messages
    assert str(SHAPE) in said and str(shape) in said and "tuned=False" in said


def test_samples_without_bands_are_refused_with_a_remedy():
    one = scheduler()
    one.set_timesteps(5)
    x = torch.zeros(2, 7)
    with pytest.raises(StepError, match="tuned=False"):
        one.step(x, one.timesteps[0], x)


def test_the_option_is_true_or_false():
    with pytest.raises(ConfigurationError, match="`tuned`"):
        scheduler(tuned="yes")


def test_plans_go_with_a_saved_scheduler(tmp_path):
    one = scheduler()
    one.save_pretrained(tmp_path)
    again = DEISSNScheduler.from_pretrained(tmp_path)
    assert again.statistics == one.statistics
    for copied in (again, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(run(copied, noise()), run(one, noise())) and copied.plan == one.plan
    off = DEISSNScheduler.from_config(one.config, tuned=False)
    back = DEISSNScheduler.from_config(DPMSolverMultistepScheduler.from_config(off.config).config)
    assert plan_of(back) is None and "tuned" not in DPMSolverMultistepScheduler.from_config(off.config).config
    assert plan_of(DEISSNScheduler.from_config(back.config, tuned=True)) is not None


def test_other_statistics_end_the_plan():
    one = scheduler()
    assert plan_of(one) is not None
    one.set_stats(costed_record(VP))
    assert one.plan is None and plan_of(one) is None


@cache
def room(name: str) -> Studio:
    return Studio(name)


def from_image(one: Any, steps: int, begin: int) -> Any:
    """A scheduler whose run begins later, as image-to-image pipelines have it."""
    one.set_timesteps(steps)
    one.set_begin_index(begin)
    one.add_noise(noise(), noise(), one.timesteps[begin : begin + 1])
    return one


def later(one: Any, x: torch.Tensor) -> torch.Tensor:
    for t in one.timesteps[one.begin_index :]:
        x = one.step(network(one.scale_model_input(x, t), float(t)), t, x, return_dict=False)[0]
    return x


TWO = (TunedPlan(fitted(calls=8), 3.0), TunedPlan(fitted(calls=10), 3.0))


@pytest.mark.parametrize(("steps", "begin"), [(10, 2), (10, 4), (8, 1), (12, 6), (20, 10), (30, 18)])
def test_a_run_from_an_image_has_times_inside_the_plans_and_the_weights_of_the_options(steps, begin):
    one = from_image(scheduler(stats=statistics(*TWO)), steps, begin)
    plain = from_image(scheduler(stats=costed_record(VP)), steps, begin)
    assert one.plan is None and one.spacing == "Inside" and one.method is None
    assert len(one.timesteps) == len(plain.timesteps) == steps
    assert one.timesteps[: begin + 1].tolist() == plain.timesteps[: begin + 1].tolist()
    assert torch.all(one.timesteps.diff() < 0)
    start = float(one.recipe.process.rho(float(one.timesteps[begin])))
    inside = levels_inside([each.run for each in TWO], start, steps - begin, VP)
    np.testing.assert_array_equal(one.recipe.grid.values[begin:], inside)
    over = plain.recipe.over(inside)  # exact weights, as of a run that is no part of another one
    torch.testing.assert_close(later(one, noise()), sample(over, network, noise()))


def test_a_run_from_an_image_at_full_strength_is_the_plan():
    one = from_image(scheduler(stats=statistics(*TWO)), 10, 0)
    assert one.plan == TWO[1]
    assert torch.equal(later(one, noise()), sample(TWO[1].run.plan(VP, "epsilon"), network, noise()))


@pytest.mark.parametrize(
    "options",
    [
        {"tuned": False},
        {"recipe": "fixed"},
        {"solver_order": 3},
        {"use_karras_sigmas": True},
        {"guidance_scale": 7.5},
        {"thresholding": True},
        {"recipe": "measured", "final_sigmas_type": "sigma_min"},
    ],
    ids=str,
)
def test_runs_from_an_image_that_take_no_plan_are_as_ever(options):
    one = from_image(scheduler(stats=statistics(*TWO), **options), 10, 4)
    same = from_image(scheduler(stats=costed_record(VP), **options), 10, 4)
    assert one.spacing != "Inside"
    assert one.timesteps.tolist() == same.timesteps.tolist()
    assert torch.equal(later(one, noise()), later(same, noise()))


@pytest.mark.parametrize(("steps", "begin"), [(10, 5), (8, 4), (100, 10)])
def test_too_few_or_too_many_calls_from_an_image_follow_the_options_which_is_said_once(steps, begin, caplog):
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        one = scheduler(stats=statistics(*TWO))
        for _ in range(2):
            from_image(one, steps, begin)
    same = from_image(scheduler(stats=costed_record(VP)), steps, begin)
    assert one.timesteps.tolist() == same.timesteps.tolist() and one.spacing != "Inside"
    assert sum("No plan is used in this run from an image" in message for message in caplog.messages) == (
        steps in (8, 10)
    )


def test_a_run_from_an_image_that_begins_elsewhere_is_planned_anew():
    one = from_image(scheduler(stats=statistics(*TWO)), 20, 10)
    one.set_begin_index(8)
    one.add_noise(noise(), noise(), one.timesteps[8:9])
    same = from_image(scheduler(stats=statistics(*TWO)), 20, 8)
    assert one.timesteps.tolist() == same.timesteps.tolist()


def test_a_flow_and_other_processes_have_times_inside_their_plans_too():
    edm = EDMSchedule()
    plans = [TunedPlan(fitted(edm, calls=calls)) for calls in (8, 10)]
    one = from_image(DEISSNScheduler(process="edm", stats=statistics(*plans, record=edm_record())), 10, 2)
    assert one.spacing == "Inside" and torch.all(one.sigmas.diff() < 0)


@pytest.mark.parametrize("name", ["sd_img2img", "sdxl_img2img"])
def test_a_run_from_an_image_is_that_of_the_options_which_is_said_once(name, caplog):
    studio = room(name)
    size = 12.0
    stats = statistics(*(TunedPlan(fitted(), guidance) for guidance in (1.0, 5.0, 7.5, size)))
    one, fixed = (
        DEISSNScheduler.from_config(studio.config, **SD_BETAS, stats=stats, recipe=kind) for kind in (None, "fixed")
    )
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        for _ in range(2):
            assert torch.equal(studio.run(one, 5, strength=0.6), studio.run(fixed, 5, strength=0.6))
            assert one.plan is None
    assert sum("No plan is used in this run from an image" in message for message in caplog.messages) == 1
