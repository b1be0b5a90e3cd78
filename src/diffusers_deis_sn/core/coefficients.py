"""Multistep solvers: Adams-Bashforth and Adams-Moulton in the exponential integrator, with score normalisation.

One step goes from rho_n to rho_{n+1} and uses m outputs, newest first (arXiv 2204.13902, tAB-DEIS; arXiv 2311.00157):

    x_{n+1} = (alpha_{n+1} / alpha_n) x_n + sum_{j < m} c_{n,j} eps_{n-j}
    c_{n,j} = (alpha_{n+1} / r(t_{n-j})) int_{rho_n}^{rho_{n+1}} r(t(rho)) l_{n,j}(u(rho)) drho

with l_{n,j} the Lagrange polynomials through u_n, ..., u_{n-m+1}. The interpolation variable u is t (the papers'
choice), rho, or log rho (what Diffusers has). A constant r is plain DEIS; m = 1 and constant r is DDIM.

*Data form.* The same ODE reads d(x / sigma) / d(1 / rho) = x_0, so that predicted data may be interpolated instead:

    x_{n+1} = (sigma_{n+1} / sigma_n) x_n + sum_j c_{n,j} x_{0,n-j}
    c_{n,j} = (sigma_{n+1} / nu(t_{n-j})) int nu(t(rho)) l_{n,j}(u(rho)) d(1 / rho)

with nu(t) = E |x_0| of the predicted data, a normaliser of its own. For rho_{n+1} = 0 all weight of the integral lies
at the end: c_{n,j} = alpha_{n+1} nu(0) / nu(t_{n-j}) l_{n,j}(u(0)).

*Corrector.* Each step may be redone with the output at its end (`core.corrector`), where runs that start from next to
nothing but noise, and limits on what a correction passes on, are explained too.

*iPNDM* (arXiv 2202.09778, as in DEIS's code) integrates the scale exactly but has the weights of equal steps, whatever
the grid: (3, -1) / 2, (23, -16, 5) / 12, (55, -59, 37, -9) / 24.
"""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.core.corrector import corrections, damped, pick, start_change
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.quadrature import step_quadrature
from diffusers_deis_sn.core.table import CoefficientTable, lags
from diffusers_deis_sn.errors import CoefficientError

INTERPOLATIONS = ("t", "rho", "log_rho")
INTEGRANDS = ("noise", "data")
MAX_ORDER = 4
NOISE_ALONE = 1 / 256  # alpha below which a sample counts as noise alone: beyond every model trained to end in data


