"""What Diffusers' tests of its other deterministic schedulers ask, as laws: DPM-Solver, UniPC, Euler, EDM, Heun, iPNDM.

The constants of those solvers are theirs, and so are the tests of noise that a stochastic method draws. All else is
asked here of both classes, in every form of their config.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from benchmarks.exact.flows import DDPM_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.runge_kutta import TABLEAUX

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors
BOTH = pytest.mark.parametrize("cls", [DEISSNScheduler, ScoreOptimalScheduler])
CONFIG: dict[str, Any] = {**DDPM_BETAS, "num_train_timesteps": 1000}
EDM: dict[str, Any] = {"process": "edm", "num_train_timesteps": 256, "sigma_min": 0.002, "sigma_max": 80.0}
FLOW: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
PROCESSES = {"vp": CONFIG, "edm": EDM, "flow": FLOW}
SHAPES = {"pictures": (4, 3, 8, 8), "sounds": (4, 3, 8), "vectors": (4, 3), "videos": (1, 3, 2, 4, 4)}


def counted(shape: tuple[int, ...] = (4, 3, 8, 8), dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers from 0 to 1."""
    number = torch.Size(shape).numel()
    return (torch.arange(number) / number).reshape(shape).to(dtype)


def loop(scheduler: Any, steps: int = 10, x: Tensor | None = None) -> Tensor:
    """A run with the model x t / (t + 1) of those tests, its input scaled."""
    scheduler.set_timesteps(steps)
    x = (counted() if x is None else x) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        given = scheduler.scale_model_input(x, t)
        x = scheduler.step((given * (t / (t + 1))).to(x.dtype), t, x).prev_sample
    return x


def saved(scheduler: Any, folder: Any) -> Any:
    """The same from its saved config."""
    scheduler.save_config(folder)
    return type(scheduler).from_pretrained(folder)


# ------------------------------------------------------------------------------------- a saved config runs the same way


@BOTH
@pytest.mark.parametrize("training_times", [10, 25, 50, 100, 999, 1000])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_any_number_of_training_times_serves_for_as_many_steps(cls, training_times, final, tmp_path):
    scheduler = cls(**{**CONFIG, "num_train_timesteps": training_times}, final_sigmas_type=final)
    steps = min(25, training_times)
    result = loop(scheduler, steps)
    assert len(scheduler.timesteps) == steps and torch.isfinite(result).all()
    assert torch.equal(loop(saved(scheduler, tmp_path), steps), result)


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        *({"beta_start": start, "beta_end": end} for start, end in [(1e-5, 2e-4), (1e-4, 2e-3), (1e-3, 2e-2)]),
        *({"beta_schedule": schedule} for schedule in ("linear", "scaled_linear", "squaredcos_cap_v2")),
        *({"prediction_type": prediction} for prediction in ("epsilon", "v_prediction", "sample")),
        *({"lower_order_final": value} for value in (True, False)),
        {"rescale_betas_zero_snr": True},
    ],
    ids=str,
)
def test_options_of_the_noise_and_the_network_are_saved_and_finite(cls, options, tmp_path):
    scheduler = cls(**{**CONFIG, **options})
    result = loop(scheduler)
    assert torch.isfinite(result).all()
    assert torch.equal(loop(saved(scheduler, tmp_path)), result)


@BOTH
@pytest.mark.parametrize(
    ("order", "bound", "prediction"),
    list(itertools.product([1, 2, 3, 4], [None, 0.5, 1.0, 2.0], ["epsilon", "sample"])),
)
def test_orders_bounds_and_predictions_go_together(cls, order, bound, prediction, tmp_path):
    clamp = {"thresholding": True, "sample_max_value": bound} if bound else {}
    scheduler = cls(**CONFIG, solver_order=order, prediction_type=prediction, **clamp)
    result = loop(scheduler)
    assert torch.isfinite(result).all()
    assert torch.equal(loop(saved(scheduler, tmp_path)), result)


@BOTH
@pytest.mark.parametrize("solver", ["ipndm", *TABLEAUX])
def test_every_named_solver_goes_through_a_saved_config(cls, solver, tmp_path):
    scheduler = cls(**CONFIG, solver=solver)
    result = loop(scheduler)
    assert torch.isfinite(result).all() and torch.equal(loop(saved(scheduler, tmp_path)), result)


