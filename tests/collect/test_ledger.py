"""What was taken down: whole batches only, without samples that turned NaN, and as a state that loses no bit."""

from __future__ import annotations

import numpy as np
import pytest

from diffusers_deis_sn.collect.ledger import BENDS, MOMENTS, TABLES, Ledger
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused

TIMES = (999.0, 500.5, 0.0)
ROWS = np.random.default_rng(0).normal(size=(4, len(TIMES), 3, 5)) ** 2  # batch, time, curve, sample


def begun(*costs: str) -> Ledger:
    ledger = Ledger()
    ledger.begin(TIMES)
    ledger.expect(costs)
    return ledger


def drawn(rows: np.ndarray, skip_invalid: bool = False) -> Ledger:
    """A ledger of moments and one cost, batch by batch."""
    ledger = begun("corrector")
    for batch in rows:
        with ledger.batch(skip_invalid):
            fill(ledger, batch)
    return ledger


def fill(ledger: Ledger, batch: np.ndarray) -> None:
    for step, one in enumerate(batch):
        ledger.add(MOMENTS, step, one)
        if step:
            ledger.add("cost_corrector", step - 1, one[:1] * 3.0)


def assert_same_bits(one: Ledger, other: Ledger) -> None:
    a, b = one.tensors(), other.tensors()
    assert a.keys() == b.keys()
    assert {name: value.tobytes() for name, value in a.items()} == {name: value.tobytes() for name, value in b.items()}


def test_a_batch_that_is_merged_at_its_end_has_the_bits_of_one_that_is_added_step_by_step():
    at_once = begun("corrector")
    for batch in ROWS:
        fill(at_once, batch)
    assert_same_bits(drawn(ROWS), at_once)
    assert at_once.num_samples == at_once.drawn == 20


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_a_batch_that_fails_leaves_no_trace(error):
    ledger = drawn(ROWS[:2])
    with pytest.raises(type(error)), ledger.batch():
        fill(ledger, ROWS[2])
        raise error
    assert_same_bits(ledger, drawn(ROWS[:2]))
    with ledger.batch():
        fill(ledger, ROWS[3])
    assert_same_bits(ledger, drawn(ROWS[[0, 1, 3]]))


def test_a_value_that_is_not_finite_is_named_by_time_and_sample_and_nothing_of_its_batch_counts():
    ledger, broken = drawn(ROWS[:2]), ROWS[2].copy()
    broken[1, 2, 3] = np.inf
    with pytest.raises(CalibrationError, match=r"at t = 500\.5, for sample 13\. .*--skip-invalid"), ledger.batch():
        fill(ledger, broken)
    assert_same_bits(ledger, drawn(ROWS[:2]))
    broken[1] = np.nan
    with pytest.raises(CalibrationError, match="for sample 10 and 4 others of its batch"), ledger.batch():
        fill(ledger, broken)


def test_outside_of_a_batch_a_sample_is_named_too_and_its_batch_not_averaged_in():
    ledger = drawn(ROWS[:1])
    refused(CalibrationError, ["t = 0,", "sample 6"], ledger.add, MOMENTS, 2, np.array([[1.0, np.nan]] * 3))
    assert_same_bits(ledger, drawn(ROWS[:1]))


@pytest.mark.parametrize("step", range(len(TIMES)))
def test_a_skipped_sample_is_missing_at_all_times_and_the_others_have_the_bits_of_a_run_without_it(step):
    """Also where it fails at the last time only, or in a probe, after all its other rows were taken down."""
    broken = ROWS.copy()
    broken[1, step, 0, 3] = np.nan
    ledger, without = drawn(broken, skip_invalid=True), begun("corrector")
    for number, batch in enumerate(ROWS):
        with without.batch():
            fill(without, np.delete(batch, 3, axis=2) if number == 1 else batch)
    assert ledger.invalid == [8] and (ledger.num_samples, ledger.drawn) == (19, 20)
    for kind, one in ledger.reducers.items():
        for name in TABLES:
            assert getattr(one, name).tobytes() == getattr(without.reducers[kind], name).tobytes()


