"""Arguments of the pipeline on the command line, and messages of the library in the command line's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import CalibrationError, ConfigurationError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FLAGS = {
    "num_inference_steps": "--steps",
    "costs": "--cost",
    "loras": "--lora",
    "place": "MODEL",
    "guidance": "--guidance-scale",
    "flow_shift": "--shift",
}
"""Arguments of Python that the command line has under another name than its own with dashes."""


def pipeline_arguments(given: Sequence[str]) -> dict[str, Any]:
    """The arguments that stand as NAME=VALUE; one that comes again becomes a list, for sample after sample.

    A value is what it is in JSON (3, 0.5, true, null, [1, 2], "3"), the path of a picture that is there, or a text.

    Raises:
        CalibrationError: Something else than NAME=VALUE.
    """
    found: dict[str, list[Any]] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise CalibrationError(f"--arg must be NAME=VALUE, got {text!r}. Write it like --arg class_labels=3.")
        found.setdefault(name, []).append(_value(name, value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def opened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the pictures that paths among them name.

    Raises:
        CalibrationError: A picture that cannot be read.
    """
    return {
        name: [_opened(one) for one in value] if isinstance(value, list) else _opened(value)
        for name, value in arguments.items()
    }


def guidance_numbers(text: str | None) -> float | list[float] | None:
    """One number, or several with commas in between. Raises CalibrationError for other text."""
    if text is None:
        return None
    try:
        numbers = [float(one) for one in text.split(",")]
    except ValueError:
        raise CalibrationError(
            f"`guidance_scale` must be a number, or several such as 1,3,5,7.5, got {text!r}."
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def end_of_run(text: str) -> tuple[str, float | None]:
    """The named end of a run, and its share of the process where the text is a number.

    Raises:
        ConfigurationError: A text that is neither.
    """
    from diffusers_deis_sn.core.grids import FINAL_SIGMAS

    if text in FINAL_SIGMAS:
        return text, None
    try:
        return "zero", float(text)
    except ValueError:
        raise ConfigurationError(
            f"`end` must be {', '.join(FINAL_SIGMAS)} or a share of the process, 0 to below that of the start, got "
            f"{text!r}."
        ) from None


@contextmanager
def naming_flags(names: Sequence[str], errors: tuple[type[Exception], ...] = (CalibrationError,)) -> Iterator[None]:
    """Errors of a calibration inside, or others, say the flags of the command line where Python has arguments.

    Args:
        names: The arguments of the command as Python knows them, with underscores.
        errors: The kinds that name arguments.
    """
    try:
        yield
    except errors as error:
        raise type(error)(flagged(str(error), names)) from error


def flagged(message: str, names: Sequence[str]) -> str:
    """The message with `name` or `name=` as a flag; `name=` that the command lacks is one for the pipeline, --arg."""

    def flag(found: re.Match[str]) -> str:
        name, sign = found.groups()
        if name in FLAGS:
            return FLAGS[name]
        if name in names:
            return f"--{name.replace('_', '-')}"
        return f"--arg {name}=..." if sign else found[0]

    return re.sub(r"`(\w+)(=?)`", flag, message)


def _value(name: str, text: str) -> Any:
    path = Path(text)
    if path.suffix.lower() in PICTURES:
        if not path.is_file():
            raise CalibrationError(f"--arg {name} is the picture {text!r}, which is not there. Correct the path.")
        return path
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(text: str) -> Any:
    raise ValueError(text)  # NaN and Infinity are no JSON, so they are texts


def _opened(value: Any) -> Any:
    if not isinstance(value, Path):
        return value
    from PIL import Image

    try:
        with Image.open(value) as picture:
            return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except OSError as error:
        raise CalibrationError(f"The picture {str(value)!r} cannot be read: {error}. Give another.") from error
