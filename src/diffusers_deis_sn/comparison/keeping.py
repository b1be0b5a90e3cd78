"""What a comparison keeps in its folder, so that one which was stopped goes on, and no other one is overwritten.

    compare.html, compare.json, compare.csv, grid.png    the result, at the end
    statistics/                                          where they were measured for it
    runs/asked.json                                      what decides the numbers: another comparison is refused by it
    runs/NAME.json, runs/NAME/                           what is known of each run, and its pictures
    runs/converged/                                      where each prompt ends in the run that all are held against

A run is kept batch by batch, with a digest: what is damaged is drawn again. Which numbers of steps are compared is not
among what decides: a folder may be gone on with in more.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffusers_deis_sn.errors import ComparisonError
from diffusers_deis_sn.escaping import utf8
from diffusers_deis_sn.hub.atomic_write import check_writable, write_together
from diffusers_deis_sn.hub.sealed import SEAL, SealError, seal, unseal

RUNS, ASKED, CONVERGED = "runs", "asked.json", "converged"
FILES = ("compare.html", "compare.json", "compare.csv", "grid.png")
PIXELS = 256  # a side up to which pictures are kept without loss
QUALITY = 90
END, END_VERSION = "converged_end", 1  # of `hub.sealed`


@dataclass
class Run:
    """What is known of one scheduler in one number of network calls, so far.

    Args:
        name: Of the scheduler.
        steps: `num_inference_steps` that the pipeline is called with.
        distances: RMS distance of each prompt's final sample to the converged one, of as many as are drawn.
        seconds: That its batches took together.
        calls: Network calls, as the scheduler saw them.
        timesteps: Times of the calls.
        sigmas: Noise levels of the calls and the end.
    """

    name: str
    steps: int
    distances: list[float] = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0
    timesteps: tuple[float, ...] = ()
    sigmas: tuple[float, ...] = ()

    @property
    def drawn(self) -> int:
        """Number of prompts that are drawn."""
        return len(self.distances)


class Keeper:
    """The folder of a comparison.

    Args:
        folder: Made if missing.
        asked: What decides the numbers, by name; values as JSON has them.
        force: Throw away another comparison that is there.

    Raises:
        ComparisonError: The folder holds another comparison, is a file, or cannot be written to.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], force: bool = False) -> None:
        self.folder, self._runs = folder, folder / RUNS
        before = asked_of(folder)
        check_writable(folder / FILES[0], ComparisonError)
        if before is not None and before != dict(asked):
            if not force:
                raise other(folder, before, asked)
            clear(folder)
        write_together({self._runs / ASKED: _json(dict(asked))})

    def run(self, name: str, steps: int, code: tuple[str, ...]) -> Run:
        """What is known of a run; nothing of one that was not begun or cannot be read."""
        try:
            facts = json.loads(self._file(name, steps, code).read_text("utf-8"))
            if facts.pop(SEAL, None) != _digest(facts):
                return Run(name, steps)
            run = Run(**facts)
        except (OSError, ValueError, TypeError, AttributeError):
            return Run(name, steps)
        run.timesteps, run.sigmas = tuple(run.timesteps), tuple(run.sigmas)
        return run if (run.name, run.steps) == (name, steps) else Run(name, steps)

    def keep(self, run: Run, code: tuple[str, ...], pictures: Mapping[int, Image.Image]) -> None:
        """Write what is known of a run, with the pictures of some prompts, by number."""
        file = self._file(run.name, run.steps, code)
        files = {file.with_suffix("") / f"{number:03d}": encoded(one) for number, one in pictures.items()}
        write_together({path.with_suffix(_ending(data)): data for path, data in files.items()})
        facts = asdict(run)
        write_together({file: _json(facts | {SEAL: _digest(facts)})})

    def pictures(self, run: Run, code: tuple[str, ...], count: int) -> tuple[bytes, ...]:
        """The pictures of the first prompts as files have them; empty if any is missing."""
        folder = self._file(run.name, run.steps, code).with_suffix("")
        found = [next(iter(sorted(folder.glob(f"{number:03d}.*"))), None) for number in range(count)]
        return tuple(path.read_bytes() for path in found if path is not None) if None not in found else ()

    def converged(self, steps: int, number: int) -> np.ndarray | None:
        """Where a prompt ends in the converged run; None if that is not known."""
        try:
            return unseal(self._end(steps, number).read_bytes(), END, END_VERSION).tensors["end"]
        except (OSError, SealError, KeyError):
            return None

    def keep_converged(self, steps: int, first: int, ends: np.ndarray) -> None:
        """Write where prompts end in the converged run."""
        write_together(
            {self._end(steps, first + i): seal({"end": one}, {}, END, END_VERSION) for i, one in enumerate(ends)}
        )

    def _end(self, steps: int, number: int) -> Path:
        return self._runs / CONVERGED / str(steps) / f"{number:05d}.safetensors"

    def _file(self, name: str, steps: int, code: tuple[str, ...]) -> Path:
        digest = hashlib.sha256("\n".join(code).encode()).hexdigest()[:6]
        words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        return self._runs / f"{words}-{digest}-{steps}.json"


def asked_of(folder: Path) -> dict[str, Any] | None:
    """What decided the numbers of the comparison in a folder; None if there is none.

    Raises:
        ComparisonError: It is a file, or holds something that cannot be read.
    """
    if folder.exists() and not folder.is_dir():
        raise ComparisonError(f"{str(folder)!r} is a file, and a comparison is a folder. Choose another name.")
    path = folder / RUNS / ASKED
    if not path.exists():
        if any((folder / name).exists() for name in FILES):
            return {}  # a result whose runs are gone, which must not be mixed up with another
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def clear(folder: Path) -> None:
    """Delete what a comparison wrote into a folder, and nothing else."""
    shutil.rmtree(folder / RUNS, ignore_errors=True)
    shutil.rmtree(folder / "statistics", ignore_errors=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def other(folder: Path, before: Mapping[str, Any], asked: Mapping[str, Any]) -> ComparisonError:
    """The error of a folder that holds another comparison."""
    differ = [name for name in asked if before.get(name) != asked[name]]
    return ComparisonError(
        f"{str(folder)!r} holds another comparison: of other {', '.join(differ) or 'contents'}. Choose another folder, "
        "or replace it with --force (force=True)."
    )


def encoded(picture: Image.Image) -> bytes:
    """A picture as a file: without loss where it is small."""
    data = io.BytesIO()
    if max(picture.size) <= PIXELS:
        picture.save(data, "PNG", optimize=True)
    else:
        picture.save(data, "WEBP", quality=QUALITY)
    return data.getvalue()


def _ending(data: bytes) -> str:
    return ".png" if data[:4] == b"\x89PNG" else ".webp"


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(facts)).hexdigest()


def _json(value: Any) -> bytes:
    return utf8(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
