"""Runs of a scheduler on an exact network, and the statistics of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.exact.flows import Epsilon
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.vp import TableSchedule
from diffusers_deis_sn.statistics import ScoreStatistics, StatisticsOrigin


def start_noise(number: int, dimension: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(number, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(scheduler: Any, epsilon: Epsilon, x: Tensor, steps: int) -> Tensor:
    """The loop of a pipeline."""
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(x, t)
        x = scheduler.step(epsilon(model_input, t), t, x, return_dict=False)[0]
    return x


def rms(a: Tensor, b: Tensor) -> float:
    return (a - b).double().square().mean().sqrt().item()


def measured_statistics(epsilon: Epsilon, noise: TableSchedule, x: Tensor, steps: int = 200) -> ScoreStatistics:
    """Mean |eps| along the trajectories from `x`, by DDIM at T-1, T-1-T/steps, ..., 0: DEIS-SN's recipe, and t = 0."""
    times = np.unique(np.append(np.arange(noise.last, -1.0, -len(noise) / steps), 0.0))[::-1]
    rho = np.append(noise.rho(times), 0.0)
    alpha = noise.alpha(rho)
    mean_abs, mean_square = [], []
    for n, t in enumerate(times):
        eps = epsilon(x, t)
        mean_abs.append(eps.abs().mean().item())
        mean_square.append(eps.square().mean().item())
        x = alpha[n + 1] * (x / alpha[n] + (rho[n + 1] - rho[n]) * eps)
    return statistics_of(noise, times[::-1], np.array(mean_abs[::-1]), np.array(mean_square[::-1]))


def statistics_of(
    noise: NoiseSchedule, times: np.ndarray, mean_abs: np.ndarray, mean_square: np.ndarray | None = None, **origin: Any
) -> ScoreStatistics:
    """A record of given curves; pure noise's mean square where none is given."""
    facts = {"noise_schedule": str(noise), "fingerprint": noise.fingerprint, "prediction_type": "epsilon"}
    facts["guidance_scale"] = 1.0  # type: ignore[assignment]  # an exact network is not guided
    return ScoreStatistics(
        timesteps=times,
        log_snr=-2.0 * np.log(noise.rho(times)),
        mean_abs=mean_abs,
        mean_abs_error=0.0 * times,
        mean_square=np.pi / 2.0 * mean_abs**2 if mean_square is None else mean_square,
        mean_square_error=0.0 * times,
        num_samples=np.full(len(times), 64),
        origin=StatisticsOrigin(**{**facts, **origin}),
    )
