"""How far samples are from those of the converged run, and what that does to the eye. Pure functions.

Samples are (B, *event). Whatever compares two runs pairs them: sample i of both starts from the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TRIMMED = 0.1  # share of the samples that the trimmed RMS leaves out
COVERAGE = 0.95
RESAMPLES = 2000


def sample_errors(end: Tensor, reference: Tensor) -> np.ndarray:
    """RMS distance of each sample to its converged one; (B,) float64."""
    return (end.double() - reference.double()).flatten(1).square().mean(1).sqrt().numpy()


def geometric_mean(errors: np.ndarray) -> float:
    """exp of the mean log error; 20 log10 of it is the mean PSNR but for sign and constant."""
    return float(np.exp(np.log(np.maximum(errors, np.finfo(np.float64).tiny)).mean()))


def rms(errors: np.ndarray) -> float:
    """Root of the mean square of per-sample errors, which is the RMS over all their values."""
    return float(np.sqrt(np.square(errors).mean()))


def _worst(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All but the worst tenth (rounded up), and that tenth."""
    ranked = np.sort(errors)
    kept = len(ranked) - int(np.ceil(TRIMMED * len(ranked)))
    return ranked[:kept], ranked[kept:]


def trimmed_rms(errors: np.ndarray) -> float:
    """RMS without the worst tenth of the samples."""
    return rms(_worst(errors)[0])


def worst_share(errors: np.ndarray) -> float:
    """Share of the worst tenth of the samples in the squared error, between .1 and 1."""
    total = float(np.square(errors).sum())
    return float(np.square(_worst(errors)[1]).sum()) / total if total else TRIMMED


# --------------------------------------------------------------------------------------------------------- the picture


def highest_band(samples: Tensor) -> float | None:
    """Mean energy of what a 2x2 mean takes away, in samples (B, C, H, W) of even sides; None for any other."""
    if samples.ndim != 4 or samples.shape[2] % 2 or samples.shape[3] % 2:
        return None
    x = samples.double()
    blocks = x.unfold(2, 2, 2).unfold(3, 2, 2)
    return float((blocks - blocks.mean((4, 5), keepdim=True)).square().mean())


def grain(end: Tensor, reference: Tensor) -> float | None:
    """Energy of the highest band over that of the converged run: above 1 is grain, below is blur."""
    ours, theirs = highest_band(end), highest_band(reference)
    return None if ours is None or not theirs else ours / theirs


def frechet(one: Tensor, other: Tensor, full: bool | None = None) -> float:
    """Frechet distance of the normal distributions with the moments of two sets of features (B, D).

        |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))

    Args:
        one: Features of one run.
        other: Features of another.
        full: Use whole covariances; their diagonals if False. If None, whole ones where there are at least ten times
            as many samples as dimensions: with fewer, what differs is mostly the estimate.
    """
    a, b = one.double().numpy(), other.double().numpy()
    if full is None:
        full = whole_covariance(*a.shape)
    gap = float(np.square(a.mean(0) - b.mean(0)).sum())
    if not full:
        return gap + float(np.square(a.std(0) - b.std(0)).sum())
    c, d = (np.atleast_2d(np.cov(x, rowvar=False, ddof=0)) for x in (a, b))
    values, vectors = np.linalg.eigh(c)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ d @ root), 0.0))
    return gap + float(np.trace(c) + np.trace(d) - 2.0 * cross.sum())


def whole_covariance(samples: int, dimensions: int) -> bool:
    """Whether `frechet` uses whole covariances rather than their diagonals."""
    return samples >= 10 * dimensions


# ----------------------------------------------------------------------------------------------------- ratio with bar


@dataclass(frozen=True)
class Ratio:
    """A ratio of geometric means and its interval."""

    value: float
    low: float
    high: float


def paired_ratio(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> Ratio:
    """Geometric mean of errors over that of others on the same samples, with a bootstrap over the samples.

    Args:
        ours: Per-sample errors (B,), pooled over seeds.
        theirs: Those of the other sampler from the same noise.
        seed: Of the resampling.

    Returns:
        The ratio and its percentile interval of `COVERAGE`. Pairing takes out what makes a sample hard for both.
    """
    tiny = np.finfo(np.float64).tiny
    logs = np.log(np.maximum(ours, tiny)) - np.log(np.maximum(theirs, tiny))
    drawn = np.random.default_rng(seed).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = np.exp(np.quantile(logs[drawn].mean(1), [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0]))
    return Ratio(float(np.exp(logs.mean())), float(low), float(high))


def disagreement(one: Tensor, other: Tensor) -> float:
    """Geometric mean over samples of the distance between two runs that both claim to be converged."""
    return geometric_mean(sample_errors(one, other))


def finite(samples: Tensor) -> bool:
    """Whether every value is a number."""
    return bool(torch.isfinite(samples).all())
