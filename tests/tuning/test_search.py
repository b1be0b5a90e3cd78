"""Times by coordinate search: moves keep order, nothing gets worse, no call is made twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.core.grids import Ends, Power, Trailing, Whole
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.step import high_band
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError
from diffusers_deis_sn.tuning.judging import score, sharpness
from diffusers_deis_sn.tuning.search import DULL, WORTH, Found, Search, moved
from diffusers_deis_sn.tuning.teacher import Teacher
from toy_models import PROCESSES, toy

GAPS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=10)


@given(GAPS, st.integers(0, 9), st.floats(-0.9, 0.9), st.booleans(), st.floats(0.3, 1.0))
def test_moved_times_fall_and_those_before_stay(gaps, place, step, tail, first):
    tau = np.cumsum(np.array(gaps)[::-1])[::-1]
    tau = first * tau / tau[0]
    place = min(place, len(tau) - 1)
    other = moved(tau, place, step, tail)
    if other is None:
        return
    assert np.all(np.diff(other) < 0.0) and 0.0 < other[-1] and other[0] <= 1.0
    assert np.array_equal(other[:place], tau[:place])
    if not tail:
        assert np.array_equal(other[place + 1 :], tau[place + 1 :])
    elif place:
        np.testing.assert_allclose(other[place:] / other[place], tau[place:] / tau[place], rtol=1e-12)


def test_the_first_time_stays_within_the_process():
    tau = np.array([1.0, 0.6, 0.2])
    assert moved(tau, 0, -0.3, True) is None
    np.testing.assert_allclose(moved(tau, 0, 0.3, True), 0.88 * tau)
    np.testing.assert_allclose(moved(tau, 1, 0.3, False), [1.0, 0.48, 0.2])
    np.testing.assert_allclose(moved(tau, 1, -0.5, True), [1.0, 0.8, 0.2 * 0.8 / 0.6])


def recipes(name: str) -> list[Recipe]:
    process, prediction = PROCESSES[name]
    return [
        Recipe(process, grid, Multistep(2, of="data", corrector=Corrector(2)), prediction=prediction)
        for grid in (Trailing(), Whole(Power("t", 1.5)), Whole(Power("t", 2.0)))
    ]


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("name", PROCESSES)
def test_a_sweep_only_ever_improves(name, bands):
    model = toy(name)
    search = Search(model, Teacher.of(model, 40))
    started = search.started(recipes(name), 4, bands)
    assert [one.score for one in started] == sorted(one.score for one in started)
    found, scores = started[-1], [started[-1].score]
    for better in search.swept(started[-1], 0.3):
        found = better
        scores.append(found.score)
        assert found.bands == bands and found.run.bands == bands
    assert all(later < earlier - WORTH for earlier, later in pairwise(scores))
    assert len(scores) > 1
    again = search.at(found.recipe, found.run.rho, bands)
    assert again.score == pytest.approx(found.score, rel=1e-9)


def test_grids_that_are_the_same_are_tried_once_and_those_the_process_lacks_not():
    model, process = toy("edm"), PROCESSES["edm"][0]
    seen: list[Found] = []
    search = Search(model, Teacher.of(model, 20), seen.append)
    broken = Recipe(process, Power("t", 2.0), Multistep(2, of="data"), ends=Ends("zero", 1e-9))
    started = search.started([*recipes("edm"), *recipes("edm"), broken], 3)
    assert len(started) == len(seen) == 3


def test_all_times_may_be_scaled_by_the_first():
    model = toy("vp")
    search = Search(model, Teacher.of(model, 40))
    found = search.started(recipes("vp")[:1], 4)[0]
    for other in search.begun(found, 0.3):
        assert other.run.rho[0] < found.run.rho[0]


def test_numbered_times_stay_whole():
    model = toy("vp")
    search = Search(model, Teacher.of(model, 40))
    for found in search.swept(search.started(recipes("vp"), 4)[0], 0.12):
        assert np.array_equal(found.run.times, np.round(found.run.times))


def test_weights_of_noise_are_shrunk_to_as_weights_of_data():
    process, _ = PROCESSES["vp"]
    recipe = Recipe(process, Trailing(), Multistep(2))
    assert Tuned.of_recipe(recipe, recipe.levels(5)).of == "data"


@pytest.mark.parametrize("kind", [CalibrationInterruptedError, CalibrationError, RuntimeError])
def test_what_the_pipeline_raises_ends_the_search(kind):
    model = toy()
    teacher, process = Teacher.of(model, 40), model.process
    recipes = [Recipe(process, Whole(Power("t", k)), Multistep(2)) for k in (1.5, 2.0)]
    found = Search(model, teacher).started(recipes, 4)[0]

    def failing(*_: object) -> object:
        raise kind("enough")

    model.network, model._first = failing, {}
    search_ = Search(model, teacher)
    for search in (lambda: search_.started(recipes, 5), lambda: list(search_.swept(found, 0.3))):
        with pytest.raises(kind, match="enough"):
            search()


def test_a_fit_as_sharp_as_the_fine_run_is_left_and_another_is_mended():
    model = toy("vp", 12)
    teacher = Teacher.of(model, 40)
    found = Search(model, teacher).started(recipes("vp"), 6)[0]
    assert abs(sharpness(found.fitted.end, teacher.end) - 1.0) < DULL
    assert Search(model, teacher).sharpened(found) is None
    rough = replace(teacher, samples=(*teacher.samples[:-1], teacher.end + 0.1 * high_band(teacher.end)))
    calls = []
    model.network = lambda *_: calls.append(1)
    sharp = Search(model, rough).sharpened(found)
    assert sharpness(sharp.fitted.end, rough.end) == pytest.approx(1.0, abs=1e-6) and not calls
    assert sharp.score == score(sharp.fitted.end, rough.end) and sharp.recipe is found.recipe
