"""The streaming means: against NumPy on all samples at once, whatever the batches and their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusers_deis_sn.collect.reducers import CURVES, MeanReducer, moments_of
from diffusers_deis_sn.errors import CalibrationError

SAMPLES = torch.randn(12, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.7 + 0.1


def taken(reducer: MeanReducer, index: int, epsilon: torch.Tensor, clean: torch.Tensor) -> None:
    reducer.add_samples([index], moments_of(epsilon, clean)[:, None])


def reduced(*batches: torch.Tensor) -> MeanReducer:
    reducer = MeanReducer(CURVES, 1)
    for batch in batches:
        taken(reducer, 0, batch, 2.0 * batch)
    return reducer


def assert_same(a: MeanReducer, b: MeanReducer) -> None:
    assert np.array_equal(a.count, b.count)
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-13)
    np.testing.assert_allclose(a.spread, b.spread, rtol=1e-10, atol=1e-18)


def test_means_and_standard_errors_are_those_of_numpy():
    reducer = reduced(SAMPLES)
    values = SAMPLES.numpy().reshape(12, -1)
    data = 2.0 * np.abs(values).mean(1)
    for row, per_sample in enumerate((np.abs(values).mean(1), np.square(values).mean(1), data)):
        assert reducer.mean[row, 0] == pytest.approx(per_sample.mean(), rel=1e-14)
        assert reducer.standard_error[row, 0] == pytest.approx(per_sample.std(ddof=1) / np.sqrt(12), rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(1, 11), unique=True, max_size=6), order=st.permutations(range(12)))
def test_the_split_into_batches_and_their_order_do_not_matter(cuts, order):
    batches = torch.tensor_split(SAMPLES[list(order)], sorted(cuts))
    assert_same(reduced(*batches), reduced(SAMPLES))


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(0, 11))
def test_merging_is_adding(cut):
    left, right = reduced(SAMPLES[:cut]) if cut else MeanReducer(CURVES, 1), reduced(*SAMPLES[cut:].split(1))
    right.merge(left)
    assert_same(right, reduced(SAMPLES))


def test_times_are_kept_apart():
    reducer = MeanReducer(CURVES, 3)
    taken(reducer, 0, SAMPLES[:2], SAMPLES[:2])
    taken(reducer, 2, 2.0 * SAMPLES, 4.0 * SAMPLES)
    assert reducer.count.tolist() == [2, 0, 12]
    np.testing.assert_allclose(reducer.mean[:, 2], [2.0, 4.0, 2.0] * reduced(SAMPLES).mean[:, 0])
    assert np.isinf(reducer.standard_error[:, 1]).all()


def test_one_sample_has_no_standard_error():
    assert np.isinf(reduced(SAMPLES[:1]).standard_error).all()


def test_equal_samples_have_standard_error_zero_however_many():
    reducer = reduced(*[torch.full((7, 9), 0.1)] * 50)
    assert reducer.standard_error.max() < 1e-15


def test_a_small_spread_on_a_large_mean_survives():
    # Sums of squares would lose it: 1e6 squared is 1e12, and float64 has sixteen digits.
    offsets = torch.tensor([[1e6 - 1e-3], [1e6 + 1e-3]], dtype=torch.float64)
    assert reduced(*offsets.split(1)).standard_error[0, 0] == pytest.approx(1e-3, rel=1e-6)


def test_half_precision_is_reduced_in_float64():
    half = (SAMPLES * 1e-3).half()
    assert_same(reduced(half), reduced(half.double()))
    assert reduced(torch.full((2, 4), 300.0).half()).mean[1, 0] == 9e4  # 300 squared is infinite in float16


def test_memory_does_not_grow_with_the_samples():
    one, many = reduced(SAMPLES), reduced(*[SAMPLES] * 20)
    assert {name: value.nbytes for name, value in vars(one).items()} == {
        name: value.nbytes for name, value in vars(many).items()
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    broken = SAMPLES.clone()
    broken[3, 0, 0, 0] = value
    with pytest.raises(CalibrationError, match="not finite"):
        reduced(broken)