def test_a_batch_without_a_sound_sample_counts_as_drawn_and_adds_nothing():
    ledger = drawn(np.concatenate([ROWS[:1], np.full_like(ROWS[:1], np.nan)]), skip_invalid=True)
    assert (ledger.num_samples, ledger.drawn, ledger.invalid) == (5, 10, [5, 6, 7, 8, 9])
    assert np.array_equal(ledger.moments.mean, drawn(ROWS[:1]).moments.mean)


@pytest.mark.parametrize("cut", range(5))
def test_a_state_that_is_taken_up_again_goes_on_with_the_same_bits(cut):
    ledger = Ledger.of(drawn(ROWS[:cut]).tensors())
    for batch in ROWS[cut:]:
        with ledger.batch():
            fill(ledger, batch)
    assert_same_bits(ledger, drawn(ROWS))
    assert ledger.times == TIMES


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"times": np.zeros(4)}, ValueError),
        ({"moments.mean": np.zeros((2, 3))}, ValueError),
        ({"moments.count": np.zeros(3)}, ValueError),  # not whole numbers
        ({"bends.spread": None}, KeyError),
    ],
)
def test_arrays_that_make_no_state_are_refused(change, error):
    tensors = {name: one for name, one in (drawn(ROWS).tensors() | change).items() if one is not None}
    with pytest.raises(error):
        Ledger.of(tensors)


def test_ledgers_of_parts_merge_into_that_of_all_samples_whichever_has_none():
    whole, parts, first = drawn(ROWS), Ledger(), 0
    for rows in (ROWS[:1], ROWS[:0], ROWS[1:]):
        own = parts.beside(first)
        if len(rows):
            own.begin(TIMES)
            own.expect(["corrector"])
        for batch in rows:
            with own.batch():
                fill(own, batch)
        first += own.drawn
        if len(rows):
            parts.merge(own)
    assert parts.drawn == whole.drawn and parts.times == whole.times
    for name, values in whole.tensors().items():
        np.testing.assert_allclose(parts.tensors()[name], values, rtol=1e-13, err_msg=name)


def test_a_ledger_beside_others_names_samples_by_their_own_number():
    beside = begun("corrector").beside(40)
    assert beside.times == TIMES and beside.drawn == 0
    broken = ROWS[0].copy()
    broken[1, 0, 2] = np.nan
    with pytest.raises(CalibrationError, match="for sample 42"), beside.batch():
        fill(beside, broken)
    beside.expect(["corrector"])
    with beside.batch(skip_invalid=True):
        fill(beside, broken)
    whole = begun("corrector")
    whole.invalid = [50]
    whole.merge(beside)
    assert whole.invalid == [42, 50] and whole.num_samples == 4


def test_other_times_are_not_merged():
    other = Ledger()
    other.begin(TIMES[:2])
    refused(CalibrationError, ["same times"], drawn(ROWS).merge, other)


def test_bends_and_costs_are_kept_apart():
    ledger = begun("corrector", "predictor")
    ledger.add(BENDS, 1, np.ones((1, 2)))
    ledger.add("cost_predictor", 0, np.full((1, 2), 5.0))
    again = Ledger.of(ledger.tensors())
    assert list(again.costs) == ["corrector", "predictor"]
    assert (again.bends.mean[0, 1], again.costs["predictor"].mean[0, 0]) == (1.0, 5.0)
    assert not again.costs["corrector"].count.any()


def test_the_relative_error_is_the_largest_of_r_at_the_times_that_two_samples_saw():
    ledger = begun()
    assert ledger.relative_error == float("inf")
    ledger.add(MOMENTS, 0, ROWS[0, 0, :, :1])
    assert ledger.relative_error == float("inf")
    for step in (1, 2):
        ledger.add(MOMENTS, step, ROWS[0, step])
    r = ROWS[0, 1:, 0]
    wanted = (r.std(axis=1, ddof=1) / np.sqrt(r.shape[1]) / r.mean(axis=1)).max()
    np.testing.assert_allclose(ledger.relative_error, wanted, rtol=1e-12)
