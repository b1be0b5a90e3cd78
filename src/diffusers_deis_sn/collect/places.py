"""Where a measurement is written to, and where its checkpoint lies meanwhile: checked before a model is loaded."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.hub.source import destination

PROBE = b"\0" * 2**18  # as much as a large checkpoint: a disk without that much room will not do


def checkpoint_beside(output: Path) -> Path:
    """The checkpoint of a measurement that is written to a file: hidden, in the same folder."""
    return output.with_name(f".{output.stem}.checkpoint.safetensors")


@dataclass(frozen=True)
class Places:
    """Two files that go together.

    Args:
        output: What the measurement is written to.
        checkpoint: What its state is kept in meanwhile.
        found: The state to go on from; None to begin.
    """

    output: Path
    checkpoint: Path
    found: Checkpoint | None


def choose_places(target: str | PathLike[str], *, resume: bool, force: bool) -> Places:
    """Where a measurement goes. Nothing is written or deleted.

    Args:
        target: Folder or file, see `hub.source.destination`.
        resume: Go on from a checkpoint; it stands for the permission to write to this place, which was given before.
        force: Replace a measurement that is there, and a checkpoint unless it is to be gone on from.

    Raises:
        StatisticsError: The folder is a file.
        CalibrationError: There is a measurement already, or nothing can be written there.
        CheckpointError: There is a checkpoint that is not to be gone on from, or cannot be.
    """
    path = destination(target)
    beside = checkpoint_beside(path)
    if path.exists() and not force and not (resume and beside.exists()):
        raise CalibrationError(
            f"{str(path)!r} holds a measurement already. Choose another folder, or replace it with --force."
        )
    _check_writable(path.parent)
    return Places(path, beside, None if force and not resume else Keeper(beside, resume).found)


def _check_writable(folder: Path) -> None:
    """Write something, and leave nothing behind: permissions tell little of a full disk, and nothing to root."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(PROBE)
            file.flush()
    except OSError as error:
        raise CalibrationError(
            f"Nothing can be written to {str(folder)!r}: {error.strerror or error}. Choose another folder."
        ) from error
