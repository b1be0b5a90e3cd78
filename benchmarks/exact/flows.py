"""Probability flows that are known: a Gaussian in closed form, and an exact mixture centred on real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.vp import vp_schedule

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
        return self.epsilon_at(x, float(self.noise.rho(float(t))))

    def epsilon_at(self, x: Tensor, rho: float) -> Tensor:
        """eps = sigma (x - alpha E[centre | x]) / (alpha^2 bandwidth^2 + sigma^2); x: (B, D) or (B, 1, H, W)."""
        alpha, sigma = float(self.noise.alpha(rho)), float(self.noise.sigma(rho))
        centres = self.centres.to(x.dtype)
        flat = x.reshape(len(x), -1)
        variance = alpha**2 * self.bandwidth**2 + sigma**2
        distance = torch.cdist(flat, alpha * centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        weights = torch.softmax(-distance / (2.0 * variance), dim=1)
        return (sigma * (flat - alpha * weights @ centres) / variance).reshape(x.shape)

    def flow(self, x: Tensor, start: float, steps: int = 75, near_zero: float = 1e-3, left: float = 0.5) -> Tensor:
        """The probability-flow ODE dy/drho = eps from level `start` to clean data, by Runge-Kutta in log rho.

        From the level `near_zero` on in one step, which takes off `left` of the noise that is predicted there: half,
        for eps is proportional to rho near zero; or, as any sampler whose last call is there, all of it.
        """

        def slope(y: Tensor, s: float) -> Tensor:
            rho = float(np.exp(s))
            return rho * self.epsilon_at(float(self.noise.alpha(rho)) * y, rho)

        y = x / float(self.noise.alpha(start))
        s, h = np.log(start), (np.log(near_zero) - np.log(start)) / steps
        for _ in range(steps):
            k1 = slope(y, s)
            k2 = slope(y + 0.5 * h * k1, s + 0.5 * h)
            k3 = slope(y + 0.5 * h * k2, s + 0.5 * h)
            k4 = slope(y + h * k3, s + h)
            y, s = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), s + h
        return y - left * slope(y, s)


@cache
def digits_mixture(betas: str = "sd") -> Mixture:
    """The exact mixture on scikit-learn's 1797 images of handwritten digits, 8x8, scaled to [-1, 1]."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().data / 8.0 - 1.0)
    return Mixture(vp_schedule(**(SD_BETAS if betas == "sd" else DDPM_BETAS)), images)
