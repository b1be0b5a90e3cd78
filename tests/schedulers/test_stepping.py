"""What Diffusers pipelines and people who swap schedulers rely on."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DDPMWuerstchenScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    IPNDMScheduler,
    PNDMScheduler,
)
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS, Gaussian
from benchmarks.exact.runs import start_noise
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.coefficients import INTERPOLATIONS
from diffusers_deis_sn.core.grids import FINAL_SIGMAS, Power
from diffusers_deis_sn.core.named_grids import FREE_EXPONENT, INTEGER_SPACINGS, SPACINGS, named_grid
from diffusers_deis_sn.core.prediction import PREDICTION_TYPES
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError, StatisticsMismatchError, StepError
from diffusers_deis_sn.hub.download import HubOptions
from diffusers_deis_sn.schedulers._from_config import SHIFTS
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.schedulers._typed import FromConfig
from oracles import named
from records import gaussian_record
from trace_syncs import trace

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

SD15 = {  # scheduler/scheduler_config.json of Stable Diffusion 1.5
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    **SD_BETAS,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
SDXL = {  # that of Stable Diffusion XL
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    **SD_BETAS,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
# Every grid that has a name, as options: those with an exponent are values.
GRIDS = {spacing: {"grid": named_grid(spacing)} if spacing in FREE_EXPONENT else named(spacing) for spacing in SPACINGS}
FOREIGN = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)


def stats(**config):
    noise = DEISSNScheduler(**{**SD_BETAS, **config}).noise
    return gaussian_record(noise)


def run(scheduler, x: torch.Tensor, begin: int = 0) -> torch.Tensor:
    """Whatever a network says, from the step `begin` on."""
    for t in scheduler.timesteps[begin:]:
        x = scheduler.step(torch.tanh(x) * (1.0 + 1e-3 * float(t)), t, x).prev_sample
    return x


# ------------------------------------------------------------------------------------------------ names and signatures


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("set_timesteps", ["num_inference_steps", "device", "mu", "sigmas", "timesteps"]),
        ("step", ["model_output", "timestep", "sample", "generator", "return_dict"]),
        ("scale_model_input", ["sample", "timestep"]),
        ("add_noise", ["original_samples", "noise", "timesteps"]),
        ("scale_noise", ["sample", "timestep", "noise"]),
        ("set_begin_index", ["begin_index"]),
        ("index_for_timestep", ["timestep"]),
    ],
)
def test_signatures_have_the_names_that_pipelines_inspect(method, names):
    parameters = list(inspect.signature(getattr(DEISSNScheduler, method)).parameters)[1:]
    assert parameters[: len(names)] == names


def test_attributes_that_pipelines_read():
    scheduler = DEISSNScheduler()
    assert scheduler.order == 1 and scheduler.init_noise_sigma == 1.0 and len(scheduler) == 1000
    assert scheduler.begin_index is None and scheduler.step_index is None
    assert scheduler.config.num_train_timesteps == 1000 and scheduler.config.steps_offset == 0
    assert scheduler.config.variance_type is None
    assert set(FOREIGN) <= {cls.__name__ for cls in scheduler.compatibles}
    assert isinstance(scheduler, SchedulerMixin)


def test_an_option_is_known_wherever_options_are_listed():
    """To the constructors, which have one signature, to the options that runs are made of, and to type checkers."""
    one, other = (inspect.signature(kind.__init__) for kind in (DEISSNScheduler, ScoreOptimalScheduler))
    assert one == other
    known = set(one.parameters) - {"self", "stats"}
    typed = set(FromConfig.__annotations__)
    assert {one.name for one in fields(Options)} == known - {"variance_type"}  # which runs have no use for
    of_statistics = {"base_model", "index", "subfolder", "revision", *(one.name for one in fields(HubOptions))}
    of_flow_matching = {"shift", *SHIFTS}  # its name of flow_shift, and what pipelines read from the config
    assert typed == known | of_statistics | of_flow_matching


@pytest.mark.parametrize("config", [DDPM_BETAS, SD_BETAS, {"beta_schedule": "squaredcos_cap_v2"}], ids=str)
def test_training_code_finds_the_whole_process(config):
    ours, theirs = DEISSNScheduler(**config), DDPMScheduler(**config)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    assert torch.allclose(ours.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-4, atol=1e-7)
    assert torch.allclose(ours.betas, theirs.betas, rtol=1e-4, atol=1e-7)


# -------------------------------------------------------------------------------------------------------------- a run


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("final", FINAL_SIGMAS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_n_steps_are_n_calls(spacing, final, steps):
    scheduler = DEISSNScheduler(**SD_BETAS, **GRIDS[spacing], final_sigmas_type=final, recipe="fixed")
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) == scheduler.num_inference_steps == steps and len(scheduler.sigmas) == steps + 1
    assert torch.all(scheduler.timesteps[1:] < scheduler.timesteps[:-1])
    assert torch.all(scheduler.sigmas[1:] < scheduler.sigmas[:-1])
    assert scheduler.sigmas.device.type == "cpu"
    whole = spacing in INTEGER_SPACINGS or torch.equal(scheduler.timesteps, scheduler.timesteps.round())
    assert scheduler.timesteps.dtype == (torch.int64 if whole else torch.float32)
    run(scheduler, start_noise(2))
    assert scheduler.step_index == steps


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_any_grid_at_whole_times_where_a_network_takes_no_others(spacing, steps):
    own, whole = (DEISSNScheduler(**SD_BETAS, **GRIDS[spacing], whole_timesteps=one) for one in (False, True))
    for scheduler in (own, whole):
        scheduler.set_timesteps(steps)
    assert whole.timesteps.dtype == torch.int64 and torch.all(whole.timesteps[1:] < whole.timesteps[:-1])
    crowded = whole.timesteps < 2 * steps  # where there are fewer whole times than calls, they move up
    assert torch.all((whole.timesteps - own.timesteps).abs()[~crowded] <= 0.5)


def test_positional_number_and_keyword_device():
    scheduler = DEISSNScheduler(recipe="fixed")
    scheduler.set_timesteps(4, device=torch.device("cpu"))
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    scheduler.set_timesteps(4, device="meta")
    assert scheduler.timesteps.device.type == "meta" and scheduler.sigmas.device.type == "cpu"


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_custom_timesteps_are_honoured(kind):
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(timesteps=kind([999, 500, 20]))
    assert scheduler.timesteps.tolist() == [999, 500, 20] and scheduler.timesteps.dtype == torch.int64
    scheduler.set_timesteps(timesteps=kind([998.5, 500.0, 20.25]))
    assert scheduler.timesteps.tolist() == [998.5, 500.0, 20.25]
    assert len(scheduler.sigmas) == 4 and scheduler.sigmas[-1] == 0.0


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_custom_sigmas_are_honoured(kind):
    scheduler = DEISSNScheduler(**SD_BETAS)
    values = [12.5, 3.0, 0.25]
    for given_sigmas in (values, [*values, 0.0]):
        scheduler.set_timesteps(sigmas=kind(given_sigmas))
        assert scheduler.sigmas.tolist() == [*values, 0.0] and scheduler.num_inference_steps == 3
    assert scheduler.noise.rho(scheduler.timesteps.double().numpy()) == pytest.approx(values, rel=1e-6)


def test_a_grid_handed_back_by_hand_gives_the_same_run():
    one, other = DEISSNScheduler(**SD_BETAS, stats=stats()), DEISSNScheduler(**SD_BETAS, stats=stats())
    one.set_timesteps(9)
    other.set_timesteps(timesteps=one.timesteps.tolist())
    assert torch.equal(run(one, start_noise(2)), run(other, start_noise(2)))
    other.set_timesteps(sigmas=one.sigmas.tolist())  # in float32: the times are whole but for rounding, so whole
    assert torch.equal(other.timesteps, one.timesteps) and other.timesteps.dtype == torch.int64
    assert torch.allclose(run(other, start_noise(2)), run_again(one), atol=1e-4)


def run_again(scheduler):
    scheduler.set_timesteps(scheduler.num_inference_steps)
    return run(scheduler, start_noise(2))


@pytest.mark.parametrize("recipe", ["fixed", "measured"])
def test_set_timesteps_forgets_the_run_before(recipe):
    scheduler = DEISSNScheduler(**SD_BETAS, recipe=recipe)
    scheduler.set_timesteps(6)
    fresh = run(scheduler, start_noise(2))
    for spoil in (lambda: None, lambda: scheduler.set_begin_index(3), lambda: half_a_run(scheduler)):
        scheduler.set_timesteps(6)
        spoil()
        scheduler.set_timesteps(6)
        assert scheduler.step_index is None and scheduler.begin_index is None
        assert scheduler.model_outputs == [None] * scheduler._plan.table.order
        assert torch.equal(run(scheduler, start_noise(2)), fresh)


def half_a_run(scheduler):
    x = start_noise(2)
    for t in scheduler.timesteps[:3]:
        x = scheduler.step(x, t, x).prev_sample


def test_return_value():
    outcomes = []
    for return_dict in (True, False):
        scheduler = DEISSNScheduler()
        scheduler.set_timesteps(3)
        outcomes.append(scheduler.step(start_noise(2), 999, start_noise(2, seed=1), return_dict=return_dict))
    assert isinstance(outcomes[1], tuple) and len(outcomes[1]) == 1
    assert torch.equal(outcomes[0].prev_sample, outcomes[1][0]) and torch.equal(outcomes[0][0], outcomes[1][0])


@pytest.mark.parametrize("number", [int, float, torch.tensor, lambda t: torch.tensor([t]), lambda t: np.int64(t)])
def test_timesteps_of_any_number_type(number):
    scheduler = DEISSNScheduler(recipe="fixed")
    scheduler.set_timesteps(3)
    x = start_noise(2)
    for t in (999, 666, 332):
        x = scheduler.step(x, number(t), x).prev_sample
    assert scheduler.step_index == 3


def test_arguments_that_some_pipelines_always_pass():
    scheduler = DEISSNScheduler()
    scheduler.set_timesteps(2)
    x, generator = start_noise(2), torch.Generator()
    step = scheduler.step(x, 999, x, generator=[generator], eta=0.0, use_clipped_model_output=True, return_dict=False)
    assert step[0].shape == x.shape
    assert scheduler.scale_model_input(x, 0.0) is x


def test_a_learned_variance_is_dropped():
    one, other = DEISSNScheduler(), DEISSNScheduler(variance_type="learned_range")
    x, eps = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for scheduler in (one, other):
        scheduler.set_timesteps(4)
    with_variance = torch.cat([eps, torch.full_like(eps, float("nan"))], dim=1)
    assert torch.equal(one.step(eps, 999, x).prev_sample, other.step(with_variance, 999, x).prev_sample)


def test_the_networks_own_memory_is_not_kept():
    """Compiled networks write each output to the same place."""
    one, other = DEISSNScheduler(), DEISSNScheduler()
    x, y, buffer = start_noise(2), start_noise(2), torch.empty(2, 64, dtype=torch.float64)
    for scheduler in (one, other):
        scheduler.set_timesteps(5)
    for t in one.timesteps:
        x = one.step(torch.tanh(x), t, x).prev_sample
        buffer.copy_(torch.tanh(y))
        y = other.step(buffer, t, y).prev_sample
    assert torch.equal(x, y)


# ------------------------------------------------------------------------------------ runs that start half-way, noising


@pytest.mark.parametrize("begin", [1, 4, 9])
def test_a_run_that_begins_half_way_is_a_run_over_what_is_left(begin):
    scheduler, rest = (DEISSNScheduler(**SD_BETAS, stats=stats(), solver_order=3) for _ in range(2))
    scheduler.set_timesteps(10)
    rest.set_timesteps(timesteps=scheduler.timesteps[begin:].tolist())
    expected = run(rest, start_noise(2))
    scheduler.set_begin_index(begin)
    assert scheduler.begin_index == begin
    assert torch.allclose(run(scheduler, start_noise(2), begin), expected, atol=1e-12)
    scheduler.set_timesteps(10)  # and without set_begin_index the first timestep says where
    assert torch.allclose(run(scheduler, start_noise(2), begin), expected, atol=1e-12)


def test_noise_is_added_as_alpha_and_sigma_say():
    scheduler = DEISSNScheduler(**SD_BETAS)
    x0, eps = start_noise(3), start_noise(3, seed=1)
    times = torch.tensor([999, 500, 0])
    alpha_squared = DDPMScheduler(**SD_BETAS).alphas_cumprod.double()[times]
    expected = alpha_squared.sqrt()[:, None] * x0 + (1 - alpha_squared).sqrt()[:, None] * eps
    assert torch.allclose(scheduler.add_noise(x0, eps, times), expected, atol=1e-5)
    assert torch.equal(scheduler.scale_noise(x0, times, eps), scheduler.add_noise(x0, eps, times))
    between = scheduler.add_noise(x0[:1], eps[:1], torch.tensor([499.5]))
    assert torch.all((between - scheduler.add_noise(x0[:1], eps[:1], torch.tensor([499]))).abs() < 0.01)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_noising_keeps_dtype_and_shape(dtype):
    scheduler = DEISSNScheduler(**SD_BETAS)
    x0 = torch.randn(2, 4, 8, 8).to(dtype)
    for begin in (None, 3):
        scheduler.set_timesteps(10)
        if begin:
            scheduler.set_begin_index(begin)
        noisy = scheduler.add_noise(x0, torch.randn(2, 4, 8, 8), scheduler.timesteps[3:4])
        assert noisy.dtype == dtype and noisy.shape == x0.shape
    assert not torch.equal(noisy, x0)


def test_image_to_image_starts_at_the_level_of_its_first_step():
    scheduler = DEISSNScheduler(**SD_BETAS, use_exponential_sigmas=True)
    x0, eps = start_noise(2), start_noise(2, seed=1)
    scheduler.set_timesteps(10)
    by_time = scheduler.add_noise(x0, eps, scheduler.timesteps[4:5].repeat(2))
    scheduler.set_begin_index(4)
    by_index = scheduler.add_noise(x0, eps, scheduler.timesteps[4:5])
    rho = scheduler.sigmas[4].double()
    expected = (x0 + rho * eps) / (1 + rho**2).sqrt()
    assert torch.allclose(by_index, expected, atol=1e-6) and torch.allclose(by_time, expected, atol=1e-6)
    x = scheduler.step(eps, scheduler.timesteps[4], by_index).prev_sample
    rho = scheduler.sigmas[5].double()  # within the loop: the level of the next step, as inpainting needs it
    expected = (x0 + rho * eps) / (1 + rho**2).sqrt()
    assert torch.allclose(scheduler.add_noise(x0, eps, scheduler.timesteps[5:6]), expected, atol=1e-6)
    assert torch.allclose(x, expected, atol=1e-6)  # constant epsilon: an exact step


# --------------------------------------------------------------------------------------------- swapping schedulers


@pytest.mark.parametrize("config", [SD15, SDXL], ids=["SD 1.5", "SDXL"])
def test_a_known_config_gives_the_good_few_step_setting(config):
    theirs = getattr(diffusers, config["_class_name"]).from_config(config)
    for source in (config, theirs.config):
        scheduler = DEISSNScheduler.from_config(source, recipe="fixed")
        assert (scheduler.config.solver_order, scheduler.recipe.solver) == (2, Multistep(2, variable="t"))
        assert scheduler.spacing == "trailing"
        assert (scheduler.config.final_sigmas_type, scheduler.config.lower_order_final) == ("zero", True)
        scheduler.set_timesteps(10)
        assert scheduler.timesteps.tolist() == list(range(999, 0, -100)) and scheduler.sigmas[-1] == 0.0
        assert scheduler.noise.fingerprint == DEISSNScheduler(**SD_BETAS).noise.fingerprint


def through_json(scheduler):
    """The config as a file holds it: every value explicit."""
    return json.loads(scheduler.to_json_string())


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("as_file", [False, True])
def test_there_and_back_through_another_scheduler(name, as_file, diffusers_log):
    other_class = getattr(diffusers, name)
    config = {**SD_BETAS, "prediction_type": "v_prediction", "timestep_spacing": "leading", "steps_offset": 1}
    original = other_class(**config)
    ours = DEISSNScheduler.from_config(
        through_json(original) if as_file else original.config, solver_order=2, clip_normalizer_steps=3.0
    )
    assert ours.spacing == "trailing" and ours.config.timestep_spacing == "leading"
    back = other_class.from_config(through_json(ours) if as_file else ours.config)
    for key, value in config.items():
        assert back.config[key] == value
    back.set_timesteps(10)  # what it took over must not break it
    again = DEISSNScheduler.from_config(through_json(back) if as_file else back.config)
    assert again.spacing == "trailing" and again.config.timestep_spacing == "leading"
    assert again.config.prediction_type == "v_prediction"
    assert again.options["clip_normalizer_steps"] == 3.0
    again.set_timesteps(10)
    assert again.timesteps[0] == 999
    assert not [message for message in diffusers_log if "_deis_sn" in message]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_scheduler_with_statistics_is_swapped_without_a_word(name, diffusers_log, tmp_path):
    ours = DEISSNScheduler.from_config(SDXL, stats=stats().save(tmp_path))
    other = getattr(diffusers, name).from_config(ours.config)
    again = DEISSNScheduler.from_config(other.config)
    assert again.statistics == stats()
    assert not diffusers_log


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("as_file", [False, True])
def test_an_explicit_grid_survives_the_way_there_and_back(spacing, as_file):
    ours = DEISSNScheduler.from_config(SD15, **GRIDS[spacing])
    other = EulerDiscreteScheduler.from_config(through_json(ours) if as_file else ours.config)
    again = DEISSNScheduler.from_config(through_json(other) if as_file else other.config)
    assert ours.spacing == again.spacing == ("Power" if spacing in FREE_EXPONENT else spacing)
    assert ours.options["grid"] == again.options["grid"] == GRIDS[spacing].get("grid")


def test_an_explicit_grid_survives_a_copy():
    chosen = DEISSNScheduler(**SD_BETAS, use_exponential_sigmas=True)
    assert DEISSNScheduler.from_config(chosen.config).spacing == "exponential"
    assert DEISSNScheduler.from_config(through_json(chosen)).spacing == "exponential"
    assert DEISSNScheduler.from_config(chosen.config, use_karras_sigmas=True).spacing == "karras"


@pytest.mark.parametrize("flag", ["karras", "exponential", "beta"])
def test_the_flags_of_diffusers_choose_a_grid(flag):
    theirs = DEISMultistepScheduler(**SD_BETAS, **{f"use_{flag}_sigmas": True})
    assert DEISSNScheduler.from_config(theirs.config).spacing == flag


def test_statistics_come_back_from_a_file_they_were_read_from(tmp_path):
    file = stats().save(tmp_path)
    ours = DEISSNScheduler.from_config(SD15, stats=file)
    other = EulerDiscreteScheduler.from_config(through_json(ours))
    assert DEISSNScheduler.from_config(other.config).statistics == stats()
    assert DEISSNScheduler.from_config(other.config, stats=False).statistics is None


def test_options_given_win_over_the_config():
    scheduler = DEISSNScheduler.from_config(SD15, solver_order=4, final_sigmas_type="sigma_min", steps_offset=0)
    assert (scheduler.options["solver_order"], scheduler.config.final_sigmas_type) == (4, "sigma_min")
    assert scheduler.config.steps_offset == 0


def test_unused_options_are_handed_back():
    scheduler, unused = DEISSNScheduler.from_config(SD15, return_unused_kwargs=True, colour="red")
    assert unused["colour"] == "red" and isinstance(scheduler, DEISSNScheduler)


def test_a_pipeline_may_replace_the_config():
    """Stable Diffusion's pipelines do so in their constructor, to mend old configs."""
    scheduler = DEISSNScheduler(**DDPM_BETAS, timestep_spacing="leading")
    changed = {**scheduler.config, **SD_BETAS, "steps_offset": 1}
    scheduler._internal_dict = diffusers.configuration_utils.FrozenDict(changed)
    scheduler.set_timesteps(9)
    expected = DEISSNScheduler(**SD_BETAS, timestep_spacing="leading", steps_offset=1)
    expected.set_timesteps(9)
    assert torch.equal(scheduler.sigmas, expected.sigmas) and scheduler.timesteps[0] == 901


