"""Which kind of value each option and argument of a scheduler takes: looked at before anything is computed from it.

Numbers of NumPy are numbers here, and its bools bools. What Diffusers' own schedulers take is taken: None for a flag
that is not set, a quantile of zero, no upper limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import index
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import MOST_TIMES
from diffusers_deis_sn.core.value_types import FLAG, Kind, are_numbers, demand, is_flag, is_real, is_whole, shown
from diffusers_deis_sn.errors import ConfigurationError, StepError, TimestepsError


def _is_list(value: object) -> bool:
    return are_numbers(value) and np.asarray(value).ndim == 1


TEXT = Kind("a name", lambda value: isinstance(value, str))
CHOICE = Kind("a name", lambda value: value is None or isinstance(value, str))  # None takes one back
NUMBER = Kind("a finite number", lambda value: is_real(value) and math.isfinite(value))
POSITIVE = Kind("a number above zero", lambda value: is_real(value) and value > 0)
SHARE = Kind("a quantile between 0 and 1", lambda value: is_real(value) and 0 <= value <= 1)
TIMES = Kind(f"a whole number from 1 to {MOST_TIMES}", lambda value: is_whole(value, 1, MOST_TIMES))
COUNT = Kind("a whole number, zero or more", is_whole)
LIST = Kind("a list of numbers, or None", lambda value: value is None or _is_list(value))

KINDS = {
    **dict.fromkeys(("beta_schedule", "prediction_type", "final_sigmas_type"), TEXT),
    **dict.fromkeys(("process", "time_shift_type"), TEXT),
    **dict.fromkeys(("lower_order_final", "thresholding", "rescale_betas_zero_snr", "use_flow_sigmas"), FLAG),
    **dict.fromkeys(("use_dynamic_shifting", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), FLAG),
    **dict.fromkeys(("beta_start", "beta_end"), NUMBER),
    "timestep_spacing": CHOICE,
    "invert_sigmas": FLAG,
    "num_train_timesteps": TIMES,
    "steps_offset": COUNT,
    "trained_betas": LIST,
    "clip_normalizer_steps": NUMBER,
    "sample_max_value": POSITIVE,
    "dynamic_thresholding_ratio": SHARE,
}
"""Of the options that have no rule of their own which looks at the kind (`_options.Options.check`)."""

_UNUSED = {"beta_start": "trained_betas", "beta_end": "trained_betas", "beta_schedule": "trained_betas"}


def check_kinds(values: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for the first option that is not of its kind.

    Args:
        values: Options by name, all or some.
    """
    for name, value in values.items():
        if isinstance(value, np.ndarray | Tensor) and value.ndim > 0 and KINDS.get(name) is not LIST:
            raise ConfigurationError(f"`{name}` is one value, got an array of shape {tuple(value.shape)}. Give one.")
    for name, kind in KINDS.items():
        if name not in values or (name in _UNUSED and values.get(_UNUSED[name]) is not None):
            continue  # configs of Diffusers have all sorts beside betas of their own
        demand(ConfigurationError, name, kind, values[name])


def check_asked(device: Any, sigmas: Any, timesteps: Any) -> tuple[Any, Any]:
    """`sigmas` and `timesteps` of `set_timesteps`, out of tensors of any device and dtype, if they may be right.

    Raises:
        TimestepsError: Of a list.
        ConfigurationError: Of the device.
    """
    given = [_on_host(values) for values in (sigmas, timesteps)]
    for name, values in zip(("sigmas", "timesteps"), given, strict=True):
        if not LIST.holds(values):
            raise TimestepsError(
                f"`{name}` must be {LIST.told}, got {shown(values)}. Leave it out for the scheduler's own."
            )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError, OverflowError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise ConfigurationError(f"`device` cannot be {device!r}: {reason}. Give one such as 'cpu'.") from error
    return given[0], given[1]


def _on_host(values: Any) -> Any:
    """Numbers instead of tensors, which NumPy cannot read from accelerators or in bfloat16."""
    if isinstance(values, Tensor) and not values.is_complex():
        return values.detach().cpu().double().numpy()
    if isinstance(values, list | tuple):
        return [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in values]
    return values


def step_number(begin_index: object) -> int:
    """The number of a step, of a tensor's too. Raises StepError for what is no whole number."""
    try:
        if not is_flag(begin_index) and isinstance(begin_index, SupportsIndex):
            return index(begin_index)
    except TypeError:  # of tensors that have no one number
        pass
    raise StepError(f"`begin_index` must be the number of a step, got {shown(begin_index)}. Give a whole number.")


def times_of(timesteps: Tensor | float, name: str) -> list[float]:
    """Times as numbers.

    Raises:
        TimestepsError: No time, or something else among them.
    """
    try:
        times = torch.as_tensor(timesteps).flatten().tolist()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        times = []
    if not times or not all(is_real(time) and math.isfinite(time) for time in times):
        raise TimestepsError(f"`{name}` must be one time or several, finite numbers, got {timesteps!r}.")
    return times
