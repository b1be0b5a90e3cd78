"""What Diffusers' own tests ask of every scheduler, and of DEIS, asked of both classes here in our own words.

Its test classes are no part of its package, and not copied here.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DEISMultistepScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.utils import DummyObject
from torch import Tensor

from benchmarks.exact.flows import DDPM_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.solvers import Multistep
from records import costed_record

CONFIG: dict[str, Any] = {**DDPM_BETAS, "num_train_timesteps": 1000, "solver_order": 2}
STEPS = 25
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

CASES = {
    "DEIS-SN": (DEISSNScheduler, CONFIG),
    "score-optimal, unmeasured": (ScoreOptimalScheduler, CONFIG),
    "DEIS-SN, normalised": (DEISSNScheduler, {**CONFIG, "stats": costed_record()}),
    "score-optimal": (ScoreOptimalScheduler, {**CONFIG, "stats": costed_record()}),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


@pytest.fixture
def make(case):
    cls, config = case
    return lambda **options: cls(**{**config, **options})


def picture(dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers from 0 to 1 in the order of Diffusers' tests; (4, 3, 8, 8)."""
    return (torch.arange(768).reshape(3, 8, 8, 4) / 768).permute(3, 0, 1, 2).to(dtype)


def full_loop(scheduler: Any, steps: int = 10, x: Tensor | None = None) -> Tensor:
    """A whole run with the model x t / (t + 1) of those tests."""
    scheduler.set_timesteps(steps)
    x = picture() if x is None else x
    for t in scheduler.timesteps:
        x = scheduler.step((x * (t / (t + 1))).to(x.dtype), t, x).prev_sample
    return x


# ---------------------------------------------------------------------------------------------------- of any scheduler


@pytest.mark.parametrize("time", [0, 1, 500])
def test_a_saved_config_steps_alike_even_from_a_whole_number_that_is_not_in_the_run(make, time, tmp_path):
    scheduler = make()
    scheduler.save_config(tmp_path)
    again = type(scheduler).from_pretrained(tmp_path)
    x = picture()
    outputs = []
    for one in (scheduler, again):
        one.set_timesteps(STEPS)
        outputs.append(one.step(0.1 * x, time, x).prev_sample)
    assert (outputs[0] - outputs[1]).abs().sum() < 1e-5


def test_every_compatible_class_takes_the_config_and_gives_it_back(make):
    scheduler = make()
    others = [other for other in scheduler.compatibles if not isinstance(other, DummyObject)]
    assert len(others) >= 13
    for other in others:
        there = other.from_config(scheduler.config)
        back = type(scheduler).from_config(there.config)
        shared = {key: value for key, value in back.config.items() if key in scheduler.config}
        assert shared == dict(scheduler.config), other
        added = back.config.keys() - scheduler.config.keys()
        assert not added & inspect.signature(type(scheduler).__init__).parameters.keys(), other


def test_saving_and_loading_adds_nothing_to_the_config(make, tmp_path):
    scheduler = make(stats=None)
    scheduler.save_pretrained(tmp_path)
    expected = {key: value for key, value in scheduler.config.items() if key != "_use_default_values"}
    loaded = type(scheduler).from_pretrained(tmp_path)
    assert {key: value for key, value in loaded.config.items() if key != "_use_default_values"} == expected
    assert "_use_default_values" in scheduler.config  # Diffusers' test deletes it


@pytest.mark.parametrize("first", [0, 5])
def test_steps_keep_the_shape(make, first):
    scheduler = make()
    scheduler.set_timesteps(STEPS)
    x = torch.rand(4, 3, 8, 8)
    for t in scheduler.timesteps[first : first + 2]:
        assert scheduler.step(0.1 * x, t, x).prev_sample.shape == x.shape


def test_a_tuple_holds_what_the_object_holds_and_planning_forgets_the_run_before(make):
    scheduler, x = make(), picture()
    scheduler.set_timesteps(50)
    as_object = scheduler.step(0.1 * x, 0, x)
    scheduler.set_timesteps(50)
    as_tuple = scheduler.step(0.1 * x, 0, x, return_dict=False)
    assert torch.equal(as_object.prev_sample, as_tuple[0]) and len(as_tuple) == len(as_object.keys()) == 1


def test_the_public_interface(make):
    scheduler, x = make(), torch.rand(2, 3)
    assert scheduler.init_noise_sigma == 1.0
    assert torch.equal(scheduler.scale_model_input(x, 0.0), x)
    assert callable(scheduler.step) and len(scheduler) == 1000 and scheduler.order == 1


def test_noise_is_added_at_one_of_the_times_of_a_run(make):
    scheduler, x = make(), torch.rand(4, 3, 8, 8)
    scheduler.set_timesteps(100)
    noised = scheduler.add_noise(x, torch.randn_like(x), scheduler.timesteps[5][None])
    assert noised.shape == x.shape and noised.device == x.device


