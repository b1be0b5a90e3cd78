"""Streaming means and their standard errors: memory does not grow with the number of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusers_deis_sn.errors import CalibrationError

CURVES = 3  # |eps|, eps^2 and |x_0|, see `moments_of`


class MeanReducer:
    """Means over samples of some numbers at each of N places, and how uncertain they are.

    A sample counts once; the standard error is sqrt(sum (v - mean)^2 / (n (n - 1))). All is float64 on the host, and
    the result does not depend on how samples were batched, but for rounding.

    Args:
        curves: Numbers per sample and place, M.
        places: N.

    Attributes:
        count: Number of samples n; (N,), int64.
        mean: (M, N).
        spread: Sums of squared deviations from the means; (M, N).
    """

    def __init__(self, curves: int, places: int) -> None:
        """Nothing seen yet."""
        self.count: NDArray[np.int64] = np.zeros(places, dtype=np.int64)
        self.mean: NDArray[np.float64] = np.zeros((curves, places))
        self.spread: NDArray[np.float64] = np.zeros((curves, places))

    def add_samples(self, places: Sequence[int], samples: NDArray[np.float64]) -> None:
        """Take in a batch at some places.

        Args:
            places: Which, 0 to N - 1, each once.
            samples: (M, P, B).

        Raises:
            CalibrationError: A value that is not finite.
        """
        if not np.all(np.isfinite(samples)):
            raise CalibrationError(
                "The network returned values that are not finite. Try another dtype (float32 or bfloat16), or fewer "
                "or simpler pipeline options."
            )
        # Reducers of these places alone, so that the cost of a batch does not grow with the square of its steps.
        batch, own = (MeanReducer(len(samples), len(places)) for _ in range(2))
        batch.count[:], batch.mean = samples.shape[2], samples.mean(2)
        batch.spread = np.square(samples - batch.mean[:, :, None]).sum(2)
        own.count, own.mean, own.spread = self.count[places], self.mean[:, places], self.spread[:, places]
        own.merge(batch)
        self.count[places], self.mean[:, places], self.spread[:, places] = own.count, own.mean, own.spread

    def merge(self, other: MeanReducer) -> None:
        """Take in all samples of another reducer of the same places (Chan, Golub and LeVeque's pairwise update)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        apart = other.mean - self.mean
        self.mean = self.mean + apart * share
        self.spread = self.spread + other.spread + np.square(apart) * self.count * share
        self.count = count

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard errors of `mean`; (M, N), infinite where fewer than two samples were seen."""
        freedom = self.count * (self.count - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(freedom > 0, np.sqrt(self.spread / freedom), np.inf)


def moments_of(epsilon: Tensor, clean: Tensor) -> NDArray[np.float64]:
    """Means over the components of |eps|, eps^2 and |x_0| of each sample; (3, B).

    Args:
        epsilon: Guided outputs as noise; (B, *event), any device and dtype.
        clean: The same outputs as clean samples; (B, *event).
    """
    noise, data = (one.detach().to("cpu").flatten(1) for one in (epsilon, clean))
    wide = noise.to(torch.float64)
    # The magnitude of a number is exact in any precision, and only sums need a wide one.
    means = [noise.abs().mean(1, dtype=torch.float64), wide.square().mean(1), data.abs().mean(1, dtype=torch.float64)]
    return np.asarray(torch.stack(means))
