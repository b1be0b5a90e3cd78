"""Rules that the arrays of a record obey, and their messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.errors import StatisticsError


def frozen(name: str, values: object) -> NDArray[Any]:
    """A read-only copy as float64, or int64 for counts.

    Raises:
        StatisticsError: Not real numbers, not finite, or counts that are not whole.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise StatisticsError(f"`{name}` must hold real numbers, got dtype {array.dtype}.")
    if not np.all(np.isfinite(array)):
        raise StatisticsError(f"`{name}` must be finite, got {array[~np.isfinite(array)].flat[0]}.")
    if name == "num_samples" and np.any(array != np.floor(array)):
        raise StatisticsError(f"`num_samples` must be whole numbers, got {array[array != np.floor(array)].flat[0]}.")
    array = np.array(array, dtype=np.int64 if name == "num_samples" else np.float64)
    array.flags.writeable = False
    return array


def demand(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise StatisticsError with a rule that does not hold."""
    if not holds:
        raise StatisticsError(f"`{name}` {rule}, got {value}.")


def demand_each(holds: NDArray[np.bool_], name: str, rule: str, values: NDArray[Any]) -> None:
    """Raise StatisticsError with the first of the values that a rule does not hold for."""
    if not np.all(holds):
        place = int(np.argmin(holds))
        raise StatisticsError(f"`{name}` {rule}, got {values[place : place + 2].tolist()} at position {place}.")
