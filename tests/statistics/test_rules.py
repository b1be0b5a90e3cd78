"""Rules of arrays: what is taken, in which form, and how the others are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.rules import (
    MOST_JUMP,
    MOST_LENGTH_JUMP,
    demand,
    demand_each,
    demand_even,
    demand_range,
    demand_smooth,
    frozen,
)
from records import gaussian_record
from refusals import refused


def test_an_array_becomes_a_copy_that_nobody_can_write_to():
    given = np.array([1, 2], dtype=np.float32)
    kept = frozen("mean_abs", given)
    given[0] = 9.0
    assert kept.dtype == np.float64 and kept.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1.0
    assert frozen("num_samples", [4.0, 6.0]).dtype == np.int64


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("mean_abs", ["a"], "real numbers"),
        ("mean_abs", [True], "real numbers"),
        ("mean_abs", [1.0, np.nan], "finite, got nan"),
        ("mean_abs", [np.inf], "finite, got inf"),
        ("num_samples", [4.5], "whole numbers, got 4.5"),
    ],
)
def test_what_is_no_such_array_is_refused(name, values, words):
    refused(StatisticsError, [f"`{name}`", words], frozen, name, values)


def test_a_rule_names_the_first_value_that_breaks_it():
    values = np.array([1.0, 2.0, -3.0, -4.0])
    demand_each(values > -5.0, "x", "must be above -5", values)
    refused(
        StatisticsError,
        ["`x` must be positive", "-3.0", "position 2"],
        demand_each,
        values > 0,
        "x",
        "must be positive",
        values,
    )
    demand(True, "x", "must hold", 0)
    refused(StatisticsError, ["`x` must hold, got 0"], demand, False, "x", "must hold", 0)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-13, 1e13])
def test_magnitudes_beyond_reason_are_refused(value):
    refused(StatisticsError, ["`x` must", str(value)], demand_range, "x", np.array([1.0, value]))


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_curve_may_go_as_the_square_of_the_noise_level_does_and_ten_times_more(power, sign):
    log_rho = np.array([0.0, 1.0, 3.0])
    most = np.exp(sign * power * np.array([0.0, 2.0 + np.log(MOST_JUMP), 2.0 + np.log(MOST_JUMP)]))
    demand_smooth("x", most**0.999, log_rho, power)
    refused(StatisticsError, ["`x` must not jump", "position 0"], demand_smooth, "x", most**1.001, log_rho, power)


def test_lengths_of_zero_are_no_jump():
    lengths = np.array([0.0, 1.0, 0.999 * MOST_LENGTH_JUMP, 1.0, 0.0])
    even, wide = np.arange(6.0), np.array([0.0, 1.0, 2.0, 4.0, 5.0, 6.0])
    demand_even("x", lengths, even)
    lengths[2] *= 1.002
    refused(StatisticsError, ["`x` must not jump", "position 1"], demand_even, "x", lengths, even)
    demand_even("x", lengths, wide)


@pytest.mark.parametrize("name", ["mean_abs", "mean_square", "mean_abs_data"])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_one_wrong_exponent_in_a_curve_is_seen(name, place):
    """As in a file of another writer, whose digest is right; of `mean_abs` also where `mean_square` is not known."""
    record = gaussian_record(times=20)
    alone = {"mean_square": None, "mean_square_error": None} if name != "mean_square" else {}
    for factor in (2.0**-32, 2.0**32):
        values = getattr(record, name).copy()
        values[place] *= factor
        with pytest.raises(StatisticsError):
            replace(record, **{name: values})
        if factor > 1.0 or name != "mean_square":
            refused(StatisticsError, [f"`{name}` must "], replace, record, **alone, **{name: values})


def test_limits_are_far_from_what_models_have():
    """Of the shipped ones, the largest changes between neighbouring times, beyond those of the noise level."""
    for path in (Path(__file__).parents[2] / "stats").rglob("score_statistics.safetensors"):
        for one in ScoreStatistics.load(path).members:
            beyond = np.abs(np.diff(np.log(one.mean_abs))) - np.diff(one.log_rho)
            assert np.exp(np.max(beyond)) < 1.1 < MOST_JUMP
            for cost in one.costs.values():
                lengths = cost.values[cost.values > 0.0] ** (1.0 / cost.order)
                assert np.exp(np.max(np.abs(np.diff(np.log(lengths))))) < 10.0 < MOST_LENGTH_JUMP