@BOTH
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("first", [0, 5])
def test_two_steps_from_anywhere_keep_the_shape_and_the_kind_of_result(cls, process, first):
    scheduler, x = cls(**PROCESSES[process]), counted()
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps[first : first + 2]:
        residual = 0.1 * scheduler.scale_model_input(x, t)
        assert scheduler.step(residual, t, x).prev_sample.shape == x.shape
    scheduler.set_timesteps(10)
    as_object = scheduler.step(0.1 * x, scheduler.timesteps[0], x)
    scheduler.set_timesteps(10)
    assert torch.equal(scheduler.step(0.1 * x, scheduler.timesteps[0], x, return_dict=False)[0], as_object.prev_sample)


@BOTH
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("process", PROCESSES)
def test_samples_have_any_number_of_dimensions(cls, process, shape):
    """And each element goes its own way: the run of the flattened sample is the flattened run."""
    scheduler, x = cls(**PROCESSES[process]), counted(shape)
    flat = loop(scheduler, x=x.reshape(shape[0], -1))
    assert torch.equal(loop(scheduler, x=x).reshape(shape[0], -1), flat)


@BOTH
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 50, 100, 256])
def test_edm_runs_any_number_of_steps_from_its_own_times(cls, steps, tmp_path):
    scheduler = cls(**EDM)
    result = loop(scheduler, steps)
    assert torch.isfinite(result).all() and torch.equal(loop(saved(scheduler, tmp_path), steps), result)


@BOTH
@pytest.mark.parametrize("time", [0, -1])
def test_an_edm_input_is_scaled_before_a_run_as_diffusers_scales_it(cls, time):
    ours, theirs, x = cls(**EDM), EDMEulerScheduler(num_train_timesteps=256), counted()
    scaled = theirs.scale_model_input(x, theirs.timesteps[time])
    torch.testing.assert_close(ours.scale_model_input(x, theirs.timesteps[time]), scaled)


# --------------------------------------------------------------------------------------------------- half, and clamps


@BOTH
@pytest.mark.parametrize("ratio", [0, 0.87, 1])
@pytest.mark.parametrize(("order", "prediction"), list(itertools.product([1, 2, 3], ["epsilon", "sample"])))
def test_half_precision_stays_half_with_any_quantile(cls, order, prediction, ratio):
    scheduler = cls(
        **CONFIG, thresholding=True, dynamic_thresholding_ratio=ratio, solver_order=order, prediction_type=prediction
    )
    result = loop(scheduler, x=counted(dtype=torch.float16))
    assert result.dtype == torch.float16 and torch.isfinite(result).all()


@pytest.mark.parametrize("ratio", [0, 0.87, 1])
def test_the_clamp_of_any_quantile_is_that_of_diffusers(ratio):
    """In one step to clean data the result is the clamped prediction, whatever the solver."""
    options = {"thresholding": True, "dynamic_thresholding_ratio": ratio, "sample_max_value": 1.5}
    theirs = DPMSolverMultistepScheduler(**CONFIG, **options, final_sigmas_type="zero")
    ours = DEISSNScheduler(**CONFIG, **options)
    x, output, results = 3.0 * torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), []
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(timesteps=[600])
        results.append(scheduler.step(output, scheduler.timesteps[0], x).prev_sample)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- classes


@BOTH
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_way_through_other_classes_and_back_changes_no_run(cls, prediction):
    scheduler = cls(**CONFIG, prediction_type=prediction)
    config = scheduler.config
    ways = (DPMSolverSinglestepScheduler, UniPCMultistepScheduler, DEISMultistepScheduler, EulerDiscreteScheduler)
    for other in (*ways, DPMSolverMultistepScheduler):
        config = other.from_config(config).config
    assert torch.equal(loop(cls.from_config(config)), loop(scheduler))


@pytest.mark.parametrize("grid", ["karras", "exponential", "beta"])
def test_named_grids_of_sigmas_are_those_of_diffusers_but_for_a_wasted_call(grid):
    flag = {f"use_{grid}_sigmas": True}
    theirs = DPMSolverMultistepScheduler(**CONFIG, **flag, final_sigmas_type="zero")
    ours = DEISSNScheduler(**CONFIG, **flag)
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(10)
    torch.testing.assert_close(ours.sigmas, theirs.sigmas.float(), rtol=2e-3, atol=2e-3)


# ---------------------------------------------------------------------------------------------------------- added noise


