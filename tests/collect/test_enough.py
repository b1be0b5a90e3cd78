"""Whether enough was measured: what standard errors of r do to runs of few steps, against runs with r moved by hand."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import calibrate
from diffusers_deis_sn.collect.arguments import AUTO, CHEAP, MARKS, THOROUGH, Size
from diffusers_deis_sn.collect.enough import ENOUGH, POOR, path_change, plan_change, samples_for
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from exact_pipelines import ExactPipeline, gaussian_network
from records import costed_record, flow_record

SD = vp_schedule(**SD_BETAS)
RECORD = costed_record(SD)


def pipeline(event: tuple[int, ...] = (2, 4, 4)) -> ExactPipeline:
    return ExactPipeline(gaussian_network(SD, 0.5), event)


def with_error(relative: float | np.ndarray, record=RECORD):
    return replace(record, mean_abs_error=relative * record.mean_abs)


def test_nothing_moves_without_errors_and_nothing_is_known_without_any_told():
    assert plan_change(with_error(0.0), SD) == 0.0
    assert plan_change(replace(RECORD, mean_abs_error=None), SD) == float("inf")


def test_a_change_is_as_large_as_the_errors_to_first_order():
    small, twice = (plan_change(with_error(e), SD) for e in (1e-4, 2e-4))
    assert twice == pytest.approx(2.0 * small, rel=1e-2) and 1e-5 < small < 1e-3


def test_only_errors_within_reach_of_a_run_count():
    """r at one time moves the steps that pass it or were called near it, so that all times together move most."""
    one = np.zeros(len(RECORD))
    one[len(one) // 2] = 0.01
    assert 0.0 < plan_change(with_error(one), SD) < plan_change(with_error(0.01), SD)


def test_it_is_known_of_flows_that_start_from_noise_alone():
    assert 0.0 < plan_change(with_error(0.01, flow_record()), FlowSchedule()) < 0.1


def test_samples_grow_with_the_square_of_the_change():
    assert samples_for(0.06, 8, wanted=0.02) == 72 and samples_for(0.01, 8, wanted=0.02) == 2


def test_what_is_said_wins_and_the_rest_is_one_of_two_sizes():
    assert Size.of(None, None, None) == CHEAP and Size.of(None, None, None, thorough=True) == THOROUGH
    assert Size.of(12, None, 0, thorough=True) == (12, THOROUGH.num_inference_steps, 0)
    assert Size.of(AUTO, 20, None) == (AUTO, 20, CHEAP.trials) and Size.of(5, 9, 2).marks == (5,)


@pytest.mark.parametrize(("tolerance", "most"), [(0.5, MARKS[0]), (1e-9, MARKS[-1])])
@pytest.mark.parametrize("batch", [3, 8])
def test_samples_are_drawn_until_they_are_enough_whatever_the_batches(tolerance, most, batch):
    options = {"num_inference_steps": 12, "batch_size": batch, "tolerance": tolerance, "trials": 0, "progress": False}
    statistics = calibrate(pipeline(), **options)
    assert statistics.most_samples == most


def test_so_many_that_a_run_moves_by_no_more_than_the_tolerance():
    statistics = calibrate(pipeline(), num_inference_steps=30, tolerance=0.05, trials=0, progress=False)
    assert max(plan_change(statistics, SD), path_change(statistics)) <= 0.05
    assert statistics.most_samples < MARKS[-1]


def test_rough_statistics_are_told_with_what_it_takes(caplog):
    options = {"num_inference_steps": 3, "trials": 0, "progress": False}
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        rough = calibrate(pipeline((1, 2, 2)), num_samples=2, **options)
    assert plan_change(rough, SD) > POOR > ENOUGH
    assert (
        "rough" in caplog.text and "num_samples" in caplog.text and f"{CHEAP.num_inference_steps} steps" in caplog.text
    )
    caplog.clear()
    calibrate(pipeline((3, 16, 16)), num_samples=16, num_inference_steps=50, trials=0, progress=False)
    assert not caplog.records