def test_there_are_no_catch_all_arguments(case):
    parameters = inspect.signature(case[0].__init__).parameters.values()
    assert all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters)


def test_trained_betas_survive_although_there_are_fewer_than_training_times(make, tmp_path):
    scheduler = make(trained_betas=np.array([0.1, 0.3]), stats=None)
    scheduler.save_pretrained(tmp_path)
    assert scheduler.betas.tolist() == type(scheduler).from_pretrained(tmp_path).betas.tolist()
    assert scheduler.betas.tolist() == pytest.approx([0.1, 0.3])


def test_attributes_config_values_and_unknown_names_are_told_apart(make):
    scheduler = make()
    scheduler.dummy_attribute = 5
    scheduler.register_to_config(test_attribute=5)
    assert scheduler.dummy_attribute == 5 and scheduler.config.test_attribute == 5
    with pytest.warns(FutureWarning, match="Accessing config attribute `test_attribute` directly"):
        assert scheduler.test_attribute == 5
    with pytest.raises(AttributeError, match=f"'{type(scheduler).__name__}' object has no attribute 'does_not_exist'"):
        scheduler.does_not_exist  # noqa: B018


# ------------------------------------------------------------------------------------------------------ of DEIS's tests

# Diffusers' DEIS, as options of ours.
THEIRS = {"solver": Multistep(2, "log_rho"), "timestep_spacing": "linspace", "final_sigmas_type": "sigma_min"}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_whole_run_is_that_of_diffusers(prediction_type):
    theirs = DEISMultistepScheduler(**CONFIG, prediction_type=prediction_type)
    ours = DEISSNScheduler(**CONFIG, **THEIRS, prediction_type=prediction_type)
    assert full_loop(ours).abs().mean().item() == pytest.approx(full_loop(theirs).abs().mean().item(), abs=1e-4)


def test_a_run_from_added_noise_is_that_of_diffusers():
    sums = []
    for scheduler in (DEISMultistepScheduler(**CONFIG), DEISSNScheduler(**CONFIG, **THEIRS)):
        scheduler.set_timesteps(10)
        noise = picture().flip(-1)
        times = scheduler.timesteps[8:]
        x = scheduler.add_noise(picture(), noise, times[:1])
        for t in times:
            x = scheduler.step(x * (t / (t + 1)), t, x).prev_sample
        sums.append(x.abs().sum().item())
    assert sums[1] == pytest.approx(sums[0], abs=1e-2)


def test_a_chain_of_classes_changes_no_run(make):
    scheduler = make()
    before = full_loop(scheduler)
    config = scheduler.config
    for other in (DPMSolverMultistepScheduler, UniPCMultistepScheduler, DEISMultistepScheduler):
        config = other.from_config(config).config
    assert torch.equal(full_loop(type(scheduler).from_config(config)), before)


@pytest.mark.parametrize("training_times", [25, 50, 100, 999, 1000])
def test_as_many_steps_as_training_times(training_times):
    for cls in (DEISSNScheduler, ScoreOptimalScheduler):
        assert torch.isfinite(full_loop(cls(**{**CONFIG, "num_train_timesteps": training_times}), 25)).all()


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("bound", [None, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("prediction_type", ["epsilon", "sample"])
def test_past_outputs_may_be_overwritten_after_planning(make, order, bound, prediction_type, tmp_path):
    options = {"solver": Multistep(order), "prediction_type": prediction_type, "stats": None}
    options |= {"thresholding": True, "sample_max_value": bound} if bound else {}
    scheduler = make(**options)
    scheduler.save_config(tmp_path)
    again = type(scheduler).from_pretrained(tmp_path)
    x = torch.rand(4, 3, 8, 8)
    runs = []
    for one in (scheduler, again):
        one.set_timesteps(STEPS)
        assert len(one.model_outputs) == order
        one.model_outputs = [0.1 * x + past for past in (0.2, 0.15, 0.1)][:order]
        y = x
        for t in one.timesteps[: order + 1]:
            y = one.step(0.1 * x, t, y).prev_sample
        runs.append(y)
    assert torch.equal(*runs) and torch.isfinite(runs[0]).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 50, 100, 999, 1000])
def test_any_number_of_steps_from_the_time_zero(steps):
    scheduler, x = DEISSNScheduler(**CONFIG), picture()
    scheduler.set_timesteps(steps)
    assert torch.isfinite(scheduler.step(0.1 * x, 0, x).prev_sample).all()


def test_half_precision_stays_half_precision_with_thresholding_too(make):
    scheduler = make(thresholding=True, dynamic_thresholding_ratio=1e-6, stats=None)
    assert full_loop(scheduler, x=picture(torch.float16)).dtype == torch.float16
