"""Runs on normal data: in closed form, never worse than a deviation for DDIM, and what fails is told beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS, Gaussian
from benchmarks.exact.runs import start_noise
from diffusers_deis_sn.core.grids import Ends, Grid, Power, Trailing
from diffusers_deis_sn.core.named_grids import SPACINGS, named_grid
from diffusers_deis_sn.core.normal_data import deviations_off, failing
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.recipe import Recipe, sample
from diffusers_deis_sn.core.solvers import Corrector, Multistep, RungeKutta, Solver
from diffusers_deis_sn.core.vp import vp_schedule
from noise_processes import PROCESSES

ZERO_SNR = vp_schedule(**SD_BETAS, rescale_betas_zero_snr=True)
FLAT = Normaliser.flat()


@pytest.mark.parametrize(
    "solver", [Multistep(3), Multistep(2, of="data", corrector=Corrector(3)), RungeKutta("kutta3")]
)
@pytest.mark.parametrize("c", [0.2, 1.5])
def test_it_is_what_a_network_of_such_data_gives(solver, c):
    process = PROCESSES["vp"]
    plan = Recipe(process, Power("t", 2.0), solver, ends=Ends("sigma_min")).plan(7)
    data, noise = Gaussian(process, 0.0, c), start_noise(2)
    end = sample(plan, lambda x, t: data.epsilon(x, t), noise)
    exact = data.flow(noise, plan.levels[0], plan.levels[-1])
    off = deviations_off(process, plan.table, solver.of, np.array([c]))
    assert abs(float((end / exact).mean()) - 1.0) == pytest.approx(float(off[0]), abs=1e-6)


@given(name=st.sampled_from(sorted(PROCESSES)), cuts=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12))
def test_ddim_is_never_off_by_more_than_a_deviation(name, cuts):
    process = PROCESSES[name]
    shares = np.append(1.0 - np.cumsum([0.0, *cuts]) / (sum(cuts) + 0.01), 0.0)
    levels = process.level(shares)
    off = deviations_off(process, Multistep(1).table(process, FLAT, levels), "noise", np.geomspace(0.01, 10.0, 7))
    assert np.max(off) <= 1.0 + 1e-9


def said(grid: Grid, solver: Solver, steps: int, process=ZERO_SNR, scale=FLAT, named: bool = True) -> str | None:
    recipe = Recipe(process, grid, solver, scale, prediction="v_prediction")
    return failing(recipe, recipe.plan(steps).table, named)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_corrector_without_a_limit_is_told_where_it_blows_up_and_one_with_a_limit_never_does(spacing):
    grid, r = named_grid(spacing), Normaliser(np.array([0.0, 999.0]), np.array([0.5, 0.8]))
    for order, steps in ((1, 6), (2, 10), (3, 30)):
        free, limited = (Multistep(order, "rho", corrector=Corrector(4, gain)) for gain in (np.inf, 0.25))
        words = said(grid, free, steps)
        assert words == said(grid, free, steps, scale=r)
        levels = grid.levels(ZERO_SNR, steps, Ends())
        far = np.max(deviations_off(ZERO_SNR, free.table(ZERO_SNR, FLAT, levels), "noise"))
        assert (words is not None and "deviations off" in words and "gain=" in words) == (far > 1.0)
        assert "deviations" not in (said(grid, limited, steps) or "")


def test_a_grid_that_lies_where_nothing_happens_is_told_however_many_its_steps():
    """Quantiles of Beta in rho: of 150 levels from 4096 down four are below ten, and order one is all they have."""
    beta = named_grid("beta")
    assert np.sum(beta.levels(ZERO_SNR, 150, Ends())[:-1] < 10.0) < 8
    words = said(beta, Multistep(2), 150)
    assert words is not None and "150 steps" in words and "trailing" in words
    assert said(beta, Multistep(2), 150, named=False) is None
    assert said(beta, Multistep(2), 30, PROCESSES["vp"]) is None


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("solver", [Multistep(1), Multistep(2), Multistep(3, of="data"), RungeKutta("rk4")])
def test_nothing_is_said_of_what_is_in_order(name, solver):
    process = PROCESSES[name]
    for steps in (5, 10, 50):
        for grid in (Trailing(), Power("t", 2.0)):
            recipe = Recipe(process, grid, solver, prediction=process.predictions[-1])
            assert failing(recipe, recipe.plan(steps).table, True) is None


def test_solvers_of_others_are_their_own_affair():
    class Mine:
        of, calls_per_step = "noise", 1

        def table(self, process, scale, levels):
            return Multistep(1).table(process, scale, levels)

    assert said(named_grid("beta"), Mine(), 150) is None
