"""The file that an unfinished measurement is kept in, after every batch.

A sealed safetensors file (`hub.sealed`) with the means so far, and these facts under `calibration_checkpoint`:

    run     what decides the numbers, by name (`collect.fingerprint`); a file of another run is refused by it
    facts   what the recorder knows beside its means

Nothing heavy is imported: a file is judged before the model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from diffusers_deis_sn.errors import CheckpointError
from diffusers_deis_sn.hub.atomic_write import write_together
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.sealed import SealError, seal, unseal

KEY = "calibration_checkpoint"
VERSION = 2
LARGEST = 64 * 2**20  # bytes; a thousand times and all costs take 300 kB

_ANEW = "Delete it to begin anew (--force)."


@dataclass(frozen=True)
class Checkpoint:
    """State of a measurement between two batches.

    Args:
        run: What decides the numbers, by name; values as JSON has them.
        facts: What the recorder knows; the same.
        tensors: Its means, and what else is kept as numbers.
    """

    run: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Content of the file."""
        return seal(self.tensors, {"facts": self.facts, "run": self.run}, KEY, VERSION)

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Checkpoint:
        """What a file holds. Raises CheckpointError for other bytes than `to_bytes` gave; `place` is its name."""
        try:
            payload, tensors = unseal(data, KEY, VERSION)
        except SealError as error:
            raise CheckpointError(f"{place!r} is no checkpoint to go on from: it {error}. {_ANEW}") from error
        run, facts = payload.get("run"), payload.get("facts")
        if not isinstance(run, dict) or not isinstance(facts, dict):
            _refuse(place, "lacks `run` or `facts` in its metadata")
        return cls(run, facts, tensors)

    def check_run(self, run: Mapping[str, Any], place: str) -> None:
        """Refuse to serve another run than the one that was interrupted.

        Args:
            run: What decides the numbers now, or the part of it that is known already.
            place: Name of the file.

        Raises:
            CheckpointError: Something differs; the message names it.
        """
        wanted = json.loads(json.dumps(run, sort_keys=True))
        changed = [name for name, value in wanted.items() if self.run.get(name) != value]
        if changed:
            told = "; ".join(f"{name} was {_short(self.run.get(name))}, now {_short(wanted[name])}" for name in changed)
            raise CheckpointError(
                f"{place!r} is the checkpoint of another measurement: {told}. Use the same arguments as then, or "
                f"name another file. {_ANEW}"
            )


class Keeper:
    """One checkpoint file: what was found in it, and where the next state goes.

    Args:
        path: The file.
        resume: Whether to go on from what it holds. A file that is not there means to begin.
        leads: Whether this process is the one that reads and writes it; the others only know its name.

    Attributes:
        path: The file.
        found: What it held; None where the measurement begins.

    Raises:
        CheckpointError: It is there and is not to be gone on from, or it cannot be.
    """

    def __init__(self, path: str | PathLike[str], resume: bool, leads: bool = True) -> None:
        """Read the file, if there is one."""
        self.path = path_of(path, "`checkpoint`", CheckpointError)
        self.found: Checkpoint | None = None
        self._leads = leads
        if not leads:
            return
        remove_unfinished(self.path)
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise CheckpointError(f"{str(self.path)!r} is no file, so no checkpoint can be there. Choose another name.")
        if self.path.stat().st_size > LARGEST:
            _refuse(str(self.path), f"has more than {LARGEST} bytes, so it is something else")
        self.found = Checkpoint.from_bytes(self.path.read_bytes(), str(self.path))
        if not resume:
            unfinished(self.path)

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file in one piece. Raises CheckpointError where that fails; the last state is still there."""
        if not self._leads:
            return
        try:
            write_together({self.path: checkpoint.to_bytes()})
        except OSError as error:
            kept = "The last one is still there" if self.path.exists() else "There is none yet"
            raise CheckpointError(
                f"The checkpoint {str(self.path)!r} cannot be written: {error.strerror or error}. {kept}. Make room "
                "and go on with the same arguments and resume=True (--resume)."
            ) from error


def unfinished(path: Path) -> None:
    """Raise CheckpointError where there is a checkpoint that nobody asked to go on from."""
    if path.exists():
        raise CheckpointError(
            f"{str(path)!r} is the checkpoint of an unfinished measurement. Go on from it with resume=True (--resume). "
            f"{_ANEW}"
        )


def remove(path: Path) -> None:
    """Delete a checkpoint, if it is there, and what a killed process left beside it."""
    remove_unfinished(path)
    path.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Delete what a killed process left beside a file that it was writing."""
    for rest in path.parent.glob(f".{path.name}.*.tmp"):
        rest.unlink(missing_ok=True)


def _refuse(place: str, rule: str) -> NoReturn:
    raise CheckpointError(f"{place!r} {rule}. {_ANEW}")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
