"""The process of Diffusers' betas: variance-preserving, with numbered training times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.process import ALPHA_OF_RHO, SNAP, Array, NoiseSchedule, check_times
from diffusers_deis_sn.core.value_types import FLAG, NUMBERS, checked, demand, is_real, shown
from diffusers_deis_sn.errors import NoiseScheduleError, TimestepsError

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exp", "laplace")
SMALLEST_ALPHA_SQUARED = 2.0**-24  # where a zero-terminal-SNR table ends, as in Diffusers: rho = 4096, not infinity
LARGEST = float(np.finfo(np.float64).max)
MOST_LOG_RHO = 30.0 * np.log(10.0)  # where factors no longer fit into single precision


@dataclass(frozen=True, eq=False)
class TableSchedule(NoiseSchedule):
    """Noise levels at the training times t = 0, 1, ..., T-1, between which the noise share is linear in t.

    The noise share rho^2 / (1 + rho^2) is 1 - `alphas_cumprod`. It reaches zero, clean data, at t = -1: so both papers'
    code has it (DEIS-SN numbers the training times (t + 1) / T, which is tau). Above t = T-1 the last slope of log rho
    is continued, so that a hand-written level a hair above the last one keeps its exact value.

    Args:
        log_rho: log(sigma / alpha) at t = 0, ..., T-1, strictly increasing; (T,).
        path: How rho splits into alpha and sigma; "vp".
        name: What a person calls this schedule, for error messages.

    Raises:
        NoiseScheduleError: Fewer than two levels, a level that is not finite or beyond single precision, or noise that
            does not grow with time.
    """

    log_rho: Array
    path: str = "vp"
    name: str = field(default="unnamed")

    def __post_init__(self) -> None:
        if self.path not in ALPHA_OF_RHO:
            raise NoiseScheduleError(f"`path` must be one of {sorted(ALPHA_OF_RHO)}, got {self.path!r}.")
        table = np.array(self.log_rho, dtype=np.float64)
        if table.ndim != 1 or len(table) < 2 or not np.all(np.isfinite(table)):
            raise NoiseScheduleError(
                f"A noise schedule needs at least two finite levels of log rho in one row, got shape {table.shape} "
                f"in {self.name!r}. Check the betas in the model's scheduler config."
            )
        if np.any(np.diff(table) <= 0.0):
            worst = int(np.argmin(np.diff(table)))
            raise NoiseScheduleError(
                f"Noise must grow with time, but {self.name!r} has log rho {table[worst]:.6g} at t = {worst} and "
                f"{table[worst + 1]:.6g} at t = {worst + 1}. Check the betas in the model's scheduler config."
            )
        if table[-1] > MOST_LOG_RHO:
            raise NoiseScheduleError(
                f"{self.name!r} ends at sigma / alpha = e^{table[-1]:.6g}, more than numbers of half and single "
                "precision can have. Check the betas in the model's scheduler config."
            )
        table.flags.writeable = False
        object.__setattr__(self, "log_rho", table)

    def __len__(self) -> int:
        """Number of training times, T."""
        return len(self.log_rho)

    @property
    def numbered(self) -> bool:
        """True."""
        return True

    @property
    def last(self) -> int:
        """The noisiest training time, T - 1."""
        return len(self.log_rho) - 1

    @property
    def top(self) -> float:
        """rho of the noisiest training time."""
        return float(np.exp(self.log_rho[-1]))

    @property
    def bottom(self) -> float:
        """rho of the cleanest training time, t = 0."""
        return float(self.rho(0.0))

    @cached_property
    def knots(self) -> Array:
        """The levels of the training times; (T,)."""
        return np.exp(self.log_rho)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of path and levels, the same on every machine: equal for equal schedules however they were written."""
        # Five decimals of log rho: far finer than any two schedules in use differ, far coarser than libm's rounding.
        levels = np.round(self.log_rho * 1e5).astype("<i8").tobytes()
        return hashlib.sha256(self.path.encode() + b"\0" + levels).hexdigest()[:16]

    # ------------------------------------------------------------------------------------------------ maps

    def rho(self, t: ArrayLike) -> Array:
        """Noise-to-signal ratio sigma / alpha at fractional times t >= -1; same shape.

        Exactly the inverse of `time`. Raises NoiseScheduleError for t below -1, where there is no data any more.
        """
        t = np.asarray(t, dtype=np.float64)
        if np.any(t < -1.0):
            raise NoiseScheduleError(f"Times start at -1 (clean data), got {np.min(t):.6g}.")
        noise, signal = (np.interp(t, self._times, share) for share in self._shares)
        return np.sqrt(noise / signal) * np.exp(np.maximum(t - self.last, 0.0) * self._last_slope)

    def time(self, rho: ArrayLike) -> Array:
        """Fractional time at which sigma / alpha is `rho` >= 0; same shape. Raises NoiseScheduleError if negative."""
        rho = np.asarray(rho, dtype=np.float64)
        if np.any(rho < 0.0):
            raise NoiseScheduleError(f"Noise levels are not negative, got {np.min(rho):.6g}.")
        noise, signal = self._shares
        # The smaller share of the two keeps its digits; the other is one minus it.
        from_noise = np.interp(rho * rho / (1.0 + rho * rho), noise, self._times)
        from_signal = np.interp(-1.0 / (1.0 + rho * rho), -signal, self._times)
        beyond = np.log(np.maximum(rho, self.top)) - self.log_rho[-1]
        return np.where(rho < 1.0, from_noise, from_signal) + np.maximum(beyond, 0.0) / self._last_slope

    def progress(self, rho: ArrayLike) -> Array:
        """tau = (t + 1) / T; same shape."""
        return (self.time(rho) + 1.0) / len(self)

    def level(self, tau: ArrayLike) -> Array:
        """rho at t = T tau - 1; same shape."""
        return self.rho(len(self) * np.asarray(tau, dtype=np.float64) - 1.0)

    def call_times(self, levels: Array) -> Array:
        """Times within [0, T - 1], whole ones exactly, others as float32; same shape."""
        times = np.clip(self.time(levels), 0.0, self.last)
        whole = np.round(times)
        return np.where(np.abs(times - whole) < SNAP, whole, times.astype(np.float32).astype(np.float64))

    def whole(self, levels: Array) -> Array:
        """Levels with calls at the nearest distinct whole training times, and the same end; (N + 1,).

        Raises:
            TimestepsError: More calls than there are whole times between the first level and the end.
        """
        times, last = self.time(levels[:-1]), float(levels[-1])
        lowest = 0 if last < self.bottom else int(np.floor(self.time(last) + SNAP)) + 1
        highest = int(np.floor(times[0] + SNAP))
        return np.append(self.rho(distinct_times(np.round(times), lowest, highest)), last)

    def training_levels(self) -> Array:
        """The levels of the training times; (T,)."""
        return self.rho(range(len(self)))

    @property
    def _last_slope(self) -> float:
        return float(self.log_rho[-1] - self.log_rho[-2])

    @cached_property
    def _times(self) -> Array:
        """The training times, and -1 for clean data; (T + 1,)."""
        return np.arange(-1.0, len(self))

    @cached_property
    def _shares(self) -> tuple[Array, Array]:
        """Noise share rho^2 / (1 + rho^2) and signal share 1 / (1 + rho^2) at `_times`; (T + 1,) each."""
        noise = 1.0 / (1.0 + np.exp(-2.0 * self.log_rho))
        signal = 1.0 / (1.0 + np.exp(2.0 * self.log_rho))
        return np.append(0.0, noise), np.append(1.0, signal)


