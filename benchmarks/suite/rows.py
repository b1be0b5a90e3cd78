"""What was measured, as rows of CSV files: one file a problem and seed, so that any number of processes can write.

A file is written anew, aside, and put in place after every sampler: an interrupted suite loses one sampler's runs at
most. Rows know from what they were made (`stamp`); those of other weights, samplers or code are measured again.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.suite.problems import slug

RIVAL, OURS = "rival", "ours"


@dataclass(frozen=True)
class Row:
    """One sampler in so many calls on one problem from the noise of one seed; None where there is no such measure.

    Args:
        problem: Its name.
        role: "choosing" or "reporting".
        group: "network" or "shipped".
        family: "vp", "v", "flow" or "edm".
        kind: `RIVAL` or `OURS`.
        sampler: Its name.
        asked: Number of calls.
        seed: Of the noise.
        calls: Calls that were made: one fewer where two stages do not fit.
        samples: How many the measures are over; a few for rivals that were far off and not run to the end.
        geometric: Geometric mean over samples of the RMS distance to the converged run.
        rms: Over all samples.
        trimmed: Without the worst tenth.
        share: Of that tenth in the squared error.
        grain: Energy of the highest band over the converged run's.
        frechet: Distance to the converged run's features.
        accuracy: Share of samples that show what was asked for.
        converged_accuracy: The converged run's.
        disagreement: Between two converged runs.
        stamp: What the row was made from.
        failure: Which call failed and how; then there are no measures.
        errors: The per-sample distances, float16, in base64.
    """

    problem: str
    role: str
    group: str
    family: str
    kind: str
    sampler: str
    asked: int
    seed: int
    calls: int
    samples: int
    geometric: float | None = None
    rms: float | None = None
    trimmed: float | None = None
    share: float | None = None
    grain: float | None = None
    frechet: float | None = None
    accuracy: float | None = None
    converged_accuracy: float | None = None
    disagreement: float | None = None
    stamp: str = ""
    failure: str = ""
    errors: str = ""

    @property
    def sample_errors(self) -> np.ndarray:
        """Per-sample distances (B,), to three digits."""
        return unpacked(self.errors)


NUMBERS = {field.name for field in dataclasses.fields(Row) if field.type == "float | None"}
COUNTS = {"asked", "seed", "calls", "samples"}
COLUMNS = [field.name for field in dataclasses.fields(Row)]


def packed(errors: np.ndarray) -> str:
    """Distances in few letters: float16 has three digits, which no ratio here needs more of."""
    limits = np.finfo(np.float16)
    return base64.b64encode(np.clip(errors, limits.smallest_subnormal, limits.max).astype("<f2").tobytes()).decode()


def unpacked(letters: str) -> np.ndarray:
    """The distances of `packed`, float64."""
    return np.frombuffer(base64.b64decode(letters), dtype="<f2").astype(np.float64)


def path_of(folder: Path, problem: str, seed: int, kind: str) -> Path:
    """Where the rows of a problem, seed and kind lie."""
    return folder / f"{slug(problem)}-{seed}-{kind}.csv"


def write(path: Path, rows: Iterable[Row], without: tuple[str, ...] = ()) -> None:
    """Write a file of rows, all of it or nothing, perhaps without some columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    columns = [name for name in COLUMNS if name not in without]
    with draft.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for row in rows:
            table.writerow([_text(getattr(row, name)) for name in columns])
    draft.replace(path)


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [Row(**{name: _value(name, text) for name, text in line.items()}) for line in csv.DictReader(file)]


def read_all(folder: Path) -> list[Row]:
    """The rows of every file in a folder."""
    return [row for path in sorted(folder.glob("*.csv")) for row in read(path)]


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _value(name: str, text: str) -> str | int | float | None:
    if name in NUMBERS:
        return float(text) if text else None
    return int(text) if name in COUNTS else text
