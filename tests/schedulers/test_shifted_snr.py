"""CogVideoX and CogView3-Plus: betas whose signal-to-noise ratio is divided by a number, then zero at last."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, DDIMScheduler

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.errors import ConfigurationError, NoiseScheduleError
from refusals import refused

COG: dict[str, Any] = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}


@pytest.mark.parametrize("scale", [1.0, 3.0, 4.0])
@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("kind", [CogVideoXDDIMScheduler, CogVideoXDPMScheduler])
def test_levels_are_those_of_their_schedulers(kind, zero_snr, scale):
    theirs = kind(**COG, snr_shift_scale=scale, rescale_betas_zero_snr=zero_snr)
    ours = DEISSNScheduler.from_config(theirs.config)
    assert torch.allclose(ours.alphas_cumprod, theirs.alphas_cumprod.float(), rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("steps", [1, 4, 50])
@pytest.mark.parametrize("options", [{}, {"snr_shift_scale": 1.0}, {"rescale_betas_zero_snr": True}], ids=str)
@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_order_one_is_their_ddim(prediction, options, steps):
    theirs = CogVideoXDDIMScheduler(**{**COG, "prediction_type": prediction}, **options)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(steps)
        x = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            x = scheduler.step(0.5 * torch.sin(x + float(t) / 500.0), t, x, return_dict=False)[0]
        ends.append(x)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    assert torch.allclose(*ends, atol=1e-3)


def test_betas_of_a_class_with_other_defaults_are_its_own():
    """Nobody gave them, in memory as in tests: what the network was trained with is not for another class to say."""
    theirs = CogVideoXDDIMScheduler()
    ours = DEISSNScheduler.from_config(theirs.config)
    assert (ours.config.beta_schedule, ours.config.beta_start) == ("scaled_linear", 0.00085)
    assert torch.allclose(ours.alphas_cumprod, theirs.alphas_cumprod.float(), rtol=1e-5)


def test_the_shift_comes_back_through_its_own_scheduler_and_through_others():
    theirs = CogVideoXDDIMScheduler(**COG, snr_shift_scale=4.0)
    ours = DEISSNScheduler.from_config(theirs.config)
    assert CogVideoXDDIMScheduler.from_config(ours.config).config.snr_shift_scale == 4.0
    again = DEISSNScheduler.from_config(DDIMScheduler.from_config(ours.config).config)
    assert again.options["snr_shift_scale"] == 4.0 and again.noise.fingerprint == ours.noise.fingerprint


@pytest.mark.parametrize("scale", [0.0, -3.0, float("nan"), float("inf"), "3"])
def test_a_shift_that_is_none_is_refused(scale):
    refused(NoiseScheduleError, ["`snr_shift_scale`", repr(scale)], DEISSNScheduler, snr_shift_scale=scale)


@pytest.mark.parametrize(
    "options", [{"process": "edm"}, {"use_flow_sigmas": True, "prediction_type": "sample"}], ids=str
)
def test_a_shift_of_betas_is_of_no_use_without_betas(options):
    refused(ConfigurationError, ["`snr_shift_scale`", "3.0"], DEISSNScheduler, **options, snr_shift_scale=3.0)
