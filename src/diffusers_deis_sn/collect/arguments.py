"""The numbers that a measurement is asked for with, checked before anything is loaded."""

from __future__ import annotations

import math
from typing import Any

from diffusers_deis_sn.errors import CalibrationError


def check_numbers(num_samples: int, num_inference_steps: int, batch_size: int, seed: int, trials: int) -> None:
    """Raise CalibrationError for numbers that make no measurement."""
    limits = (
        ("num_samples", num_samples, 2),  # one sample has no standard error
        ("num_inference_steps", num_inference_steps, 2),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("trials", trials, 0),
    )
    for name, value, least in limits:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise CalibrationError(f"`{name}` must be a whole number, {least} or more, got {value!r}.")


def check_tolerance(tolerance: float) -> None:
    """Raise CalibrationError for what is no relative error."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0.0 <= tolerance < 1.0:
        raise CalibrationError(
            f"`tolerance` is the relative error of a path's length, from 0 (all samples) to below 1, got {tolerance!r}."
        )


def check_guidance(scale: Any) -> None:
    """Raise CalibrationError for a number that is no scale of guidance; what else a pipeline may take is its affair."""
    if isinstance(scale, int | float) and not (math.isfinite(scale) and scale >= 0.0):
        raise CalibrationError(
            f"`guidance_scale` must be 0 or more, got {scale!r}. With 1, or 0 in some pipelines, there is no guidance."
        )
