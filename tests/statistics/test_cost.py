"""Local costs as a value: their rules, how well they tell a path's length, and their place in a record."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.integrate import quad

from diffusers_deis_sn.errors import MissingCostError, StatisticsError
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost, path_uncertainty, preferred_cost
from oracles import gaussian_corrector_length
from records import costed_record, gaussian_costs, gaussian_record, tiny_record
from refusals import refused


def small_cost(**changes: object) -> LocalCost:
    return LocalCost(**{"values": [0.25, 4.0], "error": [0.125, 0.5], "order": 2, "num_samples": 8} | changes)


# --------------------------------------------------------------------------------------------------------- the value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": [-0.25, 4.0]}, ["`values`", "not negative", "-0.25 at position 0"]),
        ({"values": [0.25, np.nan]}, ["`values`", "finite", "nan at position 1"]),
        ({"values": [np.inf, 4.0]}, ["`values`", "finite", "inf at position 0"]),
        ({"error": [0.1, -0.5]}, ["`error`", "not negative", "-0.5 at position 1"]),
        ({"error": [np.nan, 0.5]}, ["`error`", "finite"]),
        ({"values": []}, ["`values`", "one row", "(0,)"]),
        ({"values": [[0.25, 4.0]]}, ["`values`", "one row", "(1, 2)"]),
        ({"values": 0.25}, ["`values`", "one row"]),
        ({"error": [0.1]}, ["one `error` for each", "(1,)", "(2,)"]),
        ({"order": 0}, ["`order`", "above zero", "0"]),
        ({"order": 2.0}, ["`order`", "whole", "2.0"]),
        ({"order": True}, ["`order`", "True"]),
        ({"num_samples": 0}, ["`num_samples`", "0"]),
        ({"num_samples": None}, ["`num_samples`", "None"]),
    ],
    ids=str,
)
def test_what_is_no_cost_is_refused(change, words):
    refused(StatisticsError, words, lambda: small_cost(**change))


def test_arrays_are_copied_and_cannot_be_changed():
    values = np.array([0.25, 4.0])
    cost = small_cost(values=values)
    values[0] = 1.0
    assert cost.values.tolist() == [0.25, 4.0]
    for name in ("values", "error"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(cost, name)[0] = 1.0
    with pytest.raises(FrozenInstanceError):
        cost.order = 4
    assert cost.values.dtype == cost.error.dtype == np.float64
    assert len(cost) == 2


def test_equality_is_bit_for_bit():
    cost = small_cost()
    assert cost == small_cost() == copy.deepcopy(cost) == pickle.loads(pickle.dumps(cost))
    assert hash(cost) == hash(small_cost())
    for change in (
        {"values": np.nextafter(cost.values, 9.0)},
        {"error": np.nextafter(cost.error, 9.0)},
        {"order": 4},
        {"num_samples": 9},
        {"values": [0.25], "error": [0.125]},
    ):
        assert cost != small_cost(**change)
    assert cost != "cost"


# ---------------------------------------------------------------------------------------------- length of the path


@given(
    hnp.arrays(np.float64, 6, elements=st.floats(0.01, 100.0)),
    hnp.arrays(np.float64, 6, elements=st.floats(0.0, 0.5)),
    st.sampled_from(sorted(COST_ORDERS.values())),
)
def test_uncertainty_is_the_change_of_the_length_when_all_costs_err_together(values, relative, order):
    """For small errors d log sum L^(1/p) / dz of L + z dL, by a central difference."""
    error, step = relative * values, 1e-4

    def length(z: float) -> float:
        return float(np.sum((values + z * error) ** (1.0 / order)))

    slope = (length(step) - length(-step)) / (2.0 * step * length(0.0))
    small = path_uncertainty(values, 1e-5 * error, order)
    assert small == pytest.approx(1e-5 * slope, rel=1e-4, abs=1e-12)
    assert LocalCost(values, error, order, 2).uncertainty == path_uncertainty(values, error, order)


@pytest.mark.parametrize("name", ["corrector", "predictor"])
@pytest.mark.parametrize("together", [True, False])
def test_uncertainty_bounds_the_scatter_of_the_length_and_is_it_when_errors_go_together(name, together):
    cost = gaussian_costs(gaussian_record(times=30).log_snr)[name]
    noise = np.random.default_rng(0).standard_normal((4000, 1 if together else len(cost)))
    lengths = np.sum(np.maximum(cost.values + cost.error * noise, 0.0) ** (1.0 / cost.order), axis=1)
    scatter = np.std(lengths) / np.mean(lengths)
    if together:
        assert cost.uncertainty == pytest.approx(scatter, rel=0.05)
    else:
        assert scatter < 0.5 * cost.uncertainty


def test_uncertainty_of_equal_relative_errors_is_that_error_over_the_order():
    costs = gaussian_costs(gaussian_record().log_snr)
    assert costs["corrector"].uncertainty == pytest.approx(1.01 ** (1 / 2) - 1, rel=1e-9)
    assert costs["predictor"].uncertainty == pytest.approx(1.1 ** (1 / 4) - 1, rel=1e-9)


def test_intervals_lost_in_their_error_count_with_the_error():
    """Those clipped to zero, and those barely above it, which first order would give no weight, or any."""
    order = small_cost(values=[4.0], error=[0.5]).order
    known = 4.5 ** (1 / order) - 4.0 ** (1 / order)
    for tiny in (0.0, 1e-12):
        found = small_cost(values=[tiny, 4.0], error=[0.5, 0.5]).uncertainty
        assert found == pytest.approx((known + 0.5 ** (1 / order)) / 4.0 ** (1 / order), rel=1e-3)
    assert small_cost(values=[0.0, 0.0]).uncertainty == np.inf


def test_costs_of_gaussian_data_add_up_to_the_length_in_closed_form():
    """What the tests' records are made of: 2 (asinh u - u / sqrt(1 + u^2)) and int sqrt(sin), u = sigma / c."""
    record, c = costed_record(times=996), 0.3
    low, high = np.exp(-0.5 * record.log_snr[[0, -1]]) / c

    exact = {
        "corrector": gaussian_corrector_length(high, 1.0) - gaussian_corrector_length(low, 1.0),
        "predictor": quad(lambda angle: np.sqrt(np.sin(angle)), np.arctan(low), np.arctan(high))[0],
    }
    for name, cost in record.costs.items():
        assert np.sum(cost.values ** (1.0 / cost.order)) == pytest.approx(exact[name], rel=0.01)


