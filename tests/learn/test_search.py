"""Algorithm 1 against closed forms: where it goes, how fast, when it never gets there, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.path import SchedulePath
from diffusers_deis_sn.learn.search import optimise_schedule, update_schedule
from oracles import gaussian_corrector_cost, gaussian_corrector_length, gaussian_predictor_cost
from refusals import refused

STD = 0.5  # data N(0, STD^2), in one dimension


def corrector(levels):
    return gaussian_corrector_cost(levels[:-1], levels[1:], STD)


def predictor(levels):
    return gaussian_predictor_cost(levels[:-1], levels[1:], STD)


def length(sigma):
    """Lambda_c, exactly."""
    return gaussian_corrector_length(sigma, STD)


def additive(order):
    """A cost that is the `order`-th power of a length, so that the best schedule is known: uniform in sqrt(sigma)."""
    return lambda levels: np.abs(np.diff(np.sqrt(levels))) ** order


# ------------------------------------------------------------------------------------------------------ where it goes


@pytest.mark.parametrize(("steps", "golden"), [(20, 1.8e-2), (100, 2.8e-3), (400, 6.7e-4)])
def test_fifteen_updates_reach_equal_parts_of_the_exact_path(steps, golden):
    found = optimise_schedule(corrector, np.geomspace(2.0, 0.2, steps + 1), max_iterations=15)
    parts = (length(found.levels) - length(0.2)) / (length(2.0) - length(0.2))
    assert np.max(np.abs(parts - np.linspace(1.0, 0.0, steps + 1))) == pytest.approx(golden, rel=0.04)
    assert found.converged


@pytest.mark.parametrize(("cost", "order"), [(corrector, 2), (predictor, 4)])
def test_costs_become_equal(cost, order):
    found = optimise_schedule(cost, np.geomspace(20.0, 0.1, 31), order, tolerance=1e-10)
    assert found.converged and found.moves[-1] < 1e-10
    assert found.levels[[0, -1]].tolist() == [20.0, 0.1]
    assert found.costs == pytest.approx(cost(found.levels), rel=1e-12)
    assert found.costs == pytest.approx(np.full(30, np.mean(found.costs)), rel=1e-8)
    assert found.path_length == pytest.approx(np.sum(found.costs ** (1 / order)))
    assert found.energy == pytest.approx(found.path_length**order, rel=1e-12)
    assert found.energy == pytest.approx(30 ** (order - 1) * np.sum(found.costs))


@pytest.mark.parametrize(("cost", "order"), [(corrector, 2), (predictor, 4)])
def test_it_ends_at_the_same_schedule_from_anywhere(cost, order):
    starts = [np.linspace(20.0, 0.1, 31), np.geomspace(20.0, 0.1, 31), np.linspace(20.0**0.1, 0.1**0.1, 31) ** 10]
    ends = [optimise_schedule(cost, np.round(start, 12), order, tolerance=1e-9).levels for start in starts]
    assert ends[1] == pytest.approx(ends[0], rel=1e-7)
    assert ends[2] == pytest.approx(ends[0], rel=1e-7)


def test_before_costs_are_equal_energy_is_above_its_bound():
    found = optimise_schedule(corrector, np.linspace(20.0, 0.1, 31), max_iterations=0)
    assert found.levels == pytest.approx(np.linspace(20.0, 0.1, 31))
    assert found.moves == () and not found.converged
    assert found.energy > 1.5 * found.path_length**2


def test_the_start_may_rise():
    falling = optimise_schedule(corrector, np.geomspace(20.0, 0.1, 11))
    rising = optimise_schedule(corrector, np.geomspace(20.0, 0.1, 11)[::-1])
    assert rising.levels.tolist() == falling.levels.tolist()


def test_a_single_step_has_nowhere_to_go():
    found = optimise_schedule(corrector, [20.0, 0.1])
    assert found.levels.tolist() == [20.0, 0.1] and found.converged
    assert found.energy == pytest.approx(found.path_length**2)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30), st.sampled_from([2, 4, 6]))
def test_where_lengths_add_up_equal_parts_are_found_from_any_start(widths, order):
    start = 10.0 * 0.01 ** (np.cumsum([0.0, *widths]) / np.sum(widths))
    found = optimise_schedule(additive(order), start, order, tolerance=1e-9)
    best = np.linspace(10.0**0.5, 0.1**0.5, len(start)) ** 2
    assert found.converged
    assert found.levels == pytest.approx(best, rel=1e-5)


def test_with_few_levels_far_below_the_data_the_last_step_is_a_leap():
    """L_c of a long step into sigma' << std is almost nothing: measure on a fine schedule, then take its partition."""
    found = optimise_schedule(corrector, np.geomspace(20.0, 0.002, 11))
    fine = np.geomspace(20.0, 0.002, 1001)
    taken = SchedulePath.from_costs(fine, corrector(fine)).partition(10)
    assert found.converged and found.costs == pytest.approx(found.costs[:1].repeat(10), rel=1e-2)
    assert found.levels[-2] > 2.0 and taken[-2] < 0.8
    assert found.energy < 0.5 * (length(20.0) - length(0.002)) ** 2  # of its own few costs; no bound on those


