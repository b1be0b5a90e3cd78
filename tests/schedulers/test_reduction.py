"""Where the method is one of Diffusers' own: flat statistics and log rho are its DEIS, one output is DDIM."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DEISMultistepScheduler

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from benchmarks.exact.runs import start_noise, statistics_of
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.named_grids import INTEGER_SPACINGS
from diffusers_deis_sn.core.prediction import PREDICTION_TYPES
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from oracles import ends_of_views, spaced_levels

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors


def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Anything smooth and far from linear, as epsilon, v or sample."""
    return 0.7 * torch.tanh(1.3 * x + 0.2) + 0.3 * torch.cos(x.flip(-1) + 0.004 * float(t))


def walk(scheduler, x: torch.Tensor) -> list[torch.Tensor]:
    path = []
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x, return_dict=False)[0]
        path.append(x)
    return path


def flat(noise, prediction_type):
    """Statistics that say that r is the same at all times."""
    return statistics_of(noise, np.array([0.0, 500.0]), np.full(2, 0.8), prediction_type=prediction_type)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES["vp"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("steps", "lower"), [(4, True), (10, True), (14, True), (15, False), (25, False)])
def test_log_rho_with_flat_statistics_is_the_deis_of_diffusers(prediction_type, order, steps, lower):
    theirs = DEISMultistepScheduler(**SD_BETAS, solver_order=order, prediction_type=prediction_type)
    ours = DEISSNScheduler(
        **SD_BETAS,
        solver=Multistep(order, "log_rho", lower_order_final=lower),  # Diffusers lowers it below 15 steps only
        prediction_type=prediction_type,
        timestep_spacing="linspace",
        final_sigmas_type="sigma_min",
        stats=flat(vp_schedule(**SD_BETAS), prediction_type),
    )
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(steps)
    assert theirs.timesteps.tolist() == ours.timesteps.tolist()
    theirs.sigmas = torch.from_numpy(spaced_levels(ours.noise, steps, "linspace", "sigma_min"))
    for one, other in zip(walk(theirs, start_noise(3)), walk(ours, start_noise(3)), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


def test_so_it_is_as_shipped_within_float32_rounding():
    theirs = DEISMultistepScheduler(**DDPM_BETAS, solver_order=2)
    options = {"timestep_spacing": "linspace", "final_sigmas_type": "sigma_min"}
    ours = DEISSNScheduler(**DDPM_BETAS, solver=Multistep(2, "log_rho"), **options)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(12)
    assert torch.allclose(walk(theirs, start_noise(3).float())[-1], walk(ours, start_noise(3).float())[-1], atol=2e-4)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES["vp"])
@pytest.mark.parametrize("interpolation", ["t", "rho", "log_rho"])
@pytest.mark.parametrize("betas", [SD_BETAS, DDPM_BETAS])
def test_one_output_is_ddim(prediction_type, interpolation, betas):
    options = {**betas, "prediction_type": prediction_type, "timestep_spacing": "trailing"}
    theirs = DDIMScheduler(**options, clip_sample=False)
    ours = DEISSNScheduler(**options, solver=Multistep(1, interpolation))
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(20)
    assert theirs.timesteps.tolist() == ours.timesteps.tolist()
    theirs.alphas_cumprod = torch.from_numpy(ours.noise.alpha(ours.noise.rho(np.arange(1000.0))) ** 2)
    for one, other in zip(walk(theirs, start_noise(3)), walk(ours, start_noise(3)), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spacing", INTEGER_SPACINGS)
def test_views_of_one_model_give_one_path(spacing):
    """The same denoiser as epsilon, v or sample."""
    ends = ends_of_views(lambda view: DEISSNScheduler(**SD_BETAS, prediction_type=view, timestep_spacing=spacing), 8)
    assert torch.allclose(ends[0], ends[1], rtol=0, atol=1e-11)
    assert torch.allclose(ends[0], ends[2], rtol=0, atol=1e-11)
