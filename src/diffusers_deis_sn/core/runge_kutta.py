"""Runge-Kutta solvers in rho (rhoRK-DEIS, arXiv 2204.13902), with score normalisation.

With y = x / alpha and the scale z(rho) = int r drho the probability-flow ODE reads

    dy / dz = eps / r

which an s-stage method with tableau (c, a, b) steps through with h = z(rho_{n+1}) - z(rho_n):

    k_i = eps(x_i, rho_i) / r_i,   x_i = alpha_i (y_n + h sum_{j < i} a_ij k_j),   z(rho_i) = z(rho_n) + c_i h
    x_{n+1} = alpha_{n+1} (y_n + h sum_j b_j k_j)

For constant r, z is rho and this is the paper's method. Changing the variable keeps every order condition, and makes
the method exact where eps / r is constant along the flow.

Each call's sample follows from the one before, so that no y_n is kept:

    x_{i+1} = (alpha_{i+1} / alpha_i) x_i + alpha_{i+1} h sum_{j <= i} (a_{i+1,j} - a_ij) k_j

*Leaps.* A stage at the end of a step sees eps change with the sample there by up to 1 / rho_{n+1} of it, and its weight
is a part of rho_n - rho_{n+1}: of a wrong sample rho_n / rho_{n+1} - 1 times as much comes back. A step that leaps,
from far above the scale of the data to it, as the first from noise alone or along a learned path, blows up so. The same
ODE in predicted data, d(y / rho) / d(1 / rho) = x_0, does not, for x_0 follows the sample by less than one to one, and
is smooth up to noise alone, 1 / rho = 0. The same tableau is of the same order there:

    y_i = rho_i (y_n / rho_n + h sum_{j < i} a_ij x_0j),   x_0j = y_j - rho_j eps_j,   h = 1 / rho_{n+1} - 1 / rho_n

Written in outputs it has the transfers alpha_{i+1} / alpha_i of the other form, and a matrix q for h a:

    y_i = y_n + sum_{j < i} q_ij eps_j,   q_ik = rho_i h (sum_{j < i} a_ij q_jk - a_ik rho_k)

DDIM is Euler's method in both forms. On data N(0, c^2), where eps = rho y / (c^2 + rho^2) and y grows with
(c^2 + rho^2)^(1/2), no method in predicted data is ever worse than it; in rho none is in steps to half of a level at
least, and in longer ones those with a stage at the end are. Steps that leap from above a level are taken in predicted
data, and in runs from beyond `ABOVE_MODELS` so are all that would be worse than DDIM in rho for data of some scale c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.coefficients import starts_from_noise
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.quadrature import step_quadrature
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.errors import CoefficientError

NEWTON_STEPS = 6
LEAP = 2.0  # rho_n / rho_{n+1} above which a step leaps: what comes back of a wrong sample is then more than the sample
SCALES = np.geomspace(0.01, 3.0, 24)  # c, of fine texture to that of latents
ROUNDING = 1e-12
ABOVE_DATA = 3.0  # rho, where the data's scale is about one: a leap from below has little to blow up
ABOVE_MODELS = 20.0  # beyond Stable Diffusion, 14.6, and like models, whose Heun is that of Diffusers


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method.

    Args:
        order: Order of convergence, 1 to 4.
        nodes: c; (s,).
        stages: Rows of a below the diagonal, the first of them empty.
        weights: b; (s,).
        at_clean: Name of the method for a last step to rho = 0, where the network cannot be called: one order lower
            at most, so that the whole keeps its order. None where no stage lies at the end of the step.

    Raises:
        CoefficientError: An order condition up to `order` does not hold.
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    at_clean: str | None = None

    def __post_init__(self) -> None:
        a, b, c = self.matrix, np.array(self.weights), np.array(self.nodes)
        conditions: list[tuple[Array, ArrayLike]] = [(a.sum(axis=1), c), (b.sum(), 1.0)]
        if self.order >= 2:
            conditions += [(b @ c, 1 / 2)]
        if self.order >= 3:
            conditions += [(b @ c**2, 1 / 3), (b @ a @ c, 1 / 6)]
        if self.order >= 4:
            conditions += [(b @ c**3, 1 / 4), (b * c @ a @ c, 1 / 8), (b @ a @ c**2, 1 / 12), (b @ a @ a @ c, 1 / 24)]
        if not all(np.allclose(value, wanted, rtol=0.0, atol=1e-14) for value, wanted in conditions):
            raise CoefficientError(f"A Runge-Kutta tableau with nodes {self.nodes} is not of order {self.order}.")

    def __len__(self) -> int:
        """Number of stages, s."""
        return len(self.nodes)

    @property
    def matrix(self) -> Array:
        """a as a square; (s, s)."""
        return np.array([[*row, *[0.0] * (len(self) - len(row))] for row in self.stages])

    @property
    def rows(self) -> Array:
        """a, and b below; (s + 1, s)."""
        return np.vstack([self.matrix, self.weights])


# The tables are those of DEIS's code; `midpoint` beside them is Runge's. Diffusers' convention for solvers of two calls
# is a last step of one, so that heun and midpoint give 2 N - 1 calls, as HeunDiscreteScheduler does.
TABLEAUX: dict[str, Tableau] = {
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
    "midpoint": Tableau(2, (0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0), at_clean="euler"),
    "heun": Tableau(2, (0.0, 1.0), ((), (1.0,)), (1 / 2, 1 / 2), at_clean="euler"),
    "kutta3": Tableau(3, (0.0, 1 / 2, 1.0), ((), (1 / 2,), (-1.0, 2.0)), (1 / 6, 4 / 6, 1 / 6), at_clean="ralston3"),
    "heun3": Tableau(3, (0.0, 1 / 3, 2 / 3), ((), (1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4)),
    "ralston3": Tableau(3, (0.0, 1 / 2, 3 / 4), ((), (1 / 2,), (0.0, 3 / 4)), (2 / 9, 1 / 3, 4 / 9)),
    "ssprk3": Tableau(3, (0.0, 1.0, 1 / 2), ((), (1.0,), (1 / 4, 1 / 4)), (1 / 6, 1 / 6, 2 / 3), at_clean="ralston3"),
    "vdh3": Tableau(3, (0.0, 8 / 15, 2 / 3), ((), (8 / 15,), (1 / 4, 5 / 12)), (1 / 4, 0.0, 3 / 4)),
    "rk4": Tableau(
        4,
        (0.0, 1 / 2, 1 / 2, 1.0),
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        at_clean="ralston3",
    ),
}


def runge_kutta_table(
    noise: NoiseSchedule, normaliser: Normaliser, levels: Array, solver: str, above: float = np.inf
) -> CoefficientTable:
    """Coefficients of a Runge-Kutta run over given noise levels, one row for each stage of each step.

    rhoRK-DEIS of arXiv 2204.13902, with outputs divided by r(t).

    Args:
        noise: The process.
        normaliser: r(t); `Normaliser.flat()` for plain DEIS.
        levels: rho_0 > ... > rho_N >= 0, where the steps begin and end; (N + 1,).
        solver: Name of one of `TABLEAUX`.
        above: rho above which steps that leap are taken in predicted data; see the top. Infinity for none anywhere.
    """
    tableaux = _tableaux(noise, levels, solver)
    leaps = _leaps(levels, tableaux, above)
    scale, stage_levels = _stages(noise, normaliser, levels, tableaux, leaps)
    alpha = noise.alpha(stage_levels)
    node_scale = normaliser(noise.time(stage_levels[:-1]))

    width = max(map(len, tableaux))
    weights = np.zeros((width, len(node_scale), width))
    row_sum, needs = np.zeros(len(node_scale)), np.zeros(len(node_scale), dtype=int)
    call = 0
    for tableau, h, leap in zip(tableaux, scale, leaps, strict=True):
        calls = slice(call, call + len(tableau))
        rows = tableau.rows
        if leap:
            rows, h = _of_data(rows, stage_levels[call : call + len(rows)]), 1.0
            node_scale[calls] = 1.0
        for stage, row in enumerate(np.diff(rows, axis=0)):
            used = np.arange(stage, -1, -1)  # newest first
            factor = alpha[call + 1] * h
            weights[stage:, call, : stage + 1] = factor * row[used] / node_scale[call - stage + used]
            row_sum[call] = factor * row.sum()
            needs[call] = stage + 1
            call += 1
    return CoefficientTable(stage_levels, alpha[1:] / alpha[:-1], weights, node_scale, row_sum, needs)


def _tableaux(noise: NoiseSchedule, levels: Array, solver: str) -> list[Tableau]:
    """The method of each step; (N,)."""
    tableaux = [TABLEAUX[solver]] * (len(levels) - 1)
    at_clean = TABLEAUX[solver].at_clean
    if levels[-1] == 0.0 and starts_from_noise(noise, levels[-2:]):
        at_clean = "euler"  # the whole run is one step, and all its stages would be noise
    if levels[-1] == 0.0 and at_clean is not None:
        tableaux[-1] = TABLEAUX[at_clean]
    return tableaux


def _leaps(levels: Array, tableaux: list[Tableau], above: float) -> np.ndarray:
    """Which steps are taken in predicted data; (N,)."""
    leaps = (levels[:-1] > LEAP * levels[1:]) & (levels[1:] > 0.0) & (above < np.inf)
    tried = levels[0] > ABOVE_MODELS
    for n in np.flatnonzero(leaps):
        top, end = levels[n : n + 2]
        worse = tried and against_ddim(tableaux[n], top, end) > 1.0
        leaps[n] = len(tableaux[n]) > 1 and (top > above or worse)
    return leaps


def against_ddim(tableau: Tableau, top: float, end: float, scales: Array = SCALES) -> float:
    """The error of a step in rho over that of DDIM's, on data N(0, c^2) of the scale c, (C,), for which it is most."""
    outputs = np.zeros((len(tableau) + 1, len(scales)))
    for i, (c, row) in enumerate(zip([*tableau.nodes, 1.0], tableau.rows, strict=True)):
        rho, growth = top + c * (end - top), 1.0 + (end - top) * row @ outputs[:-1]
        outputs[i] = rho / (scales**2 + rho**2) * growth
    exact = np.sqrt((scales**2 + end**2) / (scales**2 + top**2))
    ddim = 1.0 + (end - top) * outputs[0]
    return float(np.max(np.abs(growth - exact) / (np.abs(ddim - exact) + ROUNDING)))