def distinct_times(times: Array, lowest: int, highest: int) -> Array:
    """The nearest strictly falling whole numbers within bounds: ties move down first, then up from the lower bound.

    Args:
        times: Falling; (N,).
        lowest: The smallest number allowed.
        highest: The largest.

    Returns:
        Whole numbers as float64, strictly falling; (N,).

    Raises:
        TimestepsError: More times than whole numbers.
    """
    number = max(highest - lowest + 1, 0)
    if len(times) > number:
        raise TimestepsError(
            f"There are {number} whole training times from {lowest} to {highest}, too few for {len(times)} calls, got "
            f"{len(times)} steps. Use fewer, or fractional times (whole_timesteps=False)."
        )
    falling = np.arange(len(times))
    down = np.minimum.accumulate(np.minimum(times, highest) + falling) - falling
    floor = lowest + falling[::-1]
    return np.maximum(down, floor)


def vp_schedule(
    num_train_timesteps: int = 1000,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    beta_schedule: str = "linear",
    trained_betas: ArrayLike | None = None,
    rescale_betas_zero_snr: bool = False,
    snr_shift_scale: float = 1.0,
) -> TableSchedule:
    """Variance-preserving schedule alpha_t^2 = prod_{s <= t} (1 - beta_s), with Diffusers' names for its arguments.

    Args:
        num_train_timesteps: Number of training times T.
        beta_start: First beta of "linear" and "scaled_linear".
        beta_end: Last one.
        beta_schedule: "linear" in beta, "scaled_linear" in its root, or "sigmoid" between the two at -6 and 6; or, with
            betas capped at 0.999, "squaredcos_cap_v2", Nichol and Dhariwal's
            alpha^2 = cos^2((t / T + 0.008) / 1.008 * pi / 2), "exp", alpha^2 = e^(-12 t / T), or "laplace", log SNR of
            Laplace's distribution; all as in Diffusers.
        trained_betas: The betas themselves, (T,); the arguments above are then ignored.
        rescale_betas_zero_snr: Shift and scale alpha so that the noisiest level has no signal (Lin et al.,
            arXiv 2305.08891, Algorithm 1); it is held at alpha^2 = 2^-24 as in Diffusers, or lower where need be.
        snr_shift_scale: s, by which alpha^2 / sigma^2 of all levels is divided, before it is rescaled (CogVideoX,
            CogView3-Plus).

    Returns:
        log(sigma / alpha) at each training time, and the maps between times and levels.

    Raises:
        NoiseScheduleError: Unknown `beta_schedule`, no number of times, betas outside (0, 1), or a shift that is no
            positive number.

    Examples:
        >>> process = vp_schedule(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)  # Stable Diffusion
        >>> round(process.top, 2), round(process.bottom, 4)  # sigma / alpha at T - 1 and at 0
        (14.61, 0.0292)
    """
    if trained_betas is not None:
        demand(NoiseScheduleError, "trained_betas", NUMBERS, trained_betas)
        betas, name = np.asarray(trained_betas, dtype=np.float64), "trained betas"
    else:  # which Diffusers' configs may have anything for beside betas of their own
        betas = _betas(num_train_timesteps, beta_start, beta_end, beta_schedule)
        name = beta_schedule
        if beta_schedule not in _ALPHA_SQUARED:
            name += f" betas {beta_start:g} to {beta_end:g}"
    if betas.ndim != 1 or len(betas) < 2 or not np.all((betas > 0.0) & (betas < 1.0)):
        raise NoiseScheduleError(
            f"Betas must be at least two numbers strictly between 0 and 1, got {betas.size} from "
            f"{np.min(betas, initial=np.inf):.6g} to {np.max(betas, initial=-np.inf):.6g} ({name}). Copy "
            "`beta_start`, `beta_end`, `beta_schedule` and `trained_betas` from the model's own scheduler config."
        )
    demand(NoiseScheduleError, "rescale_betas_zero_snr", FLAG, rescale_betas_zero_snr)
    alpha_squared = np.cumprod(1.0 - betas)
    if not (is_real(snr_shift_scale) and 0.0 < snr_shift_scale <= LARGEST):
        raise NoiseScheduleError(
            f"`snr_shift_scale` must be a positive number, got {shown(snr_shift_scale)}. Copy it from the model's own "
            "scheduler config."
        )
    if snr_shift_scale != 1.0:
        alpha_squared = alpha_squared / (snr_shift_scale + (1.0 - snr_shift_scale) * alpha_squared)
        name += f", SNR divided by {snr_shift_scale:g}"
    alpha = np.sqrt(alpha_squared)
    if rescale_betas_zero_snr:
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        held = SMALLEST_ALPHA_SQUARED**0.5
        # Betas that end with less signal than that, such as DDPM's, would have their noise shrink in the last step.
        alpha[-1] = held if held < alpha[-2] else 0.5 * alpha[-2]
        name += ", rescaled to zero terminal SNR"
    with np.errstate(divide="ignore"):
        log_rho = 0.5 * np.log1p(-alpha * alpha) - np.log(alpha)
    return TableSchedule(log_rho, "vp", name)


