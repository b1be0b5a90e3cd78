"""GITS (Chen et al., arXiv 2405.11326): times by a dynamic programme over a teacher's trajectory, at no further call.

The cost of a step from i to j is by how much more one Euler step leaves the chord of the trajectory than the teacher
does at j, and a schedule's is the sum with a weight, above one for what is left of earlier errors:

    c_ij = mean_s ( |P (z_i + (s_j - s_i) v_i - z_K)| - |P (z_j - z_K)| ),    V_j,k = min_i c_ji + w V_i,k-1

P takes out the direction from z_0 to z_K. z = x / alpha, s = rho and v = eps, as in the paper; of flows, whose rho has
no upper end, z = x, s = sigma and v the velocity, in which Euler's step is the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.tuning.teacher import Teacher

WEIGHT = 1.15  # of the authors, for pictures


def gits_levels(teacher: Teacher, calls: int, weight: float = WEIGHT) -> Array:
    """rho of the calls and of the end; (N + 1,).

    Args:
        teacher: The fine run of the samples that are fitted on.
        calls: N.
        weight: w.
    """
    rho = np.array(teacher.levels)
    return rho[best_path(costs(teacher), calls, weight)]


def costs(teacher: Teacher) -> Array:
    """c_ij of i < j, infinite elsewhere; (K + 1, K + 1)."""
    z, s, v = _trajectory(teacher)
    chord = (z[-1] - z[0]) / (z[-1] - z[0]).norm(dim=1, keepdim=True)

    def away(points: Tensor) -> Tensor:
        """How far points are from the chord; (..., S)."""
        apart = points - z[-1]
        return (apart - (apart * chord).sum(-1, keepdim=True) * chord).norm(dim=-1)

    own, found = away(z), np.full((len(z), len(z)), np.inf)
    for i in range(len(z) - 1):
        reached = z[i] + (s[i + 1 :, None, None] - s[i]) * v[i]
        found[i, i + 1 :] = (away(reached) - own[i + 1 :]).mean(1).numpy()
    return found


def best_path(cost: Array, calls: int, weight: float) -> list[int]:
    """Places 0 = i_0 < ... < i_N = K of least cost.

    Args:
        cost: Of a step from the first index to the second, infinite where there is none; (K + 1, K + 1).
        calls: N, at most K.
        weight: Of what comes later.
    """
    left = cost[:, -1].copy()  # with one step
    nexts: list[Array] = []
    for _ in range(calls - 1):
        through = cost + weight * left[None, :]
        nexts.append(through.argmin(1))
        left = through.min(1)
    path = [0]
    for following in reversed(nexts):
        path.append(int(following[path[-1]]))
    return [*path, len(cost) - 1]


def _trajectory(teacher: Teacher) -> tuple[Tensor, Tensor, Tensor]:
    """z (K + 1, S, d), s (K + 1,) and v (K, S, d)."""
    process, rho = teacher.process, np.array(teacher.levels)
    alpha, sigma = (torch.from_numpy(one)[:, None, None].float() for one in (process.alpha(rho), process.sigma(rho)))
    x = torch.stack([one.flatten(1) for one in teacher.samples])
    data = torch.stack([one.flatten(1) for one in teacher.data])
    noise = (x[:-1] - alpha[:-1] * data) / sigma[:-1]
    if process.path == "flow":
        return x, torch.from_numpy(process.as_sigma(rho)).float(), noise - data
    return x / alpha, torch.from_numpy(rho).float(), noise
