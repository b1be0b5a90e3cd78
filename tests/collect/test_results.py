"""From a ledger to a record: means and errors of what was taken down, and nothing of what was not."""

from __future__ import annotations

import numpy as np
import pytest

from diffusers_deis_sn.collect.ledger import COST, MOMENTS, Ledger
from diffusers_deis_sn.collect.results import statistics_of, uncertainty_of
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from refusals import refused

NOISE, ORIGIN = vp_schedule(), StatisticsOrigin(base_model="me/model")
TIMES = (900.0, 500.0, 100.0)
ROWS = np.random.default_rng(0).uniform(0.7, 0.8, size=(len(TIMES), 3, 6))  # time, curve, sample
ROWS[:, 1] = ROWS[:, 0] ** 2 + 0.1
COSTS = np.random.default_rng(1).uniform(0.01, 0.02, size=(len(TIMES) - 1, 1, 6))


def seen(times: int = len(TIMES), intervals: int = 0, samples: int = 6) -> Ledger:
    """A ledger of the first of the times and intervals."""
    ledger = Ledger()
    ledger.begin(TIMES)
    ledger.expect(("corrector",) if intervals else ())
    for step, rows in enumerate(ROWS[:times]):
        ledger.add(MOMENTS, step, rows[:, :samples])
    for step, rows in enumerate(COSTS[:intervals]):
        ledger.add(COST + "corrector", step, rows[:, :samples])
    return ledger


def test_curves_are_means_with_their_standard_errors_cleanest_first():
    record = statistics_of(seen(), NOISE, ORIGIN)
    assert record.timesteps.tolist() == [100.0, 500.0, 900.0] and record.origin == ORIGIN and not record.costs
    assert record.log_snr == pytest.approx(-2.0 * np.log(NOISE.rho(record.timesteps)))
    names = ("mean_abs", "mean_square", "mean_abs_data")
    for name, rows in zip(names, ROWS[::-1].swapaxes(0, 1), strict=True):
        assert getattr(record, name) == pytest.approx(rows.mean(1))
        assert getattr(record, f"{name}_error") == pytest.approx(rows.std(1, ddof=1) / 6**0.5)
    assert record.num_samples.tolist() == [6, 6, 6]


def test_times_that_no_run_visited_are_left_out():
    assert statistics_of(seen(2), NOISE, ORIGIN).timesteps.tolist() == [500.0, 900.0]


@pytest.mark.parametrize(
    ("times", "samples", "words"), [(0, 6, "0 samples at 0"), (1, 6, "6 samples at 1"), (3, 1, "1")]
)
def test_too_little_is_no_record(times, samples, words):
    with pytest.raises(CalibrationError, match=words):
        statistics_of(seen(times, 0, samples), NOISE, ORIGIN)


def test_a_cost_is_of_the_intervals_and_an_estimate_below_zero_is_zero():
    ledger = seen(3, 2)
    cost = statistics_of(ledger, NOISE, ORIGIN).cost("corrector")
    assert cost.values == pytest.approx(COSTS[::-1, 0].mean(1)) and cost.num_samples == 6
    assert cost.error == pytest.approx(COSTS[::-1, 0].std(1, ddof=1) / 6**0.5)
    assert uncertainty_of(ledger, "corrector") == pytest.approx(cost.uncertainty)
    ledger.add(COST + "corrector", 1, np.full((1, 600), -1e-3))
    assert statistics_of(ledger, NOISE, ORIGIN).cost("corrector").values[0] == 0.0


def test_a_cost_that_misses_an_interval_is_refused():
    ledger = seen(3, 1)
    refused(CalibrationError, ["corrector", "all visited times"], statistics_of, ledger, NOISE, ORIGIN)


def test_of_a_cost_that_nobody_has_measured_nothing_is_known():
    assert uncertainty_of(seen(), "corrector") == uncertainty_of(seen(3, 2, 1), "corrector") == float("inf")
