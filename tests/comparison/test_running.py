"""Whole runs: batches, memory that does not suffice, stopping, and the distances against the exact flow."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from diffusers import DDIMScheduler

from benchmarks.exact.flows import SD_BETAS
from comparisons import pipeline
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.comparison.contenders import own
from diffusers_deis_sn.comparison.drawing import Easel
from diffusers_deis_sn.comparison.keeping import Keeper
from diffusers_deis_sn.comparison.running import Runner, apart
from diffusers_deis_sn.errors import CalibrationInterruptedError, ComparisonError
from exact_pipelines import Alone, ExactPipeline

DDIM = own(DDIMScheduler(**SD_BETAS))


@dataclass
class Stage:
    """A runner on an exact pipeline."""

    folder: object
    batch: int = 4
    prompts: int = 6
    shown: int = 3
    pipe: object = field(default_factory=pipeline)

    def __post_init__(self) -> None:
        calls = plan_calls(self.pipe, None, 10, 0, {})
        self.stop = Interruptions(True)
        self.runner = Runner(
            Easel(self.pipe, calls), Keeper(self.folder, {}), self.prompts, self.shown, self.batch, self.stop
        )


def test_distances_are_those_of_the_ends(tmp_path) -> None:
    stage = Stage(tmp_path)
    fine = stage.runner.ends(DDIM, 60, 6)
    stage.runner.fine = 60
    row = stage.runner.row(DDIM, 5)
    coarse = stage.runner.easel.draw(DDIM.make(), 5, 0, 6, False).ends
    assert row.distances.tolist() == apart(coarse, fine).tolist()
    assert (row.calls, row.steps, len(row.timesteps)) == (5, 5, 5)
    assert len(stage.runner.pictures(DDIM, 5)) == 3


def test_batches_with_pictures_are_apart_from_those_without(tmp_path) -> None:
    stage = Stage(tmp_path, batch=4, prompts=10, shown=6)
    counts = [(first, len(drawn.ends)) for first, drawn in stage.runner.batches(DDIM, 3, 0, 10)]
    assert counts == [(0, 4), (4, 2), (6, 4)]


def test_the_result_does_not_depend_on_the_batch(tmp_path) -> None:
    tables = []
    for batch in (1, 4):
        stage = Stage(tmp_path / str(batch), batch)
        stage.runner.ends(DDIM, 60, 6)
        stage.runner.fine = 60
        tables.append(stage.runner.row(DDIM, 5).distances.tolist())
    assert tables[0] == pytest.approx(tables[1], rel=1e-6)


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=("cuda", "mps", "cpu", "python"))
def test_out_of_memory_halves_the_batch_and_says_so(tmp_path, caplog, error) -> None:
    stage = Stage(tmp_path, batch=6, shown=6)
    stage.pipe.fail_at = (1, error)
    with caplog.at_level("WARNING", "diffusers_deis_sn"):
        counts = [len(drawn.ends) for _, drawn in stage.runner.batches(DDIM, 3, 0, 6)]
    assert counts == [3, 3]
    assert "Out of memory with 6 pictures at once: going on with 3." in caplog.text


def test_pictures_are_drawn_one_by_one_where_the_pipeline_draws_one_a_call(tmp_path, caplog) -> None:
    class One(Alone, ExactPipeline):
        """One sample a call."""

    stage = Stage(tmp_path, batch=4, pipe=One(lambda x, t: x, (1, 2, 2)))
    with caplog.at_level("WARNING", "diffusers_deis_sn"):
        counts = [len(drawn.ends) for _, drawn in stage.runner.batches(DDIM, 3, 0, 3)]
    assert counts == [1, 1, 1] and caplog.text.count("This is done now.") == 1
    stage.runner.batch_size, stage.pipe.fail_at = 4, (10, RuntimeError("unsuitable"))
    with pytest.raises(RuntimeError, match="unsuitable"):  # a scheduler that it fails with is no reason
        list(stage.runner.batches(DDIM, 3, 0, 3))
    assert stage.runner.batch_size == 4


def test_out_of_memory_with_one_picture_is_an_error(tmp_path) -> None:
    stage = Stage(tmp_path, batch=1)
    stage.pipe.fail_at = (1, torch.cuda.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        list(stage.runner.batches(DDIM, 3, 0, 6))


def test_a_run_that_was_stopped_goes_on_after_the_batch(tmp_path) -> None:
    stage = Stage(tmp_path, batch=2)
    stage.runner.ends(DDIM, 60, 6)
    stage.runner.fine, stage.stop.wanted = 60, "SIGINT"
    with pytest.raises(CalibrationInterruptedError, match=r"Stopped by SIGINT\. What is drawn is kept in .* goes on"):
        stage.runner.row(DDIM, 5)
    again = Stage(tmp_path, batch=2)
    again.runner.fine = 60
    row = again.runner.row(DDIM, 5)
    assert sum(again.pipe.rows) == 4 * 5  # the first two prompts were there
    whole = Stage(tmp_path / "whole", batch=2)
    whole.runner.ends(DDIM, 60, 6)
    whole.runner.fine = 60
    assert row.distances.tolist() == whole.runner.row(DDIM, 5).distances.tolist()


def test_fine_runs_go_on_as_well(tmp_path) -> None:
    stage = Stage(tmp_path)
    before = stage.runner.ends(DDIM, 20, 4)
    drawn = sum(stage.pipe.rows)
    assert torch.equal(stage.runner.ends(DDIM, 20, 6)[:4], before)
    assert sum(stage.pipe.rows) == drawn + 2 * 20


def test_a_converged_run_that_is_gone_is_said(tmp_path) -> None:
    stage = Stage(tmp_path)
    stage.runner.fine = 99
    with pytest.raises(ComparisonError, match="has no prompt 0"):
        stage.runner.row(DDIM, 5)
