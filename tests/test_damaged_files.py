"""No file that is damaged gives another number: of each format, whatever happens to it, the same content or an error.

The slow test makes 10,000 mutations of each file, the quick one some hundred.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.collect.checkpoint import Checkpoint
from diffusers_deis_sn.comparison.keeping import Keeper, Run
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CheckpointError, StatisticsError, StatisticsFormatError
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.statistics.published import read_published
from mutations import mutations
from records import costed_record, guided_family, tiny_record, write_published

VP = vp_schedule(**SD_BETAS)


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        write: A file of it, in a folder.
        read: All that counts of what it holds, as a value that can be compared; None where it says that it is damaged.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]


def statistics(record: ScoreStatistics) -> Format:
    def read(path: Path) -> object:
        try:
            return ScoreStatistics.load(path)
        except StatisticsFormatError:
            return None

    return Format(record.save, read)


def record_with_plans() -> ScoreStatistics:
    run = Tuned.of_plan(Recipe(VP, Power("t", 1.5), Multistep(2, of="data")).plan(5))
    plans = Plans((TunedPlan(run, 3.0, 16, 0.06, 0.09, 0.1), TunedPlan(run, 7.5)), (4, 8, 8))
    return guided_family(VP, (1.0, 7.5), times=6).with_plans(plans)


def published_numbers(path: Path) -> object:
    try:
        record = read_published(path)
    except StatisticsError:
        return None
    return {name: values.tobytes() for name, values in record.curves.items()}


STATE = Checkpoint(
    {"seed": 3, "tolerance": 0.1}, {"shape": [4, 8]}, {"mean": np.random.default_rng(0).normal(size=(3, 9))}
)


def write_state(folder: Path) -> Path:
    path = folder / "state.safetensors"
    path.write_bytes(STATE.to_bytes())
    return path


def state(path: Path) -> object:
    try:
        found = Checkpoint.from_bytes(path.read_bytes(), str(path))
    except CheckpointError:
        return None
    return found.run, found.facts, {name: one.tobytes() for name, one in found.tensors.items()}


RUN = Run("DPM++ 2M", 8, [0.125, float("inf")], 1.5, 8, (999.0, 1.0), (14.6, 0.0))


def write_run(folder: Path) -> Path:
    Keeper(folder, {}).keep(RUN, (), {})
    (path,) = (folder / "runs").glob("dpm*.json")
    return path


def write_end(folder: Path) -> Path:
    Keeper(folder, {}).keep_converged(100, 0, np.random.default_rng(1).normal(size=(1, 4, 2, 2)))
    (path,) = (folder / "runs" / "converged" / "100").iterdir()
    return path


def run(path: Path) -> object:
    found = Keeper(path.parents[1], {}).run(RUN.name, RUN.steps, ())
    return found if found.drawn else None


def end(path: Path) -> object:
    found = Keeper(path.parents[3], {}).converged(100, 0)
    return None if found is None else (found.shape, found.tobytes())


FORMATS = {
    "statistics": statistics(tiny_record()),
    "statistics with costs": statistics(costed_record(times=6)),
    "statistics of several guidances with trials and plans": statistics(record_with_plans()),
    "published statistics": Format(lambda folder: write_published(folder / "published.pt"), published_numbers),
    "checkpoint": Format(write_state, state),
    "run of a comparison": Format(write_run, run),
    "converged end of a comparison": Format(write_end, end),
}


def hold(kind: str, folder: Path, count: int) -> None:
    """Assert that no mutation is read as something else, and that most are noticed at all."""
    form = FORMATS[kind]
    path = form.write(folder)
    data, sound = path.read_bytes(), form.read(path)
    assert sound is not None
    noticed = 0
    for changed in mutations(data, count):
        path.write_bytes(changed)
        found = form.read(path)
        assert found is None or found == sound
        noticed += found is None
    assert noticed > 0.9 * count  # the rest is spaces, and what no number depends on
    path.write_bytes(data)
    assert form.read(path) == sound


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_gives_no_other_number(kind, tmp_path):
    hold(kind, tmp_path, 300)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_ten_thousand_damaged_files_give_no_other_number(kind, tmp_path):
    hold(kind, tmp_path, 10_000)
