"""Time grids: where the steps begin and where the run ends, as noise levels rho_0 > ... > rho_N.

Steps begin at rho_0, ..., rho_{N-1}, with a network call each; rho_N is the end: 0, the cleanest training level
("sigma_min"), or a level between. No level occurs twice, so no call is wasted and every step moves the sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from diffusers_deis_sn.maths.noise import SNAP, Array, NoiseSchedule, TableSchedule

INTEGER_SPACINGS = ("linspace", "leading", "trailing")
TIME_SPACINGS = {"quadratic": 2.0, "power_t": 2.0}  # uniform in tau^(1/k), with the k they have by default
# Likewise in rho^(1/k), or sigma^(1/k) of flows, whose rho has no upper end.
LEVEL_SPACINGS = {"karras": 7.0, "power_rho": 7.0, "log_snr": np.inf, "exponential": np.inf}
SPACINGS = (*INTEGER_SPACINGS, *TIME_SPACINGS, *LEVEL_SPACINGS, "beta")
FREE_EXPONENT = ("power_t", "power_rho")
FINAL_SIGMAS = ("zero", "sigma_min")
TIME_ROUNDING = 1e-6  # of network times that were float32 once


def check_spacing(spacing: str, final: str, exponent: float | None, start: float, end: float | None) -> None:
    """Refuse what is no grid; arguments as in `spaced_levels`.

    Raises:
        ConfigurationError: An unknown name, a number out of range, or options that do not go together.
    """
    if spacing not in SPACINGS:
        raise ConfigurationError(f"`timestep_spacing` must be one of {', '.join(SPACINGS)}, got {spacing!r}.")
    if exponent is not None and not (is_number(exponent) and 0.0 < exponent < np.inf):
        raise ConfigurationError(f"`grid_exponent` must be a positive number, got {exponent!r}.")
    if exponent is not None and spacing not in FREE_EXPONENT:
        raise ConfigurationError(
            f"`grid_exponent` belongs to timestep_spacing='power_t' and 'power_rho', got {exponent!r} for "
            f"{spacing!r}. Leave it out, or choose one of the two."
        )
    check_ends(final, start, end)
    if spacing in INTEGER_SPACINGS and (start != 1.0 or end is not None):
        raise ConfigurationError(
            f"`start_time` and `end_time` move the ends of continuous grids, and timestep_spacing={spacing!r} has "
            "Diffusers' whole training times. Use 'power_t' with grid_exponent=1 for uniform times."
        )


def check_ends(final: str, start: float, end: float | None) -> None:
    """Refuse ends that no run has; arguments as in `spaced_levels`.

    Raises:
        ConfigurationError: An unknown name, or a number out of range.
    """
    if final not in FINAL_SIGMAS:
        raise ConfigurationError(f"`final_sigmas_type` must be one of {', '.join(FINAL_SIGMAS)}, got {final!r}.")
    if not (is_number(start) and 0.0 < start <= 1.0):
        raise ConfigurationError(f"`start_time` is a fraction of the process, above 0 and up to 1, got {start!r}.")
    if end is not None and not (is_number(end) and 0.0 <= end < start):
        raise ConfigurationError(
            f"`end_time` is a fraction of the process, from 0 (clean data) to below start_time={start!r}, got {end!r}."
        )


def spaced_levels(
    noise: NoiseSchedule,
    steps: int,
    spacing: str,
    final: str,
    offset: int = 0,
    *,
    exponent: float | None = None,
    start: float = 1.0,
    end: float | None = None,
) -> Array:
    """Noise levels of a named grid; (N + 1,).

    Args:
        noise: The process; T training times.
        steps: Number of steps N, 1 to T (T - 1 if the run ends at the cleanest training level, which then is no call).
        spacing: "linspace", "leading" and "trailing" are whole training times as in Diffusers' multistep schedulers;
            where time is a continuum only "trailing" is known, uniform in tau. "power_t" is uniform in tau^(1/k),
            "quadratic" the same with k = 2 (both papers' grid). "power_rho" is uniform in rho^(1/k), "karras" the same
            with k = 7 (arXiv 2206.00364, eq. 5), "log_snr" and its synonym "exponential" in log rho. "beta" follows the
            quantiles of Beta(0.6, 0.6) (arXiv 2407.12173). Grids other than the first three take fractional times. For
            flow-matching models sigma stands in the place of rho, as in Diffusers.
        final: "zero" or "sigma_min", where `end` does not say.
        offset: `steps_offset`, added to the times of "leading".
        exponent: k of "power_t" and "power_rho"; 2 and 7 if None.
        start: tau of the first step.
        end: tau where the run ends, such as DEIS's 1e-3 and 1e-4.

    Raises:
        TimestepsError: `steps` out of range.
        ConfigurationError: As `check_spacing`; or whole training times of a process that has none.
    """
    check_spacing(spacing, final, exponent, start, end)
    last = end_level(noise, final, end)
    steps = check_steps(noise, steps, last)
    first = noise.top if start == 1.0 else float(noise.level(start))
    if first <= max(last, noise.bottom):
        raise ConfigurationError(
            f"`start_time` must lie above the cleanest training level, tau = {noise.progress(noise.bottom):.3g}, and "
            f"the end of the run, got {start!r}."
        )
    if spacing in INTEGER_SPACINGS and isinstance(noise, TableSchedule):
        levels = noise.rho(_integer_times(noise, steps, spacing, final, offset))
    elif spacing in TIME_SPACINGS or spacing == "trailing":
        levels = _time_levels(noise, steps, exponent or TIME_SPACINGS.get(spacing, 1.0), start, last)
    elif spacing in INTEGER_SPACINGS:
        raise ConfigurationError(
            f"timestep_spacing={spacing!r} has whole training times, and the time of {noise} is a continuum. Use "
            "'karras', 'power_rho', 'log_snr', 'quadratic', 'power_t', 'beta' or 'trailing'."
        )
    else:
        # Uniform down to the cleanest training level, which is the last call; or down to an end above it.
        bottom, points = (last, steps + 1) if last >= noise.bottom else (noise.bottom, steps)
        high, low = noise.as_sigma([first, bottom]).tolist()
        levels = noise.from_sigma(_ramp(high, low, points, spacing, exponent or LEVEL_SPACINGS.get(spacing, np.inf)))
    return np.append(levels[:steps], last)


def check_steps(noise: NoiseSchedule, steps: int, last: float) -> int:
    """`steps` as an int. Raises TimestepsError if it is no number of steps that can end at the level `last`."""
    most = len(noise) - (last >= noise.bottom)
    number = steps if isinstance(steps, int | float | np.number) and not isinstance(steps, bool) else 0
    if not 1 <= number <= most or number != int(number):
        raise TimestepsError(
            f"`num_inference_steps` must be a whole number from 1 to {most}, the number of training times that can be "
            f"called, got {steps!r}."
        )
    return int(number)


def whole_levels(noise: TableSchedule, levels: Array) -> Array:
    """Levels with calls at the nearest distinct whole training times, and the same end; (N + 1,).

    Raises:
        TimestepsError: More calls than there are whole times between the first level and the end.
    """
    times, last = noise.time(levels[:-1]), float(levels[-1])
    lowest = 0 if last < noise.bottom else int(np.floor(noise.time(last) + SNAP)) + 1
    highest = int(np.floor(times[0] + SNAP))
    return np.append(noise.rho(distinct_times(np.round(times), lowest, highest)), last)


def end_level(noise: NoiseSchedule, final: str, end: float | None = None) -> float:
    """rho where a run ends: at tau = `end`, or where `final` says."""
    if end is not None:
        level = float(noise.level(end))
        return noise.bottom if abs(level / noise.bottom - 1.0) < 1e-9 else level  # no step of the width of rounding
    return 0.0 if final == "zero" else noise.bottom


def is_number(value: object) -> bool:
    """Whether a value is a real number, which a bool is not."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _integer_times(noise: TableSchedule, steps: int, spacing: str, final: str, offset: int) -> Array:
    """Distinct whole training times, noisiest first; (N,)."""
    total = len(noise)
    if spacing == "linspace":
        times = np.linspace(0.0, total - 1.0, steps + 1)[:0:-1]
    elif spacing == "leading":
        times = np.arange(steps, 0, -1.0) * (total // (steps + 1)) + offset
    else:
        # Rounded before one is taken off, as Diffusers does: 937.5 becomes 937, and 936.5 would become 936.
        times = np.arange(total, 0.0, -total / steps)[:steps].round() - 1.0
    return distinct_times(np.round(times), lowest=0 if final == "zero" else 1, highest=total - 1)


def distinct_times(times: Array, lowest: int, highest: int) -> Array:
    """The nearest strictly falling whole numbers within bounds: ties move down first, then up from the lower bound.

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


def _time_levels(noise: NoiseSchedule, steps: int, k: float, start: float, last: float) -> Array:
    """Uniform in tau^(1/k) from `start` to the end; the last call at the cleanest level where it would lie below."""
    first, bottom = start ** (1.0 / k), float(noise.progress(noise.bottom))
    end = float(noise.progress(last)) ** (1.0 / k)
    tau = (first + np.arange(steps + 1) / steps * (end - first)) ** k
    if tau[-2] < bottom * (1.0 - 1e-9) and last < noise.bottom:
        tau = np.linspace(first, bottom ** (1.0 / k), steps) ** k
    return noise.level(tau)


def _ramp(top: float, bottom: float, points: int, spacing: str, k: float) -> Array:
    """From `top` to `bottom`, both included."""
    ramp = np.linspace(0.0, 1.0, points)
    if spacing == "beta":
        from scipy.stats import beta  # a second to import, and few use it

        return bottom + (top - bottom) * beta.ppf(1.0 - ramp, 0.6, 0.6)
    if k == np.inf:
        return np.exp(np.log(top) + ramp * (np.log(bottom) - np.log(top)))
    return (top ** (1 / k) + ramp * (bottom ** (1 / k) - top ** (1 / k))) ** k


def levels_from_times(noise: NoiseSchedule, timesteps: ArrayLike, final: str, end: float | None = None) -> Array:
    """Levels of hand-written network times t_0 > ... > t_{N-1}, and the end; (N + 1,).

    Raises:
        TimestepsError: Times that are not finite, do not fall strictly, or leave the training range.
    """
    times = _one_row(timesteps, "timesteps")
    lowest, highest = noise.time([noise.bottom, noise.top]).tolist()
    above, below = (max(TIME_ROUNDING, float(np.spacing(np.float32(abs(t))))) for t in (highest, lowest))
    if times[0] > highest + above or times[-1] < lowest - below:
        raise TimestepsError(
            f"`timesteps` must lie between {lowest:g} and {highest:g}, the model's training times, got {times[0]:g} to "
            f"{times[-1]:g}."
        )
    last = end_level(noise, final, end)
    levels = noise.rho(times)
    if levels[-1] <= last * (1.0 + 1e-9):
        raise TimestepsError(
            f"`timesteps` end at {times[-1]:g}, at or below the level where the run ends (final_sigmas_type="
            f"{final!r}, end_time={end!r}): the last call would change nothing. Leave {times[-1]:g} out, or "
            "use final_sigmas_type='zero'."
        )
    return np.append(levels, last)


def levels_from_sigmas(noise: NoiseSchedule, sigmas: ArrayLike, final: str, end: float | None = None) -> Array:
    """Levels of hand-written `sigmas` (rho, or sigma of flows), with a final zero or without; (N + 1,), as given.

    Raises:
        TimestepsError: Levels that are not finite, do not fall strictly or are negative; a call below the cleanest
            training level; a first level beyond the noisiest one by more than rounding.
    """
    levels = noise.from_sigma(_one_row(sigmas, "sigmas"))
    if levels[-1] > 0.0:
        levels = np.append(levels, end_level(noise, final, end))
        if levels[-1] >= levels[-2]:
            raise TimestepsError(
                f"`sigmas` end at {noise.as_sigma(levels[-2]):g}, at or below {noise.as_sigma(levels[-1]):g} where "
                "final_sigmas_type='sigma_min' ends the run. Leave that level out, or use final_sigmas_type='zero'."
            )
    top, bottom = noise.top, noise.bottom
    calls = levels[:-1] if levels[-1] == 0.0 and len(levels) > 1 else levels
    if len(levels) < 2 or levels[0] > 1.01 * top or levels[-2] < 0.99 * bottom or levels[-1] < 0.0:
        low, high, first, final_call = noise.as_sigma([bottom, top, calls[0], calls[-1]])
        what = "sigma" if noise.path == "flow" else "sigma/alpha"
        raise TimestepsError(
            f"`sigmas` are the noise levels {what} of the calls and must lie between {low:.4g} and {high:.4g}, "
            f"the model's training levels, then optionally 0; got {first:.4g} to {final_call:.4g}."
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
