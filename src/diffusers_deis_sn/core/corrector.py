"""Correctors: a step redone with the output at its end, and how far a correction is let go.

Once the output at rho_n is there, the step that led there is redone with u_n among its nodes, in the same
integral (Adams-Moulton; the idea is UniPC's, arXiv 2302.04867). The corrected x_n differs from the x_n at hand by a
combination of outputs, so the redone step and the next one are one row of weights.

*Gain.* An error in the sample changes the predicted noise by up to g / sigma of it, with g the guidance scale. A
correction is one turn of a fixed-point iteration, which contracts if |weight of the newest output| g / sigma is below
one. Where |weight| / sigma is above a given limit, which happens in the first of few steps, the correction is scaled
down to it. So is what a corrected predictor has beyond order one, to a sixteenth of the limit, for it comes on top.
Steps that are short enough are left as they are, and so are orders of convergence. Predicted data change by far less
with the noise in the sample: the data form needs no limit.

*Start.* Where a run starts from next to nothing but noise (a flow's sigma = 1, zero terminal SNR), rho_0 has no upper
bound, and a polynomial of eps over that step has no meaning: eps tends to its limit like rho^-2, for y = x_0 + rho eps
and dx_0 = -rho deps. There r is taken to do the same, r(rho) = r_0 + (r_1 - r_0)(rho_1 / rho)^2, and the step is redone
with x_0 linear in 1 / rho, which changes x by sigma_1 (eps_0 - eps_1) / 2.
"""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule

PREDICTOR_SHARE = 1 / 16  # of the limit on the gain, for what a predictor adds to order one


def damped(explicit: Array, sensitivity: Array, transfer: Array, limit: float) -> Array:
    """Predictors of a run that is corrected: what each adds to order one, within a share of the limit.

    Args:
        explicit: `explicit[c, n]`, weights of the step from n on c outputs; (order + 1, N, K).
        sensitivity: How far the sample at a call changes that call's output; (N,).
        transfer: Factor of the sample in each step; (N,).
        limit: Of the gain; infinity for none.

    Returns:
        Weights of the same shape.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # the data form's last transfer is zero, and has no limit
        gain = np.abs(explicit[:, :, 0] - explicit[1, :, 0]) * sensitivity / transfer
    kept: Array = explicit[1] + _share(gain, limit * PREDICTOR_SHARE)[:, :, None] * (explicit - explicit[1])
    return kept


def corrections(
    redone: Array, before: Array, sensitivity: Array, transfer: Array, limit: float, start: Array | None = None
) -> Array:
    """What results of the steps 1, ..., N - 1 change by, once the step before each is redone.

    Args:
        redone: Weights of the steps 0, ..., N - 2 with the output at their end, newest first; (N - 1, K).
        before: Weights that steps 0, ..., N - 1 were taken with; (N, K).
        sensitivity: How far the sample at a call changes that call's output; (N,).
        transfer: Factor of the sample in each step; (N,).
        limit: Largest gain of a correction.
        start: The first change, of a run that starts from noise alone; None for any other. (K,).

    Returns:
        Weights on the outputs at hand in these steps, newest first; (N - 1, K).
    """
    change = redone - np.roll(before[:-1], 1, axis=1)
    newest = redone[:, 0].copy()
    if start is not None and len(change):
        change[0], newest[0] = start, start[0]
    kept = _share(np.abs(newest) * sensitivity[1:], limit)
    weights: Array = (transfer[1:] * kept)[:, None] * change
    return weights


def start_change(noise: NoiseSchedule, normaliser: Normaliser, levels: Array, nodes: int, outputs: int) -> Array:
    """What the step from noise alone changes by once it is redone, x_0 constant (one node) or linear in 1 / rho; (K,).

    Weights on the output at its end and on the first one. Their sum is zero, and would not be if the step itself, which
    is as long as rho_0, were taken from a redone one.
    """
    scale = float(noise.sigma(levels[1]) * normaliser(noise.time(levels[1]))) * (1.0 if nodes == 1 else 0.5)
    return np.array([-scale, scale, *np.zeros(outputs - 2)])


def pick(table: Array, number: np.ndarray) -> Array:
    """`table[number[n], n]` for each n; (N, K)."""
    return table[number, np.arange(table.shape[1])]


def _share(gain: Array, limit: float) -> Array:
    """What keeps a gain within its limit: one, or the factor that brings it there; same shape."""
    return np.ones_like(gain) if limit == np.inf else limit / np.maximum(gain, max(limit, 1e-300))
