"""The numbers that a measurement is asked for with, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from os import PathLike
from typing import Any, NamedTuple

from diffusers_deis_sn.core.value_types import is_whole
from diffusers_deis_sn.errors import CalibrationError, DeisSnError

AUTO = "auto"  # as many samples as it takes, looked at after so many
MARKS = (8, 16, 32, 64)
MOST = 10**6  # of anything that is counted: more is a slip of the keys, and ends in years or in an overflow
MOST_SEED = 2**62  # torch takes less than 2^64, and one is added for each sample
MOST_GUIDANCE = 1e6


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
        check_count(name, value, least, MOST if name != "seed" else MOST_SEED)


def check_count(
    name: str, value: object, least: int, most: int = MOST, error: type[DeisSnError] = CalibrationError
) -> None:
    """Raise an error, of a kind, for what is no whole number between two.

    Args:
        name: Of the argument.
        value: What was given.
        least: The least that it may be.
        most: The most.
        error: What is raised.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise error(f"`{name}` must be a whole number, {least} or more, got {value!r}.")
    if value > most:
        given = f"{value}" if value < 2**64 else f"2^{value.bit_length() - 1} or more"
        raise error(f"`{name}` must be a whole number of at most {most}, got {given}. Take a smaller one.")


def numbers_of(text: str, name: str, such: str, error: type[DeisSnError] = CalibrationError) -> list[int]:
    """Whole numbers with commas in between.

    Args:
        text: What was given.
        name: Of the argument.
        such: How it looks, for the message.
        error: What is raised.

    Raises:
        DeisSnError: Of the kind `error`, for another text.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(map(is_decimal, parts)):
        raise error(f"`{name}` must be whole numbers such as {such}, got {text!r}. Write them with commas in between.")
    return [int(part) for part in parts]


def is_decimal(text: str) -> bool:
    """Whether a text is a whole number, in the digits of this line, that is not absurdly long."""
    return text.isascii() and text.isdecimal() and len(text) < 20


def check_tolerance(tolerance: float) -> None:
    """Raise CalibrationError for what is no relative error."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0.0 <= tolerance < 1.0:
        raise CalibrationError(
            f"`tolerance` is the relative error of a path's length, from 0 (all samples) to below 1, got {tolerance!r}."
        )


def check_guidance(scale: Any) -> None:
    """Raise CalibrationError for a number that is no scale of guidance; what else a pipeline may take is its affair."""
    if isinstance(scale, int | float) and not 0.0 <= scale < MOST_GUIDANCE:
        raise CalibrationError(
            f"`guidance_scale` must be 0 or more, and less than {MOST_GUIDANCE:.0f}, got {scale!r}. With 1, or 0 in "
            "some pipelines, there is no guidance."
        )


def _is_list(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) and _has_length(value)


def _has_length(value: Collection[Any]) -> bool:
    try:  # arrays of no axis have a length that fails
        return len(value) >= 0
    except TypeError:
        return False


_FLAG = ("True or False", lambda value: isinstance(value, bool))
_TEXTS = (
    "a text, a list of texts or a file",
    lambda value: value is None or isinstance(value, str | PathLike) or _is_list(value),
)
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("prompts", "tuning_prompts"), _TEXTS),
    **dict.fromkeys(("thorough", "resume", "skip_invalid", "anew", "tune", "force", "yes"), _FLAG),
    "costs": ("a list of names", lambda value: isinstance(value, list | tuple | set | frozenset | str)),
    "steps": ("a whole number or a list of them", lambda value: isinstance(value, int) or _is_list(value)),
    "judged": ("a whole number or None", lambda value: value is None or is_whole(value)),
    "num_samples": ("a whole number", lambda value: value is None or isinstance(value, str | int | float)),
    "seed": ("a whole number from 0 to 2^62", lambda value: isinstance(value, int) and is_whole(value, 0, MOST_SEED)),
    "progress": (
        'True, False, "json" or a function',
        lambda value: isinstance(value, bool | str) or callable(value),
    ),
    "checkpoint": ("the name of a file, or None", lambda value: value is None or isinstance(value, str | PathLike)),
}


def check_kinds(error: type[DeisSnError] = CalibrationError, **given: Any) -> None:
    """Refuse arguments of `calibrate`, `tune` and `compare` that are of no kind which could be right.

    Whether their values are is looked at where they are used.

    Args:
        error: What is raised.
        **given: Some of those in `_RULES`, by name.

    Raises:
        DeisSnError: Of the kind `error`.
    """
    for name, value in given.items():
        told, holds = _RULES[name]
        if not holds(value):
            raise error(f"`{name}` must be {told}, got {value!r}. Give one, or leave it out.")
