"""Nodes and weights for integrals over rho, exact for what stands in the solver's coefficients.

The integrals are those of arXiv 2204.13902 (tAB-DEIS) and arXiv 2311.00157 in the variable rho; the papers' code sums
10,000 points of each.

The integrand r(t(rho)) l_j(u(rho)) has kinks at the knots of r and of the noise schedule and is smooth between them:
r and t are linear in the noise share rho^2 / (1 + rho^2). There a short Gauss-Legendre rule in s = log rho
(drho = e^s ds) is exact to rounding. The last step ends at rho = 0, s = -infinity; what remains below the last knot is
integrated in rho itself, or, for polynomials in log rho, by Gauss-Laguerre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from diffusers_deis_sn.core.process import Array

WIDEST_PANEL = 0.5  # in log rho
PANEL_POINTS = ((0.012, 3), (0.1, 5), (WIDEST_PANEL, 7))  # up to which width how many leave an error below 1e-12
TAIL_POINTS = 24
LAGUERRE_POINTS = 48  # four would do for the polynomials; these are for an r that changes below its last knot


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Weighted nodes for integrals over consecutive steps.

        int_{rho_n}^{rho_{n+1}} f(rho) drho = sum of weights * f(nodes) over the nodes with step == n

    The weights are negative: rho falls while sampling.

    Args:
        nodes: rho, positive, step by step; (P,).
        weights: One for each node, negative; (P,).
        step: n of each node, rising; (P,).
    """

    nodes: Array
    weights: Array
    step: np.ndarray

    def integrate(self, values: Array, steps: int) -> Array:
        """Integrals over each step.

        Args:
            values: f at the nodes; (P, ...).
            steps: Number of steps N.

        Returns:
            (N, ...); zero for a step too narrow for a node of its own.
        """
        weighted = values * self.weights.reshape(-1, *[1] * (values.ndim - 1))
        first = np.searchsorted(self.step, np.arange(steps + 1))
        sums = np.add.reduceat(np.concatenate([weighted, np.zeros_like(weighted[:1])]), first[:-1], axis=0)
        sums[first[:-1] == first[1:]] = 0.0  # where `reduceat` gives the next step's first node
        return sums


def step_quadrature(levels: Array, knots: Array, log_tail: bool = False) -> Quadrature:
    """Nodes and weights for every step of a grid, split at the knots.

    Args:
        levels: rho_0 > ... > rho_N >= 0; (N + 1,).
        knots: Noise levels at which the integrand has a kink, in any order.
        log_tail: The integrand is a polynomial in log rho, rather than smooth in rho, on the way to rho = 0.

    Returns:
        The rule, exact to rounding for the integrands of `core.coefficients`.
    """
    to_zero = levels[-1] == 0.0
    positive = levels[:-1] if to_zero else levels
    inside = knots[(knots > 0.0) & (knots < levels[0]) & (knots > levels[-1])]
    edges = np.unique(np.concatenate([positive, inside]))[::-1]
    nodes, weights = _panels(np.log(edges))
    if to_zero:
        tail_nodes, tail_weights = (_laguerre_tail if log_tail else _legendre_tail)(edges[-1])
        nodes, weights = np.append(nodes, tail_nodes), np.append(weights, tail_weights)
    # A knot within rounding of a level makes a panel so narrow that its nodes may round to outside the grid.
    step = np.clip(np.searchsorted(-levels, -nodes, side="left") - 1, 0, len(levels) - 2)
    by_step = np.argsort(step, kind="stable")
    return Quadrature(nodes[by_step], weights[by_step], step[by_step])


def _panels(edges: Array) -> tuple[Array, Array]:
    """Gauss-Legendre in s = log rho on each interval of `edges`, falling; wide ones are halved until narrow."""
    widths = -np.diff(edges)
    parts = np.maximum(1, np.ceil(widths / WIDEST_PANEL)).astype(int)
    starts = np.repeat(edges[:-1], parts)
    size = np.repeat(widths / parts, parts)
    first = np.repeat(np.cumsum(parts) - parts, parts)
    middle = starts - size * (np.arange(len(size)) - first + 0.5)
    nodes, weights, narrower = [], [], 0.0
    for width, points in PANEL_POINTS:
        chosen = (size > narrower) & (size <= width * (1.0 + 1e-12))
        x, w = _gauss_legendre(points)
        half = 0.5 * size[chosen, None]
        rho = np.exp(middle[chosen, None] - half * x)
        nodes.append(rho.ravel())
        weights.append((-half * w * rho).ravel())
        narrower = width * (1.0 + 1e-12)
    return np.concatenate(nodes), np.concatenate(weights)


@cache
def _gauss_legendre(points: int) -> tuple[Array, Array]:
    """Nodes in [-1, 1] and weights."""
    return np.polynomial.legendre.leggauss(points)


def _legendre_tail(top: float) -> tuple[Array, Array]:
    """From `top` to zero, for integrands that are smooth in rho."""
    x, w = _gauss_legendre(TAIL_POINTS)
    return 0.5 * top * (1.0 - x), -0.5 * top * w


def _laguerre_tail(top: float) -> tuple[Array, Array]:
    """From `top` to zero, for polynomials in log rho: rho = top e^{-w} turns the integral into Gauss-Laguerre's."""
    x, w = np.polynomial.laguerre.laggauss(LAGUERRE_POINTS)
    return top * np.exp(-x), -top * w
