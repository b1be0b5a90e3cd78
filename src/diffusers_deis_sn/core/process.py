"""Noise schedules: x_t = alpha_t x_0 + sigma_t eps, as a map between time and noise level.

Every solver formula of this package lives in the coordinate rho = sigma / alpha, in which the probability-flow ODE is
dy / drho = eps with y = x / alpha, whatever the path (DEIS, arXiv 2204.13902). A `NoiseSchedule` is a *path*, which
splits rho into alpha and sigma, and two times: the one the network is called with, and tau, 0 for clean data and 1 for
the noisiest, which the papers' grids and polynomials are written in.

`core.vp` has the process of Diffusers' betas, `core.sigma` those of models conditioned on sigma, and `core.flow` that
of flow-matching models.

Also used: lambda = log(alpha / sigma) = -log rho, and log SNR = log(alpha^2 / sigma^2) = 2 lambda. Note that
Diffusers' `alphas_cumprod` is alpha squared, and its `sigmas` are rho, or sigma itself for flow-matching models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffusers_deis_sn.core.prediction import PREDICTION_TYPES, output_map
from diffusers_deis_sn.core.value_types import is_whole, shown
from diffusers_deis_sn.errors import NoiseScheduleError, TimestepsError

Array = NDArray[np.float64]

MOST_TIMES = 1_000_000  # training times
SURELY = 1.0 - 1e-9  # a level below this share of another one is less, however both were rounded
SNAP = 1e-4  # a time this close to a whole number is that number: what is left of a round trip through rho

ALPHA_OF_RHO: dict[str, Callable[[Array], Array]] = {
    "vp": lambda rho: 1.0 / np.sqrt(1.0 + rho * rho),
    "ve": np.ones_like,
    "flow": lambda rho: 1.0 / (1.0 + rho),
}


def log_snr(rho: ArrayLike) -> Array:
    """log(alpha^2 / sigma^2) of levels rho = sigma / alpha; same shape."""
    return -2.0 * np.log(rho)


def log_rho(log_snr: ArrayLike) -> Array:
    """log(sigma / alpha) of a log SNR; same shape."""
    return -0.5 * np.asarray(log_snr, dtype=np.float64)


def check_times(number: object) -> None:
    """Raise NoiseScheduleError for what is no number of training times."""
    if not is_whole(number, 1, MOST_TIMES):
        raise NoiseScheduleError(
            f"`num_train_timesteps` must be a whole number from 1 to {MOST_TIMES}, got {shown(number)}. Copy it from "
            "the model's own scheduler config."
        )


def check_levels(levels: Array, which: str = "Levels that") -> None:
    """Refuse what no run can go along.

    Args:
        levels: rho_0 > ... > rho_N >= 0; (N + 1,), N >= 1.
        which: How a message begins.

    Raises:
        TimestepsError: Not one row of at least two, not finite, a rise, or an end below zero.
    """
    row = levels.ndim == 1 and len(levels) >= 2
    if not row or not np.all(np.isfinite(levels)) or levels[-1] < 0.0 or np.any(levels[1:] >= levels[:-1] * SURELY):
        raise TimestepsError(
            f"{which} are not finite, do not fall strictly or end below zero: {levels.tolist()}. They are rho = "
            "sigma / alpha, noisiest first, at least two."
        )


class NoiseSchedule(ABC):
    """What solvers and grids ask of a process.

    Attributes:
        path: How rho splits into alpha and sigma: "vp", alpha^2 + sigma^2 = 1; "ve", alpha = 1; or "flow",
            alpha + sigma = 1.
        name: What a person calls this schedule, for error messages.
    """

    path: str
    name: str

    @abstractmethod
    def __len__(self) -> int:
        """Number of training times T: the most calls a run may have."""

    @property
    @abstractmethod
    def top(self) -> float:
        """rho of the noisiest level."""

    @property
    @abstractmethod
    def bottom(self) -> float:
        """rho of the cleanest level that the network is called at."""

    @property
    def floor(self) -> float:
        """rho that no level written by hand may lie below; of flows zero, for their networks know every sigma."""
        return self.bottom

    @property
    @abstractmethod
    def knots(self) -> Array:
        """Levels at which `time` or `progress` has a kink, in any order; (K,)."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of path and levels, the same on every machine: equal for equal schedules however they were written."""

    @abstractmethod
    def rho(self, t: ArrayLike) -> Array:
        """Noise-to-signal ratio sigma / alpha at the network's times; same shape. The inverse of `time`."""

    @abstractmethod
    def time(self, rho: ArrayLike) -> Array:
        """What the network is called with at noise level `rho`; same shape."""

    @abstractmethod
    def progress(self, rho: ArrayLike) -> Array:
        """tau of the level `rho` >= 0, from 0 at clean data to 1 at the noisiest level; same shape."""

    @abstractmethod
    def level(self, tau: ArrayLike) -> Array:
        """rho at tau in [0, 1], the inverse of `progress`; same shape."""

    @abstractmethod
    def call_times(self, levels: Array) -> Array:
        """`time` of the levels as it reaches the network: in the training range and its precision; same shape."""

    def as_sigma(self, rho: ArrayLike) -> Array:
        """What Diffusers calls the sigma of the level `rho`: the same, but for flows; same shape."""
        return np.asarray(rho, dtype=np.float64)

    def from_sigma(self, sigma: ArrayLike) -> Array:
        """rho of what Diffusers calls sigma, the inverse of `as_sigma`; same shape."""
        return np.asarray(sigma, dtype=np.float64)

    def turned_times(self, times: ArrayLike) -> Array:
        """What the network is told of its times, and its times of what it is told; same shape.

        Another number where it counts the other way round, from 0 at noise.
        """
        return np.asarray(times, dtype=np.float64)

    def turned_sigmas(self, sigmas: ArrayLike) -> Array:
        """What Diffusers then has for sigmas, and sigmas of that; same shape."""
        return np.asarray(sigmas, dtype=np.float64)

    def alpha(self, rho: ArrayLike) -> Array:
        """Signal scale alpha of the level rho; same shape."""
        return ALPHA_OF_RHO[self.path](np.asarray(rho, dtype=np.float64))

    def sigma(self, rho: ArrayLike) -> Array:
        """Noise scale sigma = rho alpha of the level rho; same shape."""
        return np.asarray(rho, dtype=np.float64) * self.alpha(rho)

    # ------------------------------------------------------------------------------------ the network and its samples

    @property
    def kind(self) -> str:
        """What the process is called in options: "vp", "ve", "edm" or "flow"."""
        return self.path

    @property
    def predictions(self) -> tuple[str, ...]:
        """What networks of this process may predict."""
        return PREDICTION_TYPES[self.path]

    def view(self, of: str, prediction: str, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(a, b) of what a solver integrates, "noise" or "data", as a output + b x; see `output_map`; same shape."""
        return output_map(of, prediction, alpha, sigma)

    def input_scale(self, sigma: Array) -> Array:
        """Factor of the network's input; same shape."""
        return np.ones_like(sigma)

    def start_scale(self, level: float) -> float:
        """Standard deviation of what pipelines start a run with, from the level rho, as Diffusers has it."""
        return 1.0

    def whole(self, levels: Array) -> Array:
        """Levels with the calls at distinct whole training times, where the process numbers them; (N + 1,)."""
        return levels

    def shifted(self, levels: Array, shift: float, terminal: float | None = None) -> Array:
        """Levels shifted by resolution, which only flows are; (N + 1,)."""
        return levels

    def training_levels(self) -> Array:
        """T levels from the cleanest to the noisiest, as training code wants them; (T,)."""
        low, high = self.as_sigma([self.bottom, self.top]).tolist()
        return self.from_sigma(np.geomspace(low, high, len(self)))

    @property
    def numbered(self) -> bool:
        """Whether the network's times are whole numbers, 0 to T - 1, and not a continuum."""
        return False

    def __str__(self) -> str:
        return f"{self.name} [{self.path}, {len(self)} times, fingerprint {self.fingerprint}]"
