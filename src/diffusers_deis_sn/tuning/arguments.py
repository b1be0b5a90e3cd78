"""What tuning is asked for with, checked before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diffusers_deis_sn.collect.arguments import check_count, numbers_of
from diffusers_deis_sn.core.table import MOST_TUNED
from diffusers_deis_sn.errors import CalibrationError

STEPS = (5, 6, 8, 10)
SAMPLES, HELD_OUT = 24, 16
MORE = 2  # times as many of both where these leave no plan
FEWEST = 4  # samples of both kinds, and prompts
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def wanted_steps(steps: int | Sequence[int]) -> tuple[int, ...]:
    """Numbers of steps, rising. Raises CalibrationError for what is no such number, or comes twice."""
    given = (steps,) if isinstance(steps, int) else tuple(steps)
    whole = all(type(one) is int and 1 <= one <= MOST_TUNED for one in given)
    if not given or not whole or len(set(given)) < len(given):
        raise CalibrationError(
            f"`steps` must be different whole numbers from 1 to {MOST_TUNED}, got {steps!r}. For more steps no "
            "plan is needed."
        )
    return tuple(sorted(given))


def check_samples(num_samples: int, num_held_out: int, batch_size: int, prompts: int | None = None) -> None:
    """Raise CalibrationError for numbers that leave nothing to fit on, or nothing to hold out.

    Args:
        num_samples: Number of samples to fit on.
        num_held_out: Number of samples held out.
        batch_size: Number of samples drawn at once.
        prompts: Number of different prompts; None where there are none.
    """
    for name, value, least in (
        ("num_samples", num_samples, FEWEST),
        ("num_held_out", num_held_out, FEWEST),
        ("batch_size", batch_size, 1),
    ):
        if type(value) is not int or value < least:
            raise CalibrationError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
        check_count(name, value, least)
    if prompts is not None and prompts < FEWEST:
        raise CalibrationError(
            f"Plans are tested on prompts that they were not fitted on. Give at least {FEWEST} `prompts`, better as "
            f"many as there are samples, got {prompts}."
        )


def check_budget(budget: float | None) -> None:
    """Raise CalibrationError for what is no number of seconds."""
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if budget is not None and not (number and 0.0 < budget < float("inf")):
        raise CalibrationError(f"`budget` must be a positive number of seconds, or None, got {budget!r}.")


def seconds_of(text: str | None) -> float | None:
    """Seconds of a text such as 300, 90s, 5m or 1.5h. Raises CalibrationError for another."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+\.?\d*)\s*([smh]?)", text.strip())
    if found is None:
        raise CalibrationError(f"`budget` must be a time such as 90s, 5m or 1h, got {text!r}.")
    return float(found[1]) * UNITS[found[2]]


def steps_of(text: str | None) -> tuple[int, ...]:
    """Numbers of a text such as 5,8,10, the default for None. Raises CalibrationError as `wanted_steps`."""
    if text is None:
        return STEPS
    return wanted_steps(numbers_of(text, "steps", "5,8,10"))
