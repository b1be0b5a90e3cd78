"""Cosmos 2: a flow-matching scheduler in name, whose pipelines walk x_0 + sigma eps through Karras' levels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SCMScheduler

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.errors import ConfigurationError
from refusals import refused

BOUNDS = {"sigma_max": 80.0, "sigma_min": 0.002, "sigma_data": 1.0, "final_sigmas_type": "sigma_min"}


def cosmos() -> FlowMatchEulerDiscreteScheduler:
    """As its pipelines have it: bounds are written into the config."""
    scheduler = FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.register_to_config(**BOUNDS)
    return scheduler


def loop(scheduler: Any, steps: int) -> torch.Tensor:
    """Theirs, with a network that knows a little."""
    scheduler.set_timesteps(sigmas=torch.linspace(0.0, 1.0, steps, dtype=torch.float64).numpy())
    if scheduler.config.final_sigmas_type == "sigma_min":
        scheduler.sigmas[-1] = scheduler.sigmas[-2]
    x = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0)) * scheduler.config.sigma_max
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i]
        current = sigma / (sigma + 1)
        x0 = (1 - current) * x - current * torch.sin(x * (1 - current) + current)
        x = scheduler.step((x - x0) / sigma, t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("steps", [2, 5, 35])
def test_order_one_is_their_euler_up_to_the_cleanest_level(steps):
    """Where theirs stops, with noise of 0.002, and ours goes on to the data."""
    theirs = cosmos()
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    ends = [loop(scheduler, steps) for scheduler in (theirs, ours)]
    assert torch.allclose(ours.sigmas[:-1], theirs.sigmas[:-1], rtol=1e-5) and ours.sigmas[-1] == 0.0
    assert len(ours.timesteps) == steps and torch.allclose(*ends, atol=0.02)


def test_their_constructor_may_write_its_bounds_into_ours():
    ours = DEISSNScheduler.from_config(cosmos().config, solver_order=1)
    ours.register_to_config(**BOUNDS)
    end = loop(ours, 35)
    assert ours.sigmas[0] == 80.0 and torch.isfinite(end).all()
    assert torch.allclose(end, loop(cosmos(), 35), atol=0.05)  # 35 steps to the cleanest level, and not 34


def test_the_config_comes_back():
    back = FlowMatchEulerDiscreteScheduler.from_config(DEISSNScheduler.from_config(cosmos().config).config)
    assert back.config.sigma_max == 80.0 and back.config.use_karras_sigmas
    again = DEISSNScheduler.from_config(back.config)
    assert again.noise.kind == "ve" and again.options["prediction_type"] == "epsilon"


def test_consistency_models_of_sigma_data_are_refused_with_the_reason():
    """Sana-Sprint: each step draws new noise, and the network is no velocity of a path."""
    words, config = ["SCMScheduler", "Keep the pipeline's own scheduler"], SCMScheduler().config
    refused(ConfigurationError, words, DEISSNScheduler.from_config, {**config, "_class_name": "SCMScheduler"})
    refused(ConfigurationError, words, DEISSNScheduler.from_config, config)
