"""Runs of networks that denoise, in k-diffusion's convention: order of convergence on exact flows, and refusals.

That they are the runs of our schedulers, in each process, is tested with the nodes in tests/integrations.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusers_deis_sn import TimestepsError
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.denoised import plan_over, sample_denoised
from records import gaussian_record
from refusals import refused

STD = 0.5
PROCESSES = {"vp": (vp_schedule(), True), "ve": (SigmaSchedule(), True), "flow": (FlowSchedule(), False)}


def denoiser(exploding: bool):
    """E[x_0 | x] of data N(0, STD^2)."""

    def predicted(x, sigma):
        sigma = sigma.reshape(-1, 1)
        alpha = 1.0 if exploding else 1.0 - sigma
        return x * alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)

    return predicted


def exact(x, start: float, end: float, exploding: bool):
    """Where the flow takes x: y = x / alpha goes like (STD^2 + rho^2)^(1/2)."""
    (a, b), (s, e) = ((1.0, 1.0), (start, end)) if exploding else ((1.0 - start, 1.0 - end), (start, end))
    return x * np.sqrt((b**2 * STD**2 + e**2) / (a**2 * STD**2 + s**2))


@pytest.mark.parametrize("kind", PROCESSES)
@pytest.mark.parametrize("measured", [False, True])
def test_it_is_of_second_order(kind, measured):
    process, exploding = PROCESSES[kind]
    start, end, errors = 0.8, 0.1, []
    x = torch.linspace(-2.0, 2.0, 5, dtype=torch.float64).reshape(5, 1)
    record = gaussian_record(process, STD, process.call_times(process.from_sigma(np.linspace(0.02, 0.9, 60))))
    for steps in (16, 32, 64):
        sigmas = np.linspace(start, end, steps + 1)
        plan = plan_over(process, sigmas, record if measured else None, exploding=exploding)
        found = sample_denoised(
            denoiser(exploding), x, torch.from_numpy(sigmas), plan, exploding=exploding, disable=True
        )
        errors.append(float((found - exact(x, start, end, exploding)).abs().max()))
    if measured:  # divided by r, the noise of Gaussian data does not change
        assert max(errors) < 1e-4, errors
    else:
        assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > 1.7) and errors[-1] < 1e-3, errors


@pytest.mark.parametrize("kind", PROCESSES)
def test_one_step_of_one_output_is_eulers_in_their_coordinate(kind):
    """x + (sigma' - sigma) (x - x_0) / sigma, which for all of them is DDIM."""
    process, exploding = PROCESSES[kind]
    x, sigmas = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0.7, 0.2], dtype=torch.float64)
    plan = plan_over(process, sigmas.numpy(), exploding=exploding)
    seen = []
    found = sample_denoised(
        denoiser(exploding), x, sigmas, plan, exploding=exploding, callback=seen.append, disable=True
    )
    (facts,) = seen
    denoised = denoiser(exploding)(x, sigmas[0] * torch.ones(3, dtype=torch.float64))
    assert set(facts) == {"x", "i", "sigma", "sigma_hat", "denoised"} and facts["i"] == 0
    torch.testing.assert_close(facts["x"], x)
    torch.testing.assert_close(facts["denoised"], denoised)
    torch.testing.assert_close(found, x + (sigmas[1] - sigmas[0]) * (x - denoised) / sigmas[0], rtol=1e-9, atol=1e-9)


def test_what_is_held_takes_the_place_of_the_sample_at_every_level():
    process, exploding = PROCESSES["vp"]
    sigmas = torch.tensor([3.0, 1.0, 0.3, 0.0])
    plan = plan_over(process, sigmas.numpy(), exploding=exploding)
    asked, called = [], []

    def held(x, sigma):
        asked.append(float(sigma[0]))
        return torch.full_like(x, 7.0)

    def model(x, sigma):
        called.append(x.unique().tolist())
        return 0.5 * x

    found = sample_denoised(model, torch.zeros(2, 3), sigmas, plan, held=held, disable=True)
    assert asked == pytest.approx(sigmas.tolist()) and called == [[7.0]] * 3 and found.unique().tolist() == [7.0]


@pytest.mark.parametrize("sigmas", [[], [1.0], [1.0, 1.0, 0.0], [0.5, 1.0], [1.0, np.inf], [1.0, -0.1], [[1.0, 0.0]]])
def test_what_is_no_run_is_refused(sigmas):
    refused(TimestepsError, ["`sigmas`", "fall strictly"], plan_over, vp_schedule(), np.array(sigmas))
