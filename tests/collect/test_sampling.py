"""A measurement by several processes is that of one: the samples, the means, the decisions and what is kept."""

from __future__ import annotations

import copy
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.collect import run as running
from diffusers_deis_sn.collect import trying
from diffusers_deis_sn.collect.checkpoint import Keeper
from diffusers_deis_sn.collect.ledger import Ledger
from diffusers_deis_sn.collect.run import calibrate
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, ProcessLostError
from diffusers_deis_sn.statistics import ScoreStatistics
from exact_pipelines import Alone, ExactPipeline
from processes import codes, fork_each, wait_for
from refusals import refused

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

OPTIONS: dict[str, Any] = {"num_samples": 19, "num_inference_steps": 6, "trials": 3, "seed": 5}
COSTLY = OPTIONS | {"costs": ("corrector", "predictor"), "tolerance": 0.3, "trials": 0}


class Pipeline(ExactPipeline):
    """In float64, with an eps that is not linear, so that samples tell; as slow as is asked for; NaN for some seeds."""

    def __init__(self, pause: float = 0.0, broken: tuple[int, ...] = ()) -> None:
        noise = vp_schedule(**SD_BETAS)

        def epsilon(x: torch.Tensor, t: float) -> torch.Tensor:
            rho = float(noise.rho(t))
            return rho / (0.25 + rho**2) * x * np.sqrt(1.0 + rho**2) + 0.1 * torch.sin(3.0 * x)

        super().__init__(epsilon, (2, 4, 4))
        self.pause, self.broken, self.seeds = pause, broken, []

    def start(self, generators):
        self.seeds = [one.initial_seed() for one in generators]
        return super().start(generators)

    def network(self, x, t):
        time.sleep(self.pause)
        output = super().network(x, t)
        for row, seed in enumerate(self.seeds):
            if seed in self.broken:
                output[row] = float("nan")
        return output


@pytest.fixture(autouse=True)
def few_recipes(monkeypatch):
    monkeypatch.setattr(running, "MENU", running.MENU[:3])
    monkeypatch.setattr(running, "CALLS", (2, 4))
    monkeypatch.setattr(trying, "FINE_CALLS", 10)


def shared(folder: Path, world: int, make=Pipeline, **options: Any) -> list[ScoreStatistics]:
    """What each process returns."""

    def work(rank: int) -> None:
        calibrate(make(), progress=False, **options).save(folder / f"{rank}.safetensors")

    assert codes(fork_each(world, work)) == [0] * world
    return [ScoreStatistics.load(folder / f"{rank}.safetensors") for rank in range(world)]


def numbers(statistics: ScoreStatistics) -> dict[str, np.ndarray]:
    curves = ("timesteps", "mean_abs", "mean_abs_error", "mean_square", "mean_abs_data", "num_samples")
    found = {name: np.asarray(getattr(statistics, name)) for name in curves}
    for name, cost in statistics.costs.items():
        found |= {f"{name}.values": cost.values, f"{name}.error": cost.error, f"{name}.n": np.array(cost.num_samples)}
    if statistics.trials is not None:
        found |= {f"trials.{name}": getattr(statistics.trials, name) for name in ("error", "rms", "grain")}
    return found


def assert_same(found: ScoreStatistics, expected: ScoreStatistics) -> None:
    one, other = numbers(found), numbers(expected)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-10, atol=1e-14, err_msg=name)


@pytest.mark.parametrize(("world", "batch_size"), [(1, 19), (1, 3), (2, 4), (4, 2), (4, 8)])
def test_neither_the_number_of_processes_nor_that_of_a_batch_matters(tmp_path, world, batch_size):
    expected = calibrate(Pipeline(), progress=False, batch_size=8, **OPTIONS)
    assert expected.trials is not None and np.all(expected.num_samples == 19)
    found = shared(tmp_path, world, batch_size=batch_size, **OPTIONS)
    assert_same(found[0], expected)
    assert all(one.to_bytes() == found[0].to_bytes() for one in found)


class AlonePipeline(Alone, Pipeline):
    """One sample a call."""


@pytest.mark.parametrize(("world", "batch_size"), [(1, 8), (1, 1), (2, 3)])
def test_a_pipeline_that_draws_one_sample_a_call_is_measured_by_such_calls(tmp_path, world, batch_size):
    expected = calibrate(Pipeline(), progress=False, batch_size=8, **OPTIONS)
    assert_same(shared(tmp_path, world, AlonePipeline, batch_size=batch_size, **OPTIONS)[0], expected)


class Flat(Pipeline):
    """Steps with all frames of its videos, one after the other, where `Pipeline` has them side by side."""

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
        x = self.start(generator).flatten(0, 1)
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            x = self.scheduler.step(self.network(x, t), t, x, return_dict=False)[0]
        return x


@pytest.mark.parametrize("options", [OPTIONS, OPTIONS | {"trials": 0, "costs": ("corrector",)}], ids=["r", "costs"])
def test_frames_are_no_samples(options):
    told: list[float] = []
    found = calibrate(Flat(), batch_size=5, progress=lambda done, of: told.append(done), **options)
    expected = calibrate(Pipeline(), progress=False, batch_size=5, **options)
    found, expected = numbers(found), numbers(expected)
    for name in found.keys() - {"trials.grain"}:  # which is of frames
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-14, err_msg=name)
    assert max(told) <= options["num_samples"]


