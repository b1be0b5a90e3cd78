"""Lists of sigmas that pipelines of flow-matching models always pass, and that choose nothing but how many.

In all of them sigma falls in equal steps from noise alone, as on the grids that Diffusers' schedulers have themselves:

    1, ..., 1 / N                     most; FLUX, Qwen-Image, Z-Image, HunyuanVideo, LTX
    1 - 1 / T, ..., (1 - 1 / T) / N   Cosmos 3; DPM++'s own grid of flows
    1, ..., 1 / T                     FlowMatchEuler's own grid; at whole times CogView 4 (rounded down) and Bria (up)
    1, ..., one step above 1 / T      UniPC's own grid; GLM-Image, rounded down

with N calls and T training times. The programs write them in float32 as often as in float64. One, ACE-Step, shifts them
itself (`shift_of_list`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.process import Array, NoiseSchedule

FLOAT32 = 2e-6  # what lists are rounded by on their way, shifts included


def is_default_list(
    process: NoiseSchedule, sigmas: ArrayLike | None, shift: float = 1.0, terminal: float | None = None
) -> bool:
    """Whether these are sigmas in equal steps from noise alone, before or after the shift of a run; or 0, ..., 1.

    Args:
        process: The process; of others than flows no list is one.
        sigmas: Of the calls, as a pipeline has passed them; (N,).
        shift: Of the run.
        terminal: Likewise, see `core.flow.FlowSchedule.shifted`.
    """
    given = _row(sigmas)
    if given is None or process.path != "flow":
        # Cosmos 2 passes 0, ..., 1, which its scheduler makes Karras' levels of.
        return given is not None and process.path == "ve" and _close(given, np.linspace(0.0, 1.0, len(given)))
    number, times = len(given), len(process)
    if any(_close(given, whole / times) for whole in _whole(number, times)):
        return True
    return any(
        _close(given, one) for even in _even(number, times) for one in (even, _shifted(process, even, shift, terminal))
    )


def shift_of_list(process: NoiseSchedule, sigmas: ArrayLike | None) -> float | None:
    """The shift by which a pipeline has moved equal steps itself; None for any other list.

    That is what ACE-Step does, by an argument of its call, for networks that are called with sigma itself: T = 1. Other
    models have their shift in the config, and a list with another one is somebody's choice; so are two levels, which
    lie on some such list whatever they are.

    Args:
        process: The process.
        sigmas: Of the calls; (N,).
    """
    given = _row(sigmas)
    if given is None or process.path != "flow" or process.rho(1.0) < process.top or len(given) < 3:
        return None
    if not 0.0 < given[-1] < 1.0:
        return None
    number = len(given)
    shift = float(np.float32(process.from_sigma(given[-1]) * (number - 1)))  # its smallest sigma has the most digits
    return shift if _close(given, _shifted(process, 1.0 - np.arange(number) / number, shift, None)) else None


def _row(sigmas: ArrayLike | None) -> Array | None:
    """A row of at least one number, None of anything else, which others say what is wrong with."""
    try:
        row = np.asarray([] if sigmas is None else sigmas, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return row if row.ndim == 1 and len(row) else None


def _even(number: int, times: int) -> list[Array]:
    """Sigmas in equal steps, of which one more ends at zero, or which end at the cleanest level or one above; (N,)."""
    share = np.arange(number) / number
    to_cleanest = (np.linspace(1.0, 1.0 / times, number), np.linspace(1.0, 1.0 / times, number + 1)[:-1])
    return [1.0 - share, (1.0 - 1.0 / times) * (1.0 - share), *to_cleanest]


def _whole(number: int, times: int) -> list[Array]:
    """Whole times in nearly equal steps down to 1, or to one above, to the last digit as pipelines write them; (N,)."""
    ending, before = np.linspace(times, 1.0, number), np.linspace(times, 1.0, number + 1)[:-1]
    places = np.linspace(0, times - 1, number)
    return [np.floor(ending), np.floor(before), times - np.floor(places)]


def _shifted(process: NoiseSchedule, even: Array, shift: float, terminal: float | None) -> Array:
    calls = process.shifted(np.append(process.from_sigma(even), 0.0), shift, terminal)[:-1]
    return process.as_sigma(calls)


def _close(given: Array, even: Array) -> bool:
    return bool(np.all(np.abs(given - even) <= FLOAT32))
