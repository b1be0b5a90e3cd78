"""Where a measurement is written to, and where its checkpoint lies meanwhile: checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper, remove
from diffusers_deis_sn.collect.guidances import parts
from diffusers_deis_sn.errors import CalibrationError, DeisSnError
from diffusers_deis_sn.hub.atomic_write import check_writable
from diffusers_deis_sn.hub.source import destination
from diffusers_deis_sn.statistics.record import ScoreStatistics


def checkpoint_beside(output: Path) -> Path:
    """The checkpoint of a measurement that is written to a file: hidden, in the same folder."""
    return output.with_name(f".{output.stem}.checkpoint.safetensors")


def tuning_beside(output: Path) -> Path:
    """The same of what is being fitted to a model whose statistics are this file."""
    return output.with_name(f".{output.stem}.tuning.safetensors")


def further(checkpoint: Path) -> Path:
    """Where fits on more samples are kept, beside those on fewer."""
    return checkpoint.with_name(f"{checkpoint.stem}.more{checkpoint.suffix}")


def plans_lost(output: Path) -> str | None:
    """What is lost with statistics that are replaced, as a sentence; None where nothing was fitted to them."""
    try:
        plans = ScoreStatistics.load(output).plans if output.is_file() else None
    except DeisSnError:  # whatever it is, it is no statistics
        return None
    if plans is None:
        return None
    calls = ", ".join(map(str, sorted({one.calls for one in plans.entries})))
    return f"The plans of `tune` in {str(output)!r} ({calls} calls) go with the statistics: run `tune` again."


@dataclass(frozen=True)
class Places:
    """Files that go together.

    Args:
        output: What the measurement is written to.
        checkpoint: What its state is kept in meanwhile, or the name that several of them have in common.
        states: The checkpoints, one for each guidance, and the state of each to go on from; None to begin.
    """

    output: Path
    checkpoint: Path
    states: Mapping[Path, Checkpoint | None]

    def remove_states(self) -> None:
        """Delete the checkpoints."""
        for path in self.states:
            remove(path)


def choose_places(
    target: str | PathLike[str], *, resume: bool, force: bool, arguments: Mapping[str, Any] | None = None
) -> Places:
    """Where a measurement goes. Nothing is written or deleted.

    Args:
        target: Folder or file, see `hub.source.destination`.
        resume: Go on from a checkpoint; it stands for the permission to write to this place, which was given before.
        force: Replace a measurement that is there, and a checkpoint unless it is to be gone on from.
        arguments: Of the pipeline; several guidances have a checkpoint each.

    Raises:
        StatisticsError: The folder is a file.
        CalibrationError: There is a measurement already, or nothing can be written there.
        CheckpointError: There is a checkpoint that is not to be gone on from, or cannot be.
    """
    path = destination(target)
    beside = checkpoint_beside(path)
    states = parts(beside, arguments or {})
    if path.exists() and not force and not (resume and any(one.exists() for one in states)):
        raise CalibrationError(
            f"{str(path)!r} holds a measurement already. Choose another folder, or replace it with --force."
        )
    check_writable(path, CalibrationError)
    anew = force and not resume
    return Places(path, beside, {one: None if anew else Keeper(one, resume).found for one in states})