# --------------------------------------------------------------------------------------------------- saving, copying


@pytest.mark.parametrize("with_stats", [False, True])
def test_save_and_load(tmp_path, with_stats):
    options = {"solver_order": 4, "grid": Power("t", 2.0), "num_train_timesteps": 40}
    options["trained_betas"] = np.linspace(0.01, 0.3, 40).tolist()
    options["stats"] = stats(**options) if with_stats else None
    original = DEISSNScheduler(**options)
    original.save_pretrained(tmp_path)
    loaded = DEISSNScheduler.from_pretrained(tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    beside = ["score_statistics/score_statistics.safetensors"] if with_stats else []
    assert files == ["scheduler_config.json", *beside]
    assert loaded.statistics == original.statistics
    public = {key: value for key, value in original.config.items() if not key.startswith("_")}
    assert {key: value for key, value in loaded.config.items() if not key.startswith("_")} == public
    for scheduler in (original, loaded):
        scheduler.set_timesteps(3)
    assert torch.equal(run(original, start_noise(2)), run(loaded, start_noise(2)))


def test_a_saved_config_holds_no_path_of_this_machine(tmp_path):
    file = stats().save(tmp_path / "measured")
    scheduler = DEISSNScheduler(**SD_BETAS, stats=file)
    scheduler.save_pretrained(tmp_path / "saved")
    assert str(tmp_path) not in (tmp_path / "saved" / "scheduler_config.json").read_text()
    file.unlink()
    assert DEISSNScheduler.from_pretrained(tmp_path / "saved").statistics == stats()


def test_no_weights_like_file_beside_the_config(tmp_path):
    """Diffusers would take the folder for one of weights and leave scheduler_config.json out of downloads."""
    DEISSNScheduler(**SD_BETAS, stats=stats()).save_pretrained(tmp_path)
    endings = ("safetensors", "bin", "onnx", "pb", "flashpack")
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(endings)]


