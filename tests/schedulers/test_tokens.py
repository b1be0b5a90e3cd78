"""Tokens that are at times of their own: in a step each goes as Diffusers has it, and is remembered as it was."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.errors import StepError
from refusals import refused


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("own", ["alike", "one for all", "cleaner"])
def test_tokens_at_times_of_their_own_go_as_with_diffusers(own, shift):
    """LTX with conditions, Sana-WM: the pipeline passes minus the velocity."""
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    kept = torch.tensor([0.0, 0.0, 0.3, 1.0, 0.85, 0.0])
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(sigmas=[1.0, 0.8, 0.55, 0.3, 0.1])
        x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            times = t.expand(2).unsqueeze(-1).float()
            if own != "one for all":
                times = torch.min(times, (1.0 - kept * (own == "cleaner"))[None] * 1000.0)
            velocity = torch.sin(3.0 * x + times[..., None] / 500.0)
            x = scheduler.step(-velocity, t, x, per_token_timesteps=times, return_dict=False)[0]
        ends.append(x)
    assert torch.allclose(*ends, atol=1e-5)


@pytest.mark.parametrize("of", ["noise", "data"])
def test_tokens_that_wait_are_remembered_at_their_own_level(of):
    """A network that knows the data: whenever a token begins to move, every solver takes it there."""
    scheduler = DEISSNScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", solver=Multistep(3, of=of))
    scheduler.set_timesteps(sigmas=[1.0, 0.8, 0.55, 0.3, 0.1])
    data, waits = torch.randn(2, 6, 4), torch.tensor([0.0, 0.2, 0.45, 0.7, 0.9, 1.0])
    noise = torch.randn_like(data)
    level = (1.0 - waits)[None, :, None]
    x = (1.0 - level) * data + level * noise
    for t in scheduler.timesteps:
        times = torch.min(t.expand(2).unsqueeze(-1), (1.0 - waits)[None] * 1000.0)
        denoised = scheduler.step(data - noise, t, x, per_token_timesteps=times, return_dict=False)[0]
        moving = (t / 1000.0 - 1e-6 < 1.0 - waits)[None, :, None]
        x = torch.where(moving, denoised, x)
    assert torch.allclose(x, data, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SD_BETAS, ["flow-matching", "epsilon"]),
        ({"use_flow_sigmas": True, "prediction_type": "sample"}, ["flow-matching", "sample"]),
        ({"use_flow_sigmas": True, "prediction_type": "flow_prediction", "invert_sigmas": True}, ["flow-matching"]),
        ({"use_flow_sigmas": True, "prediction_type": "flow_prediction", "solver": "heun"}, ["'multistep'"]),
    ],
    ids=str,
)
def test_tokens_without_velocities_have_no_times_of_their_own(options, words):
    scheduler, x = DEISSNScheduler(**options), torch.randn(1, 3, 4)
    scheduler.set_timesteps(**({"sigmas": [0.9, 0.5]} if "solver" in options else {"num_inference_steps": 2}))
    arguments = (x, scheduler.timesteps[0], x)
    refused(
        StepError, ["`per_token_timesteps`", *words], scheduler.step, *arguments, per_token_timesteps=torch.ones(1, 3)
    )
