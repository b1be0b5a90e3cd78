"""Options of Diffusers' schedulers that are none of ours: all of the installed Diffusers judged, none lost quietly."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.schedulers._own_config import default_options
from diffusers_deis_sn.schedulers._unfollowed import UNFOLLOWED, unfollowed
from upstream_schedulers import ELSEWHERE, TAKEN, classes

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

# Why an option that is neither ours nor in UNFOLLOWED may be left: it says how another solver takes its steps, or has a
# meaning here, which tests of their own look at, or is read by pipelines from a config that keeps it.
SOLVER = "how another solver takes its steps"
HONOURED = "has its meaning here"
KEPT = "read by pipelines"
JUDGED = {
    "base_image_seq_len": KEPT,
    "base_shift": KEPT,
    "max_image_seq_len": KEPT,
    "max_shift": KEPT,
    "clip_sample_range": SOLVER,  # of the clipping that is said
    "corrector_order": SOLVER,
    "disable_corrector": SOLVER,
    "euler_at_final": SOLVER,
    "interpolation_type": SOLVER,  # of times between those of a grid of its own
    "lambda_min_clipped": SOLVER,  # where its steps would divide by the signal in noise alone
    "predict_x0": SOLVER,
    "predictor_order": SOLVER,
    "set_alpha_to_one": SOLVER,  # where DDIM's last step ends; here `final_sigmas_type`, as DPM++ has it
    "skip_prk_steps": SOLVER,
    "solver_p": SOLVER,
    "solver_type": SOLVER,
    "rho": HONOURED,
    "shift": HONOURED,
    "sigma_schedule": HONOURED,
    "snr_shift_scale": HONOURED,
    "timestep_type": HONOURED,
    "use_lu_lambdas": HONOURED,
}
OURS = set(default_options(DEISSNScheduler))
BOUNDS = ("sigma_min", "sigma_max")  # ours, of a model; but of schedulers of betas the bounds of a grid


def theirs() -> dict[str, dict[str, Any]]:
    """Options that are not ours, and the classes that have them, with their defaults."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(TAKEN.keys() | ELSEWHERE):
        for option, default in classes().get(name, {}).items():
            if option not in OURS or option in BOUNDS:
                found.setdefault(option, {})[name] = default
    return found


def test_every_option_of_the_installed_diffusers_is_judged():
    unjudged = {option: sorted(where) for option, where in theirs().items() if option not in JUDGED.keys() | UNFOLLOWED}
    assert not unjudged, f"read what these do, and say it in JUDGED or UNFOLLOWED: {unjudged}"
    assert not JUDGED.keys() & UNFOLLOWED.keys()


ASKING = {
    "stochastic_sampling": True,
    "algorithm_type": "sde-dpmsolver++",
    "eta": 0.5,
    "noise_sampler_seed": 3,
    "tau_func": abs,
    "clip_sample": True,
    "sigma_min": 0.1,
    "sigma_max": 9.0,
}


@pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])
@pytest.mark.parametrize("option", UNFOLLOWED)
def test_what_is_not_followed_is_said_once_where_people_see_it(option, ours, caplog):
    """Of every class that has it, however its config comes; and nothing is said of defaults."""
    for name, default in theirs()[option].items():
        if "EDM" in name or name in ELSEWHERE:
            continue
        for value, number in ((ASKING[option], 1), (False if option == "clip_sample" else default, 0)):
            scheduler = ours.from_config({**classes()[name], "clip_sample": False, option: value})
            caplog.clear()
            scheduler.set_timesteps(4)
            scheduler.set_timesteps(5)
            told = [one for one in caplog.records if one.message.startswith(f"{option}=")]
            assert len(told) == number and all(one.levelno == logging.WARNING for one in told), name
            assert scheduler.config.get(option, value) == value  # for the way back, but DEIS's own name


def test_an_option_that_is_written_later_is_said_too(caplog):
    scheduler = DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler().config)
    scheduler.set_timesteps(3)
    scheduler.register_to_config(stochastic_sampling=True)
    scheduler.set_timesteps(3)
    assert "stochastic_sampling=True is another scheduler's option" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        DDIMScheduler().config,  # clips, but nobody said so
        EDMEulerScheduler(sigma_min=0.01).config,
        EulerDiscreteScheduler(
            sigma_min=0.002, sigma_max=700.0, timestep_type="continuous", prediction_type="v_prediction"
        ).config,
        {"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": 1.0, "clip_sample": True},
        {"clip_sample": True, "thresholding": True},
        DEISSNScheduler(process="ve", sigma_min=0.01, sigma_max=50.0).config,
    ],
    ids=lambda config: config.get("_class_name", "in memory"),
)
def test_what_is_followed_or_was_never_said_is_no_matter(config, caplog):
    scheduler = DEISSNScheduler.from_config(config)
    scheduler.set_timesteps(4)
    assert "another scheduler's option" not in caplog.text and not list(
        unfollowed(scheduler.config, scheduler.noise.kind)
    )


def test_lu_s_lambdas_are_the_exponential_grid():
    other = DPMSolverMultistepScheduler(**SD_BETAS, use_lu_lambdas=True)
    ours = DEISSNScheduler.from_config(other.config, recipe="fixed")
    for steps in (5, 12):
        other.set_timesteps(steps)
        ours.set_timesteps(steps)
        assert np.allclose(ours.sigmas[:-1], other.sigmas[:-1], rtol=1e-4)
    back = DPMSolverMultistepScheduler.from_config(ours.config)
    assert back.config.use_lu_lambdas and DEISSNScheduler.from_config(ours.config).config.use_exponential_sigmas


def test_thresholding_clips_as_is_said():
    scheduler = DEISSNScheduler(
        **SD_BETAS, prediction_type="sample", solver_order=1, thresholding=True, sample_max_value=1.0
    )
    scheduler.set_timesteps(1)
    x = torch.linspace(-3.0, 3.0, 12).reshape(1, 3, 2, 2)
    assert torch.allclose(scheduler.step(x, scheduler.timesteps[0], x).prev_sample, x.clamp(-1.0, 1.0), atol=1e-6)
