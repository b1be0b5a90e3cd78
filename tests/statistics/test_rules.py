"""Rules of arrays: what is taken, in which form, and how the others are named."""

from __future__ import annotations

import numpy as np
import pytest

from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.statistics.rules import demand, demand_each, frozen
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
