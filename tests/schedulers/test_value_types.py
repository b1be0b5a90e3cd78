"""Values of every kind for every option and argument: ours or an error of ours, and what Diffusers takes is taken."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DEISMultistepScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.step import check_samples
from diffusers_deis_sn.core.value_types import is_real, is_whole
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import (
    ConfigurationError,
    DeisSnError,
    NoiseScheduleError,
    StatisticsMismatchError,
    StepError,
    TimestepsError,
)
from diffusers_deis_sn.schedulers._value_types import KINDS, check_asked, check_kinds, times_of
from oddities import ODD, ODDITIES, is_typed
from records import costed_record
from refusals import refused

NO_VALUES = ("self", "variance_type", "stats", "kwargs")  # the second is taken for Diffusers' sake and never used
OPTIONS = [name for name in inspect.signature(DEISSNScheduler.__init__).parameters if name not in NO_VALUES]
STATISTICS = costed_record(vp_schedule(**SD_BETAS))


def run(scheduler: Any) -> torch.Tensor:
    scheduler.set_timesteps(3)
    x = torch.ones(1, 1, 2, 2)
    for t in scheduler.timesteps:
        x = scheduler.step(0.1 * x, t, x).prev_sample
    return x


@pytest.mark.parametrize("cls", [DEISSNScheduler, ScoreOptimalScheduler])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_any_kind_is_taken_or_refused_by_name_when_a_scheduler_is_made(cls, name):
    """What is taken runs; what is refused names the option, and is refused when the scheduler is made."""
    options = {"stats": STATISTICS} if cls is ScoreOptimalScheduler else {}
    for value in ODD.values():
        try:
            scheduler = cls.from_config(cls(**SD_BETAS).config, **{**options, name: value})
        except (ConfigurationError, NoiseScheduleError, StatisticsMismatchError) as error:
            assert is_typed(error), (value, error)
            continue
        try:
            assert torch.isfinite(run(scheduler)).all(), value
        except (TimestepsError, ConfigurationError) as error:
            assert is_typed(error), (value, error)


@given(st.sampled_from(sorted(KINDS)), ODDITIES)
@settings(deadline=None, max_examples=200)
def test_kinds_of_options(name, value):
    try:
        check_kinds({name: value})
    except ConfigurationError as error:
        assert f"`{name}` " in str(error) and is_typed(error)
        assert isinstance(value, np.ndarray | torch.Tensor) or f"must be {KINDS[name].told}" in str(error)
    else:
        assert KINDS[name].holds(value)


@pytest.mark.parametrize("theirs", [DEISMultistepScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler])
def test_defaults_of_diffusers_are_of_their_kinds(theirs):
    check_kinds({name: one for name, one in theirs().config.items() if name in KINDS})


@pytest.mark.parametrize(
    "options",
    [
        {"dynamic_thresholding_ratio": 0, "thresholding": True},
        {"dynamic_thresholding_ratio": 1, "thresholding": True},
        {"sample_max_value": float("inf"), "thresholding": True},
        {"use_karras_sigmas": None, "use_flow_sigmas": None},
        {"use_karras_sigmas": np.bool_(True)},
        {"num_train_timesteps": np.int64(100), "beta_start": np.float32(0.001), "beta_end": np.float64(0.02)},
        {"flow_shift": np.float32(3.0), "use_flow_sigmas": True, "prediction_type": "flow_prediction"},
        {"solver_order": np.int64(2)},
        {"trained_betas": np.linspace(1e-4, 0.02, 1000), "beta_start": None},
        {"trained_betas": np.linspace(1e-4, 0.02, 1000).tolist(), "beta_schedule": None},
        {"guidance_scale": np.float32(7.5)},
    ],
    ids=str,
)
def test_values_of_diffusers_and_numpy_are_taken(options):
    assert torch.isfinite(run(DEISSNScheduler(**options))).all()


# ---------------------------------------------------------------------------------------------------------- arguments


ARGUMENTS = ("num_inference_steps", "device", "mu", "sigmas", "timesteps")


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("flow", [False, True])
def test_arguments_of_set_timesteps_of_any_kind(name, flow):
    model = (
        {"use_flow_sigmas": True, "use_dynamic_shifting": True, "prediction_type": "flow_prediction"}
        if flow
        else SD_BETAS
    )
    scheduler = DEISSNScheduler(**model)
    asked = {"num_inference_steps": 3, **({"mu": 1.0} if flow else {})}
    scheduler.set_timesteps(**asked)
    before = scheduler.timesteps
    for value in ODD.values():
        try:
            scheduler.set_timesteps(**asked | {name: value})
        except DeisSnError as error:
            assert is_typed(error) and isinstance(error, TimestepsError | ConfigurationError)
            assert scheduler.timesteps is before, "a run that cannot be leaves the one before"
        else:
            before = scheduler.timesteps


@pytest.mark.parametrize("name", ["model_output", "timestep", "sample"])
def test_arguments_of_step_of_any_kind(name):
    x = torch.zeros(1, 1, 2, 2)
    for value in ODD.values():
        scheduler = DEISSNScheduler(**SD_BETAS)
        scheduler.set_timesteps(3)
        given_ = {"model_output": x, "timestep": scheduler.timesteps[0], "sample": x}
        try:
            scheduler.step(**given_ | {name: value})
        except DeisSnError as error:
            assert is_typed(error) and isinstance(error, StepError)
        else:
            assert name == "timestep"


@pytest.mark.parametrize(
    "dtype", [torch.int32, torch.int64, torch.uint8, torch.bool, torch.complex64, torch.complex128]
)
def test_latents_that_are_no_real_numbers_are_refused(dtype):
    scheduler, x = DEISSNScheduler(**SD_BETAS), torch.zeros(1, 1, 2, 2, dtype=dtype)
    scheduler.set_timesteps(3)
    words = ["floating-point numbers", str(dtype).removeprefix("torch."), "Convert it first"]
    refused(StepError, ["`model_output`", *words], scheduler.step, x, scheduler.timesteps[0], x)
    refused(StepError, ["`sample`", *words], scheduler.step, x.float(), scheduler.timesteps[0], x)
    refused(StepError, words, scheduler.add_noise, x, x, torch.tensor([3]))
    assert scheduler.step_index is None, "nothing was begun"


@pytest.mark.parametrize("thresholding", [False, True])
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (0,)])
def test_an_empty_batch_stays_empty(thresholding, shape):
    scheduler, x = DEISSNScheduler(**SD_BETAS, thresholding=thresholding), torch.zeros(shape)
    scheduler.set_timesteps(3)
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x).prev_sample
    assert x.shape == shape


def test_a_begin_that_is_no_number_of_a_step_is_refused():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(3)
    for value in ("1", 1.0, [], float("nan"), object(), torch.ones(2)):
        refused(StepError, ["`begin_index`"], scheduler.set_begin_index, value)
    for value in (1, np.int64(1), torch.tensor(1), None):
        scheduler.set_begin_index(value)


def test_times_to_noise_to():
    assert times_of(3, "t") == [3] and times_of(torch.tensor([1.0, 2.0]), "t") == [1.0, 2.0]
    for value in ODD.values():
        try:
            times = times_of(value, "t")
        except TimestepsError as error:
            assert is_typed(error)
        else:
            assert times and all(math.isfinite(one) for one in times)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int32])
@pytest.mark.parametrize(
    "kind", [lambda row: row, lambda row: list(row), lambda row: row.requires_grad_(row.is_floating_point())]
)
def test_lists_of_times_are_taken_in_every_dtype_and_form(kind, dtype):
    scheduler = DEISSNScheduler()
    scheduler.set_timesteps(timesteps=kind(torch.tensor([992, 512, 8], dtype=dtype)))
    assert scheduler.timesteps.tolist() == [992, 512, 8]


@given(st.tuples(*[ODDITIES] * 3))
@settings(deadline=None, max_examples=200)
def test_whatever_is_asked_for_is_taken_or_refused(values):
    try:
        check_asked(*values)
    except (TimestepsError, ConfigurationError) as error:
        assert is_typed(error)


@given(ODDITIES)
def test_a_sample_is_a_tensor_of_floats(value):
    try:
        check_samples(x=value)
    except StepError as error:
        assert "`x` must be a tensor" in str(error)
    else:
        assert isinstance(value, torch.Tensor) and value.is_floating_point()


def test_whole_and_real_numbers():
    assert all(map(is_whole, (0, 3, np.int8(3), np.uint64(2**63)))) and not any(
        map(is_whole, (-1, 1.0, True, "1", None))
    )
    assert is_whole(3, 1, 3) and not is_whole(4, 1, 3)
    assert all(map(is_real, (0, -1.5, np.float16(2), float("inf")))) and not any(
        map(is_real, (True, np.bool_(True), float("nan"), np.nan, 10**400, 1j, "1", None, np.ones(1)))
    )
