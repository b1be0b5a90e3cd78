"""Two defects of Diffusers' DEIS that this package is free of: a wasted last call, and a blow-up from 15 steps on."""

from __future__ import annotations

import pytest
import torch
from diffusers import DEISMultistepScheduler

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.exact.runs import measured_statistics, rms, sample, start_noise
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.grids import FINAL_SIGMAS
from diffusers_deis_sn.core.named_grids import FREE_EXPONENT, SPACINGS, named_grid
from oracles import named

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors


def movements(scheduler, steps: int) -> list[float]:
    """How far each step carries y = x / alpha, for a constant epsilon of one: |rho_{n+1} - rho_n| if it is exact."""
    scheduler.set_timesteps(steps)
    x = torch.zeros(1, 4, dtype=torch.float64)
    levels, moved = scheduler.sigmas.double(), []
    for n, t in enumerate(scheduler.timesteps):
        following = scheduler.step(torch.ones_like(x), t, x).prev_sample
        alpha, next_alpha = (1.0 / (1.0 + levels[n + i] ** 2).sqrt() for i in (0, 1))
        moved.append((following / next_alpha - x / alpha).abs().max().item())
        x = following
    return moved


@pytest.mark.parametrize("kind", ["karras", "exponential", "beta"])
def test_the_last_call_is_wasted_there_and_not_here(kind):
    options = {**SD_BETAS, f"use_{kind}_sigmas": True}
    assert movements(DEISMultistepScheduler(**options), 10)[-1] < 1e-6
    for final in FINAL_SIGMAS:
        assert min(movements(DEISSNScheduler(**options, final_sigmas_type=final), 10)) > 1e-3


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("final", FINAL_SIGMAS)
def test_every_step_moves_the_sample_by_the_fall_of_the_noise(spacing, final):
    grid = {"grid": named_grid(spacing)} if spacing in FREE_EXPONENT else named(spacing)
    scheduler = DEISSNScheduler(**SD_BETAS, **grid, final_sigmas_type=final)
    moved = movements(scheduler, 8)
    assert moved == pytest.approx((scheduler.sigmas[:-1] - scheduler.sigmas[1:]).tolist(), rel=1e-4)
    assert min(moved) > 1e-3


def test_order_three_blows_up_there_at_fifteen_steps_and_not_here():
    """Below 15 steps Diffusers lowers the order at the end; from 15 on its order 3 extrapolates into the steep end."""
    mixture, x = digits_mixture(), start_noise(16, seed=2)
    truth = mixture.flow(x, float(mixture.noise.rho(999.0)))
    stats = measured_statistics(mixture.epsilon, mixture.noise, start_noise(24, seed=1))

    def error(scheduler, steps):
        return rms(sample(scheduler, mixture.epsilon, x, steps), truth)

    theirs = [error(DEISMultistepScheduler(**SD_BETAS, solver_order=3), steps) for steps in (14, 15)]
    ours = [error(DEISSNScheduler(**SD_BETAS, solver_order=3, stats=stats), steps) for steps in (14, 15)]
    assert theirs[1] > 2.0 * theirs[0]
    assert ours[1] <= ours[0] < theirs[0]
