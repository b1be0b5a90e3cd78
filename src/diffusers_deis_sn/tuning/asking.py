"""A pipeline as a function of samples and times: what its network says, whatever sample it is asked about.

A pipeline calls its network, with prompts, guidance and offloading, between two calls of `scheduler.step`; what it
calls it on is what `step` returned, and when is the next entry of a list that the scheduler keeps. So a scheduler that
waits in `step` for the next question and writes its time into the list makes a function of the pipeline. Prompts are
encoded once, and nothing is decoded.

Several batches are asked in turns: the call of each waits in a thread of its own, of which one runs at a time. Where
several processes share the work each has batches of its own; the first one asks, and the others serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from diffusers_deis_sn.collect.calls import called
from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, ProcessLostError
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.tuning.dealing import gathered, own
from diffusers_deis_sn.tuning.samples import Arguments
from diffusers_deis_sn.tuning.threads import Batch, PerThread
from diffusers_deis_sn.tuning.waiting import AskedScheduler

_STOPPED = b"stopped: "  # in the place of a question, which begins with a length


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
        self._batches: dict[int, Batch] = {}
        self._sizes: list[int] = []
        self._before = pipe.scheduler
        self._serves = False
        self.asked = 0

    def __enter__(self) -> Asker:
        # What pipelines read there decides how levels are shifted, so it is what they read in runs with a plan.
        shared = PerThread(DEISSNScheduler.from_config(dict(self._before.config), stats=False).config)
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

    def _begun(self, shared: PerThread) -> dict[int, Tensor]:
        """The samples that this process's own batches start from."""
        for number in own(self._shards, len(self._calls)):
            self._batches[number] = batch = Batch(self._calling(self._calls[number]), shared, self._before.config)
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
        return float(self._one.shift_in_use)

    def __call__(self, samples: Tensor, level: float) -> Tensor:
        """The outputs for samples at a level rho; (S, *event), float32 on the CPU.

        For the first process alone, where there are several.
        """
        if self._serves:
            question = {"samples": samples.contiguous(), "level": torch.tensor(level, dtype=torch.float64)}
            self._shards.led(lambda: save(question))
        return self._answers(samples, level)

    def serve(self) -> None:
        """Answer the first process until it has no further question. Raises CalibrationInterruptedError as it does."""
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
        return lambda: called(self._pipe, arguments())


def _plain(x: Tensor) -> Tensor:
    return x.to("cpu", torch.float32)
