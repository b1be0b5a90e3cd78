"""Independent answers to test against.

Probability flows that are known: a Gaussian in closed form, and an exact mixture centred on real images. And the
solver's coefficients by adaptive quadrature, from their definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad
from torch import Tensor

from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.spacing import FLAGGED_SPACINGS
from diffusers_deis_sn.core.vp import TableSchedule, vp_schedule
from diffusers_deis_sn.statistics import ScoreStatistics, StatisticsOrigin

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


# ---------------------------------------------------------------------------------- coefficients, from their definition


@dataclass(frozen=True)
class Definition:
    """c_{n,j} = alpha_{n+1} / r(t_{n-j}) int_{rho_n}^{rho_{n+1}} r(t(rho)) l_{n,j}(u(rho)) drho, literally.

    Args:
        alphas_cumprod: alpha^2 at t = 0, 1, ...; linear in between and down to t = -1, where it is 1.
        levels: rho_0 > ... > rho_N >= 0.
        interpolation: What u is.
        knots: Times of a piecewise linear r, and its values; flat outside, and below `cutoff`.
        cutoff: See `knots`.
    """

    alphas_cumprod: np.ndarray
    levels: np.ndarray
    interpolation: str = "t"
    knots: tuple[np.ndarray, np.ndarray] = (np.zeros(1), np.ones(1))
    cutoff: float = 0.0

    def time(self, rho: float) -> float:
        return float(np.interp(rho**2 / (1.0 + rho**2), self._share, np.arange(-1, len(self.alphas_cumprod))))

    def r(self, t: float) -> float:
        return float(np.interp(max(t, self.cutoff), *self.knots))

    def alpha(self, rho: float) -> float:
        return 1.0 / np.sqrt(1.0 + rho**2)

    def u(self, rho: float) -> float:
        return {"t": self.time, "rho": float, "log_rho": np.log}[self.interpolation](rho)

    def kinks(self) -> np.ndarray:
        """Levels at which t or r has a kink."""
        share = np.interp(np.append(self.knots[0], self.cutoff), np.arange(-1, len(self.alphas_cumprod)), self._share)
        share = np.append(share, self._share)
        share = share[(share > 0.0) & (share < 1.0)]
        return np.sqrt(share / (1.0 - share))

    def coefficients(self, n: int, outputs: int) -> np.ndarray:
        """Weights of the newest `outputs` outputs in step n, newest first."""
        nodes = [self.u(rho) for rho in self.levels[n - outputs + 1 : n + 1][::-1]]
        top, bottom = self.levels[n], self.levels[n + 1]

        def integrand(rho: float, j: int) -> float:
            u, value = self.u(rho), self.r(self.time(rho))
            for k, node in enumerate(nodes):
                value *= 1.0 if k == j else (u - node) / (nodes[j] - node)
            return value

        raw = [integral(lambda rho, j=j: integrand(rho, j), top, bottom, self.kinks()) for j in range(outputs)]
        scale = [self.r(self.time(rho)) for rho in self.levels[n - outputs + 1 : n + 1][::-1]]
        return self.alpha(bottom) * np.array(raw) / scale

    @property
    def _share(self) -> np.ndarray:
        return np.append(0.0, 1.0 - self.alphas_cumprod)


def integral(f: Callable[[float], float], top: float, bottom: float, kinks: np.ndarray) -> float:
    """int f drho from `top` to `bottom`, by SciPy's adaptive quadrature between the kinks; near zero in log rho."""
    accuracy = {"epsabs": 1e-15, "epsrel": 1e-12, "limit": 200}
    edges = [top, *np.unique(kinks[(kinks < top * (1 - 1e-12)) & (kinks > bottom)])[::-1]]
    if bottom > 0.0:
        edges.append(bottom)
    total = sum(quad(f, a, b, **accuracy)[0] for a, b in pairwise(edges))
    if bottom == 0.0:
        last = edges[-1]
        total -= quad(lambda w: f(last * np.exp(-w)) * last * np.exp(-w), 0.0, 40.0, **accuracy)[0]
    return total


# ------------------------------------------------------------------------------ costs of data N(0, c^2), in closed form


def gaussian_corrector_cost(left: np.ndarray, entered: np.ndarray, c: Any) -> np.ndarray:
    """L_c = sigma'^2 (V' - V)^2 / (V V'^2) of the step from sigma = `left` to sigma' = `entered`; V = c^2 + sigma^2."""
    before, after = c**2 + left**2, c**2 + entered**2
    return entered**2 * (after - before) ** 2 / (before * after**2)


def gaussian_predictor_cost(left: np.ndarray, entered: np.ndarray, c: Any) -> np.ndarray:
    """L_p = sigma'^2 Delta^4 c^4 / (m^2 V^3 V'^2) of an Euler step, y' = m y with m = 1 + Delta sigma / V."""
    before, after, change = c**2 + left**2, c**2 + entered**2, entered - left
    m = 1.0 + change * left / before
    return entered**2 * change**4 * c**4 / (m**2 * before**3 * after**2)


def gaussian_corrector_length(sigma: Any, c: float) -> Any:
    """Lambda_c(sigma) = 2 (asinh(sigma / c) - sigma / sqrt(c^2 + sigma^2)), zero at clean data."""
    return 2.0 * (np.arcsinh(sigma / c) - sigma / np.sqrt(c**2 + sigma**2))


# ----------------------------------------------------------------------------------------------------------------- runs


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


def called_levels(scheduler: Any) -> list[float]:
    """Levels of a planned run's calls in float64; `scheduler.sigmas` has them rounded."""
    return list(scheduler._plan.levels[:-1])


def ends_of_views(make: Callable[[str], Any], steps: int) -> list[Tensor]:
    """Where runs of one denoiser, x_0 = tanh(x), end that `make` has a scheduler for as each prediction type."""
    ends = []
    for prediction_type in ("epsilon", "sample", "v_prediction"):
        scheduler, x = make(prediction_type), start_noise(4)
        scheduler.set_timesteps(steps)
        for t, level in zip(scheduler.timesteps, called_levels(scheduler), strict=True):
            alpha, sigma = float(scheduler.noise.alpha(level)), float(scheduler.noise.sigma(level))
            x0 = torch.tanh(x)
            eps = (x - alpha * x0) / sigma
            output = {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}[prediction_type]
            x = scheduler.step(output, t, x).prev_sample
        ends.append(x)
    return ends


def named(grid: str) -> dict[str, Any]:
    """The option that chooses the grid of this name: one of Diffusers' flags, or a `timestep_spacing`."""
    return {f"use_{grid}_sigmas": True} if grid in FLAGGED_SPACINGS else {"timestep_spacing": grid}