@BOTH
@pytest.mark.parametrize("process", ["vp", "flow"])
@pytest.mark.parametrize("steps", [None, 10])
def test_one_sample_at_several_times_gives_one_of_each(cls, process, steps):
    scheduler = cls(**PROCESSES[process], recipe="fixed")  # else one later time is where a run from an image begins
    x, noise = counted((1, 3, 4, 4)), torch.randn(1, 3, 4, 4)
    if steps is not None:
        scheduler.set_timesteps(steps)
    times = scheduler.timesteps[[0, 3, 7]]
    together = scheduler.add_noise(x, noise, times)
    assert together.shape == (3, 3, 4, 4)
    for row, t in zip(together, times, strict=True):
        torch.testing.assert_close(row[None], scheduler.add_noise(x, noise, t[None]))
    assert torch.equal(scheduler.scale_noise(x, times, noise), together)


@BOTH
def test_in_a_run_that_begins_later_all_have_its_level_as_of_diffusers(cls):
    x, noise, shapes = counted((1, 3, 4, 4)), torch.randn(1, 3, 4, 4), []
    for scheduler in (cls(**CONFIG), DPMSolverMultistepScheduler(**CONFIG)):
        scheduler.set_timesteps(10)
        scheduler.set_begin_index(4)
        noised = scheduler.add_noise(x, noise, scheduler.timesteps[4:5].repeat(3))
        assert torch.equal(noised[0], noised[2])
        shapes.append(noised.shape)
        several = scheduler.add_noise(x.repeat(3, 1, 1, 1), noise, scheduler.timesteps[4:5].repeat(3))
        assert torch.equal(several, noised)
    assert shapes[0] == shapes[1]


# ------------------------------------------------------------------------------------- of Heun, iPNDM and flow matching


@BOTH
@pytest.mark.parametrize("solver", ["heun", "ipndm"])
@pytest.mark.parametrize(
    "options",
    [
        *({"num_train_timesteps": number} for number in (10, 50, 100, 1000, 1100)),
        *({"prediction_type": prediction} for prediction in ("epsilon", "v_prediction")),
        *({"beta_schedule": schedule} for schedule in ("linear", "scaled_linear")),
        *({f"use_{grid}_sigmas": True} for grid in ("karras", "exponential", "beta")),
    ],
    ids=str,
)
def test_heun_and_ipndm_run_on_every_form_of_the_noise_and_from_the_middle(cls, solver, options, tmp_path):
    if cls is ScoreOptimalScheduler and any(name.startswith("use_") for name in options):
        return  # its grid is its own, as it says
    scheduler = cls(**{**CONFIG, **options}, solver=solver)
    result = loop(scheduler, 5)
    assert torch.isfinite(result).all() and torch.equal(loop(saved(scheduler, tmp_path), 5), result)
    runs = []
    for one in (scheduler, saved(scheduler, tmp_path)):
        one.set_timesteps(5)
        half = len(one.timesteps) // 2
        one.set_begin_index(half)
        x = counted()
        for t in one.timesteps[half:]:
            x = one.step(0.1 * x, t, x).prev_sample
        runs.append(x)
    assert torch.equal(*runs) and torch.isfinite(runs[0]).all()


@BOTH
@pytest.mark.parametrize("solver", ["heun", "ipndm"])
def test_a_second_run_after_the_index_is_taken_back_is_the_first_one(cls, solver):
    scheduler, runs = cls(**CONFIG, solver=solver), []
    scheduler.set_timesteps(10)
    for _ in range(2):
        x = counted()
        for t in scheduler.timesteps:
            x = scheduler.step(0.1 * x, t, x).prev_sample
        runs.append(x)
        scheduler._step_index = None
    assert torch.equal(*runs)


@BOTH
@pytest.mark.parametrize(("steps", "shift"), [(10, 1.0), (20, 3.0), (16, 3.0)])
def test_times_of_a_flow_are_found_and_noised_as_by_diffusers(cls, steps, shift):
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    ours = cls.from_config(theirs.config)
    levels = [*np.linspace(1.0, 0.9 / steps, steps)]
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(sigmas=levels)
    for place, (mine, other) in enumerate(zip(ours.timesteps, theirs.timesteps, strict=True)):
        assert ours.index_for_timestep(mine) == theirs.index_for_timestep(other) == place
    torch.testing.assert_close(ours.timesteps, theirs.timesteps, rtol=1e-5, atol=1e-3)
    x, noise = torch.randn(8, 4, 4, 4), torch.randn(8, 4, 4, 4)
    mixed = [one.scale_noise(x, one.timesteps[1:9], noise) for one in (ours, theirs)]
    torch.testing.assert_close(*mixed, rtol=1e-4, atol=1e-4)
