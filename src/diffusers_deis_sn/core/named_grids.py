"""Grids by the names they have in options, and levels of times and sigmas written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.grids import Beta, Ends, Grid, Leading, Linspace, Power, Trailing, check_unmoved
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.value_types import is_number
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError

INTEGER_SPACINGS = ("linspace", "leading", "trailing")
TIME_SPACINGS = {"power_t": 2.0}  # uniform in tau^(1/k), with the k it has by default
# Likewise in rho^(1/k), or sigma^(1/k) of flows, whose rho has no upper end.
LEVEL_SPACINGS = {"karras": 7.0, "power_rho": 7.0, "exponential": np.inf}
FLAGGED_SPACINGS = ("karras", "exponential", "beta")  # those that Diffusers chooses by `use_..._sigmas`
SPACINGS = (*INTEGER_SPACINGS, *TIME_SPACINGS, *LEVEL_SPACINGS, "beta")
FREE_EXPONENT = ("power_t", "power_rho")
TIME_ROUNDING = 1e-6  # of network times that were float32 once


def check_spacing(spacing: str, exponent: float | None, ends: Ends) -> None:
    """Refuse what is no grid.

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
    if spacing in INTEGER_SPACINGS:
        check_unmoved(spacing, ends)


def named_grid(spacing: str, exponent: float | None = None, offset: int = 0) -> Grid:
    """The grid of a name.

    Args:
        spacing: "linspace", "leading" and "trailing" are whole training times as in Diffusers' multistep schedulers;
            where time is a continuum only "trailing" is known, uniform in tau. "power_t" is uniform in tau^(1/k), with
            k = 2 both papers' grid. "power_rho" is uniform in rho^(1/k), "karras" the same with k = 7, "exponential" in
            log rho. "beta" follows the quantiles of a Beta distribution. Grids other than the first three take
            fractional times.
        exponent: k of "power_t" and "power_rho"; 2 and 7 if None.
        offset: `steps_offset`, added to the times of "leading".
    """
    if spacing in TIME_SPACINGS:
        return Power("t", exponent or TIME_SPACINGS[spacing])
    if spacing in LEVEL_SPACINGS:
        return Power("sigma", exponent or LEVEL_SPACINGS[spacing])
    others: dict[str, Grid] = {
        "trailing": Trailing(),
        "linspace": Linspace(),
        "leading": Leading(offset),
        "beta": Beta(),
    }
    return others[spacing]


def levels_from_times(noise: NoiseSchedule, timesteps: ArrayLike, ends: Ends) -> Array:
    """Levels of hand-written network times t_0 > ... > t_{N-1}, and the end; (N + 1,).

    Raises:
        TimestepsError: Times that are not finite, do not fall strictly, or leave the training range.
    """
    times = _one_row(timesteps, "timesteps", noise.turned_times)
    lowest, highest = noise.time([noise.floor, noise.top]).tolist()
    above, below = (max(TIME_ROUNDING, float(np.spacing(np.float32(abs(t))))) for t in (highest, lowest))
    if times[0] > highest + above or times[-1] < lowest - below:
        raise TimestepsError(
            f"`timesteps` must lie between {lowest:g} and {highest:g}, the model's training times, got {times[0]:g} to "
            f"{times[-1]:g}."
        )
    last = ends.last(noise)
    levels = noise.rho(times)
    if levels[-1] <= last * (1.0 + 1e-9):
        said, lower = ends.told
        raise TimestepsError(
            f"`timesteps` end at {times[-1]:g}, at or below the level where {said} ends the run: the last call would "
            f"change nothing. Leave {times[-1]:g} out, or use {lower}."
        )
    return np.append(levels, last)


def levels_from_sigmas(noise: NoiseSchedule, sigmas: ArrayLike, ends: Ends) -> Array:
    """Levels of hand-written `sigmas` (rho, or sigma of flows), with a final zero or without; (N + 1,), as given.

    Raises:
        TimestepsError: Levels that are not finite, do not fall strictly or are negative; a call below the cleanest
            training level, unless it is a flow's; a first level beyond the noisiest one by more than rounding.
    """
    levels = noise.from_sigma(_one_row(sigmas, "sigmas", noise.turned_sigmas))
    if levels[-1] > 0.0:
        levels = np.append(levels, ends.last(noise))
        if levels[-1] >= levels[-2]:
            said, lower = ends.told
            raise TimestepsError(
                f"`sigmas` end at {noise.as_sigma(levels[-2]):g}, at or below {noise.as_sigma(levels[-1]):g} where "
                f"{said} ends the run. Leave that level out, or use {lower}."
            )
    top, bottom = noise.top, noise.floor
    calls = levels[:-1] if levels[-1] == 0.0 and len(levels) > 1 else levels
    if len(levels) < 2 or levels[0] > 1.01 * top or levels[-2] < 0.99 * bottom or levels[-1] < 0.0:
        low, high, first, final_call = noise.as_sigma([bottom, top, calls[0], calls[-1]])
        what = "sigma" if noise.path == "flow" else "sigma/alpha"
        raise TimestepsError(
            f"`sigmas` are the noise levels {what} of the calls and must lie between {low:.4g} and {high:.4g}, "
            f"the model's training levels, then optionally 0; got {first:.4g} to {final_call:.4g}."
        )
    return levels


def _one_row(values: ArrayLike, name: str, turned: Callable[[Array], Array]) -> Array:
    """A finite, strictly falling row of at least one number; of an inverted process a rising one is turned round."""
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or len(row) == 0 or not np.all(np.isfinite(row)):
        raise TimestepsError(f"`{name}` must be a list of at least one finite number, got {values!r}.")
    if len(row) > 1 and np.all(np.diff(row) > 0.0):
        other = turned(row)
        row = other if np.all(np.diff(other) < 0.0) else row
    rises = np.flatnonzero(np.diff(row) >= 0.0)
    if len(rises):
        n = int(rises[0])
        raise TimestepsError(
            f"`{name}` must fall strictly, but number {n} is {row[n]:g} and number {n + 1} is {row[n + 1]:g}. Sort "
            "them, noisiest first, and drop repeated ones."
        )
    return row
