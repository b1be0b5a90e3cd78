"""Variance-exploding processes: x = x_0 + sigma eps, networks conditioned on sigma (arXiv 2011.13456, 2206.00364)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.prediction import EDM_PREDICTION_TYPES, output_map
from diffusers_deis_sn.core.process import Array, NoiseSchedule, check_times
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import NoiseScheduleError

LABELS = ("log", "sigma")


@checked(NoiseScheduleError)
@dataclass(frozen=True, eq=False)
class SigmaSchedule(NoiseSchedule):
    """Noise levels rho = sigma from `sigma_min` to `sigma_max`, a continuum.

    The solver's time is that of the variance-preserving process with beta proportional to t,

        tau = sqrt( log(1 + sigma^2) / log(1 + sigma_max^2) )

    which is smooth down to sigma = 0. diff-sampler, the public implementation of DEIS for such networks, fits
    log(1 + sigma^2) = 17.538 t^2 / 2 - 0.00477 t to 0.002 and 80: the same but for the small second term. The time of
    the variance-exploding process itself is linear in log sigma: that is the interpolation "log_rho".

    Args:
        sigma_min: The cleanest level that the network was trained on.
        sigma_max: The noisiest.
        num_train_timesteps: Number of levels that count as training times: the most calls a run may have.
        label: What the network is called with: "log", log(sigma) / 4 as EDM has it, or "sigma" itself.

    Raises:
        NoiseScheduleError: Not 0 < sigma_min < sigma_max < infinity, no number of levels, or an unknown label.

    Examples:
        >>> process = SigmaSchedule(sigma_min=0.002, sigma_max=80.0)
        >>> process.progress([0.0, 80.0]).tolist()  # tau of clean data and of the noisiest level
        [0.0, 1.0]
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    num_train_timesteps: int = 1000
    label: str = "log"
    path = "ve"

    def __post_init__(self) -> None:
        if not 0.0 < self.sigma_min < self.sigma_max < float("inf"):
            raise NoiseScheduleError(
                f"`sigma_min` and `sigma_max` must be positive and rise, got {self.sigma_min!r} and "
                f"{self.sigma_max!r}. Copy them from the model's own scheduler config."
            )
        check_times(self.num_train_timesteps)
        if self.label not in LABELS:
            raise NoiseScheduleError(f"`label` must be one of {', '.join(LABELS)}, got {self.label!r}.")

    @cached_property
    def name(self) -> str:  # type: ignore[override]
        """What a person calls this schedule."""
        return f"sigma {self.sigma_min:g} to {self.sigma_max:g}"

    def __len__(self) -> int:
        """Number of levels that count as training times."""
        return self.num_train_timesteps

    @property
    def top(self) -> float:
        """The noisiest level."""
        return float(self.sigma_max)

    @property
    def bottom(self) -> float:
        """The cleanest level that the network was trained on."""
        return float(self.sigma_min)

    @property
    def knots(self) -> Array:
        """One level, (1,): all maps are smooth, but poles of tau at +-i spoil a rule from above one to zero."""
        return np.ones(1)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of path, label and range, the same on every machine."""
        facts = f"{self.path} {self.label} {self.sigma_min:.6g} {self.sigma_max:.6g}"
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def rho(self, t: ArrayLike) -> Array:
        """sigma of what the network is called with; same shape. Raises NoiseScheduleError if negative."""
        t = np.asarray(t, dtype=np.float64)
        if self.label == "log":
            with np.errstate(over="ignore"):  # of times that are another process's
                return np.exp(4.0 * t)
        if np.any(t < 0.0):
            raise NoiseScheduleError(f"Noise levels are not negative, got {np.min(t):.6g}.")
        return t

    def time(self, rho: ArrayLike) -> Array:
        """What the network is called with at sigma = `rho`; same shape."""
        rho = np.asarray(rho, dtype=np.float64)
        with np.errstate(divide="ignore"):
            return 0.25 * np.log(rho) if self.label == "log" else rho

    def progress(self, rho: ArrayLike) -> Array:
        """tau of sigma = `rho`; same shape."""
        return np.sqrt(np.log1p(np.asarray(rho, dtype=np.float64) ** 2) / np.log1p(self.top**2))

    def level(self, tau: ArrayLike) -> Array:
        """sigma at tau; same shape."""
        return np.sqrt(np.expm1(np.asarray(tau, dtype=np.float64) ** 2 * np.log1p(self.top**2)))

    def start_scale(self, level: float) -> float:
        """Deviation of data and noise together, (sigma^2 + 1)^(1/2)."""
        return float((level**2 + 1.0) ** 0.5)

    def call_times(self, levels: Array) -> Array:
        """Times within the training range, as float32; same shape."""
        return self.time(np.clip(levels, self.bottom, self.top)).astype(np.float32).astype(np.float64)


@checked(NoiseScheduleError)
@dataclass(frozen=True, eq=False)
class EDMSchedule(SigmaSchedule):
    """Levels of a network that is preconditioned as in EDM (arXiv 2206.00364, table 1) and called with log(sigma) / 4.

    Args:
        sigma_min: See `SigmaSchedule`, likewise the next three.
        sigma_max: The noisiest.
        num_train_timesteps: Number of levels that count as training times.
        label: "log".
        sigma_data: Standard deviation of the data; Diffusers' default.

    Raises:
        NoiseScheduleError: As `SigmaSchedule`; or another label, or a deviation that is not positive.

    Examples:
        >>> EDMSchedule().input_scale(0.5).round(4)  # c_in at sigma = sigma_data
        np.float64(1.4142)
    """

    sigma_data: float = 0.5
    kind = "edm"
    predictions = EDM_PREDICTION_TYPES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label != "log" or not 0.0 < self.sigma_data < float("inf"):
            raise NoiseScheduleError(
                f"EDM's networks are called with log(sigma) / 4, and `sigma_data` is positive, got label "
                f"{self.label!r} and sigma_data={self.sigma_data!r}. Copy it from the model's own scheduler config."
            )

    def view(self, of: str, prediction: str, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(a, b) of what a solver integrates, with c_skip and c_out in it; see `output_map`."""
        return output_map(of, prediction, alpha, sigma, self.sigma_data)

    def input_scale(self, sigma: Array) -> Array:
        """c_in = (sigma^2 + sigma_data^2)^(-1/2); same shape."""
        return np.float_power(np.float_power(sigma, 2.0) + self.sigma_data**2, -0.5)
