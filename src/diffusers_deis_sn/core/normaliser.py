"""Normaliser r(t) = E |eps_theta(x_t, t)|, the scale by which DEIS-SN (arXiv 2311.00157) divides outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import StatisticsError


@checked(StatisticsError)
@dataclass(frozen=True, eq=False)
class Normaliser:
    """A piecewise linear r(t) over the network's times, held flat outside its knots and below a cut-off.

        r(t) = interpolation of (timesteps, values) at max(t, cutoff)

    Only ratios of r matter to the solver: r and c r give the same samples.

    Args:
        timesteps: Knots, strictly increasing, in the network's time; (K,).
        values: r at the knots, positive; (K,).
        cutoff: Time below which r is held flat (`clip_normalizer_steps` of DEIS-SN's code), None for nowhere.

    Raises:
        StatisticsError: Knots that do not rise, values that are not positive and finite, or a cut-off that is
            no time.

    Examples:
        >>> r = Normaliser([0.0, 500.0, 999.0], [0.5, 0.78, 0.8])
        >>> r([-1.0, 250.0, 999.0]).round(2).tolist()
        [0.5, 0.64, 0.8]
        >>> Normaliser.flat().is_flat  # plain DEIS
        True

    References:
        Xia et al., https://arxiv.org/abs/2311.00157, which divides the score by K(t) = sigma(t) / r(t) in its place.
    """

    timesteps: Array
    values: Array
    cutoff: float | None = None

    def __post_init__(self) -> None:
        timesteps = np.array(self.timesteps, dtype=np.float64)
        values = np.array(self.values, dtype=np.float64)
        if timesteps.ndim != 1 or timesteps.shape != values.shape or len(values) == 0:
            raise StatisticsError(
                f"A normaliser needs one value for each time, got shapes {timesteps.shape} and {values.shape}."
            )
        if np.any(np.diff(timesteps) <= 0.0):
            raise StatisticsError("The times of a normaliser must rise strictly. Measure the statistics again.")
        if not np.all(np.isfinite(values) & (values > 0.0)):
            raise StatisticsError(
                f"A normaliser must be positive and finite, got values from {np.min(values):.6g} to "
                f"{np.max(values):.6g}. Measure the statistics again."
            )
        if self.cutoff is not None and not np.isfinite(self.cutoff):
            raise StatisticsError(f"The cut-off of a normaliser is a time or None, got {self.cutoff}.")
        for name, array in (("timesteps", timesteps), ("values", values)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def flat(cls) -> Normaliser:
        """r = 1 everywhere: plain DEIS."""
        return cls(np.zeros(1), np.ones(1))

    @property
    def is_flat(self) -> bool:
        """Whether r is the same at all times."""
        return bool(np.all(self.values == self.values[0]))

    @property
    def knots(self) -> Array:
        """Times at which r has a kink; (<= K + 1,)."""
        if self.cutoff is None:
            return self.timesteps
        return np.append(self.timesteps[self.timesteps > self.cutoff], self.cutoff)

    def __call__(self, t: ArrayLike) -> Array:
        """r at fractional times; same shape."""
        t = np.asarray(t, dtype=np.float64)
        return np.interp(t if self.cutoff is None else np.maximum(t, self.cutoff), self.timesteps, self.values)
