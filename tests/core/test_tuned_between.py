"""Runs between those of fewer and more calls: what is stored stays, and where nothing was fitted it is a formula."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.recipe import Recipe, sample
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import APART, levels_between, run_between
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StatisticsError

VP = vp_schedule(**SD_BETAS)
RECIPES = {
    "vp": Recipe(VP, Whole(Power("t", 1.5)), Multistep(2, corrector=Corrector(3, 0.3))),
    "v": Recipe(VP, Whole(Power("t", 2.0)), Multistep(3, of="data"), prediction="v_prediction"),
    "flow": Recipe(FlowSchedule(), Power("t", 2.0), Multistep(2, of="data"), prediction="flow_prediction"),
    "edm": Recipe(EDMSchedule(), Power("sigma", 7.0), Multistep(3, of="data")),
}
EACH = pytest.mark.parametrize("name", RECIPES)


def formula(name: str, calls: int, power: float | None = None) -> Tuned:
    """The weights of a recipe, over another grid where a power is named."""
    recipe = RECIPES[name]
    grid = recipe.grid if power is None else Whole(Power("t", power))
    levels = replace(recipe, grid=grid).levels(calls)
    return Tuned.of_recipe(recipe, recipe.process.whole(levels))


def fitted(name: str, calls: int, power: float | None = None) -> Tuned:
    """Others, in two bands."""
    run = formula(name, calls, power)
    return replace(run, transfer=0.98 * run.transfer, weights=1.03 * run.weights, low=0.02 * run.weights)


def between(name: str, low: Tuned, high: Tuned, calls: int, **options: float) -> Tuned:
    recipe = RECIPES[name]
    return run_between(low, high, calls, recipe.process, partial(Tuned.of_recipe, recipe), **options)


@EACH
def test_a_number_that_is_stored_has_the_stored_run(name):
    low, high = fitted(name, 6), fitted(name, 8)
    assert between(name, low, high, 6) is low and between(name, low, high, 8) is high


@EACH
def test_where_nothing_was_fitted_it_is_the_formula(name):
    low, high = formula(name, 6, 1.4), formula(name, 8, 2.2)
    found = between(name, low, high, 7)
    assert found == Tuned.of_recipe(RECIPES[name], found.rho) and found.low is None and len(found) == 7


@EACH
def test_levels_at_either_end_are_those_of_the_runs(name):
    process, low, high = RECIPES[name].process, formula(name, 6, 1.4), formula(name, 8, 2.2)
    np.testing.assert_allclose(levels_between(low, high, 6, process, 0.0), low.rho, rtol=1e-9)
    np.testing.assert_allclose(levels_between(low, high, 8, process, 1.0), high.rho, rtol=1e-9)


@EACH
def test_what_was_fitted_to_both_alike_is_fitted_here(name):
    """Weights that are a share larger in both are, all of the fit taken, about that share larger between."""
    found = between(name, fitted(name, 8), fitted(name, 10), 9, fitted=1.0)
    exact = Tuned.of_recipe(RECIPES[name], found.rho)
    assert np.all(np.abs(found.transfer - exact.transfer) <= 0.02 * np.max(np.abs(exact.transfer)) * 1.2)
    size = np.max(np.abs(exact.weights))
    np.testing.assert_allclose(found.weights, 1.03 * exact.weights, atol=0.03 * size)
    assert found.low is not None
    np.testing.assert_allclose(found.low, 0.02 * exact.weights, atol=0.03 * size)


@EACH
@given(power=st.tuples(*[st.floats(1.0, 2.5)] * 2), low=st.sampled_from([6, 8, 9, 12]), data=st.data())
def test_it_is_a_run_between_the_two(name, power, low, data):
    high = data.draw(st.integers(low + 2, int(APART * low)))
    calls = data.draw(st.integers(low + 1, high - 1))
    one, two, process = formula(name, low, power[0]), formula(name, high, power[1]), RECIPES[name].process
    found = between(name, one, two, calls)
    assert len(found) == calls and np.all(np.diff(found.rho) < 0.0) and found.rho[-1] == one.rho[-1]
    first = sorted((one.rho[0], two.rho[0]))
    assert first[0] * (1 - 1e-6) <= found.rho[0] <= first[1] * (1 + 1e-6)
    last = sorted(float(process.progress(run.rho[-2:-1])[0]) for run in (one, two))
    assert 0.3 * last[0] <= float(process.progress(found.rho[-2:-1])[0]) <= 3.0 * last[1] + 2e-3


@EACH
def test_as_many_calls_are_made_as_it_says(name):
    asked = []

    def network(x: torch.Tensor, t: float) -> torch.Tensor:
        asked.append(t)
        return torch.tanh(x)

    found = between(name, fitted(name, 6), fitted(name, 8), 7)
    end = sample(found.plan(RECIPES[name].process, RECIPES[name].prediction), network, torch.ones(1, 2, 4, 4))
    assert len(asked) == 7 and bool(torch.isfinite(end).all())


def test_runs_that_tell_nothing_of_a_number():
    low, high = fitted("vp", 6), fitted("vp", 8)
    later = replace(high, told=high.told - 0.5)
    wrong = [(low, high, 5), (low, high, 9), (fitted("vp", 5), high, 7), (high, low, 7), (low, later, 7)]
    wrong += [(replace(low, shift=2.0), high, 7), (replace(low, of="noise", low=None), high, 7)]
    wrong += [(low, replace(high, rho=np.append(high.rho[:-1], 0.001)), 7)]
    for one, two, calls in wrong:
        with pytest.raises(StatisticsError):
            between("vp", one, two, calls)
