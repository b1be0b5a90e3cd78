"""Several files written together: all of them, or none."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from diffusers_deis_sn.errors import DeisSnError

PROBE = b"\0" * 2**18  # as much as a large checkpoint: a disk without that much room will not do
DAY = 86400.0  # seconds after which a temporary file is nobody's, wherever the one who wrote it ran
_LONGEST = 200  # characters of a name that its temporary file has too; names end at 255


def write_together(files: Mapping[Path, bytes]) -> list[Path]:
    """Write files so that a failure, such as a full disk, leaves all the old ones as they were.

    Each is written beside its target first, and a second name given to what is to be replaced; only then they are
    renamed, in the order given. If even that fails in between, the old ones are renamed back, which takes no room. Who
    reads finds a whole file at any time. What killed processes left beside these files is deleted.

    A link is followed. What is no file, such as a pipe or /dev/stdout, is written into: a rename would replace it.

    Args:
        files: Content by path; folders are made if need be.

    Returns:
        Those that had other content before, or did not exist. The rest is not touched.

    Raises:
        OSError: They cannot be written.
    """
    wanted = {path: data for path, data in files.items() if not (path.is_file() and path.read_bytes() == data)}
    for path in filter(_is_stream, wanted):
        path.write_bytes(wanted[path])
    changed = {Path(os.path.realpath(path)): data for path, data in wanted.items() if not _is_stream(path)}
    # Beside the targets, as a rename is atomic only within a file system.
    new, old = ({path: _temporary(path) for path in changed} for _ in range(2))
    try:
        for path, data in changed.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_left(path)
            with new[path].open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if len(changed) > 1:  # one alone is renamed, or is not
            for path in changed:
                _keep(path, old[path])
        _replace(new, old)
    finally:
        for temporary in (*new.values(), *old.values()):
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return list(wanted)


def check_writable(path: Path, error: type[DeisSnError]) -> None:
    """See that a file can be written, before work is done that is to end there; nothing is left behind.

    Something is written, for permissions tell little of a full disk, and nothing to root.

    Args:
        path: The file; its folder need not be there yet.
        error: What is raised.

    Raises:
        DeisSnError: Of the kind `error`: a folder has that name, or nothing can be written there.
    """
    if path.is_dir():
        raise error(f"{str(path)!r} is a folder, and a file is to be written there. Choose another name.")
    if _is_stream(path):
        return
    there = next((one for one in Path(os.path.realpath(path)).parents if one.exists()), path.parent)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(PROBE)
            file.flush()
    except OSError as reason:
        said = f"Nothing can be written to {str(path.parent)!r}: {reason.strerror or reason}. Choose another folder."
        raise error(said) from reason


def remove_left(path: Path) -> None:
    """Delete what killed processes left beside a file that they were writing; nothing of one that may still write."""
    form = re.compile(rf"\.{re.escape(path.name[:_LONGEST])}\.(?P<process>\d+)-[0-9a-f]{{8}}\.tmp")
    for rest in path.parent.glob(".*.tmp"):
        if (found := form.fullmatch(rest.name)) is None:
            continue
        with suppress(OSError):  # another one deletes it too, or may and we may not
            if not _runs(int(found["process"])) or time.time() - rest.stat().st_mtime > DAY:
                rest.unlink()


def _is_stream(path: Path) -> bool:
    """Whether something is there that takes what is written and keeps no file: a pipe, a device, a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:_LONGEST]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _runs(process: int) -> bool:
    """Whether a process may be there still, on this machine or another one with the same disk."""
    if os.name != "posix":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _keep(path: Path, second: Path) -> None:
    """Give a second name to a file, if it is there: the same file where the disk can, else a copy."""
    if not path.is_file():
        return
    try:
        os.link(path, second)
    except OSError:
        shutil.copy2(path, second)


def _replace(new: Mapping[Path, Path], old: Mapping[Path, Path]) -> None:
    """Rename each file to its name, or none."""
    done: list[Path] = []
    try:
        for path, temporary in new.items():
            temporary.replace(path)
            done.append(path)
    except BaseException:
        for path in done:
            if old[path].exists():
                old[path].replace(path)
            else:
                path.unlink(missing_ok=True)
        raise
