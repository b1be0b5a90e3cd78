"""A pipeline as a function of samples and times: what its network says, whatever sample it is asked about.

A pipeline calls its network, with prompts, guidance and offloading, between two calls of `scheduler.step`; what it
calls it on is what `step` returned, and when is the next entry of a list that the scheduler keeps. So a scheduler that
waits in `step` for the next question and writes its time into the list makes a function of the pipeline. Prompts are
encoded once, and nothing is decoded.

Several batches are asked in turns: the call of each waits in a thread of its own, of which one runs at a time. Where
several processes share the work each has batches of its own; the first one asks, and the others serve it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from safetensors.torch import load, save
from torch import Tensor

from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, ProcessLostError
from diffusers_deis_sn.schedulers._planner import shift_of
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.tuning.dealing import gathered, own
from diffusers_deis_sn.tuning.samples import Arguments

QUESTIONS = 100_000  # that a pipeline can be asked in one call
_STOPPED = b"stopped: "  # in the place of a question, which begins with a length
TOLERANCE = 1e-3  # of a time, which some pipelines copy in another precision


class _Stopped(BaseException):
    """Raised in `step` to leave the pipeline; no `except Exception` of a pipeline stops it."""


@dataclass
class _Answer:
    """What one call of `step` told, or why there is none."""

    output: Tensor | None = None
    sample: Tensor | None = None
    error: BaseException | None = None


class AskedScheduler(DEISSNScheduler):
    """The scheduler of one batch: each `step` gives an answer and waits for the next question."""

    _silent = True

    @classmethod
    def waiting(cls, config: Mapping[str, Any], told: Callable[[_Answer], tuple[Tensor, float] | None]) -> Any:
        """One that hands answers to `told`, which returns the next sample and its level, or None to stop."""
        scheduler = cls.from_config(dict(config), stats=False)
        scheduler._told, scheduler._given, scheduler._at, scheduler.asked = told, None, 0, 0
        return scheduler

    _told: Callable[[_Answer], tuple[Tensor, float] | None]
    _given: Tensor | None
    _level: float
    _at: int
    asked: int
    shift: float

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Any = None,
        timesteps: Any = None,
    ) -> None:
        """A long list of times, of which only the first is known."""
        if self._planner.options.invert_sigmas:
            raise CalibrationError(
                "Plans are not fitted to models of inverted sigmas (OmniGen, Mochi). Run them untuned."
            )
        self.shift = shift_of(self._planner.options, self.noise, mu)
        self._level, self._at, self._given = self.noise.top, 0, None
        dtype = torch.int64 if self.noise.numbered else torch.float32
        self.timesteps = torch.full((QUESTIONS,), self._time, dtype=dtype, device=device)
        self.sigmas = torch.full((QUESTIONS + 1,), float(self.noise.as_sigma(self._level)))
        self.num_inference_steps = QUESTIONS
        self.init_noise_sigma = self.noise.start_scale(self._level)

    @property
    def _time(self) -> float:
        return float(self.noise.call_times(torch.tensor([self._level]).double().numpy())[0])

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """What the network is to be given."""
        sigma = self.noise.sigma([self._level])
        scale = float(self.noise.input_scale(sigma)[0])
        return sample if scale == 1.0 else sample * scale

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Refused: a run that starts from an image is another run."""
        raise CalibrationError(
            "This pipeline starts from an image or keeps one while it samples, and plans are for runs from noise. Tune "
            "the model's text-to-image pipeline."
        )

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Any = None,
        return_dict: bool = True,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        per_token_timesteps: Tensor | None = None,
        prev_timestep: float | Tensor | None = None,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Tell what the network said, and return what it is to be asked next."""
        if per_token_timesteps is not None:
            raise CalibrationError(
                "This pipeline gives each token a time of its own, and plans are for samples at one. Tune the model's "
                "plain text-to-video pipeline."
            )
        time = float(torch.as_tensor(timestep).flatten()[0])
        if abs(time - self._time) > TOLERANCE * max(1.0, abs(self._time)):
            raise CalibrationError(
                f"The pipeline keeps its own list of times: it called the network at {time:g} where the scheduler says "
                f"{self._time:g}. It cannot be tuned through its scheduler."
            )
        if self._given is not None and not torch.equal(sample, self._given):
            raise CalibrationError(
                "The pipeline changes its samples between steps, as those do that paint within a mask, so no plan can "
                "be fitted through it. Tune the model's plain text-to-image pipeline."
            )
        if model_output.ndim > 1 and model_output.shape[1] == 2 * sample.shape[1]:
            model_output = model_output[:, : sample.shape[1]]
        self.asked += 1
        question = self._told(_Answer(model_output.detach(), sample.detach()))
        self._at += 1
        if question is None or self._at == QUESTIONS:
            raise _Stopped
        self._given, self._level = question[0].to(sample), question[1]
        self.timesteps[self._at] = self._time
        return SchedulerOutput(prev_sample=self._given) if return_dict else (self._given,)


class _PerThread:
    """Whatever it is asked for, the scheduler of the thread that asks has it."""

    def __init__(self, config: Any) -> None:
        self._own = threading.local()
        self._config = config

    @property
    def config(self) -> Any:
        return self._config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own.scheduler, name)

    def __len__(self) -> int:
        return len(self._own.scheduler)


class _Batch:
    """A pipeline's call in a thread, asked one question after the other.

    Args:
        call: Calls the pipeline.
        scheduler: Its scheduler in all threads.
        config: Of the model's own.
    """

    def __init__(self, call: Callable[[], Any], scheduler: _PerThread, config: Mapping[str, Any]) -> None:
        self._questions: SimpleQueue[tuple[Tensor, float] | None] = SimpleQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._ended: BaseException | None = None
        self.scheduler = AskedScheduler.waiting(config, self._tell)
        self._call, self._shared = call, scheduler
        self._threads = torch.get_num_threads()
        self._around = _surroundings()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), daemon=True)
        self._thread.start()
        first = self.answer()
        assert first.sample is not None and first.output is not None
        self.start, self.first = first.sample, first.output

    def ask(self, sample: Tensor, level: float) -> Tensor:
        """What the network says of a batch of samples at a level. Raises what the pipeline raised, now or before."""
        if self._ended is not None:
            raise self._ended
        self._questions.put((sample, level))
        output = self.answer().output
        assert output is not None
        return output

    def answer(self) -> _Answer:
        """The next answer. Raises what the pipeline raised."""
        answer = self._answers.get()
        if answer.error is not None:
            self._ended = answer.error
            self._thread.join()
            raise answer.error
        return answer

    def stop(self) -> None:
        """Leave the pipeline."""
        if self._thread.is_alive():
            self._questions.put(None)
            self._thread.join()

    def _tell(self, answer: _Answer) -> tuple[Tensor, float] | None:
        self._answers.put(answer)
        return self._questions.get()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # of OpenMP each thread has a number of its own
        self._shared._own.scheduler = self.scheduler
        try:
            with ExitStack() as stack:
                for make in self._around:
                    stack.enter_context(make())
                self._call()
        except _Stopped:
            return
        except BaseException as error:
            self._answers.put(_Answer(error=error))
        else:
            self._answers.put(
                _Answer(error=CalibrationError("The pipeline ended where its scheduler has further times for it."))
            )


def _surroundings() -> list[Callable[[], AbstractContextManager[Any]]]:
    """Contexts that hold in this thread and would not in another: no gradients, the GPU, mixed precision."""
    found: list[Callable[[], AbstractContextManager[Any]]] = [torch.no_grad]
    if torch.cuda.is_available():
        found.append(partial(torch.cuda.device, torch.cuda.current_device()))
    for device in ("cuda", "cpu"):
        if _is_mixed(device):
            found.append(partial(torch.autocast, device, _mixed_with(device)))
    return found


def _is_mixed(device: str) -> bool:
    try:
        return bool(torch.is_autocast_enabled(device))
    except TypeError:  # before PyTorch 2.4
        return torch.is_autocast_enabled() if device == "cuda" else torch.is_autocast_cpu_enabled()


def _mixed_with(device: str) -> torch.dtype:
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype(device)
    return torch.get_autocast_gpu_dtype() if device == "cuda" else torch.get_autocast_cpu_dtype()


def _plain(x: Tensor) -> Tensor:
    return x.to("cpu", torch.float32)


class Asker:
    """The network of a pipeline, asked about all samples at once, batch by batch.

        with Asker(pipe, config, calls) as asker:
            output = asker(samples, level)

    The pipeline holds another scheduler within the block.

    Args:
        pipe: The pipeline.
        calls: Arguments of a call for each batch.
        report: Told the number of samples that the network was called on, after each call.
        shards: The processes that share it; each has at least one of the batches.

    Attributes:
        start: The unit noise that the pipeline starts all samples from; (S, *event), float32 on the CPU.
        first: What the network said of it at the noisiest level.
    """

    start: Tensor
    first: Tensor

    def __init__(
        self,
        pipe: Any,
        calls: Sequence[Arguments],
        report: Callable[[int], None] = lambda _: None,
        shards: Shards = ALONE,
    ) -> None:
        self._pipe, self._calls, self._report, self._shards = pipe, calls, report, shards
        self._batches: dict[int, _Batch] = {}
        self._sizes: list[int] = []
        self._before = pipe.scheduler
        self._serves = False
        self.asked = 0

    def __enter__(self) -> Asker:
        # What pipelines read there decides how levels are shifted, so it is what they read in runs with a plan.
        shared = _PerThread(DEISSNScheduler.from_config(dict(self._before.config), stats=False).config)
        try:
            self._pipe.scheduler = shared
            starts = gathered(self._shards, lambda: self._begun(shared))
            firsts = gathered(self._shards, lambda: {n: _plain(one.first) for n, one in self._batches.items()})
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.start = torch.cat(starts) / self.noise.start_scale(self.noise.top)
        self.first, self._sizes, self._serves = torch.cat(firsts), list(map(len, starts)), self._shards.world > 1
        return self

    def _begun(self, shared: _PerThread) -> dict[int, Tensor]:
        """The samples that this process's own batches start from."""
        for number in own(self._shards, len(self._calls)):
            self._batches[number] = batch = _Batch(self._calling(self._calls[number]), shared, self._before.config)
            self._count(len(batch.start))
        return {number: _plain(batch.start) for number, batch in self._batches.items()}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._serves and self._shards.leads and not isinstance(error, ProcessLostError):
                self._dismiss(error)
            for batch in self._batches.values():
                batch.stop()
        finally:
            self._pipe.scheduler = self._before
            if hasattr(self._pipe, "maybe_free_model_hooks"):
                self._pipe.maybe_free_model_hooks()  # which a pipeline that is left early has not done

    @property
    def _one(self) -> AskedScheduler:
        scheduler: AskedScheduler = next(iter(self._batches.values())).scheduler
        return scheduler

    @property
    def noise(self) -> NoiseSchedule:
        """The process of the model."""
        process: NoiseSchedule = self._one.noise
        return process

    @property
    def prediction(self) -> str:
        """What the network predicts."""
        return str(self._one.config["prediction_type"])

    @property
    def shift(self) -> float:
        """By which the pipeline has its levels shifted."""
        return float(self._one.shift)

    def __call__(self, samples: Tensor, level: float) -> Tensor:
        """The outputs for samples at a level rho; (S, *event), float32 on the CPU.

        For the first process alone, where there are several.
        """
        if self._serves:
            question = {"samples": samples.contiguous(), "level": torch.tensor(level, dtype=torch.float64)}
            self._shards.led(lambda: save(question))
        return self._answers(samples, level)

    def serve(self) -> None:
        """Answer the first process until it has no further question. Raises what it was stopped by."""
        while asked := self._shards.led(bytes):
            if asked.startswith(_STOPPED):
                raise CalibrationInterruptedError(asked[len(_STOPPED) :].decode())
            question = load(asked)
            self._answers(question["samples"], float(question["level"]))

    def _answers(self, samples: Tensor, level: float) -> Tensor:
        return torch.cat(gathered(self._shards, lambda: self._own_answers(torch.split(samples, self._sizes), level)))

    def _own_answers(self, parts: Sequence[Tensor], level: float) -> dict[int, Tensor]:
        found = {}
        for number, batch in self._batches.items():
            found[number] = _plain(batch.ask(parts[number], level))
            self._count(len(parts[number]))
        return found

    def _dismiss(self, error: BaseException | None) -> None:
        """Tell the processes that serve that there is no further question, or why."""

        def last() -> bytes:
            if isinstance(error, CalibrationInterruptedError):
                return _STOPPED + str(error).encode()
            if error is not None:
                raise CalibrationError(str(error) or type(error).__name__)
            return b""

        with suppress(CalibrationError):
            self._shards.led(last)

    def _count(self, samples: int) -> None:
        self.asked += samples
        self._report(samples)

    def _calling(self, arguments: Arguments) -> Callable[[], Any]:
        return lambda: self._pipe(**arguments())
