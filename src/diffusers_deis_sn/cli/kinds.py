"""Kinds of options that Typer lacks, and what it says of a wrong value, in one line as everything else here is said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from diffusers_deis_sn.errors import ConfigurationError, DeisSnError
from diffusers_deis_sn.escaping import plain
from diffusers_deis_sn.hub.local import path_of

USAGE_ERROR: Any = typer.BadParameter.__base__  # click's UsageError, of which newer Typers have one of their own
MOST_PIXELS = 2**16  # of a side: no picture format that is written here has more


def a_path(text: str) -> Path:
    """The path that an option names. Raises BadParameter for an empty one and whatever no file can be called.

    Typer itself reads an empty text, as of a variable of the shell that is not set, as the current folder.
    """
    try:
        return path_of(text, "it", DeisSnError)
    except DeisSnError as error:
        raise typer.BadParameter(str(error)) from error


def usage(error: Any, arguments: Sequence[str]) -> str:
    """What a wrong option is, why, what was given, and where to read what it may be.

    Args:
        error: A `USAGE_ERROR`.
        arguments: Of the command, as the shell gave them.
    """
    said = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    given = _given(getattr(getattr(error, "param", None), "opts", ()), arguments)
    if given and not any(repr(one) in said for one in given):
        said = said.replace("Invalid value for", f"Invalid value {plain(', '.join(map(repr, given)))} for", 1)
    command = "deis-sn" if error.ctx is None else error.ctx.command_path
    return str(ConfigurationError(f"{said}. `{command} --help` says what there is."))


def _given(names: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The values of an option among arguments."""
    found = [
        one.removeprefix(f"{name}=") for one in arguments for name in names if one.startswith(f"{name}=") and name[1:]
    ]
    return found + [later for one, later in pairwise(arguments) if one in names]
