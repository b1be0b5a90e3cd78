"""Times that samples are noised to, in training and by image-to-image pipelines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.plan import OFF_GRID, Plan
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.rounding import EXACT, is_rounding
from diffusers_deis_sn.core.step import check_samples
from diffusers_deis_sn.core.value_types import shown
from diffusers_deis_sn.errors import ConfigurationError, StepError, TimestepsError
from diffusers_deis_sn.schedulers._cursor import bits_of
from diffusers_deis_sn.schedulers._value_types import times_of


def scales_at(
    noise: NoiseSchedule, plan: Plan | None, times: Sequence[float], bits: int | None = None, call: int | None = None
) -> tuple[list[float], list[float]]:
    """alpha and sigma at given times, exact levels for those of the plan, even where they were rounded.

    Args:
        noise: The process.
        plan: The current run, if there is one.
        times: Training times.
        bits: Significant binary digits that the times have, None for all.
        call: The one that the run has come to, whose time may come as a whole number.

    Raises:
        TimestepsError: A time beyond the last one that is no rounding of it.
    """
    last = float(noise.time(noise.top))
    turned = noise.turned_times(times)
    levels = noise.rho(np.minimum(turned, last))
    for i, time in enumerate(times):
        beyond = not turned[i] <= last + OFF_GRID
        n = None if plan is None else plan.index(time, bits, rounded=beyond)
        if n is None and plan is not None and call is not None and is_rounding(plan.times[call], time, OFF_GRID, EXACT):
            n = call
        if plan is not None and n is not None:
            levels[i] = plan.levels[n]
        elif beyond and (bits is None or not is_rounding(last, time, OFF_GRID, bits)):
            raise TimestepsError(f"Training times end at {last:g}, got {turned[i]:g}. Noise to a time up to that.")
    return noise.alpha(levels).tolist(), noise.sigma(levels).tolist()


def only_time(timesteps: Tensor | float) -> float | None:
    """The one time that all of these are, None if there are several."""
    times = set(torch.as_tensor(timesteps).flatten().tolist())
    return times.pop() if len(times) == 1 else None


def factors(
    noise: NoiseSchedule, plan: Plan | None, timesteps: Tensor, like: Tensor, call: int | None = None
) -> tuple[Tensor, Tensor]:
    """alpha and sigma at given times, to multiply samples by; (B, 1, ...) each.

    Args:
        noise: The process.
        plan: The current run, if there is one.
        timesteps: One, or one for each sample.
        like: The samples.
        call: See `scales_at`.

    Raises:
        TimestepsError: Another number of times.
    """
    shape, times = (-1, *[1] * (like.ndim - 1)), times_of(timesteps, "timesteps")
    if len(times) not in (1, len(like)) and len(like) != 1:
        raise TimestepsError(
            f"`timesteps` must be one time or one for each of {len(like)} samples, got {len(times)}. Noise one sample "
            "to several times, or each to its own."
        )
    scales = scales_at(noise, plan, times, bits_of(timesteps), call)
    alpha, sigma = (torch.tensor(one, dtype=torch.float64).to(like).reshape(shape) for one in scales)
    return alpha, sigma


def check_noising(noise: Tensor, **samples: object) -> None:
    """Raise StepError for what is no noise of these samples.

    Args:
        noise: eps.
        **samples: x_0, by its name; of the same shape, or one that it can be added to.
    """
    check_samples(StepError, noise=noise, **samples)
    ((name, given),) = samples.items()
    sizes = list(zip(reversed(noise.shape), reversed(given.shape), strict=False)) if isinstance(given, Tensor) else []
    if any(one != other and 1 not in (one, other) for one, other in sizes):
        raise StepError(
            f"`noise` must be of the shape of `{name}`, got {shown(noise)} and {shown(given)}. Draw it as large."
        )


def velocity(process: NoiseSchedule, plan: Plan | None, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What networks of "v_prediction", or of flows, are trained to say; see `PlannedScheduler.get_velocity`.

    alpha eps - sigma x_0 (arXiv 2202.00512) of variance-preserving models, eps - x_0 of flows. Raises
    ConfigurationError for other processes.
    """
    if process.path == "flow":
        found = noise.to(sample.dtype) - sample
        return -found if process.turned_sigmas(0.0) else found
    if process.path != "vp":
        raise ConfigurationError(
            f"Velocity is alpha eps - sigma x_0 of variance-preserving models and eps - x_0 of flows, and this is "
            f"process={process.kind!r}. Train such networks on predicted data or noise."
        )
    alpha, sigma = factors(process, plan, timesteps, sample)
    return noise.to(sample.dtype) * alpha - sample * sigma
