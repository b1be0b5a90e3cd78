"""The path against closed forms: lengths, equal parts, their inverse, runs of any number of steps, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import quad

from diffusers_deis_sn.errors import MissingCostError, ScheduleError
from diffusers_deis_sn.learn.path import VELOCITIES, SchedulePath
from diffusers_deis_sn.statistics.cost import LocalCost
from oracles import gaussian_corrector_cost, gaussian_corrector_length, gaussian_predictor_cost
from records import gaussian_record
from refusals import refused

STD, BOTTOM, TOP = 0.5, 0.002, 80.0  # data N(0, STD^2), in one dimension


def corrector(levels):
    return gaussian_corrector_cost(levels[:-1], levels[1:], STD)


def predictor(levels):
    return gaussian_predictor_cost(levels[:-1], levels[1:], STD)


def corrector_length(sigma):
    return gaussian_corrector_length(sigma, STD)


def predictor_length(sigma):
    return quad(lambda u: np.sqrt(np.sin(u)), 0.0, np.arctan(sigma / STD), epsabs=1e-13)[0]


COSTS = {"corrector": (corrector, 2, corrector_length), "predictor": (predictor, 4, predictor_length)}


def path_of(cost, steps, bottom=BOTTOM, top=TOP):
    function, order, _ = COSTS[cost]
    levels = np.geomspace(top, bottom, steps + 1)
    return SchedulePath.from_costs(levels, function(levels), order)


def exact_path(steps, bottom=BOTTOM, top=TOP):
    """A path whose lengths are those of L_c to rounding."""
    levels = np.geomspace(bottom, top, steps + 1)
    return SchedulePath(levels, np.diff(corrector_length(levels)))


@st.composite
def paths(draw, free=0.0):
    """Any path: levels and lengths over many decades, and with `free` some stretches that cost nothing."""
    number = draw(st.integers(1, 12))
    widths = draw(st.lists(st.floats(0.05, 2.0), min_size=number, max_size=number))
    lengths = 10.0 ** np.array(draw(st.lists(st.floats(-3.0, 1.0), min_size=number, max_size=number)))
    lengths[np.array(draw(st.lists(st.booleans(), min_size=number, max_size=number))) & (free > 0.0)] = 0.0
    lengths[draw(st.integers(0, number - 1))] = 1.0
    return SchedulePath(0.01 * np.exp(np.cumsum([0.0, *widths])), lengths, draw(st.sampled_from([2, 4, 6])))


# -------------------------------------------------------------------------------------------------------- golden values


@pytest.mark.parametrize(("cost", "golden"), [("corrector", 9.536700541241), ("predictor", 1.191721683095)])
def test_lengths_tend_to_the_closed_form(cost, golden):
    length = COSTS[cost][2]
    assert length(TOP) - length(BOTTOM) == pytest.approx(golden, abs=1e-11)
    errors = [path_of(cost, steps).path_length - golden for steps in (2000, 4000, 8000)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.03)  # of order 1 / M
    assert 2.0 * errors[2] - errors[1] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("cost", "nodes"),
    [
        ("corrector", [49.657, 30.821, 19.126, 11.863, 7.348, 4.536, 2.774, 1.653, 0.901]),
        ("predictor", [3.960, 1.993, 1.297, 0.931, 0.697, 0.528, 0.394, 0.278, 0.165]),
    ],
)
def test_ten_steps_are_those_of_the_closed_form(cost, nodes):
    levels = path_of(cost, 20000).partition(10)
    assert levels[[0, -1]].tolist() == [TOP, BOTTOM]
    assert levels[1:-1] == pytest.approx(nodes, abs=6e-4, rel=3e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_the_length_does_not_depend_on_how_a_fine_schedule_was_laid(cost):
    function, order, _ = COSTS[cost]
    golden = path_of(cost, 4000, 0.05, 20.0)
    for power in (1.0, 3.0, 7.0):
        levels = np.linspace(20.0 ** (1 / power), 0.05 ** (1 / power), 20001) ** power
        path = SchedulePath.from_costs(levels, function(levels), order)
        assert path.path_length == pytest.approx(golden.path_length, rel=2e-3)
        assert golden.position(path.partition(10)) == pytest.approx(
            np.linspace(golden.path_length, 0.0, 11), abs=2e-3 * golden.path_length
        )


@pytest.mark.parametrize(("steps", "error"), [(25, 4e-4), (50, 4e-5), (100, 5e-6), (200, 5e-7)])
def test_between_measured_levels_the_inverse_is_close_to_the_closed_form(steps, error):
    path = exact_path(steps)
    where = corrector_length(path.partition(37)) - corrector_length(BOTTOM)
    assert where / path.path_length == pytest.approx(np.linspace(1.0, 0.0, 38), abs=error)


# ----------------------------------------------------------------------------------------------------------------- laws


def assert_at(path, levels, positions):
    """Levels lie at these positions: to 1e-10 of the path, or where log sigma is flat over it, to rounding of a level.

    The derivative of a monotone inverse is zero in places, at an end beside a stretch that costs nothing for one, and
    there no position is known better from its level than to the root of rounding; how it falls out depends on where
    NumPy's arrays lie in memory.
    """
    near = np.abs(path.position(levels) - positions) <= 1e-10 * path.path_length
    same = np.abs(np.log(path.level(np.asarray(positions))) - np.log(levels)) <= 1e-12
    assert np.all(near | same), (levels, positions)


@given(paths(free=0.3), st.integers(1, 60))
def test_parts_are_equal(path, steps):
    assert_at(path, path.partition(steps), np.linspace(path.path_length, 0.0, steps + 1))


@given(paths(), st.integers(1, 30), st.floats(0.0, 0.45), st.floats(0.55, 1.0))
@example(SchedulePath(0.01 * np.exp([0.0, 1.0, 2.0, 2.125]), [1.0, 0.01, 1.0]), 2, 0.0, 0.99999)  # flat at one end
def test_parts_between_other_ends_are_equal_too(path, steps, end, start):
    start, end = path.level(np.array([start, end]) * path.path_length)
    levels = path.partition(steps, start, end)
    assert levels[[0, -1]].tolist() == [start, end]
    # Positions of the levels, which are what is given: a flat cubic has the same level at positions 1e-6 apart.
    assert_at(path, levels, np.linspace(*path.position(np.array([start, end])), steps + 1))


@given(paths(free=0.3), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_position_undoes_level(path, shares):
    positions = np.array(shares) * path.path_length
    back = path.position(path.level(positions))
    # Where the cubic of log sigma is flat, at an end, positions further apart than rounding have the same level.
    same = np.abs(np.log(path.level(back)) - np.log(path.level(positions))) <= 1e-11
    assert np.all(same | (np.abs(back - positions) <= 1e-8 * path.path_length))


@given(paths(free=0.3), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_level_undoes_position(path, shares):
    low, high = np.log(path.levels[[0, -1]])
    levels = np.exp(low + np.array(shares) * (high - low))
    assert path.level(path.position(levels)) == pytest.approx(levels, rel=1e-7)


@given(paths(free=0.3))
def test_level_passes_through_the_measured_levels_and_never_turns(path):
    assert path.level(path.cumulative) == pytest.approx(path.levels, rel=1e-12)
    assert_at(path, path.levels, path.cumulative)
    assert np.all(np.diff(path.level(np.linspace(0.0, path.path_length, 500))) > 0.0)


@given(paths(), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=10, unique=True))
def test_no_schedule_has_less_energy_than_equal_parts(path, shares):
    shares = np.sort(np.concatenate([[0.0, 1.0], shares]))[::-1]
    steps, least = len(shares) - 1, path.path_length**path.order
    energy = path.energy(path.level(shares * path.path_length))
    # Beside a stretch that costs next to nothing the level hardly moves with the position: half of the digits are left.
    assert path.energy(path.partition(steps)) == pytest.approx(least, rel=1e-6)
    assert energy >= least * (1.0 - 1e-6)
    parts = -np.diff(shares)
    assert energy == pytest.approx(least * steps ** (path.order - 1) * np.sum(parts**path.order), rel=1e-6)


@given(paths(), st.floats(0.01, 100.0))
def test_the_unit_of_cost_is_of_no_matter(path, unit):
    other = SchedulePath(path.levels, unit * path.lengths, path.order)
    assert other.partition(9) == pytest.approx(path.partition(9), rel=1e-9)
    assert other.path_length == pytest.approx(unit * path.path_length)


@pytest.mark.parametrize("cost", COSTS)
def test_one_path_serves_every_number_of_steps(cost):
    path = path_of(cost, 200)
    for steps in range(1, 1001):
        levels = path.partition(steps)
        assert levels.shape == (steps + 1,)
        assert levels[0] == path.levels[-1] and levels[-1] == path.levels[0]
        assert np.all(np.diff(levels) < 0.0)


def test_twice_the_steps_pass_through_the_same_levels():
    path = path_of("corrector", 100)
    assert path.partition(16)[::2] == pytest.approx(path.partition(8), rel=1e-12)


# ------------------------------------------------------------------------------------------ stretches that cost nothing


def test_a_stretch_without_cost_is_crossed_at_once():
    path = SchedulePath([0.1, 1.0, 10.0, 100.0], [1.0, 0.0, 1.0])
    assert np.all(np.diff(path.cumulative) > 0.0)
    assert path.path_length == pytest.approx(2.0, rel=1e-6)
    levels = path.partition(7)
    assert np.sum((levels > 1.01) & (levels < 9.9)) == 0
    assert path.position(levels) == pytest.approx(np.linspace(path.path_length, 0.0, 8), abs=1e-12)


def test_levels_in_a_stretch_without_cost_are_told_apart():
    path = SchedulePath([0.1, 1.0, 10.0, 100.0], [1.0, 0.0, 1.0])
    inside = np.geomspace(1.5, 7.0, 20)
    positions = path.position(inside)
    assert np.all(np.diff(positions) > 0.0)
    assert path.level(positions) == pytest.approx(inside, rel=1e-6)


def test_costs_may_be_zero_at_either_end():
    path = SchedulePath([0.1, 1.0, 10.0, 100.0], [0.0, 1.0, 0.0])
    levels = path.partition(5)
    assert levels[[0, -1]].tolist() == [100.0, 0.1]
    assert np.all((levels[1:-1] > 1.0) & (levels[1:-1] < 10.0))


# ----------------------------------------------------------------------------------------------------- measured costs


def test_costs_come_in_the_order_of_their_levels():
    falling = SchedulePath.from_costs([4.0, 2.0, 1.0], [9.0, 16.0])
    rising = SchedulePath.from_costs([1.0, 2.0, 4.0], [16.0, 9.0])
    for path in (falling, rising):
        assert path.levels.tolist() == [1.0, 2.0, 4.0]
        assert path.lengths.tolist() == [4.0, 3.0]


@pytest.mark.parametrize(("order", "length"), [(1, 16.0), (2, 4.0), (4, 2.0)])
def test_a_length_is_the_root_of_a_cost_of_its_order(order, length):
    assert SchedulePath.from_costs([2.0, 1.0], [16.0], order).path_length == pytest.approx(length)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("velocity", VELOCITIES)
def test_velocities_weigh_the_level_entered(velocity, cost):
    function, order, _ = COSTS[cost]
    levels = np.geomspace(30.0, 0.01, 41)
    divergence = function(levels) / levels[1:] ** 2  # of eq. 12, before v
    v = {"sigma": levels, "unit": np.ones(41), "vp_sigma": levels / np.sqrt(1.0 + levels**2)}[velocity]
    for turned in (slice(None), slice(None, None, -1)):
        path = SchedulePath.from_costs(levels[turned], function(levels)[turned], order, velocity)
        assert path.lengths[::-1] == pytest.approx((v[1:] ** 2 * divergence) ** (1.0 / order), rel=1e-12)


def test_velocities_make_different_schedules():
    levels = np.geomspace(30.0, 0.01, 201)
    steps = [SchedulePath.from_costs(levels, corrector(levels), velocity=name).partition(10) for name in VELOCITIES]
    middle = [row[5] for row in steps]
    assert middle[0] > 1.5 * middle[1] > 1.5**2 * middle[2]  # sigma, vp_sigma, unit: ever more steps for clean samples


@pytest.mark.parametrize("velocity", VELOCITIES)
def test_statistics_have_their_levels_from_log_snr(velocity):
    record = gaussian_record(times=30)
    levels = np.exp(-0.5 * record.log_snr)
    values = corrector(levels[::-1])[::-1]
    costs = {"corrector": LocalCost(values, 0.0 * values, 2, 8), "predictor": LocalCost(values**2, 0.0 * values, 4, 8)}
    record = record.with_costs(**costs)
    path = SchedulePath.of(record, velocity=velocity)
    other = SchedulePath.from_costs(levels, values, velocity=velocity)
    assert path.levels.tolist() == other.levels.tolist() and path.lengths.tolist() == other.lengths.tolist()
    assert SchedulePath.of(record, "predictor").order == 4
    assert SchedulePath.of(record, "predictor").lengths == pytest.approx(SchedulePath.of(record).lengths)


def test_a_path_is_a_copy_that_cannot_be_changed():
    levels, lengths = np.array([1.0, 2.0]), np.array([3.0])
    path = SchedulePath(levels, lengths)
    levels[:], lengths[:] = 9.0, 9.0
    assert path.path_length == 3.0 and path.level(0.0) == pytest.approx(1.0)
    for row in (path.levels, path.lengths):
        with pytest.raises(ValueError, match="read-only"):
            row[0] = 1.0


# ----------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50])
def test_a_run_to_clean_data_has_its_calls_on_the_path(steps):
    path = path_of("corrector", 100)
    levels = path.run(steps)
    assert levels.shape == (steps + 1,)
    assert levels[0] == path.levels[-1] and levels[-1] == 0.0
    assert np.all(np.diff(levels) < 0.0)
    parts = -np.diff(path.position(levels[:-1]))
    assert np.all(levels[:-1] >= path.levels[0]) and parts == pytest.approx(parts[:1].repeat(steps - 1))


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_run_to_the_bottom_or_above_is_a_partition(steps):
    path = path_of("corrector", 100)
    assert path.run(steps, end=float(path.levels[0])).tolist() == path.partition(steps).tolist()
    assert path.run(steps, 20.0, 0.5).tolist() == path.partition(steps, 20.0, 0.5).tolist()


def test_a_run_may_begin_anywhere_on_the_path():
    levels = path_of("corrector", 100).run(6, start=3.0)
    assert levels[0] == 3.0 and levels[-1] == 0.0 and np.all(np.diff(levels) < 0.0)


def test_single_levels_and_none_keep_their_shape():
    path = exact_path(10)
    assert path.position(1.0).shape == () and path.level(1.0).shape == ()
    assert path.position([]).shape == (0,)
    assert path.position(np.full((2, 3), 1.0)).shape == (2, 3)


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("levels", "lengths", "order", "words"),
    [
        ([1.0], [], 2, ["two noise levels", "(1,)"]),
        ([[1.0, 2.0]], [1.0], 2, ["one row", "(1, 2)"]),
        ([0.0, 1.0], [1.0], 2, ["positive", "[0.0, 1.0]"]),
        ([2.0, 1.0], [1.0], 2, ["rise", "[2.0, 1.0]"]),
        ([1.0, 1.0], [1.0], 2, ["rise"]),
        ([1.0, np.inf], [1.0], 2, ["positive and rise", "inf"]),
        ([1.0, 2.0, 3.0], [1.0], 2, ["3 levels has 2 steps", "(1,)"]),
        ([1.0, 2.0, 3.0], [1.0, np.nan], 2, ["to the level 2 ", "nan", "calibrate --cost"]),
        ([1.0, 2.0, 3.0], [-1.0, 1.0], 2, ["to the level 1 ", "-1.0"]),
        ([1.0, 2.0, 3.0], [0.0, 0.0], 2, ["All costs are zero", "named spacing"]),
        ([1.0, 2.0], [1.0], 0, ["`order`", "0"]),
        ([1.0, 2.0], [1.0], 2.0, ["`order`", "2.0"]),
    ],
)
def test_what_is_no_path_is_refused(levels, lengths, order, words):
    refused(ScheduleError, words, SchedulePath, levels, lengths, order)


@pytest.mark.parametrize("order", [0, -1, 1.5, "2"])
def test_an_order_that_is_none_is_refused_before_it_is_used(order):
    refused(ScheduleError, ["`order`", repr(order)], SchedulePath.from_costs, [2.0, 1.0], [1.0], order)


def test_runs_that_no_path_has_are_refused():
    path = exact_path(10, 0.1, 10.0)
    refused(ScheduleError, ["zero or more", "-1"], path.run, 3, None, -1.0)
    refused(ScheduleError, ["at least two levels"], path.energy, 2.0)
    refused(ScheduleError, ["no 5 steps"], path.partition, 5, 10.01, 10.0)  # beyond the path by rounding, and no more
    refused(ScheduleError, ["`steps` must be a whole number", "True"], path.partition, True)
    assert np.array_equal(path.partition(np.int64(3)), path.partition(3))


def test_negative_costs_are_refused():
    words = ["must not be negative", "-0.5", "calibrate --cost"]
    refused(ScheduleError, words, SchedulePath.from_costs, [3.0, 2.0, 1.0], [1.0, -0.5])


@pytest.mark.parametrize("costs", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
@pytest.mark.parametrize("velocity", VELOCITIES)
def test_a_wrong_number_of_costs_is_refused(costs, velocity):
    refused(ScheduleError, ["has 2 steps"], SchedulePath.from_costs, [3.0, 2.0, 1.0], costs, 2, velocity)


def test_unknown_velocities_are_refused():
    words = ["`velocity`", "sigma, vp_sigma, unit", "'fast'"]
    refused(ScheduleError, words, SchedulePath.from_costs, [2.0, 1.0], [1.0], 2, "fast")


def test_a_cost_that_was_not_measured_is_missing():
    refused(MissingCostError, ["'predictor'", "--cost predictor"], SchedulePath.of, gaussian_record(), "predictor")


@pytest.mark.parametrize("level", [0.05, 12.0, np.nan, 0.0, -1.0])
def test_levels_beyond_the_path_are_refused(level):
    path = exact_path(10, 0.1, 10.0)
    words = ["between the noise levels 0.1 and 10"]
    refused(ScheduleError, words, path.position, level)
    refused(ScheduleError, words, path.energy, [10.0, level])


@pytest.mark.parametrize(
    ("steps", "start", "end", "words"),
    [
        (0, None, None, ["at least one step", "0 steps"]),
        (2.5, None, None, ["`steps` must be a whole number", "2.5"]),
        (3, 0.5, 2.0, ["from the level 0.5 to 2"]),
        (3, 2.0, 2.0, ["from the level 2 to 2"]),
        (3, 12.0, None, ["between the noise levels 0.1 and 10", "12"]),
        (3, None, 0.05, ["between the noise levels 0.1 and 10", "0.05"]),
    ],
)
def test_what_is_no_partition_is_refused(steps, start, end, words):
    refused(ScheduleError, words, exact_path(10, 0.1, 10.0).partition, steps, start, end)


@pytest.mark.parametrize(("steps", "start"), [(0, None), (1, 0.05), (5, 12.0), (5, 0.1)])
def test_what_is_no_run_is_refused(steps, start):
    words = ["between the noise levels" if start == 12.0 else "at least one step"]
    refused(ScheduleError, words, exact_path(10, 0.1, 10.0).run, steps, start)