# ------------------------------------------------------------------------------------------------------------ how fast


@pytest.mark.parametrize("order", [2, 4, 6])
def test_a_root_of_the_right_order_needs_no_damping(order):
    found = optimise_schedule(additive(order), np.geomspace(10.0, 0.1, 21), order, tolerance=1e-9)
    assert found.converged and len(found.moves) <= 6


def test_the_square_root_of_a_predictors_cost_swings_for_ever():
    start = np.geomspace(2.0, 0.2, 41)
    swinging = optimise_schedule(predictor, start, order=2, max_iterations=60)
    assert not swinging.converged
    assert swinging.moves[-1] > 0.7 * swinging.moves[1]
    settled = optimise_schedule(predictor, start, order=4)
    assert settled.converged and len(settled.moves) <= 5


def test_the_square_root_of_an_order_of_six_runs_away():
    start = np.linspace(2.0**0.5, 0.2**0.5, 21) ** 2 * np.append(1.0, np.append(np.full(19, 1.0 + 1e-6), 1.0))
    away = optimise_schedule(additive(6), start, order=2, max_iterations=12, tolerance=1e-12)
    assert away.moves[-1] > 100.0 * away.moves[0]


@pytest.mark.parametrize(
    ("true", "assumed", "damping"), [(4, 2, 0.3), (4, 2, 0.1), (4, 2, 0.8), (6, 2, 0.2), (2, 2, 0.25), (4, 4, 0.6)]
)
def test_moves_shrink_by_one_less_the_damped_ratio_of_orders(true, assumed, damping):
    start = np.linspace(2.0**0.5, 0.2**0.5, 41) ** 2
    start[1:-1] *= 1.0 + 1e-4 * np.sin(np.linspace(0.0, np.pi, 41)[1:-1])
    found = optimise_schedule(additive(true), start, assumed, damping=damping, max_iterations=8, tolerance=1e-14)
    shrinks = np.divide(found.moves[1:], found.moves[:-1])
    assert shrinks == pytest.approx(np.full(7, abs(1.0 - damping * true / assumed)), rel=0.02)


def test_damping_ends_at_the_same_schedule():
    start = np.geomspace(20.0, 0.1, 31)
    full = optimise_schedule(corrector, start, tolerance=1e-8)
    part = optimise_schedule(corrector, start, tolerance=1e-8, damping=0.3, max_iterations=200)
    assert part.converged and len(part.moves) > len(full.moves)
    assert part.levels == pytest.approx(full.levels, rel=1e-6)


def test_it_says_when_it_gave_up():
    found = optimise_schedule(corrector, np.linspace(20.0, 0.1, 31), max_iterations=2)
    assert len(found.moves) == 2 and not found.converged


