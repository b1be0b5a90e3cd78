"""Time grids: where the network is called and where the run ends, as noise levels rho_0 > ... > rho_N.

N steps are N calls, at rho_0, ..., rho_{N-1}; rho_N is the end, either 0 or the level of t = 0 ("sigma_min"). No level
occurs twice, so no call is wasted and every step moves the sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule

INTEGER_SPACINGS = ("linspace", "leading", "trailing")
SPACINGS = (*INTEGER_SPACINGS, "quadratic", "log_snr", "karras", "exponential", "beta")
FINAL_SIGMAS = ("zero", "sigma_min")


def spaced_levels(noise: NoiseSchedule, steps: int, spacing: str, final: str, offset: int = 0) -> Array:
    """Noise levels of a named grid; (N + 1,).

    Args:
        noise: The process; T training times.
        steps: Number of network calls N, 1 to T (T - 1 if the run ends at t = 0, which then is no call).
        spacing: "linspace", "leading" and "trailing" are whole training times as in Diffusers' multistep schedulers.
            "quadratic" is uniform in the square root of t + 1 (both papers' grid). "log_snr" and its synonym
            "exponential" are uniform in log rho, "karras" in rho^(1/7) (arXiv 2206.00364, eq. 5), "beta" follows the
            quantiles of Beta(0.6, 0.6) (arXiv 2407.12173). Grids other than the first three take fractional times.
        final: "zero" or "sigma_min".
        offset: `steps_offset`, added to the times of "leading".

    Raises:
        TimestepsError: `steps` out of range.
        ConfigurationError: Unknown spacing or end.
    """
    if final not in FINAL_SIGMAS:
        raise ConfigurationError(f"`final_sigmas_type` must be one of {', '.join(FINAL_SIGMAS)}, got {final!r}.")
    most = len(noise) - (final == "sigma_min")
    number = steps if isinstance(steps, int | float | np.number) and not isinstance(steps, bool) else 0
    if not 1 <= number <= most or number != int(number):
        raise TimestepsError(
            f"`num_inference_steps` must be a whole number from 1 to {most}, the number of training times that can be "
            f"called, got {steps!r}."
        )
    steps = int(number)
    if spacing in INTEGER_SPACINGS:
        levels = noise.rho(_integer_times(noise, steps, spacing, final, offset))
    elif spacing == "quadratic":
        levels = noise.rho(_quadratic_times(noise, steps, final))
    else:
        levels = _ramp_levels(noise, steps, spacing, final)
    end = 0.0 if final == "zero" else float(noise.rho(0.0))
    return np.append(levels[:steps], end)


def _integer_times(noise: NoiseSchedule, steps: int, spacing: str, final: str, offset: int) -> Array:
    """Distinct whole training times, noisiest first; (N,)."""
    total = len(noise)
    if spacing == "linspace":
        times = np.linspace(0.0, total - 1.0, steps + 1)[:0:-1]
    elif spacing == "leading":
        times = np.arange(steps, 0, -1.0) * (total // (steps + 1)) + offset
    else:
        # Rounded before one is taken off, as Diffusers does: 937.5 becomes 937, and 936.5 would become 936.
        times = np.arange(total, 0.0, -total / steps)[:steps].round() - 1.0
    return _distinct(np.round(times), lowest=0 if final == "zero" else 1, highest=total - 1)


def _distinct(times: Array, lowest: int, highest: int) -> Array:
    """The nearest strictly falling whole numbers within bounds: ties move down first, then up from the lower bound."""
    falling = np.arange(len(times))
    down = np.minimum.accumulate(np.minimum(times, highest) + falling) - falling
    floor = lowest + falling[::-1]
    return np.maximum(down, floor)


def _quadratic_times(noise: NoiseSchedule, steps: int, final: str) -> Array:
    """Uniform in sqrt(t + 1) from T to zero; the last call at t = 0 where uniformity would put it below; (N,)."""
    total = len(noise)
    if final == "sigma_min":
        return np.linspace(total**0.5, 1.0, steps + 1) ** 2 - 1.0
    if steps * steps <= total:
        return total * (1.0 - np.arange(steps) / steps) ** 2 - 1.0
    return np.linspace(total**0.5, 1.0, steps) ** 2 - 1.0


def _ramp_levels(noise: NoiseSchedule, steps: int, spacing: str, final: str) -> Array:
    """From the noisiest to the cleanest training level, which is the last call or, for "sigma_min", the end."""
    top, bottom = np.exp(noise.log_rho[-1]), np.exp(noise.log_rho[0])
    ramp = np.linspace(0.0, 1.0, steps + (final == "sigma_min"))
    if spacing in ("log_snr", "exponential"):
        return np.exp(np.log(top) + ramp * (np.log(bottom) - np.log(top)))
    if spacing == "karras":
        return (top ** (1 / 7) + ramp * (bottom ** (1 / 7) - top ** (1 / 7))) ** 7
    if spacing == "beta":
        from scipy.stats import beta  # a second to import, and few use it

        return bottom + (top - bottom) * beta.ppf(1.0 - ramp, 0.6, 0.6)
    raise ConfigurationError(f"`timestep_spacing` must be one of {', '.join(SPACINGS)}, got {spacing!r}.")


def levels_from_times(noise: NoiseSchedule, timesteps: ArrayLike, final: str) -> Array:
    """Levels of hand-written training times t_0 > ... > t_{N-1}, and the end; (N + 1,).

    Raises:
        TimestepsError: Times that are not finite, do not fall strictly, or leave [0, T-1].
    """
    times = _one_row(timesteps, "timesteps")
    if times[0] > noise.last or times[-1] < 0.0:
        raise TimestepsError(
            f"`timesteps` must lie between 0 and {noise.last}, the model's training times, got {times[0]:g} to "
            f"{times[-1]:g}."
        )
    end = 0.0 if final == "zero" else float(noise.rho(0.0))
    if final == "sigma_min" and times[-1] == 0.0:
        raise TimestepsError(
            "`timesteps` end at 0, where final_sigmas_type='sigma_min' ends the run: the last call would change "
            "nothing. Leave 0 out, or use final_sigmas_type='zero'."
        )
    return np.append(noise.rho(times), end)


def levels_from_sigmas(noise: NoiseSchedule, sigmas: ArrayLike, final: str) -> Array:
    """Levels of hand-written `sigmas` (this package's rho), with a final zero or without; (N + 1,), values as given.

    Raises:
        TimestepsError: Levels that are not finite, do not fall strictly or are negative; a call below the cleanest
            training level; a first level beyond the noisiest one by more than rounding.
    """
    levels = _one_row(sigmas, "sigmas")
    if levels[-1] > 0.0:
        levels = np.append(levels, 0.0 if final == "zero" else noise.rho(0.0))
        if levels[-1] >= levels[-2]:
            raise TimestepsError(
                f"`sigmas` end at {levels[-2]:g}, at or below the level {levels[-1]:g} where "
                "final_sigmas_type='sigma_min' ends the run. Leave that level out, or use final_sigmas_type='zero'."
            )
    top, bottom = np.exp(noise.log_rho[-1]), np.exp(noise.log_rho[0])
    calls = levels[:-1] if levels[-1] == 0.0 and len(levels) > 1 else levels
    if len(levels) < 2 or levels[0] > 1.01 * top or levels[-2] < 0.99 * bottom or levels[-1] < 0.0:
        raise TimestepsError(
            f"`sigmas` are the noise levels sigma/alpha of the calls and must lie between {bottom:.4g} and {top:.4g}, "
            f"the model's training levels, then optionally 0; got {calls[0]:.4g} to {calls[-1]:.4g}."
        )
    return levels


def _one_row(values: ArrayLike, name: str) -> Array:
    """A finite, strictly falling row of at least one number."""
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or len(row) == 0 or not np.all(np.isfinite(row)):
        raise TimestepsError(f"`{name}` must be a list of at least one finite number, got {values!r}.")
    rises = np.flatnonzero(np.diff(row) >= 0.0)
    if len(rises):
        n = int(rises[0])
        raise TimestepsError(
            f"`{name}` must fall strictly, but number {n} is {row[n]:g} and number {n + 1} is {row[n + 1]:g}. Sort "
            "them, noisiest first, and drop repeated ones."
        )
    return row
