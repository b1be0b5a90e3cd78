"""Solvers as values: what is the same under two names, and what any of them gets exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.grids import Ends, Power
from diffusers_deis_sn.core.recipe import Recipe, sample
from diffusers_deis_sn.core.solvers import Corrector, Multistep, RungeKutta
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError

VP = vp_schedule(**SD_BETAS)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_with_flat_scale_euler_and_one_output_are_the_same_run():
    one, other = (Recipe(VP, Power("t", 2.0), solver).plan(6) for solver in (RungeKutta("euler"), Multistep(1)))
    assert np.allclose(one.table.weights[0], other.table.weights[0], rtol=1e-12)
    assert np.allclose(one.table.transfer, other.table.transfer, rtol=1e-12)


@pytest.mark.parametrize(
    "solver",
    [Multistep(2), Multistep(3, of="data", corrector=Corrector(3)), Multistep(share=0.5), RungeKutta("kutta3")],
)
def test_data_of_one_point_is_reached_exactly(solver):
    """eps = (x - alpha c) / sigma: predicted data are the same at all levels, whatever the solver integrates."""
    point, plan = 0.3, Recipe(VP, Power("t", 2.0), solver, ends=Ends("sigma_min")).plan(9)

    def exact(x: Tensor, t: float) -> Tensor:
        level = float(VP.rho(t))
        return (x - float(VP.alpha(level)) * point) / float(VP.sigma(level))

    start = float(plan.alpha[0]) * point + float(plan.sigma[0]) * noise(4)
    wanted = plan.alpha[-1] * point + plan.sigma[-1] * noise(4)
    assert torch.allclose(
        sample(plan, exact, start), wanted, rtol=0.0, atol=1e-3 if solver.calls_per_step > 1 else 1e-9
    )


@pytest.mark.parametrize("of", ["noise", "data"])
def test_a_share_of_what_is_beyond_order_one_lies_between_it_and_all(of):
    recipe = Recipe(VP, Power("t", 1.5), Multistep(3, of=of))
    none, half, whole = (
        replace(recipe, solver=replace(recipe.solver, share=share)).plan(7).table.weights for share in (0.0, 0.5, 1.0)
    )
    one = replace(recipe, solver=Multistep(1, of=of)).plan(7).table.weights
    assert np.allclose(half, 0.5 * (none + whole), rtol=1e-12, atol=1e-14)
    assert np.allclose(none[..., 0], one[0, :, 0]) and not none[..., 1:].any() and whole[..., 1:].any()


@pytest.mark.parametrize(
    ("share", "rule"),
    [
        (-0.1, "of Multistep is from 0, order one, to 1"),
        (1.5, "of Multistep is from 0, order one, to 1"),
        ("half", "must be a number"),
    ],
)
def test_a_share_beyond_none_and_all_is_refused(share, rule):
    with pytest.raises(ConfigurationError, match=f"`share` {rule}"):
        Multistep(share=share)
