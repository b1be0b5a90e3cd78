"""The quadrature against the sum that the papers' code takes: 10,000 left points in t, a slow and independent road.

    c_{n,j} = 1 / r(t_{n-j}) int_{t_n}^{t_{n+1}} (1/2) Psi(t_{n+1}, tau) G^2(tau) r(tau) / sigma(tau) l_{n,j}(tau) dtau

with Psi(s, t) = alpha_s / alpha_t, G^2 = - d log alpha^2 / dt and alpha^2 piecewise linear between the training times,
1 at t = -1 (arXiv 2204.13902, 2311.00157).

How far such a sum is off can be known beforehand: a sum of left end points, h apart, misses no more than h times the
variation of its integrand. In the step to clean data sigma is zero at the end, the integrand grows like a root's
inverse, and the last of the points stands for a stretch without a bound: h times its value, and a multiple of that for
polynomials in log rho.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import DDPM_BETAS
from diffusers_deis_sn.core.coefficients import INTERPOLATIONS, MAX_ORDER, coefficient_table
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.vp import vp_schedule
from oracles import spaced_levels

STEPS, POINTS = 10, 10_000
GRIDS = ("power_t", "trailing", "karras", "exponential")
FILES = {"cifar10": "cifar10_Ls_score_abs.pt", "church": "lsunchurch_Ls_score_abs.pt"}
SHARE = np.append(1.0, np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000)))  # alpha^2 at t = -1, 0, ..., 999
TIMES = np.arange(-1.0, 1000.0)
DDPM = vp_schedule(**DDPM_BETAS)


@pytest.fixture(params=["flat", *FILES])
def table_of_r(request) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of r, cleanest first: no normalisation, or one of the two published files."""
    if request.param == "flat":
        return np.zeros(1), np.ones(1)
    return np.arange(1000.0), published_r(request.getfixturevalue("published_tables") / FILES[request.param])


@cache
def published_r(path) -> np.ndarray:
    """r = |score| sigma of a published file, which has the noisiest first."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    return (content["score_abs"] * content["Ls"]).double().flip(0).numpy()


def time_of(levels: np.ndarray) -> np.ndarray:
    return np.interp(levels**2 / (1.0 + levels**2), 1.0 - SHARE, TIMES)


def share(t: np.ndarray) -> np.ndarray:
    return np.interp(t, TIMES, SHARE)


def variable(interpolation: str, t: np.ndarray) -> np.ndarray:
    rho = np.sqrt(1.0 / share(t) - 1.0)
    return {"t": t, "rho": rho, "log_rho": np.log(rho) if interpolation == "log_rho" else rho}[interpolation]


@dataclass(frozen=True)
class LeftSum:
    """The sum for one step, and how far it may be off; (m,) for m outputs, newest first."""

    value: np.ndarray
    bound: np.ndarray


def left_sum(times: np.ndarray, n: int, outputs: int, interpolation: str, r, points: int) -> LeftSum:
    h = (times[n + 1] - times[n]) / points
    t = times[n] + h * np.arange(points)
    segment = np.minimum(np.floor(t + 1e-9).astype(int) + 1, 999)  # at a training time the slope above it
    decay = -(SHARE[segment + 1] - SHARE[segment]) / share(t)
    common = 0.5 * np.sqrt(share(times[n + 1]) / share(t)) * decay * np.interp(t, *r) / np.sqrt(1.0 - share(t))
    before = times[n - outputs + 1 : n + 1][::-1]
    nodes, u = variable(interpolation, before), variable(interpolation, t)
    value, bound = np.empty(outputs), np.empty(outputs)
    for j in range(outputs):
        others = np.delete(nodes, j)
        basis = np.prod((u[:, None] - others) / (nodes[j] - others), axis=1)
        f = common * basis / np.interp(before[j], *r)
        # What no sum sees is the last stretch, of width h: there a root's inverse holds twice h f, and with a
        # polynomial in log rho a few times that.
        unseen = 0.0 if times[n + 1] > -1.0 else 2.0 * np.abs(f[-1])
        value[j], bound[j] = h * f.sum(), np.abs(h) * (np.abs(np.diff(f)).sum() + unseen)
    return LeftSum(value, bound)


def steps_of(interpolation: str, grid: str, r):
    """Each step with its times and its exact row: (times, n, outputs, row)."""
    levels = spaced_levels(DDPM, STEPS, grid, "zero")
    table = coefficient_table(DDPM, Normaliser(*r), levels, MAX_ORDER, interpolation)
    for n in range(STEPS):
        outputs = min(MAX_ORDER, n + 1)
        yield time_of(levels), n, outputs, table.weights[outputs - 1, n, :outputs]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_published_sum_is_off_by_no_more_than_it_must_be(interpolation, grid, table_of_r):
    for times, n, outputs, row in steps_of(interpolation, grid, table_of_r):
        found = left_sum(times, n, outputs, interpolation, table_of_r, POINTS)
        size = np.max(np.abs(row))
        assert np.all(np.abs(found.value - row) <= found.bound + 1e-12 * size), n
        if n < STEPS - 1:
            assert np.max(np.abs(found.value - row)) < 4e-4 * size  # so the papers' numbers are good to four digits
        else:
            assert 1e-3 * size < np.max(np.abs(found.value - row))  # but not in the step to clean data


@pytest.mark.parametrize("outputs", range(1, MAX_ORDER + 1))
@pytest.mark.parametrize("interpolation", ["t", "rho"])
def test_more_points_come_nearer_at_the_rate_of_the_integrand(interpolation, outputs, table_of_r):
    """Off by a h in a step between noise levels, by a h^(1/2) + b h in the one to clean data: both can be removed."""
    levels = spaced_levels(DDPM, STEPS, "trailing", "zero")  # whole times, so that no point is near a kink by chance
    table = coefficient_table(DDPM, Normaliser(*table_of_r), levels, MAX_ORDER, interpolation)
    for n in (4, STEPS - 1):
        row = table.weights[outputs - 1, n, :outputs]
        sums = [
            left_sum(time_of(levels), n, outputs, interpolation, table_of_r, points).value
            for points in (POINTS, 2 * POINTS, 4 * POINTS)
        ]
        rates = (2.0,) if n < STEPS - 1 else (2.0**0.5, 2.0)
        for rate in rates:
            sums = [(rate * fine - coarse) / (rate - 1.0) for coarse, fine in pairwise(sums)]
        assert sums[-1] == pytest.approx(row, rel=0, abs=1e-6 * np.max(np.abs(row)))


# The last of ten quadratic steps of DEIS-SN's CIFAR-10 model, three outputs; entry j of the file is taken for
# tau = j / 999 and the cleanest five are held flat, as DEIS-SN's code has it.
EXACT = [-0.05389518, 0.01312582, -0.00203872]
PUBLISHED = [-0.05357044, 0.01300585, -0.00201940]


def test_the_last_step_of_the_published_cifar_sampler(published_tables):
    values, times = published_r(published_tables / FILES["cifar10"]), 1000.0 * np.linspace(0.0, 1.0, 1000) - 1.0
    levels = spaced_levels(DDPM, STEPS, "power_t", "zero")
    table = coefficient_table(DDPM, Normaliser(times, values, cutoff=times[5]), levels, 3, "t")
    assert table.weights[2, STEPS - 1] == pytest.approx(EXACT, abs=0.6e-8)
    held = np.where(np.arange(1000) < 5, values[5], values)
    found = left_sum(time_of(levels), STEPS - 1, 3, "t", (times, held), POINTS)
    assert found.value == pytest.approx(PUBLISHED, abs=0.6e-8)
