"""Times that samples are noised to, in training and by image-to-image pipelines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.plan import OFF_GRID, Plan
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.rounding import is_rounding
from diffusers_deis_sn.errors import TimestepsError


def scales_at(
    noise: NoiseSchedule, plan: Plan | None, times: Sequence[float], bits: int | None = None
) -> tuple[list[float], list[float]]:
    """alpha and sigma at given times, exact levels for those of the plan, even where they were rounded.

    Args:
        noise: The process.
        plan: The current run, if there is one.
        times: Training times.
        bits: Significant binary digits that the times have, None for all.

    Raises:
        TimestepsError: A time beyond the last one that is no rounding of it.
    """
    last = float(noise.time(noise.top))
    turned = noise.turned_times(times)
    levels = noise.rho(np.minimum(turned, last + OFF_GRID))
    for i, time in enumerate(times):
        beyond = not turned[i] <= last + OFF_GRID
        n = None if plan is None else plan.index(time, bits, rounded=beyond)
        if plan is not None and n is not None:
            levels[i] = plan.levels[n]
        elif beyond and (bits is None or not is_rounding(last, time, OFF_GRID, bits)):
            raise TimestepsError(f"Training times end at {last:g}, got {turned[i]:g}. Noise to a time up to that.")
        elif beyond:
            levels[i] = noise.top
    return noise.alpha(levels).tolist(), noise.sigma(levels).tolist()


def only_time(timesteps: Tensor | float) -> float | None:
    """The one time that all of these are, None if there are several."""
    times = set(torch.as_tensor(timesteps).flatten().tolist())
    return times.pop() if len(times) == 1 else None
