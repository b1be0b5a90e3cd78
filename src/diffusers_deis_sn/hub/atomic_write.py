"""Several files written together: all of them, or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def write_together(files: Mapping[Path, bytes]) -> list[Path]:
    """Write files so that a failure, such as a full disk, leaves all the old ones as they were.

    Each is written beside its target first; only when all are, they are renamed, in the order given. If even that fails
    in between, those that were replaced get their old content back.

    Args:
        files: Content by path; folders are made if need be.

    Returns:
        Those that had other content before, or did not exist. The rest is not touched.

    Raises:
        OSError: They cannot be written.
    """
    changed = {path: data for path, data in files.items() if not (path.is_file() and path.read_bytes() == data)}
    # Beside the targets, as a rename is atomic only within a file system.
    unfinished = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in changed}
    try:
        for path, data in changed.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished[path].open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _replace(unfinished)
    finally:
        for temporary in unfinished.values():
            temporary.unlink(missing_ok=True)
    return list(changed)


def _replace(unfinished: Mapping[Path, Path]) -> None:
    """Rename each file to its name, or none."""
    before = {path: path.read_bytes() if path.is_file() else None for path in unfinished}
    done: list[Path] = []
    try:
        for path, temporary in unfinished.items():
            temporary.replace(path)
            done.append(path)
    except BaseException:
        for path in done:
            old = before[path]
            if old is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(old)
        raise
