"""The suite's measures against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.suite import measures
from benchmarks.suite.rows import packed, unpacked


def test_the_error_of_a_sample_is_its_rms_distance() -> None:
    end, reference = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    end[1] += 0.5
    assert measures.sample_errors(end, reference) == pytest.approx([0.0, 0.5])


def test_the_geometric_mean_is_the_mean_psnr() -> None:
    errors = np.array([0.1, 0.01, 0.001])
    psnr = -20.0 * np.log10(errors).mean()
    assert -20.0 * np.log10(measures.geometric_mean(errors)) == pytest.approx(psnr)


def test_the_rms_of_samples_is_that_of_all_their_values() -> None:
    end = torch.randn(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    errors = measures.sample_errors(end, torch.zeros_like(end))
    assert measures.rms(errors) == pytest.approx(end.square().mean().sqrt().item(), rel=1e-6)


def test_the_worst_tenth_is_left_out_and_its_share_told() -> None:
    errors = np.array([1.0] * 9 + [3.0])
    assert measures.trimmed_rms(errors) == pytest.approx(1.0)
    assert measures.worst_share(errors) == pytest.approx(9.0 / 18.0)
    assert measures.worst_share(np.ones(20)) == pytest.approx(0.1)


@pytest.mark.parametrize("amplitude", [0.1, 0.7])
def test_grain_is_the_energy_that_a_mean_of_four_pixels_takes_away(amplitude: float) -> None:
    board = torch.ones(1, 1, 8, 8)
    board[..., ::2, 1::2] = board[..., 1::2, ::2] = -1.0
    blocks = torch.randn(1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert measures.highest_band(blocks) == pytest.approx(0.0, abs=1e-12)
    assert measures.highest_band(blocks + amplitude * board) == pytest.approx(amplitude**2)
    assert measures.grain(blocks + amplitude * board, blocks + board) == pytest.approx(amplitude**2)


def test_white_noise_has_three_quarters_of_its_energy_in_the_highest_band() -> None:
    noise = torch.randn(4, 2, 64, 64, generator=torch.Generator().manual_seed(1))
    assert measures.highest_band(noise) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("shape", [(4, 16), (4, 1, 7, 8)])
def test_vectors_and_odd_pictures_have_no_grain(shape: tuple[int, ...]) -> None:
    assert measures.grain(torch.ones(shape), torch.ones(shape)) is None


def test_frechet_distance_of_normal_distributions_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(40_000, 2, generator=generator, dtype=torch.float64)
    z = (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T, correction=0)).T)
    one, other = z @ torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64)), 3.0 * z + 0.5
    exact = 2 * 0.5**2 + (3.0 - 1.0) ** 2 + (3.0 - 2.0) ** 2
    assert measures.frechet(one, other, full=False) == pytest.approx(exact, rel=1e-9)
    assert measures.frechet(one, other, full=True) == pytest.approx(exact, rel=1e-9)


def test_frechet_distance_sees_correlation_with_whole_covariances_only() -> None:
    z = torch.randn(5000, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mixed = torch.stack([z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]], dim=1)
    assert measures.frechet(z, mixed, full=True) > 0.1 > 0.01 > measures.frechet(z, mixed, full=False)


def test_whole_covariances_want_ten_samples_a_dimension() -> None:
    assert measures.whole_covariance(48, 4) and not measures.whole_covariance(48, 64)


def test_a_ratio_is_exact_where_pairs_are_proportional() -> None:
    theirs = np.random.default_rng(0).lognormal(size=50)
    ratio = measures.paired_ratio(0.8 * theirs, theirs)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.8, 0.8, 0.8))


def test_the_interval_of_a_ratio_covers_it_as_often_as_it_says() -> None:
    drawn, hits = np.random.default_rng(1), 0
    for _ in range(200):
        theirs = drawn.lognormal(size=60)
        ratio = measures.paired_ratio(theirs * np.exp(0.3 * drawn.normal(size=60)), theirs)
        hits += ratio.low <= 1.0 <= ratio.high
    assert 0.88 <= hits / 200 <= 0.99


def test_errors_survive_packing_to_three_digits() -> None:
    errors = np.array([3e-5, 0.0123, 1.0, 1e5])
    assert unpacked(packed(errors)) == pytest.approx([3e-5, 0.0123, 1.0, 65504.0], rel=3e-3)