def test_that_it_does_is_told_once_and_the_trials_go_on_from_a_checkpoint_as_well(tmp_path, caplog, monkeypatch):
    path, options = tmp_path / "state", OPTIONS | {"num_samples": 4, "batch_size": 3, "progress": False}
    with caplog.at_level("WARNING", "diffusers_deis_sn"):
        whole = calibrate(AlonePipeline(), **options)
    told = [record.message for record in caplog.records if "3 samples in one call" in record.message]
    assert len(told) == 1 and "no list of them" in told[0] and "batch_size=1" in told[0]
    with monkeypatch.context() as stopped, pytest.raises(CalibrationInterruptedError):
        stopped.setattr(trying.Trier, "tried", lambda *_: (_ for _ in ()).throw(CalibrationInterruptedError("Now.")))
        calibrate(AlonePipeline(), checkpoint=path, **options)
    assert calibrate(AlonePipeline(), checkpoint=path, resume=True, **options) == whole


def test_a_pipeline_that_fails_later_fails_and_one_that_cannot_start_says_what_it_said():
    pipe, options = Pipeline(), {"num_samples": 4, "num_inference_steps": 3, "batch_size": 2, "progress": False}
    pipe.fail_at = (5, RuntimeError("out of luck"))  # the first call of the second batch
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        calibrate(pipe, **options)
    pipe.start = lambda _: 1 / 0
    words = ["Pipeline fails before its first step", "ZeroDivisionError", "by name"]
    refused(CalibrationError, words, calibrate, pipe, **options)


@pytest.mark.parametrize(("world", "batch_size"), [(1, 19), (2, 3), (4, 1)])
def test_costs_are_given_up_at_the_same_sample(tmp_path, world, batch_size):
    expected = calibrate(Pipeline(), progress=False, batch_size=8, **COSTLY)
    assert {8, 16} & {cost.num_samples for cost in expected.costs.values()}  # one at least is known before the end
    assert_same(shared(tmp_path, world, batch_size=batch_size, **COSTLY)[0], expected)


def test_as_many_as_it_takes_are_as_many_in_two_processes(tmp_path):
    options = OPTIONS | {"num_samples": "auto", "trials": 0, "tolerance": 0.02}
    expected = calibrate(Pipeline(), progress=False, **options)
    assert expected.most_samples in (16, 32)
    assert_same(shared(tmp_path, 2, batch_size=5, **options)[0], expected)