def coefficient_table(
    noise: NoiseSchedule,
    normaliser: Normaliser,
    levels: Array,
    order: int = 2,
    interpolation: str = "t",
    lower_order_final: bool = False,
    *,
    integrand: str = "noise",
    corrector_order: int = 0,
    equal_steps: bool = False,
    gain_limit: float = np.inf,
    share: float = 1.0,
) -> CoefficientTable:
    """Coefficients of a multistep run over given noise levels.

    tAB-DEIS of arXiv 2204.13902 (rhoAB-DEIS in rho), with outputs divided by r(t) as in arXiv 2311.00157.

    Args:
        noise: The process.
        normaliser: r(t), or nu(t) for the data form; `Normaliser.flat()` for plain DEIS.
        levels: rho_0 > ... > rho_N >= 0; (N + 1,).
        order: Largest number of outputs combined in a step, 1 to 4.
        interpolation: Variable of the polynomial: "t", "rho" or "log_rho".
        lower_order_final: Use at most one output in the last step, two in the one before, and so on.
        integrand: What is interpolated: "noise" or "data".
        corrector_order: Largest number of outputs in the redone step, the new one among them, 1 to 4; 0 for none.
        equal_steps: Weights of equal steps (iPNDM) in place of the polynomial's own.
        gain_limit: Largest |weight| / sigma of the newest output in a correction of the noise form; none by default.
        share: How much of what a predictor adds to order one is taken, 0 to 1.

    Returns:
        The frozen table, accurate to about 1e-13 relative to the size of each row.
    """
    steps = len(levels) - 1
    count = max(order, corrector_order)
    u = _variable(interpolation, noise, levels)
    moments, width = _moments(noise, normaliser, levels, u, interpolation, integrand, 1 if equal_steps else count)
    from_noise = integrand == "noise" and starts_from_noise(noise, levels)
    if from_noise:
        moments[0, 0] = _start_moment(noise, normaliser, levels)
    explicit, implicit = _adams_rows(moments, u, width, order, corrector_order, equal_steps)
    if share != 1.0:
        explicit[2:] = explicit[1] + share * (explicit[2:] - explicit[1])
    factor = noise.sigma(levels) if integrand == "data" else noise.alpha(levels)
    transfer = factor[1:] / factor[:-1]
    node_scale = normaliser(noise.time(levels[:-1]))
    # How far the sample at a call changes that call's output, divided by r.
    sensitivity = 1.0 / (levels[:-1] * noise.alpha(levels[:-1]) * node_scale)
    limit = gain_limit if integrand == "noise" else np.inf
    if corrector_order:
        explicit = damped(explicit, sensitivity, transfer, limit)
    at_most = np.minimum(np.arange(steps) + 1, order)
    if lower_order_final:
        at_most = np.minimum(at_most, np.arange(steps, 0, -1))
    if integrand == "data" and not equal_steps and not np.isfinite(u[-1]):
        at_most[-1] = 1  # a polynomial in log rho has no value at clean data
    outputs = explicit.shape[-1]
    weights = np.zeros((outputs, steps, outputs))
    for m in range(1, outputs + 1):
        used = np.minimum(at_most, m)
        weights[m - 1] = pick(explicit, used)
        if corrector_order and m > 1:
            # The step before had one output less at hand; this one corrects it with the new output among the nodes.
            used_redone = np.minimum(np.arange(2, steps + 1), min(m, corrector_order))
            before = pick(explicit, np.minimum(at_most, m - 1))
            start = start_change(noise, normaliser, levels, min(m, corrector_order), outputs) if from_noise else None
            redone = pick(implicit, used_redone)
            weights[m - 1, 1:] += corrections(redone, before, sensitivity, transfer, limit, start)
    return CoefficientTable(
        levels=np.array(levels),
        transfer=transfer,
        weights=weights / node_scale[lags(steps, outputs)],
        node_scale=node_scale,
        row_sum=moments[:, 0].copy(),
        needs=np.ones(steps, dtype=int),
    )


def starts_from_noise(noise: NoiseSchedule, levels: Array) -> bool:
    """Whether a run over these levels starts from next to nothing but noise."""
    return bool(noise.alpha(levels[0]) < NOISE_ALONE)


def _start_moment(noise: NoiseSchedule, normaliser: Normaliser, levels: Array) -> float:
    """alpha_1 int r drho of the step from noise alone, see `core.corrector`."""
    r = normaliser(noise.time(levels[:2]))
    return float(noise.alpha(levels[1]) * ((levels[1] - levels[0]) * r[0] - levels[1] * (r[1] - r[0])))


def _variable(interpolation: str, noise: NoiseSchedule, rho: Array) -> Array:
    """u(rho), the variable of the polynomial; same shape."""
    if interpolation == "t":
        return noise.progress(rho)
    if interpolation == "rho":
        return rho
    with np.errstate(divide="ignore"):
        return np.log(rho)