def _of_data(rows: Array, levels: Array) -> Array:
    """q of a step in predicted data, see the top.

    Args:
        rows: a, and b below; (s + 1, s).
        levels: Of the stages, and of the end; (s + 1,).
    """
    h = 1.0 / levels[-1] - 1.0 / levels[0]
    q = np.zeros_like(rows)
    for i, row in enumerate(rows):
        q[i] = levels[i] * h * (row @ q[: len(row)] - row * levels[:-1])
    return q


def _stages(
    noise: NoiseSchedule, normaliser: Normaliser, levels: Array, tableaux: list[Tableau], leaps: np.ndarray
) -> tuple[Array, Array]:
    """h = int r drho of each step, and the levels of all stages and of the end; (N,) and (C + 1,)."""
    knots = np.concatenate([noise.knots, noise.rho(normaliser.knots)])
    inside = knots[(knots > levels[-1]) & (knots < levels[0])]
    edges = np.unique(np.concatenate([levels, inside]))[::-1]
    rule = step_quadrature(edges, np.zeros(0))
    z = np.append(0.0, np.cumsum(rule.integrate(normaliser(noise.time(rule.nodes)), len(edges) - 1)))
    start = z[np.searchsorted(-edges, -levels)]
    scale = np.diff(start)
    nodes = [np.array(tableau.nodes) for tableau in tableaux]
    targets = np.concatenate([z0 + c * h for z0, c, h in zip(start, nodes, scale, strict=False)])
    found = _solve(noise, normaliser, edges, z, targets)
    # Levels that were given are kept to the last digit, and so are straight lines in rho.
    ends = zip(levels[:-1], levels[1:], nodes, strict=True)
    whole = np.concatenate([np.where(c == 1.0, end, rho + c * (end - rho)) for rho, end, c in ends])
    exact = np.concatenate([(c == 0.0) | (c == 1.0) | normaliser.is_flat for c in nodes])
    stages = np.where(exact, whole, found)
    first = np.cumsum([0, *map(len, nodes)])
    for n in np.flatnonzero(leaps):  # whose stages divide 1 / rho
        inner = (nodes[n] > 0.0) & (nodes[n] < 1.0)
        above, below = levels[n], levels[n + 1]
        stages[first[n] : first[n + 1]][inner] = above / (1.0 + nodes[n][inner] * (above / below - 1.0))
    return scale, np.append(stages, levels[-1])


def _solve(noise: NoiseSchedule, normaliser: Normaliser, edges: Array, z: Array, targets: Array) -> Array:
    """rho with int r drho = target, by Newton's method between two neighbours of `edges`, where r is smooth."""
    place = np.clip(np.searchsorted(-z, -targets, side="right") - 1, 0, len(edges) - 2)
    top, bottom = edges[place], edges[place + 1]
    gap = z[place + 1] - z[place]  # zero between two knots that differ by rounding
    rho = top + (bottom - top) * np.divide(targets - z[place], gap, out=np.zeros_like(gap), where=gap != 0.0)
    x, w = np.polynomial.legendre.leggauss(7)
    for _ in range(NEWTON_STEPS):
        half = 0.5 * (rho - top)[:, None]
        reached = z[place] + (half * w * normaliser(noise.time(top[:, None] + half * (1.0 + x)))).sum(axis=1)
        rho = np.clip(rho - (reached - targets) / normaliser(noise.time(rho)), bottom, top)
    return rho
