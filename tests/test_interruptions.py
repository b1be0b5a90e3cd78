"""A measurement that is interrupted: nothing is lost but a batch, no bit differs, and the pipeline comes back whole."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
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
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.run import calibrate
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, CheckpointError
from diffusers_deis_sn.statistics import ScoreStatistics
from exact_pipelines import ExactPipeline, gaussian_network
from refusals import refused
from tiny_pipelines import BUILDERS

BOTH = ("corrector", "predictor")
OPTIONS: dict[str, Any] = {
    "num_samples": 11,
    "num_inference_steps": 6,
    "batch_size": 2,
    "costs": BOTH,
    "tolerance": 0.3,  # so that a cost is known, and left out, before the last batch
    "trials": 3,
    "progress": False,
}
SHORT = OPTIONS | {"costs": (), "trials": 0}
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


class Pipeline(ExactPipeline):
    """An exact pipeline that does something on each network call, such as sending a signal."""

    def __init__(self, on_call: Callable[[int], None] = lambda number: None, pause: float = 0.0) -> None:
        super().__init__(gaussian_network(vp_schedule(**SD_BETAS), 0.5), (2, 8, 8))
        self.on_call, self.pause = on_call, pause
        self.broken: dict[int, float] = {}  # time from which on a sample is NaN, by its seed
        self.seeds: list[int] = []
        self.on_batch = lambda: None

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
        if isinstance(self.scheduler, RecordingScheduler):
            self.on_batch()
        return super().__call__(batch_size, generator, num_inference_steps)

    def start(self, generators):
        self.seeds = [one.initial_seed() for one in generators]
        return super().start(generators)

    def network(self, x, t):
        self.on_call(len(self.rows))
        time.sleep(self.pause)
        output = super().network(x, t)
        for row, seed in enumerate(self.seeds):
            if float(t) <= self.broken.get(seed, -1.0):
                output[row, 0, 0, 0] = float("nan")
        return output


@pytest.fixture(autouse=True)
def few_recipes(monkeypatch):
    monkeypatch.setattr(running, "MENU", running.MENU[:2])
    monkeypatch.setattr(running, "CALLS", (2, 4))
    monkeypatch.setattr(trying, "FINE_CALLS", 10)


@pytest.fixture
def whole(few_recipes) -> ScoreStatistics:
    """What a measurement gives that is never interrupted."""
    return calibrate(Pipeline(), **OPTIONS)


def on(number: int, act: Callable[[], object]) -> Callable[[int], None]:
    return lambda call: act() if call == number else None


def drawn(path: Path) -> int:
    """Number of samples that a checkpoint has."""
    found = Keeper(path, True).found
    return 0 if found is None else Ledger.of(found.tensors).drawn


def kept(path: Path) -> int:
    """Number of trials that a checkpoint has."""
    return len(Keeper(path, True).found.tensors.get("tried", ()))


# --------------------------------------------------------------------------------------------------- bit for bit


def test_statistics_with_a_checkpoint_are_those_without(whole, tmp_path):
    assert calibrate(Pipeline(), checkpoint=tmp_path / "state", **OPTIONS).to_bytes() == whole.to_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["state"]
    assert whole.trials is not None and {"solver", *BOTH} == set(whole.costs)


def calls_of(options: dict[str, Any]) -> int:
    pipe = Pipeline()
    calibrate(pipe, **options)
    return len(pipe.rows)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_any_interruption_the_resumed_statistics_have_the_same_bits(whole, tmp_path, number):
    """Signals in every part of the run: in any batch, in the fine run, and in the trials."""
    calls, stopped = calls_of(OPTIONS), 0
    for call in [*range(0, calls, calls // 12), calls - 1]:
        path = tmp_path / f"{call}"
        pipe = Pipeline(on(call, lambda: signal.raise_signal(number)))
        scheduler = pipe.scheduler
        with pytest.raises(CalibrationInterruptedError, match=rf"{number.name} after \d+ of 11.*{path}.*--resume"):
            calibrate(pipe, checkpoint=path, **OPTIONS)
        assert pipe.scheduler is scheduler
        rest = Pipeline()
        assert calibrate(rest, checkpoint=path, resume=True, **OPTIONS).to_bytes() == whole.to_bytes()
        stopped += kept(path) > 0
    assert stopped > 2


def test_it_may_be_interrupted_after_every_single_batch(whole, tmp_path):
    for batch in range(1, 6):
        pipe = Pipeline(lambda number: signal.raise_signal(signal.SIGINT) if number == 0 else None)
        with pytest.raises(CalibrationInterruptedError, match=f"after {2 * batch} of 11 samples"):
            calibrate(pipe, checkpoint=tmp_path / "state", resume=True, **OPTIONS)
        assert drawn(tmp_path / "state") == 2 * batch
    assert calibrate(Pipeline(), checkpoint=tmp_path / "state", resume=True, **OPTIONS).to_bytes() == whole.to_bytes()


def test_what_is_complete_is_not_measured_again(tmp_path):
    expected = calibrate(Pipeline(), checkpoint=tmp_path / "state", **SHORT)
    pipe = Pipeline()
    assert calibrate(pipe, checkpoint=tmp_path / "state", resume=True, **SHORT) == expected
    assert pipe.rows == []


def test_a_signal_in_the_last_batch_costs_nothing(tmp_path):
    expected, last = calibrate(Pipeline(), **SHORT), calls_of(SHORT) - 1
    pipe = Pipeline(on(last, lambda: signal.raise_signal(signal.SIGINT)))
    assert calibrate(pipe, checkpoint=tmp_path / "state", **SHORT) == expected


def test_noised_data_and_embeddings_are_gone_on_with(tmp_path):
    data = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    options = SHORT | {"costs": BOTH, "tolerance": 0.0, "data": data}
    pipe = Pipeline(on(200, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(CalibrationInterruptedError):
        calibrate(pipe, checkpoint=tmp_path / "state", **options)
    resumed = calibrate(Pipeline(), checkpoint=tmp_path / "state", resume=True, **options)
    assert resumed.to_bytes() == calibrate(Pipeline(), **options).to_bytes()
    other = options | {"data": data + 1e-9}
    refused(
        CheckpointError,
        ["data was", "--force"],
        calibrate,
        Pipeline(),
        checkpoint=tmp_path / "state",
        resume=True,
        **other,
    )


def test_stable_diffusion_is_gone_on_with_and_another_text_is_refused_before_a_call(tmp_path):
    def measured(prompts, stop=None, **options):
        pipe, kwargs = BUILDERS["sd"]()
        kwargs = {name: one for name, one in kwargs.items() if name not in ("prompt", "output_type")}
        if stop is not None:
            pipe.unet.register_forward_pre_hook(lambda *_: stop())
        return calibrate(pipe, prompts, **(SHORT | {"num_samples": 5} | kwargs | options))

    texts, calls = ["a red seven", "a blue two"], []
    expected = measured(texts)

    def stop() -> None:
        calls.append(1)
        if len(calls) == 9:  # of the second batch
            signal.raise_signal(signal.SIGINT)

    place = {"checkpoint": tmp_path / "state"}
    with pytest.raises(CalibrationInterruptedError, match="after 4 of 5"):
        measured(texts, stop, **place)
    for change in ({"prompts": texts[:1]}, {"prompts": texts, "guidance_scale": 3.0}, {"prompts": texts, "seed": 1}):
        with pytest.raises(CheckpointError, match="another measurement"):
            measured(**change, stop=lambda: pytest.fail("called"), **place, resume=True)
    assert measured(texts, **place, resume=True).to_bytes() == expected.to_bytes()


# ------------------------------------------------------------------------------------------------- refused beforehand


def test_what_is_wrong_with_a_checkpoint_is_known_before_a_call(tmp_path):
    pipe = Pipeline(lambda number: pytest.fail("called"))
    refused(CheckpointError, ["`checkpoint` is None"], calibrate, pipe, resume=True, **SHORT)
    (tmp_path / "notes").write_text("mine")
    for resume in (True, False):
        refused(CheckpointError, ["notes"], calibrate, pipe, checkpoint=tmp_path / "notes", resume=resume, **SHORT)
    calibrate(Pipeline(), checkpoint=tmp_path / "state", **SHORT)
    before = (tmp_path / "state").read_bytes()
    refused(CheckpointError, ["resume=True"], calibrate, pipe, checkpoint=tmp_path / "state", **SHORT)
    other = SHORT | {"batch_size": 3, "num_inference_steps": 7}
    told = ["batch_size was 2, now 3", "num_inference_steps was 6, now 7"]
    refused(CheckpointError, told, calibrate, pipe, checkpoint=tmp_path / "state", resume=True, **other)
    assert (tmp_path / "state").read_bytes() == before and (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("calls", [0, 150, 600])  # in the first batch, in a later one, and in the trials
def test_a_full_disk_stops_with_the_last_good_state_and_the_rest_is_measured_later(whole, tmp_path, monkeypatch, calls):
    from diffusers_deis_sn.collect import checkpoint

    write, full = checkpoint.write_together, []

    def write_while_there_is_room(files):
        if full:
            raise OSError(28, "No space left on device")
        return write(files)

    monkeypatch.setattr(checkpoint, "write_together", write_while_there_is_room)
    pipe, path = Pipeline(on(calls, lambda: full.append(1))), tmp_path / "state"
    refused(CheckpointError, ["No space left", "--resume"], calibrate, pipe, checkpoint=path, **OPTIONS)
    assert path.exists() == (calls > 0)
    full.clear()
    resumed = calibrate(Pipeline(), checkpoint=path, resume=True, **OPTIONS)
    assert resumed.to_bytes() == whole.to_bytes()


# ----------------------------------------------------------------------------------------------------- killed


def life(path: Path, begun: Path, options: dict[str, Any]) -> None:
    """A process that measures until it is killed; it notes each batch that it begins."""
    torch.set_num_threads(1)
    pipe = Pipeline(pause=0.0004)
    with begun.open("ab", buffering=0) as notes:
        pipe.on_batch = lambda: notes.write(b"x")
        statistics = calibrate(pipe, checkpoint=path, resume=True, **options)
    statistics.save(path.with_name("done.safetensors"))


def fork(work: Callable[[], None]) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@forking
@pytest.mark.slow
def test_kill_9_at_50_random_moments_loses_one_batch_at_most_and_never_leaves_an_unreadable_file(
    whole, tmp_path, kills=50
):
    chance = random.Random(kills)
    path, begun, done = tmp_path / "state.safetensors", tmp_path / "begun", tmp_path / "done.safetensors"
    killed = finished = middle = 0
    before = 0
    started = time.monotonic()
    os.waitpid(fork(lambda: life(path, begun, OPTIONS)), 0)
    lifetime = time.monotonic() - started  # on this machine, as busy as it is
    path.unlink()
    done.unlink()
    while killed < kills:
        begun.write_bytes(b"")
        process = fork(lambda: life(path, begun, OPTIONS))
        time.sleep(chance.uniform(0.0, lifetime))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            assert done.read_bytes() == whole.to_bytes()
            finished, before = finished + 1, 0
            path.unlink()
            done.unlink()
            continue
        killed += 1
        batches = len(begun.read_bytes())
        now = -(-drawn(path) // 2)  # raises if the file is not readable
        assert now >= before + batches - 1, f"{before} batches were kept, {batches} begun, and {now} are there"
        assert now <= before + batches
        middle += 0 < now < 6
        before = now
    assert middle >= kills // 6, "most kills came before or after the batches: the test shows nothing"
    resumed = calibrate(Pipeline(), checkpoint=path, resume=True, **OPTIONS)
    assert resumed.to_bytes() == whole.to_bytes()
    assert [one.name for one in tmp_path.glob(".state*.tmp")] == []


# ------------------------------------------------------------------------------------------------- not finite


def test_a_value_that_is_not_finite_is_named_and_what_was_measured_before_it_is_kept(tmp_path):
    pipe = Pipeline()
    pipe.broken = {7: 450.0}
    with pytest.raises(CalibrationError, match=r"at t = 443, for sample 7\. "):
        calibrate(pipe, checkpoint=tmp_path / "state", **SHORT)
    assert drawn(tmp_path / "state") == 6
    resumed = calibrate(Pipeline(), checkpoint=tmp_path / "state", resume=True, **SHORT)
    assert resumed.to_bytes() == calibrate(Pipeline(), **SHORT).to_bytes()


@pytest.mark.parametrize("time_of_first", [1000.0, 500.0, 0.0])
def test_a_skipped_sample_is_left_out_of_everything(time_of_first, tmp_path):
    """The last of six samples broken, from whichever time on, is as five samples."""
    options = OPTIONS | {"num_samples": 6, "tolerance": 0.0, "trials": 6}
    pipe = Pipeline()
    pipe.broken = {5: time_of_first}
    skipped = calibrate(pipe, skip_invalid=True, **options)
    five = calibrate(Pipeline(), **(options | {"num_samples": 5, "trials": 5}))
    assert skipped.origin.num_skipped == 1 and five.origin.num_skipped is None
    assert skipped.with_origin(num_skipped=None) == five
    assert "num skipped" in skipped.inspect() and "num skipped" not in five.inspect()
    assert ScoreStatistics.load(skipped.save(tmp_path)).origin.num_skipped == 1


def test_skipping_goes_on_after_an_interruption(tmp_path):
    def pipeline(**options):
        pipe = Pipeline(**options)
        pipe.broken = {1: 300.0, 8: 1000.0}
        return pipe

    options = OPTIONS | {"skip_invalid": True}
    expected = calibrate(pipeline(), **options)
    with pytest.raises(CalibrationInterruptedError, match="after 4 of 11"):
        calibrate(
            pipeline(on_call=on(150, lambda: signal.raise_signal(signal.SIGINT))), checkpoint=tmp_path / "s", **options
        )
    resumed = calibrate(pipeline(), checkpoint=tmp_path / "s", resume=True, **options)
    assert resumed.to_bytes() == expected.to_bytes() and resumed.origin.num_skipped == 2
    assert resumed.most_samples == 9 and resumed.trials.num_samples == 2


def test_where_no_sample_is_sound_there_is_nothing_to_measure():
    pipe = Pipeline()
    pipe.broken = dict.fromkeys(range(20), 1000.0)
    with pytest.raises(CalibrationError, match="Too little to measure: 0 samples"):
        calibrate(pipe, skip_invalid=True, **OPTIONS)


# ------------------------------------------------------------------------------------- the pipeline is given back


def snapshot(pipe: Any) -> dict[str, Any]:
    """Everything about a pipeline that a caller could miss, and what is shared by all of a process."""
    modules = {name: one for name, one in pipe.components.items() if isinstance(one, torch.nn.Module)}
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "scheduler": (id(pipe.scheduler), repr(pipe.scheduler), sorted(vars(pipe.scheduler))),
        "components": {name: id(one) for name, one in pipe.components.items()},
        "attributes": sorted(vars(pipe)),
        "config": dict(pipe.config),
        "bar": dict(getattr(pipe, "_progress_bar_config", {})),
        "hooks": {
            f"{name}.{path}.{kind}": [id(hook) for hook in getattr(part, kind).values()]
            for name, module in modules.items()
            for path, part in module.named_modules()
            for kind in kinds
        },
        "weights": {
            f"{name}.{key}": (one.dtype, str(one.device), one.requires_grad, float(one.detach().double().sum()))
            for name, module in modules.items()
            for key, one in module.named_parameters()
        },
        "training": {name: module.training for name, module in modules.items()},
        "generator": torch.random.get_rng_state().tolist(),
        "global": (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            random.getstate(),
            np.random.get_state()[1].tolist(),
        ),
        "precision": (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32),
        "handlers": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
    }


@pytest.fixture
def lent():
    """A pipeline with hooks and a callback, that was used before, and how it is called."""
    pipe, kwargs = BUILDERS["sd"]()
    pipe.unet.register_forward_hook(lambda *_: None)
    pipe.text_encoder.register_forward_pre_hook(lambda *_: None)
    pipe(**kwargs)
    options = {name: one for name, one in kwargs.items() if name not in ("prompt", "output_type")}
    seen: list[int] = []

    def callback(_pipe, step, _time, tensors):
        seen.append(step)
        return tensors

    options |= {"callback_on_step_end": callback, "num_samples": 2, "batch_size": 1, "num_inference_steps": 2}
    options |= {"trials": 1, "progress": False}
    return pipe, options


def test_the_pipeline_is_given_back_after_success_and_error(lent, tmp_path):
    pipe, options = lent
    before = snapshot(pipe)
    calibrate(pipe, "a red seven", **options, costs=BOTH)
    assert snapshot(pipe) == before
    calibrate(pipe, "a red seven", checkpoint=tmp_path / "state", **options)
    assert snapshot(pipe) == before
    handle = pipe.unet.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(CalibrationError, match="ZeroDivisionError") as told:
        calibrate(pipe, "a red seven", **options)
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    handle.remove()
    assert snapshot(pipe) == before


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_the_pipeline_is_given_back_after_ctrl_c_at_random_moments(lent, tmp_path, keep):
    """Twenty real signals from another thread, whenever they come."""
    chance, (pipe, options) = random.Random(0), lent
    before, start = snapshot(pipe), time.monotonic()
    calibrate(pipe, "a red seven", **options)
    lasts, interrupted = time.monotonic() - start, 0
    for moment in range(20):
        place = {"checkpoint": tmp_path / f"{moment}"} if keep else {}
        timer = threading.Timer(chance.uniform(0.0, lasts), os.kill, (os.getpid(), signal.SIGINT))
        start = time.monotonic()
        try:
            timer.start()
            calibrate(pipe, "a red seven", **options, **place)
            timer.cancel()
            timer.join()
            lasts = min(lasts, time.monotonic() - start)  # the first run is longer, and may be much longer
        except (KeyboardInterrupt, CalibrationInterruptedError):
            interrupted += 1
        assert snapshot(pipe) == before
    assert interrupted > 10


FILES = ("collect/run.py", "collect/signals.py", "collect/progress.py", "contextlib.py")


def interrupted_at(event: int, work: Callable[[], object]) -> BaseException | None:
    """Run something with a signal at so manieth line of what lends the pipeline; what came of it."""
    count = 0

    def trace(frame, kind, _):
        nonlocal count
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        frame.f_trace_opcodes = True
        count += 1
        if count == event:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except (KeyboardInterrupt, CalibrationInterruptedError) as error:
        return error.with_traceback(None)  # nothing that is put back only when a traceback goes away
    finally:
        sys.settrace(before)
    return None if count >= event else StopIteration()


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_the_scheduler_is_given_back_after_ctrl_c_between_any_two_instructions(tmp_path, keep):
    """Every 23rd instruction of all that lends the pipeline and gives it back; all of them take minutes."""
    pipe = Pipeline()
    scheduler, handlers = pipe.scheduler, [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    options = SHORT | {"num_samples": 2, "num_inference_steps": 2}
    expected, result, ended = calibrate(pipe, **options), [], []
    for event in range(1, 10**6, 23):
        place = {"checkpoint": tmp_path / "state", "resume": True} if keep else {}
        (tmp_path / "state").unlink(missing_ok=True)
        result.clear()
        end = interrupted_at(event, lambda place=place: result.append(calibrate(pipe, **options, **place)))
        if isinstance(end, StopIteration):
            break
        assert pipe.scheduler is scheduler, event
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers, event
        ended.append(type(end))
        assert result == [expected] if end is None else not result
    assert len(ended) > 40 and KeyboardInterrupt in ended
    if not keep:
        assert set(ended) == {KeyboardInterrupt}, "a Ctrl-C was swallowed"
