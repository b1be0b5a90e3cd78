"""Flow-matching models: x = (1 - sigma) x_0 + sigma eps, called with T sigma (arXiv 2210.02747, 2209.03003).

Their runs start from noise alone, sigma = 1, where rho = sigma / alpha is infinite. Here it is the largest level at
which alpha is not lost in float32, 2^-24: a sample of that level and one of noise are the same number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.process import SNAP, Array, NoiseSchedule, check_times
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ConfigurationError, NoiseScheduleError

SMALLEST_ALPHA = 2.0**-24
LEVELS = 1000  # that count as training times where the network is called with sigma itself, T = 1
TIME_SHIFTS = ("exponential", "linear")


@checked(NoiseScheduleError)
@dataclass(frozen=True, eq=False)
class FlowSchedule(NoiseSchedule):
    """The straight path from data to noise; tau = sigma, a continuum.

    Args:
        num_train_timesteps: T, by which sigma is multiplied for the network: 1 / T is the cleanest level. Of networks
            that are called with sigma itself (ACE-Step) it is one, and as many levels as those of others count.
        inverted: The network is called with T (1 - sigma), and predicts data minus noise (OmniGen, Mochi).

    Raises:
        NoiseScheduleError: T is no whole number above zero.

    Examples:
        >>> process = FlowSchedule()
        >>> process.time(1.0)  # sigma = 1/2, as much noise as data
        np.float64(500.0)

    References:
        Lipman et al., https://arxiv.org/abs/2210.02747, and Liu et al., https://arxiv.org/abs/2209.03003.
    """

    num_train_timesteps: int = 1000
    inverted: bool = False
    path = "flow"
    name = "flow"

    def __post_init__(self) -> None:
        check_times(self.num_train_timesteps)

    def __len__(self) -> int:
        """Number of levels that count as training times: T, unless that is one."""
        return self.num_train_timesteps if self.num_train_timesteps > 1 else LEVELS

    @property
    def top(self) -> float:
        """Noise alone."""
        return 1.0 / SMALLEST_ALPHA - 1.0

    @property
    def bottom(self) -> float:
        """rho of sigma = 1 / T, the cleanest level of grids."""
        return 1.0 / (len(self) - 1.0)

    @property
    def floor(self) -> float:
        """Zero: LTX 0.9.8 ends at T sigma = 0.03."""
        return 0.0

    @property
    def knots(self) -> Array:
        """One level, (1,): all maps are smooth, but a pole at -1 spoils a rule that goes from above one to zero."""
        return np.full(1, 0.5)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of path and number of training times, the same on every machine."""
        return hashlib.sha256(
            f"{self.path} {self.num_train_timesteps}{' inverted' * self.inverted}".encode()
        ).hexdigest()[:16]

    def rho(self, t: ArrayLike) -> Array:
        """rho at the times T sigma; same shape. Raises NoiseScheduleError for times outside 0 to T."""
        t = np.asarray(t, dtype=np.float64)
        highest = self.num_train_timesteps
        if np.any(t < 0.0) or np.any(t > highest + SNAP):
            raise NoiseScheduleError(
                f"Times of a flow lie between 0 and {highest}, got {np.min(t):.6g} to {np.max(t):.6g}."
            )
        return self.from_sigma(t / highest)

    def time(self, rho: ArrayLike) -> Array:
        """T sigma of the level `rho`; same shape."""
        return self.num_train_timesteps * self.as_sigma(rho)

    def progress(self, rho: ArrayLike) -> Array:
        """sigma of the level `rho`; same shape."""
        return self.as_sigma(rho)

    def level(self, tau: ArrayLike) -> Array:
        """rho at sigma = `tau`; same shape."""
        return self.from_sigma(tau)

    def as_sigma(self, rho: ArrayLike) -> Array:
        """sigma = rho / (1 + rho), one for noise alone; same shape."""
        rho = np.asarray(rho, dtype=np.float64)
        return np.where(rho >= 0.5 * self.top, 1.0, rho / (1.0 + rho))

    def from_sigma(self, sigma: ArrayLike) -> Array:
        """rho = sigma / (1 - sigma), at most that of noise alone; same shape."""
        sigma = np.asarray(sigma, dtype=np.float64)
        return sigma / np.maximum(1.0 - sigma, SMALLEST_ALPHA) * np.where(sigma >= 1.0, 1.0 - SMALLEST_ALPHA, 1.0)

    def call_times(self, levels: Array) -> Array:
        """Times as float32, whole ones exactly; same shape."""
        times = np.minimum(self.time(levels), self.num_train_timesteps)
        whole = np.round(times)
        snapped = (np.abs(times - whole) < SNAP * self.num_train_timesteps / LEVELS) & (whole > 0.0)
        return np.where(snapped, whole, times.astype(np.float32).astype(np.float64))

    def turned_times(self, times: ArrayLike) -> Array:
        """T - t of an inverted flow, as float32; same shape."""
        times = np.asarray(times, dtype=np.float64)
        if not self.inverted:
            return times
        return (self.num_train_timesteps - times).astype(np.float32).astype(np.float64)

    def turned_sigmas(self, sigmas: ArrayLike) -> Array:
        """1 - sigma of an inverted flow; same shape."""
        sigmas = np.asarray(sigmas, dtype=np.float64)
        return 1.0 - sigmas if self.inverted else sigmas

    def view(self, of: str, prediction: str, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(a, b) of what a solver integrates; of an inverted flow the velocity is that towards the data."""
        a, b = super().view(of, prediction, alpha, sigma)
        return (-a if self.inverted and prediction == "flow_prediction" else a), b

    def training_levels(self) -> Array:
        """T levels, even in sigma; (T,)."""
        low, high = self.as_sigma([self.bottom, self.top]).tolist()
        return self.from_sigma(np.linspace(low, high, len(self)))

    def shifted(self, levels: Array, shift: float, terminal: float | None = None) -> Array:
        """Levels of a run whose calls are shifted: rho becomes shift times rho; (N + 1,).

        This is sigma' = s sigma / (1 + (s - 1) sigma) of Stable Diffusion 3 (arXiv 2403.03206, eq. 23).

        Args:
            levels: rho of the calls and of the end; (N + 1,).
            shift: s; one leaves them as they are.
            terminal: sigma that the last call is then brought to, by stretching 1 - sigma of all; None for none.
        """
        calls = np.where(levels[:-1] >= 0.5 * self.top, self.top, np.minimum(shift * levels[:-1], self.top))
        if terminal is not None and len(calls) > 1:
            alpha = self.alpha(calls)
            alpha = np.maximum(alpha * ((1.0 - terminal) / alpha[-1]), SMALLEST_ALPHA)
            calls = (1.0 - alpha) / alpha
        return np.append(calls, levels[-1])


def check_shift(shift: object, kind: str, terminal: object) -> None:
    """Refuse what shifts no schedule; arguments as in `shifted`, `kind` as in `shift_factor`.

    Raises:
        ConfigurationError: A shift that is no positive number, an unknown kind, or a terminal level outside (0, 1).
    """
    number = (int, float, np.number)
    if not isinstance(shift, number) or isinstance(shift, bool) or not 0.0 < shift <= float(np.finfo(np.float64).max):
        raise ConfigurationError(f"`flow_shift` must be a positive number, got {shift!r}. Copy it from the model.")
    if kind not in TIME_SHIFTS:
        raise ConfigurationError(f"`time_shift_type` must be one of {', '.join(TIME_SHIFTS)}, got {kind!r}.")
    if terminal is not None and not (isinstance(terminal, number) and 0.0 < terminal < 1.0):
        raise ConfigurationError(f"`shift_terminal` is a sigma between 0 and 1, got {terminal!r}. None for none.")


def equal_sigmas(sigmas: ArrayLike | None) -> int | None:
    """N if these are 1, ..., 1 / N in equal steps, which many pipelines of flows always pass, else None."""
    given = np.zeros(0) if sigmas is None else np.asarray(sigmas, dtype=np.float64)
    if given.ndim != 1 or len(given) == 0:
        return None
    equal = np.arange(len(given), 0, -1) / len(given)
    return len(given) if np.allclose(given, equal, rtol=0.0, atol=1e-6) else None


def shift_factor(mu: float, kind: str) -> float:
    """Shift of a resolution's `mu`: e^mu where `kind` is "exponential", mu where it is "linear".

    Raises:
        ConfigurationError: A shift that is not a positive number.
    """
    number = isinstance(mu, int | float | np.number) and not isinstance(mu, bool)
    if not number or (isinstance(mu, int) and abs(mu) > 1e300):
        raise ConfigurationError(f"`mu` must be a number, got {mu!r}. Pipelines compute it from the resolution.")
    with np.errstate(over="ignore"):
        factor = float(np.exp(mu)) if kind == "exponential" else float(mu)
    if not 0.0 < factor < np.inf:
        raise ConfigurationError(f"`mu` must give a positive shift, got mu={mu!r} of time_shift_type={kind!r}.")
    return factor
