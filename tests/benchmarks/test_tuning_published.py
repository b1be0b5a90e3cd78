"""What is written from papers: GITS against all paths, and gradients through a network that is known."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from benchmarks.tuning.direct import Direct
from benchmarks.tuning.gits import best_path, costs, gits_levels
from benchmarks.tuning.gradients import Fit, fitted
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.teacher import Teacher

CENTRES = torch.tensor([[-1.0, 0.5, 0.2, 0.9], [0.8, -0.6, 0.4, -0.3], [0.1, 1.0, -0.9, 0.2]], dtype=torch.float64)
WIDTH = 0.1


def clean(y: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
    """E[x_0 | y] of bumps around a few points, y = x_0 + rho noise."""
    variance = WIDTH**2 + rho**2
    weights = torch.softmax(-(y[:, None] - CENTRES).square().sum(-1) / (2.0 * variance), 1)
    return (rho**2 * (weights @ CENTRES) + WIDTH**2 * y) / variance


def known(process: NoiseSchedule, samples: int = 12, seed: int = 0) -> Direct:
    """A network of a mixture, differentiable in sample and time."""
    flow = process.path == "flow"

    def output(x: torch.Tensor, time: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        alpha, sigma = direct.scales(time)
        alpha = alpha.clamp_min(2.0**-24)
        data = clean((x / alpha).double(), sigma / alpha).float()
        return ((x - data) / sigma) if flow else (x - alpha * data) / sigma

    noise = torch.randn(samples, 4, generator=torch.Generator().manual_seed(seed))
    direct = Direct(process, "flow_prediction" if flow else "epsilon", output, noise)
    return direct


VP, FLOW = vp_schedule(), FlowSchedule()
BOTH = pytest.mark.parametrize("process", [VP, FLOW], ids=["vp", "flow"])


@pytest.mark.parametrize("calls", [1, 2, 4])
@pytest.mark.parametrize("weight", [0.9, 1.15])
def test_the_programme_finds_the_least_of_all_paths(calls, weight):
    size = 8
    cost = np.where(np.triu(np.ones((size, size)), 1) > 0, np.random.default_rng(0).random((size, size)), np.inf)

    def total(path: tuple[int, ...]) -> float:
        return sum(weight**place * cost[i, j] for place, (i, j) in enumerate(pairwise(path)))

    paths = [(0, *inner, size - 1) for inner in combinations(range(1, size - 1), calls - 1)]
    found = best_path(cost, calls, weight)
    assert len(found) == calls + 1 and total(tuple(found)) == pytest.approx(min(map(total, paths)))


@BOTH
def test_a_step_to_the_next_level_costs_little_and_one_over_all_the_most(process):
    teacher = Teacher.of(known(process).model(), 20)
    cost = costs(teacher)
    last = len(cost) - 1
    assert np.all(np.isinf(cost[np.tril_indices(last + 1)]))
    assert cost[0, last] > 3.0 * np.abs(np.diagonal(cost, 1)).max()
    levels = gits_levels(teacher, 5)
    assert len(levels) == 6 and levels[0] == teacher.levels[0] and levels[-1] == 0.0 and np.all(np.diff(levels) < 0.0)


@BOTH
def test_what_is_learned_starts_as_the_solver_it_starts_from(process):
    direct, grid = known(process), Power("t", 1.5)
    fit = Fit.on(direct, grid, 6)
    fit.settle()
    plan = Recipe(process, Whole(grid), Multistep(2, "log_rho", "data"), prediction=direct.prediction).plan(6)
    model = direct.model()
    x, data = model.start(plan.levels[0]), list[torch.Tensor]()
    for n, level in enumerate(plan.levels[:-1]):
        data = [model.data(x, level), *data]
        x = plan.advance(n, x, data)
    ends = fit.ends(torch.arange(len(direct.noise)))
    # DPM++ 2M leaves out what is beyond the midpoint; the exact integral of a line in log rho does not.
    assert (ends - x).square().mean().sqrt() < 0.1
    own = fit.plan()
    assert isinstance(model, Model) and np.allclose(own.rho, plan.levels, rtol=1e-4)
    assert torch.allclose(model.run(own), ends, atol=1e-4)


@BOTH
def test_gradients_bring_the_ends_nearer_on_samples_held_out(process):
    direct, other = known(process), known(process, 8, seed=1)
    fine, there = (Teacher.of(one.model(), 40).end for one in (direct, other))
    before = fitted(direct, fine, other, there, 4, 1)
    times = fitted(direct, fine, other, there, 4, 40, weights=False)
    both = fitted(direct, fine, other, there, 4, 40)
    errors = [(other.model().run(plan) - there).square().mean(1).log().mean() for plan in (before, times, both)]
    assert errors[1] < errors[0] and errors[2] < errors[0]
    assert all(np.all(np.diff(plan.told) < 0.0) for plan in (times, both))