def test_saving_without_statistics_removes_those_saved_before(tmp_path):
    DEISSNScheduler(**SD_BETAS, stats=stats()).save_pretrained(tmp_path)
    DEISSNScheduler(**SD_BETAS).save_pretrained(tmp_path)
    assert DEISSNScheduler.from_pretrained(tmp_path).statistics is None


def test_save_config_alone_is_enough_to_load(tmp_path):
    DEISSNScheduler(**SD_BETAS, solver_order=2).save_config(tmp_path)
    loaded = DEISSNScheduler.from_pretrained(tmp_path)
    assert loaded.config.solver_order == 2 and loaded.config.beta_schedule == "scaled_linear"


def test_other_statistics_may_be_given_while_loading(tmp_path):
    DEISSNScheduler(**SD_BETAS, stats=stats()).save_pretrained(tmp_path / "one" / "scheduler")
    other = gaussian_record(DEISSNScheduler(**SD_BETAS).noise, std=0.6)
    assert DEISSNScheduler.from_pretrained(tmp_path / "one", subfolder="scheduler").statistics == stats()
    assert DEISSNScheduler.from_pretrained(tmp_path / "one", subfolder="scheduler", stats=other).statistics == other


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda scheduler: pickle.loads(pickle.dumps(scheduler))])
def test_a_copy_in_the_middle_of_a_run_goes_on_alike(duplicate):
    scheduler = DEISSNScheduler(**SD_BETAS, stats=stats())
    scheduler.set_timesteps(8)
    x = start_noise(2)
    for t in scheduler.timesteps[:3]:
        x = scheduler.step(torch.tanh(x), t, x).prev_sample
    twin, y = duplicate(scheduler), x.clone()
    for t in scheduler.timesteps[3:]:
        x = scheduler.step(torch.tanh(x), t, x).prev_sample
        y = twin.step(torch.tanh(y), t, y).prev_sample
    assert torch.equal(x, y) and twin.statistics == scheduler.statistics


