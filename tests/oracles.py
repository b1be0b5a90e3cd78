"""Independent answers to test against: coefficients by adaptive quadrature from their definition, costs in closed form.

Flows that are known, and runs on them, are in benchmarks/exact: measurements compare with them too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad
from torch import Tensor

from benchmarks.exact.runs import start_noise
from diffusers_deis_sn.core.grids import Ends
from diffusers_deis_sn.core.named_grids import FLAGGED_SPACINGS, check_spacing, named_grid


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


def spaced_levels(
    noise: Any,
    steps: int,
    spacing: str,
    final: str,
    offset: int = 0,
    *,
    exponent: float | None = None,
    start: float = 1.0,
    end: float | None = None,
) -> np.ndarray:
    """Noise levels of a named grid; (N + 1,). Arguments as in `named_grid` and `Ends`.

    Raises:
        TimestepsError: `steps` out of range.
        ConfigurationError: As `check_spacing`; or whole training times of a process that has none.
    """
    ends = Ends(final, start, end)
    check_spacing(spacing, exponent, ends)
    return named_grid(spacing, exponent, offset).levels(noise, steps, ends)
