"""Corrections: no change where the step redone is the step, never more gain than the limit, orders left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.coefficients import coefficient_table
from diffusers_deis_sn.core.corrector import PREDICTOR_SHARE, corrections, damped, pick, start_change
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Ends, Power
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.vp import vp_schedule

STEPS, OUTPUTS = 6, 3
LIMITS = st.floats(1e-3, 10.0)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of three numbers of outputs, of steps redone, sensitivities and factors, all at random."""
    draw = np.random.default_rng(seed)
    explicit = draw.standard_normal((OUTPUTS, STEPS, OUTPUTS))
    redone = draw.standard_normal((STEPS - 1, OUTPUTS))
    return explicit, redone, np.exp(draw.standard_normal(STEPS)), np.exp(draw.standard_normal(STEPS))


@given(st.integers(0, 99), LIMITS)
def test_a_predictor_adds_no_more_than_its_share_of_the_limit(seed, limit):
    explicit, _, sensitivity, transfer = drawn(seed)
    kept = damped(explicit, sensitivity, transfer, limit)
    gain = np.abs(kept[:, :, 0] - kept[1, :, 0]) * sensitivity / transfer
    assert np.all(gain <= limit * PREDICTOR_SHARE * (1.0 + 1e-9)) and np.array_equal(kept[1], explicit[1])
    added, before = kept - kept[1], explicit - explicit[1]
    scale = np.linalg.norm(added, axis=2) / np.maximum(np.linalg.norm(before, axis=2), 1e-300)
    np.testing.assert_allclose(added, scale[:, :, None] * before, atol=1e-12)  # shorter, in the same direction


@given(st.integers(0, 99), LIMITS)
def test_a_correction_passes_on_no_more_than_the_limit(seed, limit):
    explicit, redone, sensitivity, transfer = drawn(seed)
    before = explicit[1]
    free = corrections(redone, before, sensitivity, transfer, np.inf)
    kept = corrections(redone, before, sensitivity, transfer, limit)
    share = np.linalg.norm(kept, axis=1) / np.linalg.norm(free, axis=1)
    assert np.all(share * np.abs(redone[:, 0]) * sensitivity[1:] <= limit * (1.0 + 1e-9))
    np.testing.assert_allclose(kept, share[:, None] * free, atol=1e-12)


def test_a_step_that_is_redone_as_it_was_changes_nothing():
    explicit, _, sensitivity, transfer = drawn(0)
    same = np.roll(explicit[1][:-1], 1, axis=1)
    assert not np.any(corrections(same, explicit[1], sensitivity, transfer, np.inf))


def test_without_a_limit_all_is_taken():
    explicit, redone, sensitivity, transfer = drawn(1)
    np.testing.assert_allclose(damped(explicit, sensitivity, transfer, np.inf), explicit, rtol=1e-12, atol=1e-15)
    nothing = np.zeros((STEPS, OUTPUTS))
    found = corrections(redone, nothing, sensitivity, transfer, np.inf)
    np.testing.assert_allclose(found, transfer[1:, None] * redone)


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_first_change_of_a_run_from_noise_alone_moves_between_two_outputs(nodes):
    flow, levels = FlowSchedule(), Power("t", 1.0).levels(FlowSchedule(), 5, Ends())
    change = start_change(flow, Normaliser.flat(), levels, nodes, OUTPUTS)
    assert change.sum() == 0.0 and change[1] == -change[0] > 0.0 and change[2] == 0.0
    assert change[1] == pytest.approx(float(flow.sigma(levels[1])) / nodes)  # x changes by sigma_1 (eps_0 - eps_1) / 2


def test_numbers_are_picked_row_by_row():
    explicit = drawn(2)[0]
    number = np.array([0, 1, 2, 2, 1, 0])
    for n, one in enumerate(pick(explicit, number)):
        np.testing.assert_array_equal(one, explicit[number[n], n])


def test_rows_of_a_corrected_table_sum_to_those_of_the_plain_one():
    """A correction moves weight between outputs: constant outputs give the same step with it and without."""
    process = vp_schedule(**SD_BETAS)
    levels = Power("t", 2.0).levels(process, 8, Ends())
    plain = coefficient_table(process, Normaliser.flat(), levels, 2)
    for limit in (np.inf, 0.1):
        table = coefficient_table(process, Normaliser.flat(), levels, 2, corrector_order=3, gain_limit=limit)
        np.testing.assert_allclose(table.weights[-1].sum(axis=1), plain.weights[-1].sum(axis=1), rtol=1e-9)