def _moments(
    noise: NoiseSchedule,
    normaliser: Normaliser,
    levels: Array,
    u: Array,
    interpolation: str,
    integrand: str,
    count: int,
) -> tuple[Array, Array]:
    """Integrals of each step that all coefficients are combinations of, and the width of each step in u.

    With v = (u - u_n) / width_n, a variable of order one: alpha_{n+1} int r v^k drho, or sigma_{n+1} int nu v^k
    d(1 / rho) for data; (N, count) and (N,).
    """
    steps = len(levels) - 1
    gaps = np.abs(np.diff(u))
    width = np.maximum(np.append(0.0, gaps[:-1]), np.where(np.isfinite(gaps), gaps, 0.0))
    width[width == 0.0] = 1.0  # a single step to clean data in log rho, where no power of v is used
    rule = step_quadrature(
        levels, np.concatenate([noise.knots, noise.rho(normaliser.knots)]), log_tail=interpolation == "log_rho"
    )
    v = (_variable(interpolation, noise, rule.nodes) - u[rule.step]) / width[rule.step]
    density, factor = normaliser(noise.time(rule.nodes)), noise.alpha(levels[1:])
    if integrand == "data":
        density, factor = -density / rule.nodes**2, noise.sigma(levels[1:])
    powers = np.empty((len(v), count))
    powers[:, 0] = density
    for k in range(1, count):
        powers[:, k] = powers[:, k - 1] * v
    moments = factor[:, None] * rule.integrate(powers, steps)
    if integrand == "data" and levels[-1] == 0.0:
        end = (u[-1] - u[-2]) / width[-1] if np.isfinite(u[-1]) else 0.0
        moments[-1] = noise.alpha(0.0) * normaliser(noise.time(0.0)) * end ** np.arange(count)
    return moments, width


def _adams_rows(
    moments: Array, u: Array, width: Array, order: int, corrector_order: int, equal_steps: bool
) -> tuple[Array, Array]:
    """Weights on outputs divided by r, for each number of nodes c.

    Returns:
        `explicit[c, n]` of the step from n, nodes n, n - 1, ...; (order + 1, N, K). `implicit[c, n]` of the same step
        redone, nodes n + 1, n, ...; (corrector_order + 1, N - 1, K). Zero where there are not as many outputs.
    """
    steps = len(width)
    outputs = max(order + 1, corrector_order) if corrector_order else order
    tables = []
    for most, lead, rows in ((order, 0, steps), (corrector_order, 1, steps - 1)):
        table = np.zeros((most + 1, max(rows, 0), outputs))
        for c in range(1, most + 1):
            first = max(c - 1 - lead, 0)
            if first >= rows:
                continue
            n = np.arange(first, rows)
            if equal_steps:
                weights = _exact_weights(lead - np.arange(0.0, c)[None, :], 1.0 / np.arange(1.0, c + 1.0)[None, :])
                table[c, n, :c] = moments[n, :1] * weights
            else:
                nodes = (u[n[:, None] + lead - np.arange(c)] - u[n, None]) / width[n, None]
                table[c, n, :c] = _exact_weights(nodes, moments[n])
        tables.append(table)
    return tables[0], tables[1]


def _exact_weights(nodes: Array, moments: Array) -> Array:
    """Weights w with sum_j w_j v_j^k = moment_k for k = 0, ..., c - 1: integrals of the Lagrange polynomials.

    Args:
        nodes: v_0, ..., v_{c-1} of each row; (R, c).
        moments: Of each row, at least c; (R, >= c).

    Raises:
        CoefficientError: The conditions above, which are the order conditions of a multistep method, do not hold.
    """
    rows, c = nodes.shape
    weights = np.empty((rows, c))
    for j in range(c):
        polynomial = np.zeros((rows, c))  # coefficients of l_j, rising powers
        polynomial[:, 0] = 1.0
        for k in range(c):
            if k != j:
                shifted = np.roll(polynomial, 1, axis=1)
                polynomial = (shifted - nodes[:, k, None] * polynomial) / (nodes[:, j] - nodes[:, k])[:, None]
        weights[:, j] = (polynomial * moments[:, :c]).sum(axis=1)
    terms = weights[:, None, :] * nodes[:, None, :] ** np.arange(c)[:, None]
    apart = np.abs(terms.sum(axis=2) - moments[:, :c])
    if np.any(apart > 1e-9 * np.abs(terms).sum(axis=2) + 1e-300):
        raise CoefficientError(f"A row of {c} weights misses an order condition. Please report the scheduler's config.")
    return weights
