"""Geometric means and paired ratios: their laws, and Student's interval against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from comparisons import WE_WIN, row, rows
from diffusers_deis_sn.comparison.rows import Ratio, Row, at, columns, guess, nearest


def test_the_interval_is_that_of_a_paired_t_test_of_logarithms() -> None:
    one, other = row("UniPC", 8, 0.07).distances, row("DEIS-SN", 8, 0.03).distances
    ratio = Ratio.of(other, one)
    test = stats.ttest_rel(np.log(other), np.log(one))
    low, high = test.confidence_interval(0.95)
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert ratio.value == pytest.approx(stats.gmean(other) / stats.gmean(one))
    assert ratio.surely_less == (test.pvalue < 0.05)


def test_a_ratio_turned_round_is_its_inverse() -> None:
    one, other = row("UniPC", 8, 0.07).distances, row("DEIS-SN", 8, 0.03).distances
    there, back = Ratio.of(one, other), Ratio.of(other, one)
    assert (1.0 / back.value, 1.0 / back.high, 1.0 / back.low) == pytest.approx((there.value, there.low, there.high))


def test_what_makes_a_prompt_hard_for_both_is_no_error() -> None:
    hard = np.geomspace(0.001, 1.0, 8)
    assert Ratio.of(0.5 * hard, hard).error == pytest.approx(0.0, abs=1e-12)


def test_one_prompt_has_no_interval() -> None:
    ratio = Ratio.of(np.array([0.1]), np.array([0.2]))
    assert (ratio.value, ratio.low, ratio.high, ratio.error) == (pytest.approx(0.5), None, None, None)
    assert not ratio.surely_less and not ratio.surely_more


def test_a_run_that_is_the_converged_one_has_a_ratio() -> None:
    assert Ratio.of(np.zeros(3), np.ones(3)).surely_less


def test_means_of_a_row() -> None:
    one = Row("UniPC", 8, np.array([1.0, 4.0, 16.0]))
    assert (one.geometric_mean, one.worst_tenth, one.steps) == (pytest.approx(4.0), 16.0, 8)
    assert one.rms == pytest.approx(np.sqrt(91.0))
    with pytest.raises(ValueError, match="read-only"):
        one.distances[0] = 2.0


def test_columns_leave_out_further_runs() -> None:
    table = [*rows(WE_WIN), row("UniPC", 12, 0.02, further=True)]
    assert columns(table) == (6, 8, 10)
    assert at(table, 12) == []
    assert nearest(at(table, 8)).scheduler == "ScoreOptimal"
    assert nearest(at(table, 8), ours=False).scheduler == "DPM++ 2M"
    assert nearest([]) is None


def test_a_power_law_is_guessed_exactly() -> None:
    assert guess([(6, 1.0 / 36), (10, 1.0 / 100)], 1.0 / 196) == pytest.approx(14.0)


def test_an_error_that_does_not_fall_is_no_law() -> None:
    assert guess([(6, 0.1), (10, 0.2)], 0.05) == 20.0
