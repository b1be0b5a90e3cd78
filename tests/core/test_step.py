"""One step on tensors: half precision is summed in float32, thresholding is Diffusers'."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from diffusers_deis_sn.core.step import combine, low_band, threshold

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


# ------------------------------------------------------------------------------------------------------------- the sum


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("history_dtype", [None, torch.float32])
def test_sum_has_one_rounding(dtype, history_dtype):
    """Weights of alternating sign that nearly cancel, as in the last steps of a high order: float16 sums lose them."""
    sample = (3.0 * torch.randn(2, 4, 16, 16)).to(dtype)
    history = [(1.0 + 0.01 * torch.randn(2, 4, 16, 16)).to(history_dtype or dtype) for _ in range(4)]
    transfer, weights = 1.7613968113, (-15.387, 12.2367, -6.3283, 7.71)
    exact = sample.double() * transfer
    for weight, epsilon in zip(weights, history, strict=True):
        exact += weight * epsilon.double()
    total = combine(sample, transfer, history, weights)
    assert total.dtype == dtype and total.shape == sample.shape
    half_a_digit = 0.5 * torch.finfo(dtype).eps * exact.abs()
    inner = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    assert torch.all((total.double() - exact).abs() <= half_a_digit * 1.01 + 150.0 * inner)


def test_outputs_beyond_the_weights_are_not_touched():
    x = torch.ones(3)
    assert torch.equal(combine(x, 2.0, [x, torch.full((3,), float("nan"))], (1.0,)), torch.full((3,), 3.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arguments_are_left_as_they_are(dtype):
    sample, history = torch.randn(5).to(dtype), [torch.randn(5).to(dtype) for _ in range(2)]
    before = [tensor.clone() for tensor in (sample, *history)]
    total = combine(sample, 1.0, history, (0.5, 0.25))
    assert all(torch.equal(a, b) for a, b in zip((sample, *history), before, strict=True))
    assert total.data_ptr() not in {tensor.data_ptr() for tensor in (sample, *history)}


# -------------------------------------------------------------------------------------------------------- thresholding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ratio", "largest"), [(0.995, 1.0), (0.9, 0.7), (0.9, 1.5), (0.5, 10.0), (1.0, 3.0)])
def test_thresholding_is_that_of_diffusers(dtype, ratio, largest):
    theirs = DPMSolverMultistepScheduler(thresholding=True, dynamic_thresholding_ratio=ratio, sample_max_value=largest)
    x0 = (torch.tensor([0.2, 1.0, 4.0]).reshape(3, 1, 1, 1) * torch.randn(3, 2, 8, 8, dtype=torch.float64)).to(dtype)
    ours = threshold(x0, ratio, largest)
    assert ours.dtype == dtype
    assert torch.allclose(ours, theirs._threshold_sample(x0), rtol=0, atol=0 if dtype != torch.float64 else 1e-15)


def test_thresholding_keeps_each_sample_within_one_and_leaves_quiet_ones_alone():
    loud, quiet = 4.0 * torch.randn(1, 3, 8, 8), 0.1 * torch.randn(1, 3, 8, 8)
    both = threshold(torch.cat([loud, quiet]), 0.9, 100.0)
    assert both.abs().max() <= 1.0 and both[0].abs().max() == 1.0
    assert torch.equal(both[1:], quiet)


# ------------------------------------------------------------------------------------------------------------ the bands


@pytest.mark.parametrize(
    "shape", [(1, 2, 4, 6), (2, 1, 5, 4), (1, 1, 4, 7), (1, 3, 5, 7), (1, 1, 1, 1), (1, 2, 3, 5, 3)]
)
def test_the_low_band_of_any_size_keeps_what_is_smooth(shape):
    x = torch.randn(shape, dtype=torch.float64)
    assert low_band(x).shape == x.shape
    torch.testing.assert_close(low_band(torch.full_like(x, 0.7)), torch.full_like(x, 0.7))
    torch.testing.assert_close(low_band(2.0 * x), 2.0 * low_band(x))


@pytest.mark.parametrize("size", [5, 7, 9])
def test_along_an_odd_axis_the_last_row_counts_twice(size):
    x = torch.randn(2, 3, size, 4, dtype=torch.float64)
    longer = torch.cat([x, x[..., -1:, :]], -2)
    torch.testing.assert_close(low_band(x), low_band(longer)[..., :-1, :])
    torch.testing.assert_close(low_band(x.mT), low_band(x).mT)
