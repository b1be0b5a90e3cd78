"""Plans with one freedom more each, and what lies between one and the run without it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from diffusers_deis_sn.core.grids import Power, Trailing, Whole
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.candidates import FREEDOMS, ONE_BAND, OutOfTimeError, blended, candidates
from diffusers_deis_sn.tuning.search import Found, Search
from diffusers_deis_sn.tuning.teacher import Teacher
from toy_models import PROCESSES, toy


def recipes(name: str) -> list[Recipe]:
    process, prediction = PROCESSES[name]
    grids = (Trailing(), Whole(Power("t", 1.5)))
    return [Recipe(process, grid, Multistep(2, of="data"), prediction=prediction) for grid in grids]


@cache
def found(name: str, bands: int = 2, calls: int = 4) -> list[tuple[str, Found]]:
    model = toy(name)
    return list(candidates(Search(model, Teacher.of(model, 40)), recipes(name), calls, bands))


@pytest.mark.parametrize("name", PROCESSES)
def test_each_freedom_is_nearer_than_those_before(name):
    last = dict(found(name))
    assert next(iter(last)) == "weights" and set(last) <= set(FREEDOMS) and "times" in last
    scores = [last[one].score for one in ("weights", "first time", "times") if one in last]
    assert scores == sorted(scores, reverse=True)
    assert all(one.bands == 2 for key, one in last.items() if key != ONE_BAND)
    assert last[ONE_BAND].bands == 1 and np.array_equal(last[ONE_BAND].run.rho, last["times"].run.rho)


def test_samples_of_one_band_have_no_second():
    assert ONE_BAND not in dict(found("vp", 1)) and all(one.bands == 1 for _, one in found("vp", 1))


def test_what_was_found_before_time_was_up_is_kept():
    model, told = toy("vp"), list[Found]()

    def spent(one: Found) -> None:
        told.append(one)
        if len(told) == 3:
            raise OutOfTimeError

    some = list(candidates(Search(model, Teacher.of(model, 20), spent), recipes("vp"), 4, 1))
    assert len(some) == 1 and some[0][0] == "weights"


def test_nothing_finite_is_nothing():
    model = toy("vp")
    teacher = Teacher.of(model, 20)
    model.network = lambda x, level: x * np.nan
    model._first.clear()
    with pytest.raises(CalibrationError, match="nothing to fit"):
        list(candidates(Search(model, teacher), recipes("vp"), 4, 1))


@pytest.mark.parametrize("name", PROCESSES)
def test_a_blend_goes_from_the_one_to_the_other(name):
    plan = dict(found(name))["times"]
    default = Tuned.of_recipe(recipes(name)[0], recipes(name)[0].levels(4))
    whole = blended(plan.run, plan.recipe, default, 1.0)
    np.testing.assert_allclose(whole.rho, plan.run.rho, rtol=1e-6)
    np.testing.assert_allclose(whole.weights, plan.run.weights, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(whole.low, plan.run.low, rtol=1e-5, atol=1e-8)
    nothing = blended(plan.run, plan.recipe, default, 0.0)
    np.testing.assert_allclose(nothing.rho, default.rho, rtol=1e-6)
    exact = Tuned.of_recipe(plan.recipe, nothing.rho)
    np.testing.assert_allclose(nothing.weights, exact.weights)
    assert not np.any(nothing.low)
    half, process = blended(plan.run, plan.recipe, default, 0.5), PROCESSES[name][0]
    first = [process.progress(each.rho[0]) for each in (default, half, plan.run)]
    assert first == sorted(first, reverse=True) and np.all(np.diff(half.rho) < 0.0)