def test_statistics_change_the_run_from_the_next_plan_on():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(5)
    plain = run(scheduler, start_noise(2))
    scheduler.set_stats(stats())
    scheduler.set_timesteps(5)
    assert not torch.allclose(run(scheduler, start_noise(2)), plain, rtol=1e-3)
    scheduler.set_stats(None)
    scheduler.set_timesteps(5)
    assert torch.equal(run(scheduler, start_noise(2)), plain)


def test_the_cutoff_holds_r_flat_near_clean_data():
    ends = []
    for cutoff in (0, 40, 999):
        scheduler = DEISSNScheduler(**SD_BETAS, stats=stats(), clip_normalizer_steps=cutoff, solver=Multistep(2))
        scheduler.set_timesteps(10)
        ends.append(run(scheduler, start_noise(2)))
    plain = DEISSNScheduler(**SD_BETAS, recipe="fixed")
    plain.set_timesteps(10)
    assert torch.allclose(ends[2], run(plain, start_noise(2)), atol=1e-9)  # flat everywhere
    assert not torch.allclose(ends[0], ends[1], atol=1e-3) and not torch.allclose(ends[1], ends[2], atol=1e-3)


# -------------------------------------------------------------------------------------------------------- what it says


def test_nothing_is_said_with_statistics(caplog, diffusers_log):
    scheduler = DEISSNScheduler.from_config(SD15, stats=stats())
    scheduler.set_timesteps(5)
    run(scheduler, start_noise(2))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [message for message in diffusers_log if "skip_prk_steps" not in message]


