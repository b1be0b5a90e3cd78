"""Names of files and folders here, as a person or a config wrote them."""

from __future__ import annotations

from os import PathLike, fsencode, fspath
from pathlib import Path

from diffusers_deis_sn.errors import DeisSnError, StatisticsError


def path_of(name: str | PathLike[str], what: str, error: type[DeisSnError] = StatisticsError) -> Path:
    """The path that a name stands for, with the home of a user in place of `~`; nothing need be there.

    Args:
        name: A path.
        what: What messages call it, such as "`output`".
        error: What is raised.

    Raises:
        DeisSnError: Of the kind `error`: no text, an empty one, or a name that no file can have.
    """
    if not isinstance(name, str | PathLike) or not isinstance(fspath(name), str):
        raise error(f"{what} must be the name of a file or folder, got {name!r}. Give a text or a Path.")
    if name == "":
        raise error(f"{what} is an empty name. Give that of a file or folder; '.' is the current folder.")
    try:
        path = Path(name).expanduser()
    except RuntimeError as unknown:
        raise error(
            f"{what} begins with the home of an unknown user, {str(name)!r}. Write the whole path."
        ) from unknown
    try:
        fsencode(path)
    except UnicodeEncodeError as half:
        said = f"{what} has half a character, {str(name)!r}, which no name of a file should. Correct the name."
        raise error(said) from half
    if "\0" in str(path):
        raise error(f"{what} has a zero byte, {str(name)!r}, which no name of a file has. Correct the name.")
    try:
        path.exists()
    except PermissionError:  # which the one who opens it will tell of
        return path
    except (OSError, ValueError) as impossible:
        reason = getattr(impossible, "strerror", None) or impossible
        raise error(
            f"{what} is a name that no file here can have, {str(name)!r}: {reason}. Correct it."
        ) from impossible
    return path