@pytest.mark.parametrize(
    ("have", "velocity", "expected"),
    [
        (("corrector", "predictor", "solver"), "sigma", "solver"),
        (("solver",), "sigma", "solver"),
        (("predictor", "corrector"), "sigma", "corrector"),
        (("predictor",), "sigma", "predictor"),
        (("corrector", "predictor", "solver"), "unit", "corrector"),  # the solver's knows no velocity
        (("predictor", "solver"), "vp_sigma", "predictor"),
        ((), "sigma", "solver"),  # what every measurement has
        (("solver",), "unit", "corrector"),
    ],
)
def test_the_cost_that_nobody_chose(have, velocity, expected):
    assert preferred_cost(have, velocity) == preferred_cost(dict.fromkeys(have), velocity) == expected


# ---------------------------------------------------------------------------------------------------------- a record


def test_costs_are_added_and_replaced_and_the_record_before_stays():
    bare = gaussian_record(times=3)
    one = bare.with_costs(corrector=small_cost())
    both = one.with_costs(predictor=small_cost(order=4))
    other = both.with_costs(corrector=small_cost(num_samples=9))
    assert [list(record.costs) for record in (bare, one, both)] == [[], ["corrector"], ["corrector", "predictor"]]
    assert other.cost("corrector").num_samples == 9 and both.cost("corrector").num_samples == 8
    assert other.cost("predictor") is both.cost("predictor")
    assert replace(both, costs={}) == bare
    assert both.with_origin(seed=3).costs == both.costs
    with pytest.raises(TypeError):
        both.costs["corrector"] = small_cost()


def test_costs_are_part_of_equality_and_of_copies():
    record = costed_record()
    assert record == costed_record() != gaussian_record()
    assert record != record.with_costs(corrector=gaussian_costs(record.log_snr, num_samples=1)["corrector"])
    assert hash(record) == hash(costed_record())
    for twin in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert twin == record and hash(twin) == hash(record)
        assert list(twin.costs) == ["corrector", "predictor"]
        with pytest.raises(TypeError):
            twin.costs["corrector"] = small_cost()


def test_copies_cannot_be_changed_either():
    record = costed_record()
    for twin in (copy.deepcopy(record), pickle.loads(pickle.dumps(record)), copy.copy(record)):
        for name in ("values", "error"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(twin.cost("corrector"), name)[0] = 1.0


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({"energy": small_cost()}, ["`costs`", "corrector and predictor", "'energy'"]),
        ({"corrector": [0.25, 4.0]}, ["`costs`", "LocalCost", "'corrector': list"]),
        ({"corrector": small_cost(values=[1.0], error=[0.0])}, ["costs['corrector']", "2 intervals", "1"]),
        ({"predictor": small_cost(values=[1.0] * 3, error=[0.0] * 3)}, ["costs['predictor']", "2 intervals", "3"]),
    ],
    ids=str,
)
def test_costs_that_are_not_of_this_record_are_refused(costs, words):
    refused(StatisticsError, words, gaussian_record(times=3).with_costs, **costs)


def test_a_missing_cost_names_itself_what_there_is_and_how_to_get_it():
    words = ["no 'predictor' cost", "they have none", "deis-sn calibrate MODEL --cost predictor -o FOLDER"]
    refused(MissingCostError, words, tiny_record().cost, "predictor")
    one = gaussian_record(times=3).with_costs(corrector=small_cost())
    refused(MissingCostError, ["no 'predictor' cost", "they have corrector"], one.cost, "predictor")
    words = ["no 'solver' cost", "they have corrector and predictor", "`deis-sn calibrate MODEL -o FOLDER`"]
    refused(MissingCostError, words, costed_record().cost, "solver")  # which every measurement has
    words = [
        "no 'energy' cost",
        "they have corrector and predictor",
        "There are the costs corrector, predictor, solver",
    ]
    refused(MissingCostError, words, costed_record().cost, "energy")
    assert issubclass(MissingCostError, StatisticsError)


@given(
    hnp.arrays(np.float64, (2 * len(COST_ORDERS), 5), elements=st.just(0.0) | st.floats(1.0, 999.0)),
    st.floats(1e-300, 1e297),
    st.integers(1, 9),
    st.integers(1, 2**62),
    st.sets(st.sampled_from(sorted(COST_ORDERS))),
)
def test_a_file_gives_the_costs_back_bit_for_bit(tmp_path_factory, rows, scale, order, num_samples, names):
    rows = scale * rows
    costs = {
        name: LocalCost(rows[2 * i], rows[2 * i + 1], order + i, num_samples) for i, name in enumerate(sorted(names))
    }
    record = gaussian_record(times=6).with_costs(**costs)
    loaded = ScoreStatistics.load(record.save(tmp_path_factory.mktemp("costs")))
    assert loaded == record
    assert dict(loaded.costs) == costs
    assert loaded.to_bytes() == record.to_bytes()