def _laplace(s: Array) -> Array:
    log_snr = -0.5 * np.copysign(1.0, 0.5 - s) * np.log(1.0 - 2.0 * np.abs(0.5 - s) + 1e-6)
    return 1.0 / np.sqrt(1.0 + np.exp(-log_snr))  # Diffusers takes the root


# alpha^2 at the share s of the process, up to a constant factor.
_ALPHA_SQUARED: dict[str, Callable[[Array], Array]] = {
    "squaredcos_cap_v2": lambda s: np.cos((s + 0.008) / 1.008 * np.pi / 2.0) ** 2,
    "exp": lambda s: np.exp(-12.0 * s),
    "laplace": _laplace,
}


@checked(NoiseScheduleError)
def _betas(num_train_timesteps: int, beta_start: float, beta_end: float, beta_schedule: str) -> Array:
    """Betas of a named schedule; (T,)."""
    check_times(num_train_timesteps)
    number, start, end = num_train_timesteps, beta_start, beta_end
    if not (0.0 < start < 1.0 and 0.0 < end < 1.0) and beta_schedule not in _ALPHA_SQUARED:
        raise NoiseScheduleError(
            f"`beta_start` and `beta_end` of {beta_schedule!r} must lie strictly between 0 and 1, got {start:g} and "
            f"{end:g}. Copy them from the model's own scheduler config."
        )
    if beta_schedule == "linear":
        return np.linspace(start, end, number)
    if beta_schedule == "scaled_linear":
        return np.linspace(start**0.5, end**0.5, number) ** 2
    if beta_schedule == "sigmoid":
        return start + (end - start) / (1.0 + np.exp(-np.linspace(-6.0, 6.0, number)))
    if beta_schedule in _ALPHA_SQUARED:
        alpha_squared = _ALPHA_SQUARED[beta_schedule](np.arange(number + 1) / number)
        return np.minimum(1.0 - alpha_squared[1:] / alpha_squared[:-1], 0.999)
    raise NoiseScheduleError(
        f"`beta_schedule` must be one of {', '.join(BETA_SCHEDULES)}, got {beta_schedule!r}. Other schedules can be "
        "given as `trained_betas`."
    )
