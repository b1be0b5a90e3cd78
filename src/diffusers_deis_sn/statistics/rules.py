"""Rules that the arrays of a record obey (stats/README.md), and their messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.errors import StatisticsError

SMALLEST, LARGEST = 1e-12, 1e12  # of positive curves
MOST_JUMP = 10.0  # of a curve between neighbouring times, beyond the square of the noise level; the suite has 1.05
MOST_LENGTH_JUMP = 1000.0  # likewise of the lengths of steps; the suite has 3.1
POWERS = {"mean_abs": 1.0, "mean_square": 2.0, "mean_abs_data": 1.0}  # of curves that are positive, see `demand_smooth`
NOISE_ALONE = 1000.0  # rho from which on the network sees nothing but noise, and r has stopped to rise


def frozen(name: str, values: object) -> NDArray[Any]:
    """A read-only copy as float64, or int64 for counts.

    Raises:
        StatisticsError: Not real numbers, not finite, or counts that are not whole.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise StatisticsError(f"`{name}` must be an array of numbers: {error}.") from error
    if array.dtype.kind not in "iuf":
        raise StatisticsError(f"`{name}` must hold real numbers, got dtype {array.dtype}.")
    if not np.all(np.isfinite(array)):
        raise StatisticsError(f"`{name}` must be finite, got {array[~np.isfinite(array)].flat[0]}.")
    if name == "num_samples" and np.any(array != np.floor(array)):
        raise StatisticsError(f"`num_samples` must be whole numbers, got {array[array != np.floor(array)].flat[0]}.")
    array = np.array(array, dtype=np.int64 if name == "num_samples" else np.float64)
    array.flags.writeable = False
    return array


def listed(values: Any) -> list[Any]:
    """The values, or the one alone that is no list of any."""
    try:
        return list(values)
    except TypeError:
        return [values]


def demand(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise StatisticsError with a rule that does not hold."""
    if not holds:
        raise StatisticsError(f"`{name}` {rule}, got {value}.")


def demand_each(holds: NDArray[np.bool_], name: str, rule: str, values: NDArray[Any]) -> None:
    """Raise StatisticsError with the first of the values that a rule does not hold for."""
    if not np.all(holds):
        place = int(np.argmin(holds))
        raise StatisticsError(f"`{name}` {rule}, got {values[place : place + 2].tolist()} at position {place}.")


def check_shapes(curves: Mapping[str, NDArray[Any]]) -> None:
    """Raise StatisticsError unless the curves of a record are of the same times, and errors not alone.

    Args:
        curves: Those that are known, by name.
    """
    length = curves["timesteps"].size
    demand(length >= 2, "timesteps", "needs at least two times", length)
    for name, values in curves.items():
        demand(values.shape == (length,), name, f"must have the shape ({length},) of `timesteps`", values.shape)
    for name in ("mean_square", "mean_abs_data"):
        if f"{name}_error" in curves and name not in curves:
            raise StatisticsError(f"`{name}_error` is that of `{name}`, which is None. Give both or none.")


def check_values(curves: Mapping[str, NDArray[Any]], log_rho: NDArray[np.float64]) -> None:
    """Raise StatisticsError for curves of a record that break a rule, each by itself or with another one.

    Args:
        curves: Those that are known, by name; (K,).
        log_rho: log(sigma / alpha) at their times; (K,).
    """
    timesteps, log_snr, mean_abs = (curves[name] for name in ("timesteps", "log_snr", "mean_abs"))
    demand_each(np.diff(timesteps) > 0.0, "timesteps", "must increase, cleanest first", timesteps)
    demand_each(np.diff(log_snr) < 0.0, "log_snr", "must decrease, cleanest first", log_snr)
    for name in POWERS:
        if name in curves:
            demand_range(name, curves[name])
    # Both are means over the same samples, so this holds but for rounding, that of float32 tables included.
    floors = {
        "mean_square": (mean_abs**2 * (1.0 - 1e-6), "must be at least mean_abs squared"),
        "mean_abs_error": (0.0, "must not be negative"),
        "mean_square_error": (0.0, "must not be negative"),
        "mean_abs_data_error": (0.0, "must not be negative"),
        "num_samples": (1, "must be at least 1"),
    }
    for name, (least, rule) in floors.items():
        if name in curves:
            demand_each(curves[name] >= least, name, rule, curves[name])
    seen = np.minimum(log_rho, np.log(NOISE_ALONE))
    for name, power in POWERS.items():
        if name in curves:  # predicted data fall for ever where their mean is zero
            demand_smooth(name, curves[name], log_rho if name == "mean_abs_data" else seen, power)


def demand_range(name: str, values: NDArray[Any]) -> None:
    """Raise StatisticsError for values that are not positive, or beyond all reason."""
    demand_each(values > 0.0, name, "must be positive", values)
    sound = (values >= SMALLEST) & (values <= LARGEST)
    demand_each(sound, name, f"must lie between {SMALLEST:g} and {LARGEST:g}", values)


def demand_smooth(name: str, values: NDArray[Any], log_rho: NDArray[np.float64], power: float = 1.0) -> None:
    """Raise StatisticsError for a positive curve that jumps, as one damaged number among sound ones makes it do.

    E|eps| and E|x_0| of a network go from one level to the next about as fast as rho = sigma / alpha at most, of guided
    ones that nearly cancel as fast as its square, and means of squares twice as fast. So an error is what changes by
    more than a factor of (`MOST_JUMP` (rho_{k+1} / rho_k)^2)^p.

    Args:
        name: Of the curve.
        values: Positive; (K,).
        log_rho: log(sigma / alpha) at its times, rising; (K,).
        power: p, of the mean of eps^p or x_0^p.
    """
    jumps = np.abs(np.diff(np.log(values))) - power * (2.0 * np.diff(log_rho) + np.log(MOST_JUMP))
    rule = f"must not jump by orders of magnitude between neighbouring times, beyond {MOST_JUMP**power:g} times what "
    demand_each(jumps <= 0.0, name, f"{rule}the square of the noise level does", values)


def demand_even(name: str, lengths: NDArray[Any], log_rho: NDArray[np.float64]) -> None:
    """Raise StatisticsError for lengths of steps that jump beyond what the noise level does, as `demand_smooth`.

    Where a step goes to noise alone, its rho is many times that of its neighbours, and so its length may be.

    Args:
        name: Of the lengths.
        lengths: Not negative; of zero any is a neighbour; (K - 1,).
        log_rho: log(sigma / alpha) at the times between them, rising; (K,).
    """
    one, two = lengths[:-1], lengths[1:]
    both = (one > 0.0) & (two > 0.0)
    jumps = np.abs(np.log(np.where(both, two, 1.0)) - np.log(np.where(both, one, 1.0)))
    rule = f"must not jump between neighbouring intervals, beyond {MOST_LENGTH_JUMP:g} times what the noise level does"
    demand_each(jumps <= np.log(MOST_LENGTH_JUMP) + np.abs(np.diff(log_rho, 2)), name, rule, lengths)
