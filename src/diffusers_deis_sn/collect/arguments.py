"""The numbers that a measurement is asked for with, checked before anything is loaded."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from diffusers_deis_sn.errors import CalibrationError

AUTO = "auto"  # as many samples as it takes, looked at after so many
MARKS = (8, 16, 32, 64)


class Size(NamedTuple):
    """How large a measurement is; see `calibrate`."""

    num_samples: int | str
    num_inference_steps: int
    trials: int

    @classmethod
    def of(
        cls, num_samples: int | str | None, num_inference_steps: int | None, trials: int | None, thorough: bool = False
    ) -> Size:
        """What was asked for, and the rest of one of two sizes.

        From 8 samples x 50 steps on there is nothing to gain, on any network of the suite (benchmarks/calibration);
        the thorough one is what nobody has to wonder about.
        """
        default = THOROUGH if thorough else CHEAP
        return cls(
            default.num_samples if num_samples is None else num_samples,
            default.num_inference_steps if num_inference_steps is None else num_inference_steps,
            default.trials if trials is None else trials,
        )

    @property
    def marks(self) -> tuple[int, ...]:
        """Numbers of samples after which it may be enough; the last is the most."""
        return MARKS if isinstance(self.num_samples, str) else (self.num_samples,)


CHEAP, THOROUGH = Size(AUTO, 50, 4), Size(64, 200, 8)


def check_numbers(num_samples: int | str, num_inference_steps: int, batch_size: int, seed: int, trials: int) -> None:
    """Raise CalibrationError for numbers that make no measurement."""
    if isinstance(num_samples, str) and num_samples != AUTO:
        raise CalibrationError(f"`num_samples` must be a whole number, 2 or more, or {AUTO!r}, got {num_samples!r}.")
    limits = (
        ("num_samples", 2 if num_samples == AUTO else num_samples, 2),  # one sample has no standard error
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
