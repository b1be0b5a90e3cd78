"""Keeping what a recorder knows: between two batches it can be put down, and taken up by another recorder."""

from __future__ import annotations

import signal

import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.collect.keeping import Keeping
from diffusers_deis_sn.collect.run import recording
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationInterruptedError, CheckpointError
from exact_pipelines import ExactPipeline, gaussian_network
from refusals import refused

RUN = {"seed": 0}


def pipeline() -> ExactPipeline:
    return ExactPipeline(gaussian_network(vp_schedule(**SD_BETAS), 0.5), (2, 4))


def draw(pipe: ExactPipeline, recorder) -> None:
    with recorder.ledger.batch():
        pipe(batch_size=3, num_inference_steps=4)


def test_another_recorder_goes_on_from_what_was_kept(tmp_path):
    pipe = pipeline()
    with recording(pipe, costs=("corrector",)) as recorder, Interruptions(True) as stop:
        draw(pipe, recorder)
        keeping = Keeping(Keeper(tmp_path / "state", False), RUN, recorder, stop)
        keeping.tried[3, 8] = (0.1, 0.2, 1.0)
        keeping.keep(9)
        expected = recorder.measured()
    with recording(pipe, costs=("corrector",)) as other:
        again = Keeping(Keeper(tmp_path / "state", True), RUN, other, stop)
        again.resume()
        assert other.measured() == expected and other.costs == ("corrector",) and other.drawn == 3
        assert again.tried == {(3, 8): (0.1, 0.2, 1.0)}


def test_without_a_file_nothing_is_kept_and_nothing_stops():
    pipe = pipeline()
    with recording(pipe) as recorder, Interruptions(True) as stop:
        stop.wanted = "SIGINT"
        keeping = Keeping(None, RUN, recorder, stop)
        keeping.resume()
        keeping.keep(9)
        assert recorder.drawn == 0


def test_a_signal_stops_after_the_state_is_written_and_says_how_to_go_on(tmp_path):
    pipe, path = pipeline(), tmp_path / "state"
    with recording(pipe) as recorder, Interruptions(True) as stop:
        keeping = Keeping(Keeper(path, False), RUN, recorder, stop)
        with stop.acting():
            signal.raise_signal(signal.SIGTERM)
            draw(pipe, recorder)
            told = ["SIGTERM", "after 3 of 9 samples", str(path), "resume=True (--resume)"]
            refused(CalibrationInterruptedError, told, keeping.keep, 9)
            keeping.keep(9, last=True)  # nothing is left to stop
    assert len(Keeper(path, True).found.tensors["times"]) == 5


def test_the_progress_goes_through():
    seen, stop = [], Interruptions(True)
    Keeping(None, RUN, None, stop).told(seen.append)(1.5)
    assert seen == [1.5]


@pytest.mark.parametrize("facts", [{}, {"costs": [], "dtype": "no_such_type", "sample_shape": [2], "from_data": False}])
def test_a_file_without_a_state_is_refused(tmp_path, facts):
    pipe = pipeline()
    with recording(pipe) as recorder:
        draw(pipe, recorder)
        tensors = recorder.ledger.tensors()
        Keeper(tmp_path / "state", False).write(Checkpoint(RUN, facts, tensors))
        keeping = Keeping(Keeper(tmp_path / "state", True), RUN, recorder, Interruptions(True))
        refused(CheckpointError, ["holds no state", "--force"], keeping.resume)
