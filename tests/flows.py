"""Flows to measure orders of convergence on: x = x_0 + sigma eps, all maps smooth, the solution known everywhere."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from benchmarks.exact.flows import Gaussian, Mixture
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.solvers import Multistep, RungeKutta, Solver
from diffusers_deis_sn.core.step import combine

NOISE = SigmaSchedule(0.01, 5.0, label="sigma")
TOP, END = 2.0, 0.2
FLAT = Normaliser.flat()


class Flow(Protocol):
    """A network's exact output, the samples that a run starts from, and where the flow takes them."""

    start: Tensor

    def epsilon_at(self, x: Tensor, rho: float) -> Tensor: ...

    def exact(self, levels: tuple[float, ...]) -> list[Tensor]:
        """The samples at `levels`, the first of which is where they start."""


class OneBump(Gaussian):
    """N(0.7, 0.3^2), in closed form."""

    start = torch.linspace(-1.0, 2.5, 8, dtype=torch.float64)[:, None]

    def exact(self, levels: tuple[float, ...]) -> list[Tensor]:
        return [self.flow(self.start, levels[0], level) for level in levels]


class TwoBumps(Mixture):
    """Half N(-0.8, 0.5^2), half N(0.7, 0.5^2), by SciPy's eighth order method with all its digits."""

    start = torch.linspace(-2.0, 2.3, 9, dtype=torch.float64)[:, None]

    def epsilon_at(self, x: Tensor, rho: float) -> Tensor:
        """As any mixture has it, but by one hyperbolic tangent: E[centre | x] = middle + half tanh(...)."""
        (one, other), variance = self.centres.flatten().tolist(), self.bandwidth**2 + rho**2
        middle, half = 0.5 * (one + other), 0.5 * (other - one)
        return (rho / variance) * (x - middle - half * torch.tanh((half / variance) * (x - middle)))

    def exact(self, levels: tuple[float, ...]) -> list[Tensor]:
        return [torch.from_numpy(x.copy())[:, None] for x in _integrate(levels)]


ONE_BUMP = OneBump(NOISE)
TWO_BUMPS = TwoBumps(NOISE, torch.tensor([[-0.8], [0.7]], dtype=torch.float64), 0.5)
FLOWS: dict[str, Flow] = {"one bump": ONE_BUMP, "two bumps": TWO_BUMPS}


@functools.cache
def _integrate(levels: tuple[float, ...]) -> np.ndarray:
    def slope(s: float, y: np.ndarray) -> np.ndarray:
        return np.exp(s) * TWO_BUMPS.epsilon_at(torch.from_numpy(y)[:, None], float(np.exp(s))).numpy()[:, 0]

    s, y = np.log(levels), TWO_BUMPS.start.numpy()[:, 0]
    return solve_ivp(slope, (s[0], s[-1]), y, method="DOP853", rtol=1e-13, atol=1e-14, t_eval=s).y.T


def uniform(steps: int, variable: str) -> np.ndarray:
    """Levels from 2 to 0.2, uniform in "log_rho", "rho" or "1 / rho"."""
    if variable == "log_rho":
        return np.geomspace(TOP, END, steps + 1)
    return np.linspace(TOP, END, steps + 1) if variable == "rho" else 1.0 / np.linspace(1 / TOP, 1 / END, steps + 1)


def error(flow: Flow, levels: np.ndarray, known: int = 0, r: Normaliser = FLAT, **solver: Any) -> float:
    """Largest error at the end of a run whose first `known` outputs, and the sample after them, are exact.

    Args:
        flow: One of `FLOWS`.
        levels: Where the steps begin, and the end.
        known: See above.
        r: The normaliser.
        **solver: Fields of `Multistep`; or `solver`, the name of a Runge-Kutta method or any solver.
    """
    other = solver.pop("solver", None) or Multistep(**{"lower_order_final": False} | solver)
    method: Solver = RungeKutta(other) if isinstance(other, str) else other
    table = method.table(NOISE, r, levels)
    truth = flow.exact((*levels[: known + 1].tolist(), float(levels[-1])))
    x, outputs = flow.start, []
    for n, level in enumerate(table.levels[:-1].tolist()):
        x = truth[n] if n <= known else x
        noise = flow.epsilon_at(x, level)
        outputs = [x - level * noise if method.of == "data" else noise, *outputs][: table.order]
        x = combine(x, table.transfers[n], outputs, table.rows[len(outputs) - 1][n])
    return (x - truth[-1]).abs().max().item()


def measured_order(flow: Flow, steps: int, uniform_in: str = "log_rho", **options: Any) -> float:
    """log2 of how much twice as many steps gain."""
    errors = [error(flow, uniform(n, uniform_in), **options) for n in (steps, 2 * steps)]
    return float(np.log2(errors[0] / errors[1]))
