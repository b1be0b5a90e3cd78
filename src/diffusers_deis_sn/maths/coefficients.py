"""The solver: coefficients of the multistep exponential integrator with score normalisation.

One step goes from rho_n to rho_{n+1} and uses m outputs, newest first (arXiv 2204.13902, tAB-DEIS; arXiv 2311.00157):

    x_{n+1} = (alpha_{n+1} / alpha_n) x_n + sum_{j < m} c_{n,j} eps_{n-j}
    c_{n,j} = (alpha_{n+1} / r(t_{n-j})) int_{rho_n}^{rho_{n+1}} r(t(rho)) l_{n,j}(u(rho)) drho

with l_{n,j} the Lagrange polynomials through u_n, ..., u_{n-m+1}. The interpolation variable u is t (the papers'
choice), rho, or log rho (what Diffusers has). A constant r is plain DEIS; m = 1 and constant r is DDIM. Every order,
variable and normaliser takes this one path; closed forms are left to the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diffusers_deis_sn.errors import CoefficientError
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.maths.normaliser import Normaliser
from diffusers_deis_sn.maths.quadrature import step_quadrature

INTERPOLATIONS = ("t", "rho", "log_rho")
MAX_ORDER = 4


@dataclass(frozen=True, eq=False)
class CoefficientTable:
    """All numbers of a run, for every length of history a step may find.

    Args:
        transfer: alpha_{n+1} / alpha_n; (N,).
        weights: `weights[m - 1, n, j]` multiplies the j-th newest output in step n when m outputs are at hand, zero
            for j >= m; (k, N, k). A step early in the run, or early in an image-to-image run that starts half-way,
            finds fewer than k outputs.
        node_scale: r(t_n) at the times of the calls; (N,).
        scale_integral: alpha_{n+1} int r drho of each step; (N,).

    Raises:
        CoefficientError: The numbers break a law: not finite, a weight on an output that is not there, or no partition
            of unity, sum_j weights r(t_{n-j}) = alpha_{n+1} int r drho.
    """

    transfer: Array
    weights: Array
    node_scale: Array
    scale_integral: Array

    def __post_init__(self) -> None:
        arrays = (self.transfer, self.weights, self.node_scale, self.scale_integral)
        for array in arrays:
            array.flags.writeable = False
        if not all(np.all(np.isfinite(array)) for array in arrays):
            raise CoefficientError("A coefficient is not finite. Please report the scheduler's config.")
        order, steps, _ = self.weights.shape
        for m in range(1, order + 1):
            if np.any(self.weights[m - 1, :, m:] != 0.0):
                raise CoefficientError(f"A weight on an output that is not there, with {m} at hand.")
            lagged = [self.weights[m - 1, j:, j] * self.node_scale[: steps - j] for j in range(min(m, steps))]
            sums = sum(np.concatenate([np.zeros(j), row]) for j, row in enumerate(lagged))
            size = sum(np.concatenate([np.zeros(j), np.abs(row)]) for j, row in enumerate(lagged))
            if np.any(np.abs(sums - self.scale_integral) > 1e-9 * size + 1e-300):
                raise CoefficientError(f"No partition of unity with {m} outputs. Please report the scheduler's config.")

    def __len__(self) -> int:
        """Number of steps, N."""
        return len(self.transfer)

    @property
    def order(self) -> int:
        """Largest number of outputs a step uses, k."""
        return len(self.weights)

    @cached_property
    def rows(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        """`rows[m - 1][n]`: the weights of step n as Python floats, zeros at the end cut off."""
        return tuple(
            tuple(tuple(np.trim_zeros(row, "b").tolist()) or (0.0,) for row in table) for table in self.weights
        )

    @cached_property
    def transfers(self) -> tuple[float, ...]:
        """`transfer` as Python floats."""
        return tuple(self.transfer.tolist())


def coefficient_table(
    noise: NoiseSchedule,
    normaliser: Normaliser,
    levels: Array,
    order: int = 2,
    interpolation: str = "t",
    lower_order_final: bool = False,
) -> CoefficientTable:
    """Coefficients of a run over given noise levels.

    Args:
        noise: The process.
        normaliser: r(t); `Normaliser.flat()` for plain DEIS.
        levels: rho_0 > ... > rho_N >= 0; (N + 1,).
        order: Largest number of outputs combined, 1 to 4.
        interpolation: Variable of the polynomial: "t", "rho" or "log_rho".
        lower_order_final: Use at most one output in the last step, two in the one before, and so on.

    Returns:
        The frozen table, accurate to about 1e-13 relative to the size of each row.
    """
    steps = len(levels) - 1
    knots = np.concatenate([np.exp(noise.log_rho), noise.rho(normaliser.knots)])
    rule = step_quadrature(levels, knots, log_tail=interpolation == "log_rho")
    u, u_calls = (_variable(interpolation, noise, rho) for rho in (rule.nodes, levels[:-1]))
    scale, node_scale = (normaliser(noise.time(rho)) for rho in (rule.nodes, levels[:-1]))
    alpha = noise.alpha(levels)

    weights = np.zeros((order, steps, order))
    for m in range(1, order + 1):
        at_hand = np.minimum(m, np.arange(steps) + 1)
        if lower_order_final:
            at_hand = np.minimum(at_hand, np.arange(steps, 0, -1))
        basis = _lagrange(u, rule.step, u_calls, at_hand, m)
        integral = rule.integrate(scale[:, None] * basis, steps)
        lag = np.maximum(np.arange(steps)[:, None] - np.arange(m), 0)
        weights[m - 1, :, :m] = alpha[1:, None] * integral / node_scale[lag]
    return CoefficientTable(
        transfer=alpha[1:] / alpha[:-1],
        weights=weights,
        node_scale=node_scale,
        scale_integral=alpha[1:] * rule.integrate(scale, steps),
    )


def _variable(interpolation: str, noise: NoiseSchedule, rho: Array) -> Array:
    """u(rho), the variable of the polynomial; same shape."""
    if interpolation == "t":
        return noise.time(rho)
    return rho if interpolation == "rho" else np.log(rho)


def _lagrange(u: Array, step: np.ndarray, u_calls: Array, at_hand: np.ndarray, m: int) -> Array:
    """Lagrange polynomials of each step at its quadrature nodes; zero for outputs that are not at hand; (P, m)."""
    used = np.arange(m) < at_hand[:, None]
    nodes = u_calls[np.maximum(np.arange(len(u_calls))[:, None] - np.arange(m), 0)]
    basis = used[step].astype(np.float64)
    for j in range(m):
        for k in range(m):
            if k != j:
                both = used[:, j] & used[:, k]
                gap = np.where(both, nodes[:, j] - nodes[:, k], 1.0)
                factor = (u - nodes[step, k]) / gap[step]
                basis[:, j] *= np.where(both[step], factor, 1.0)
    return basis
