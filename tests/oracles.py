"""Probability flows with known answers: a Gaussian in closed form, and an exact mixture centred on real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from diffusers_deis_sn.maths.noise import NoiseSchedule, vp_schedule
from torch import Tensor

Epsilon = Callable[[Tensor, float], Tensor]
"""eps(x, t): the exact network of a process, at fractional training times."""

SD_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DDPM_BETAS: dict[str, Any] = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}


@dataclass(frozen=True)
class Gaussian:
    """Data N(mean, std^2) in every coordinate."""

    noise: NoiseSchedule
    mean: float = 0.7
    std: float = 0.3

    def epsilon_at(self, x: Tensor, rho: float) -> Tensor:
        """eps = sigma (x - alpha mean) / (alpha^2 std^2 + sigma^2)."""
        alpha, sigma = float(self.noise.alpha(rho)), float(self.noise.sigma(rho))
        return sigma * (x - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)

    def epsilon(self, x: Tensor, t: float) -> Tensor:
        return self.epsilon_at(x, float(self.noise.rho(float(t))))

    def flow(self, x: Tensor, start: float, end: float) -> Tensor:
        """The exact solution of the probability-flow ODE from level `start` to level `end`."""
        a, b = float(self.noise.alpha(start)), float(self.noise.alpha(end))
        y = (x / a - self.mean) * np.sqrt((self.std**2 + end**2) / (self.std**2 + start**2))
        return b * (self.mean + y)

    def r(self, rho: np.ndarray) -> np.ndarray:
        """E |eps| along the flow for centred samples: sqrt(2 / pi) rho / sqrt(std^2 + rho^2)."""
        return np.sqrt(2.0 / np.pi) * rho / np.sqrt(self.std**2 + rho**2)


@dataclass(frozen=True)
class Mixture:
    """Data: normal bumps of width `bandwidth` around each row of `centres`, (M, D)."""

    noise: NoiseSchedule
    centres: Tensor
    bandwidth: float = 0.1

    def epsilon(self, x: Tensor, t: float) -> Tensor:
        """eps = sigma (x - alpha E[centre | x]) / (alpha^2 bandwidth^2 + sigma^2); x: (B, D) or (B, 1, H, W)."""
        rho = float(self.noise.rho(float(t)))
        alpha, sigma = float(self.noise.alpha(rho)), float(self.noise.sigma(rho))
        centres = self.centres.to(x.dtype)
        flat = x.reshape(len(x), -1)
        variance = alpha**2 * self.bandwidth**2 + sigma**2
        distance = torch.cdist(flat, alpha * centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        weights = torch.softmax(-distance / (2.0 * variance), dim=1)
        return (sigma * (flat - alpha * weights @ centres) / variance).reshape(x.shape)


@cache
def digits_mixture(betas: str = "sd") -> Mixture:
    """The exact mixture on scikit-learn's 1797 images of handwritten digits, 8x8, scaled to [-1, 1]."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().data / 8.0 - 1.0)
    return Mixture(vp_schedule(**(SD_BETAS if betas == "sd" else DDPM_BETAS)), images)


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