def test_it_ends_at_the_noise_of_estimated_costs():
    noise = np.random.default_rng(0)
    found = optimise_schedule(
        lambda levels: corrector(levels) * noise.uniform(0.8, 1.2, len(levels) - 1),
        np.geomspace(20.0, 0.1, 31),
        max_iterations=20,
    )
    exact = optimise_schedule(corrector, np.geomspace(20.0, 0.1, 31))
    assert not found.converged
    assert found.levels == pytest.approx(exact.levels, rel=0.1)


# ----------------------------------------------------------------------------------------------------------- one update


def test_one_update_by_hand():
    levels = update_schedule([100.0, 10.0, 1.0], [9.0, 1.0])  # lengths 3 and 1: half of the path is 2 / 3 of the first
    assert levels[[0, -1]].tolist() == [100.0, 1.0]
    assert SchedulePath.from_costs([100.0, 10.0, 1.0], [9.0, 1.0]).position(levels[1]) == pytest.approx(2.0)
    assert 10.0 < levels[1] < 100.0


@given(st.lists(st.floats(0.1, 2.0), min_size=1, max_size=20), st.sampled_from([2, 4]), st.floats(0.01, 100.0))
def test_equal_costs_stay_where_they_are(widths, order, cost):
    levels = np.exp(-np.cumsum([0.0, *widths]))
    assert update_schedule(levels, np.full(len(widths), cost), order) == pytest.approx(levels, rel=1e-11)


@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=20), st.integers(1, 50), st.sampled_from([2, 4]))
def test_an_update_makes_parts_equal_for_any_number_of_steps(costs, steps, order):
    levels = np.geomspace(10.0, 0.1, len(costs) + 1)
    path = SchedulePath.from_costs(levels, costs, order)
    updated = update_schedule(levels, costs, order, steps)
    parts = -np.diff(path.position(updated))
    assert updated[[0, -1]] == pytest.approx([10.0, 0.1], rel=1e-15)
    assert parts == pytest.approx(np.full(steps, path.path_length / steps), rel=1e-9)


def test_costs_that_rise_draw_levels_to_where_they_are_high():
    levels = np.geomspace(10.0, 0.1, 11)
    updated = update_schedule(levels, np.geomspace(1.0, 100.0, 10))
    assert np.all(updated[1:-1] < levels[1:-1])


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("damping", [0.0, -0.1, 1.1, np.nan])
def test_damping_out_of_range_is_refused(damping):
    words = ["`damping`", "number" if np.isnan(damping) else "above 0 and at most 1", str(damping)]
    refused(ScheduleError, words, optimise_schedule, corrector, [2.0, 1.0, 0.5], damping=damping)


@pytest.mark.parametrize(
    ("levels", "costs", "words"),
    [
        ([2.0, 1.0, 1.0], [1.0, 1.0], ["rise", "[1.0, 1.0, 2.0]"]),
        ([2.0, 1.0, 0.0], [1.0, 1.0], ["positive"]),
        ([2.0], [], ["two noise levels"]),
        ([2.0, 1.0, 0.5], [1.0], ["3 levels has 2 steps"]),
        ([2.0, 1.0, 0.5], [1.0, -1.0], ["not be negative", "-1"]),
        ([2.0, 1.0, 0.5], [1.0, np.nan], ["finite", "nan"]),
        ([2.0, 1.0, 0.5], [0.0, 0.0], ["All costs are zero"]),
    ],
)
def test_levels_and_costs_that_are_no_path_are_refused(levels, costs, words):
    refused(ScheduleError, words, update_schedule, levels, costs)
    refused(ScheduleError, words, optimise_schedule, lambda _: costs, levels)


@pytest.mark.parametrize("steps", [0, 1.5])
def test_other_numbers_of_steps_are_refused(steps):
    words = ["at least one step" if steps == 0 else "`steps` must be a whole number", str(steps)]
    refused(ScheduleError, words, update_schedule, [2.0, 1.0, 0.5], [1.0, 1.0], steps=steps)
