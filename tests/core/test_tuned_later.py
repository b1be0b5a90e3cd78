"""Runs that begin half-way inside the times of plans: a plan finds its own way again, and what there is no room for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_later import FEWEST, STRETCH, levels_inside
from diffusers_deis_sn.core.vp import vp_schedule

PROCESSES = {"vp": vp_schedule(**SD_BETAS), "flow": FlowSchedule(), "edm": EDMSchedule()}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def plan(process: NoiseSchedule, calls: int = 10, exponent: float = 1.6) -> Tuned:
    prediction = "flow_prediction" if process.path == "flow" else "epsilon"
    recipe = Recipe(process, Power("t", exponent), Multistep(2, of="data"), prediction=prediction)
    return Tuned.of_recipe(recipe, process.whole(recipe.levels(calls)))


@each_process
@pytest.mark.parametrize("first", [0, 1, 4])
def test_from_a_time_of_a_plan_its_own_times_are_taken(process, first):
    run = plan(process)
    levels = levels_inside([run], float(run.rho[first]), len(run) - first, process)
    assert levels is not None
    np.testing.assert_allclose(process.progress(levels), process.progress(run.rho[first:]), rtol=1e-9, atol=1e-12)


@each_process
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.01, 1.0), calls=st.integers(1, 30))
def test_levels_fall_from_the_start_to_the_end_and_are_as_many_as_asked_for(process, share, calls):
    start = float(process.whole(np.append(process.level(share), 0.0))[0])
    levels = levels_inside([plan(process, 8), plan(process, 10)], start, calls, process)
    if levels is None:
        return
    assert FEWEST <= calls <= 20 and len(levels) == calls + 1
    assert levels[0] == start and levels[-1] == 0.0 and np.all(np.diff(levels) < 0.0)
    np.testing.assert_array_equal(levels, process.whole(levels))


@each_process
def test_of_several_plans_gaps_are_the_geometric_means(process):
    one, other = plan(process, 8, 1.2), plan(process, 12, 2.0)
    start = float(process.whole(np.append(process.level(0.6), 0.0))[0])
    found = [levels_inside(runs, start, 8, process) for runs in ([one], [other], [one, other], [other, one])]
    first, second, both, turned = (process.progress(one) for one in found)
    gaps = np.sqrt(np.diff(first) * np.diff(second))
    room = 2.0 / len(process) if process.numbered else 1e-9
    np.testing.assert_allclose(np.diff(both), -gaps * (first[0] / gaps.sum()), atol=room)
    np.testing.assert_allclose(both, turned, rtol=1e-12)


def test_where_there_is_nothing_to_tell():
    process = PROCESSES["vp"]
    run, half = plan(process), float(process.rho(499.0))
    assert levels_inside([run], half, 8, process) is not None
    assert levels_inside([], half, 8, process) is None
    assert levels_inside([run], half, FEWEST - 1, process) is None
    assert levels_inside([run], half, 21, process) is None
    assert levels_inside([run], float(process.rho(5.0)), 7, process) is None  # seven calls where the plan has but one
    assert levels_inside([run], float(process.rho(4.0)), 7, process, stretch=np.inf) is None  # and four whole times


def test_a_plan_is_stretched_no_further_than_it_may_be():
    process = PROCESSES["flow"]
    run = plan(process, exponent=1.0)
    start = float(run.rho[6])  # four calls are left
    assert levels_inside([run], start, int(4 * STRETCH), process) is not None
    assert levels_inside([run], start, int(4 * STRETCH) + 1, process) is None