# ------------------------------------------------------------------------------------------------------ every setting


@settings(max_examples=80)
@given(
    st.sampled_from(SPACINGS),
    st.integers(1, 4),
    st.sampled_from(INTERPOLATIONS),
    st.sampled_from(PREDICTION_TYPES["vp"]),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
    st.integers(1, 30),
    st.sampled_from(FINAL_SIGMAS),
    st.booleans(),
    st.booleans(),
)
def test_every_setting_is_finite_and_keeps_the_dtype(
    spacing, order, interpolation, prediction_type, dtype, steps, final, normalised, thresholding
):
    solver: dict[str, Any] = {"solver_order": order}  # by its name, of polynomials in t
    if interpolation != "t":
        corrector = Corrector(4, gain=0.1) if normalised else Corrector()
        solver = {"solver": Multistep(order, interpolation, corrector=corrector)}
    scheduler = DEISSNScheduler(
        **SD_BETAS,
        **solver,
        prediction_type=prediction_type,
        **GRIDS[spacing],
        final_sigmas_type=final,
        thresholding=thresholding,
        stats=stats().with_origin(prediction_type=prediction_type) if normalised else None,
    )
    scheduler.set_timesteps(steps)
    assert torch.all(scheduler.timesteps[1:] < scheduler.timesteps[:-1])
    data = Gaussian(scheduler.noise)
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    for t in scheduler.timesteps:
        eps = data.epsilon(x, float(t))
        rho = scheduler.noise.rho(float(t))
        alpha, sigma = float(scheduler.noise.alpha(rho)), float(scheduler.noise.sigma(rho))
        x0 = (x - sigma * eps) / alpha
        output = {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}[prediction_type]
        x = scheduler.step(output, t, x).prev_sample
        assert x.dtype == dtype and torch.all(torch.isfinite(x))
    assert x.abs().max() < 20.0  # data lie within 0.7 +- 1; half precision and one step may be coarse, not wild


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES["vp"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(prediction_type, dtype):
    """Each step is within one rounding of the float64 step from the same, half precision, history."""
    half, exact = (DEISSNScheduler(**SD_BETAS, prediction_type=prediction_type, solver_order=4) for _ in range(2))
    for scheduler in (half, exact):
        scheduler.set_timesteps(12)
    x = torch.randn(2, 4, 16, 16).to(dtype)
    for t in half.timesteps:
        output = torch.tanh(x)
        expected = exact.step(output.double(), t, x.double()).prev_sample
        x = half.step(output, t, x).prev_sample
        rounding = torch.finfo(dtype).eps / 2 * expected.abs()
        assert torch.all((x.double() - expected).abs() <= 1.01 * rounding + 1e-5)


# ------------------------------------------------------------------------------------------------- no waiting in a loop


@pytest.mark.parametrize("begin_index", [None, 0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver_order": 4, "use_exponential_sigmas": True},
        {"prediction_type": "v_prediction"},
        {"prediction_type": "sample", "thresholding": True},
        {"solver": Multistep(corrector=Corrector(4, gain=0.1))},
        {"solver": Multistep(of="data", corrector=Corrector(3))},
        {"solver": "kutta3"},
        {"process": "edm"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_step_waits_for_the_device(options, begin_index, dtype):
    report = trace(DEISSNScheduler(**SD_BETAS, **options), 12, begin_index=begin_index, dtype=dtype)
    assert not report.blocking("step"), report
    assert sum(report.blocking("first step").values()) <= (2 if begin_index is None else 0), report  # the look-up


def test_the_tracer_sees_a_scheduler_that_waits():
    assert trace(diffusers.DDIMScheduler(**SD_BETAS), 4).blocking("step")


@pytest.mark.parametrize(
    "options", [{}, {"solver": Multistep(corrector=Corrector(4, gain=0.1))}, {"solver": "kutta3"}], ids=str
)
def test_a_step_is_a_handful_of_kernels(options):
    report = trace(DEISSNScheduler(**SD_BETAS, **options), 12, begin_index=0)
    assert max(report.kernels_per_step) <= 6, report  # one product, three sums, the copy of the output


def test_every_use_of_a_step_is_planned_in_float64_on_the_host():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(7)
    plan = scheduler._plan
    numbers = [*plan.table.transfers, *(v for rows in plan.table.rows for row in rows for v in row)]
    numbers += [v for pair in plan.output for v in pair] + [*plan.alpha, *plan.sigma, *plan.times, *plan.levels]
    assert {type(number) for number in numbers} == {float}


def test_noise_of_no_run_needs_noise():
    with pytest.raises(StepError, match="needs `noise`"):
        DEISSNScheduler().scale_noise(start_noise(1), torch.tensor([3]))


def test_pndm_is_a_swap_away():
    """The whole README in three lines: from the scheduler a pipeline came with, and back."""
    theirs = PNDMScheduler.from_config(SD15)
    ours = DEISSNScheduler.from_config(theirs.config)
    assert PNDMScheduler.from_config(ours.config).config.skip_prk_steps is True


@pytest.mark.parametrize("grid", [Power("t", 2.0), Power("sigma", 7.0)], ids=str)
def test_a_grid_of_our_own_does_not_break_the_swap_back(grid: Power, tmp_path: Path) -> None:
    original = EulerDiscreteScheduler(**SD_BETAS, timestep_spacing="leading")
    ours = DEISSNScheduler.from_config(original.config, grid=grid)
    ours.save_pretrained(tmp_path)
    for scheduler in (ours, DEISSNScheduler.from_pretrained(tmp_path)):
        assert scheduler.spacing == "Power" and scheduler.options["grid"] == grid
        back = EulerDiscreteScheduler.from_config(scheduler.config)
        back.set_timesteps(6)
        original.set_timesteps(6)
        assert torch.equal(back.timesteps, original.timesteps)
        assert DEISSNScheduler.from_config(back.config).options["grid"] == grid


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_a_narrow_output_is_widened_before_anything_cancels(narrow: torch.dtype) -> None:
    """Under autocast the sample is float32 and the output is not; at zero SNR eps = alpha v + sigma x cancels most."""
    options = {**SD_BETAS, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    scheduler = DEISSNScheduler(**options)
    gaussian = Gaussian(scheduler.noise)

    def run(dtype: torch.dtype) -> torch.Tensor:
        x = start_noise(64).float()
        scheduler.set_timesteps(10)
        for t in scheduler.timesteps:
            rho = float(scheduler.noise.rho(float(t)))
            alpha, sigma = float(scheduler.noise.alpha(rho)), float(scheduler.noise.sigma(rho))
            v = (gaussian.epsilon(x, float(t)) - sigma * x) / alpha
            x = scheduler.step(v.to(dtype), t, x, return_dict=False)[0]
        return x

    wide = run(torch.float32)
    apart = (run(narrow) - wide).abs().max() / wide.abs().max()
    assert apart < 8.0 * torch.finfo(narrow).eps


def test_statistics_are_checked_against_the_config_of_the_run() -> None:
    noise = vp_schedule(**SD_BETAS)
    scheduler = DEISSNScheduler(**SD_BETAS, stats=gaussian_record(noise))
    scheduler.set_timesteps(4)
    scheduler.register_to_config(beta_end=0.02)
    with pytest.raises(StatisticsMismatchError, match=r"0\.02"):
        scheduler.set_timesteps(4)


def test_betas_that_went_through_float32_are_the_same_schedule() -> None:
    rounded = np.float32(np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).tolist()
    record = gaussian_record(vp_schedule(**SD_BETAS))
    scheduler = DEISSNScheduler(trained_betas=rounded, stats=record)
    assert scheduler.statistics == record


def test_set_begin_index_starts_the_solver_afresh() -> None:
    scheduler = DEISSNScheduler(**SD_BETAS)
    gaussian = Gaussian(scheduler.noise)
    scheduler.set_timesteps(10)
    results = []
    for _ in range(2):
        scheduler.set_begin_index(4)
        x = start_noise(3)
        for t in scheduler.timesteps[4:]:
            x = scheduler.step(gaussian.epsilon(x, float(t)), t, x, return_dict=False)[0]
        results.append(x)
    assert torch.equal(*results)


def test_a_spacing_chosen_wins_over_the_flags_of_another_config() -> None:
    karras = DPMSolverMultistepScheduler(**SD_BETAS, use_karras_sigmas=True)
    assert DEISSNScheduler.from_config(karras.config).spacing == "karras"
    assert DEISSNScheduler.from_config(karras.config, timestep_spacing="trailing").spacing == "trailing"


@pytest.mark.parametrize("scheduler", [DDPMWuerstchenScheduler, IPNDMScheduler])
def test_configs_of_foreign_processes_are_refused(scheduler: type) -> None:
    with pytest.raises(ConfigurationError, match="Keep the pipeline's own scheduler"):
        DEISSNScheduler.from_config({**scheduler().config, "_class_name": scheduler.__name__})


def test_the_config_of_stable_video_diffusion_is_refused() -> None:
    config = EulerDiscreteScheduler(timestep_type="continuous", sigma_max=700.0, use_karras_sigmas=True).config
    with pytest.raises(ConfigurationError, match="continuous"):
        DEISSNScheduler.from_config(config)


# ----------------------------------------------------------------------------------------------- times that come back


def _handed_back():
    yield from ((str(dtype), lambda t, dtype=dtype: t.to(dtype)) for dtype in (torch.float16, torch.bfloat16))
    yield from ((cut.__name__, lambda t, cut=cut: cut(float(t))) for cut in (int, round, float))
    yield "bfloat16, then a number", lambda t: float(t.bfloat16())
    yield "whole, then bfloat16", lambda t: torch.tensor(int(t)).bfloat16()
    yield "one for each sample, in bfloat16", lambda t: t.bfloat16().expand(2)


@pytest.mark.parametrize(("name", "hand"), list(_handed_back()), ids=lambda one: one if isinstance(one, str) else "")
@pytest.mark.parametrize("process", ["whole", "fractional", "flow", "edm"])
@pytest.mark.parametrize("steps", [4, 60])
def test_times_that_a_loop_rounds_are_still_those_of_the_run(process, steps, name, hand):
    options: dict[str, Any] = {"fractional": {"use_karras_sigmas": True}, "edm": {"process": "edm"}}.get(process, {})
    if process == "flow":
        options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    scheduler = (
        DEISSNScheduler(**SD_BETAS, **options) if "use_flow_sigmas" not in options else DEISSNScheduler(**options)
    )
    ends = []
    for give in (lambda t: t, hand):
        scheduler.set_timesteps(steps)
        x = start_noise(2)
        for t in scheduler.timesteps:
            x = scheduler.step(torch.tanh(x), give(t), x).prev_sample
        ends.append(x)
    assert torch.equal(*ends)


@pytest.mark.parametrize("hand", [lambda t: t, float, torch.clone], ids=["view", "number", "copy"])
@settings(max_examples=20)
@given(st.integers(2, 60), st.integers(0, 59), st.integers(0, 59))
def test_a_time_of_another_step_is_disorder(hand, steps, due, given_):
    """However times were rounded: those of twenty and more steps lie further apart than that."""
    scheduler, x = DEISSNScheduler(**SD_BETAS, recipe="fixed"), start_noise(1)
    due, other = 1 + due % max(steps - 1, 1), given_ % steps
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps[:due]:
        x = scheduler.step(x, t, x).prev_sample
    if due < steps and abs(scheduler.timesteps[due] - scheduler.timesteps[other]) > 0.13 * scheduler.timesteps[due]:
        with pytest.raises(StepError, match=r"Walk through|share one scheduler"):
            scheduler.step(x, hand(scheduler.timesteps[other]), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_noise_is_added_at_rounded_times_as_at_those_of_the_run(dtype):
    scheduler = DEISSNScheduler(**SD_BETAS)
    x0, noise = start_noise(2), start_noise(2, seed=1)
    last = scheduler.add_noise(x0, noise, torch.tensor([999]))
    assert torch.equal(scheduler.add_noise(x0, noise, torch.tensor([999]).to(dtype)), last)  # 1000 in bfloat16
    scheduler.set_timesteps(7)
    for t in scheduler.timesteps:
        exact = scheduler.add_noise(x0, noise, t[None])
        assert torch.equal(scheduler.add_noise(x0, noise, t[None].to(dtype)), exact)
        assert torch.equal(scheduler.scale_noise(x0, t[None].to(dtype), noise), exact)


# --------------------------------------------------------------------------------------- samples of another size


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (1, 4, 8, 8), (2, 4, 16, 16)])
@pytest.mark.parametrize(
    "options",
    [{"solver_order": 1}, {"solver_order": 2}, {"solver": Multistep(2, corrector=Corrector(3))}, {"solver": "heun"}],
    ids=str,
)
def test_samples_resized_in_mid_run_go_on_as_a_run_that_begins_there(shape, options, caplog):
    """Hires fix, gradual latents; the network's outputs for other samples tell nothing of these."""
    resized, fresh = (DEISSNScheduler(**SD_BETAS, **options, recipe="fixed") for _ in range(2))
    for scheduler in (resized, fresh):
        scheduler.set_timesteps(6)
    x, other, half = torch.randn(2, 4, 8, 8), torch.randn(shape), 3 * resized.order
    expected = other
    fresh.set_begin_index(half)
    for t in fresh.timesteps[half:]:
        expected = fresh.step(torch.tanh(expected), t, expected).prev_sample
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        for n, t in enumerate(resized.timesteps):
            x = other if n == half else x
            x = resized.step(torch.tanh(x), t, x).prev_sample
    told = [record.getMessage() for record in caplog.records if "starts up afresh" in record.getMessage()]
    assert torch.equal(x, expected)
    needed = options.get("solver_order") != 1 and options.get("solver") != "heun"
    assert len(told) == needed and all(str(tuple(shape)) in one for one in told)