def test_invalid_samples_are_left_out_by_number_and_noised_data_go_in_turn(tmp_path):
    data = torch.randn(7, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    options = OPTIONS | {"trials": 0, "skip_invalid": True, "data": data}

    def make() -> Pipeline:
        return Pipeline(broken=(7, 21))

    expected = calibrate(make(), progress=False, **options)
    assert expected.origin.num_skipped == 2
    found = shared(tmp_path, 2, make, batch_size=3, **options)[0]
    assert_same(found, expected)
    assert found.origin.num_skipped == 2


def drawn(path: Path) -> int:
    return Ledger.of(Keeper(path, True).found.tensors).drawn if path.exists() else 0


def failing(folder: Path, path: Path, options: dict[str, Any], make=lambda rank: Pipeline()):
    """Work that writes what a process is told when a measurement fails."""

    def work(rank: int) -> None:
        try:
            calibrate(make(rank), progress=False, checkpoint=path, **options)
        except CalibrationError as error:
            (folder / f"told-{rank}").write_text(f"{type(error).__name__} {error}")

    return work


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_when_a_process_is_killed_the_others_end_with_a_message_and_the_state_is_gone_on_from(tmp_path, lost):
    path, options = tmp_path / "state", OPTIONS | {"batch_size": 2}
    processes = fork_each(3, failing(tmp_path, path, options, lambda rank: Pipeline(pause=0.01)))
    wait_for(lambda: drawn(path) == 6)
    os.kill(processes[lost], signal.SIGKILL)
    assert codes(processes) == [-signal.SIGKILL if rank == lost else 0 for rank in range(3)]
    for rank in {0, 1, 2} - {lost}:
        told = (tmp_path / f"told-{rank}").read_text()
        assert all(part in told for part in ("ProcessLostError", "3 processes", str(path), "--resume")), told
    assert drawn(path) in (6, 12)
    expected = calibrate(Pipeline(), progress=False, **options)
    found = shared(tmp_path, 2, checkpoint=path, resume=True, **options)
    assert_same(found[0], expected)


def test_what_fails_in_one_process_is_told_by_all(tmp_path):
    path, options = tmp_path / "state", OPTIONS | {"batch_size": 2}
    work = failing(tmp_path, path, options, lambda rank: Pipeline(broken=(5 + 7,)))  # sample 7: of the second round
    assert codes(fork_each(2, work)) == [0, 0]
    told = [(tmp_path / f"told-{rank}").read_text() for rank in range(2)]
    assert told[1].startswith("CalibrationError The network returned") and "for sample 7." in told[1]
    assert told[0].startswith(f"{ProcessLostError.__name__} Process 1 of 2 failed: The network returned")
    assert drawn(path) == 4


def test_a_signal_to_one_stops_all_after_the_round_and_another_number_of_processes_goes_on(tmp_path):
    path, options = tmp_path / "state", OPTIONS | {"batch_size": 3}
    processes = fork_each(2, failing(tmp_path, path, options, lambda rank: Pipeline(pause=0.01)))
    wait_for(lambda: drawn(path) == 6)
    os.kill(processes[1], signal.SIGTERM)
    assert codes(processes) == [0, 0]
    for rank in range(2):
        told = (tmp_path / f"told-{rank}").read_text()
        assert told.startswith(f"{CalibrationInterruptedError.__name__} Stopped by SIGTERM after {drawn(path)} of 19")
    assert drawn(path) in (12, 18)
    rest = calibrate(Pipeline(), progress=False, checkpoint=path, resume=True, **options)
    assert_same(rest, calibrate(Pipeline(), progress=False, **options))


def test_a_pipeline_that_fails_in_the_trials_costs_no_process_its_statistics(tmp_path, monkeypatch):
    def failing_distances(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(trying, "distances", failing_distances)
    found = shared(tmp_path, 2, batch_size=4, **OPTIONS)
    assert [one.trials for one in found] == [None, None]


def test_a_fine_run_that_fails_in_one_process_ends_the_run_in_all_with_the_state_kept(tmp_path):
    path, options = tmp_path / "state", OPTIONS | {"batch_size": 4}

    def make(rank: int) -> Pipeline:
        pipe = Pipeline()
        pipe.fail_at = (25, RuntimeError("out of memory")) if rank == 1 else None  # three batches make 21 calls
        return pipe

    assert codes(fork_each(2, failing(tmp_path, path, options, make))) == [0, 0]
    told = [(tmp_path / f"told-{rank}").read_text() for rank in range(2)]
    assert "Process 1 of 2 failed: out of memory" in told[0] and str(path) in told[0]
    assert told[1].startswith("ProcessLostError One of the 2 processes ended")
    assert drawn(path) == 19
    rest = calibrate(Pipeline(), progress=False, checkpoint=path, resume=True, **options)
    assert_same(rest, calibrate(Pipeline(), progress=False, **options))


class WithSound(Pipeline):
    """Walks a second stream by a copy of its scheduler, as pipelines of picture and sound do."""

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
        x = self.start(generator)
        sound = torch.randn(len(x), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.scheduler.set_timesteps(num_inference_steps)
        second = copy.deepcopy(self.scheduler)
        for t in self.scheduler.timesteps:
            output, other = self.network(x, t), 0.5 * sound
            x = self.scheduler.step(output, t, x, return_dict=False)[0]
            sound = second.step(other, t, sound, return_dict=False)[0]
        return x


@pytest.mark.parametrize("options", [OPTIONS | {"trials": 0}, COSTLY], ids=["r", "costs"])
def test_a_stream_that_walks_by_a_copy_of_the_recorder_changes_nothing(options):
    told: list[float] = []
    found = calibrate(WithSound(), batch_size=4, progress=lambda done, of: told.append(done), **options)
    assert_same(found, calibrate(Pipeline(), batch_size=4, **options))
    assert max(told) <= options["num_samples"]  # the copy does not count a second time


class Copying(Pipeline):
    """Walks copies of its scheduler, one for each of two views, or of what the scheduler holds."""

    whole = True

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
        x = self.start(generator)
        self.scheduler.set_timesteps(num_inference_steps)
        views = [copy.deepcopy(self.scheduler if self.whole else vars(self.scheduler)) for _ in range(2)]
        for t in self.scheduler.timesteps:
            for view in views:
                if not self.whole:
                    vars(self.scheduler).update(view)
                one = view if self.whole else self.scheduler
                x = one.step(self.network(x, t), t, x, return_dict=False)[0]
                if not self.whole:
                    view |= vars(self.scheduler)
        return x


@pytest.mark.parametrize("whole", [True, False], ids=["schedulers", "their state"])
def test_a_pipeline_that_walks_by_copies_alone_says_so_at_its_second_step(whole):
    pipe = Copying()
    pipe.whole = whole
    refused(CalibrationError, ["copies of its scheduler", "plain pipeline"], calibrate, pipe, **OPTIONS)
    assert len(pipe.rows) == 3  # both views, and one of them again


def test_a_pipeline_with_one_value_for_each_step_says_that_it_cannot_be_measured():
    class Scheduled(Pipeline):
        def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
            scales, original = iter([1.0] * num_inference_steps), self.network

            def network(x, t):
                if (scale := next(scales, None)) is None:
                    raise IndexError("list index out of range")
                return scale * original(x, t)

            self.network = network
            return super().__call__(batch_size, generator, num_inference_steps)

    refused(CalibrationError, ["Scheduled", "one value for each step"], calibrate, Scheduled(), **COSTLY)
