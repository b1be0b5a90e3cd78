"""The samples of a measurement, a round at a time: a batch for each process, and one ledger of them all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.collect.calls import PipelineCalls, called, lacks_memory, step_of
from diffusers_deis_sn.collect.checkpoint import Checkpoint
from diffusers_deis_sn.collect.ledger import Ledger
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.errors import CalibrationError, DeisSnError, SeveralError

logger = logging.getLogger("diffusers_deis_sn")
Report = Callable[[float], None]


@dataclass
class Drawing:
    """Draws samples through a pipeline whose scheduler is the recorder.

    Args:
        pipe: The pipeline.
        recorder: Takes down what it sees; afterwards the same in all processes.
        calls: How to call the pipeline.
        batch_size: Number of samples drawn at once, by each process.
        data: Clean samples to be noised instead, in turn; None for trajectories.
        skip_invalid: Leave out samples with values that are not finite.
        shards: The processes that share the samples.
        singly: Whether each sample has a call of its own, for the pipeline fails on several; None before the first.
    """

    pipe: Any
    recorder: RecordingScheduler
    calls: PipelineCalls
    batch_size: int
    data: Tensor | None = None
    skip_invalid: bool = False
    shards: Shards = ALONE
    singly: bool | None = None

    def round(self, most: int, report: Report) -> None:
        """Draw the next samples, a batch in each process, or as many as there are left.

        Args:
            most: Number of samples, of all, not to be exceeded.
            report: Told the number of samples drawn, a fraction within a batch.

        Raises:
            CalibrationError: The pipeline never calls its scheduler, or what the recorder refuses.
            ProcessLostError: Another process failed.
        """
        first = self.recorder.drawn
        if self.shards.world == 1:
            self._draw(first, min(self.batch_size, most - first), report)
            return
        batch = self.batch_size if self.calls.sized else 1
        count = min(batch * self.shards.world, most - first)
        part, before = self.shards.part(first, count), self.recorder.ledger
        try:
            states = self.shards.each(lambda: self._own(part, first, count, report) if part else b"")
        finally:
            self.recorder.ledger = before
        self._merge(states)

    def _own(self, part: range, first: int, count: int, report: Report) -> bytes:
        """This process's samples of a round, as a state."""
        self.recorder.ledger = ledger = self.recorder.ledger.beside(part.start)

        def told(done: float) -> None:  # as if the others were as far as this one
            report(first + (done - part.start) * count / len(part))

        self._draw(part.start, len(part), told)
        if ledger.drawn != len(part):
            raise CalibrationError(
                f"{type(self.pipe).__name__} drew {ledger.drawn} samples where {len(part)} were asked for, so samples "
                "cannot be dealt out. Measure in one process, or pass what holds a value for each sample as a list."
            )
        return Checkpoint({}, *self.recorder.state()).to_bytes()

    def _merge(self, states: list[bytes]) -> None:
        """Take in what all processes saw, in their order, which is that of the samples."""
        found = [Checkpoint.from_bytes(one, f"process {rank}") for rank, one in enumerate(states) if one]
        for one in found:
            self.recorder.ledger.merge(Ledger.of(one.tensors))
        self.recorder.restore(found[0].facts, self.recorder.ledger.tensors())  # the first always has samples

    def _draw(self, first: int, count: int, report: Report) -> None:
        """Draw samples from `first` on, so many or as many as the pipeline's own arguments hold, past the recorder."""
        if not self.singly:
            try:
                self._call(first, count, report)
                self.singly = False
                return
            except SeveralError as error:
                if self.singly is not None and error.__cause__ is not None:  # it can, and fails for another reason
                    raise error.__cause__ from error
                logger.warning("%s This is done now.", error)
                self.singly = True
        for number in range(first, first + count):
            self._call(number, 1, report)

    def _call(self, first: int, count: int, report: Report) -> None:
        """The same in one call."""
        recorder, data, numbers = self.recorder, self.data, range(first, first + count)
        recorder.asked = count if self.calls.sized else 0
        recorder.on_step = step_counter(report, first)
        recorder.generators = [torch.Generator().manual_seed(self.calls.seed + i) for i in numbers]
        recorder.data = None if data is None else data[[i % len(data) for i in numbers]]
        before = recorder.drawn
        with recorder.ledger.batch(self.skip_invalid):
            self._run(self.calls.arguments(first, count))
        if recorder.drawn == before:
            raise CalibrationError(
                f"{type(self.pipe).__name__} never called `step` of its scheduler, so there is nothing to measure. "
                "Statistics need a pipeline that samples with `pipe.scheduler`."
            )

    def _run(self, arguments: dict[str, Any]) -> None:
        """Call the pipeline; CalibrationError where it cannot be called so, or counts the calls."""
        name, before = type(self.pipe).__name__, step_of(self.pipe)
        try:
            called(self.pipe, arguments)
        except DeisSnError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            if step_of(self.pipe) in (None, before) and not lacks_memory(error):
                raise CalibrationError(
                    f"{name} fails before its first step ({said}). Call it by itself with the same arguments: what it "
                    "lacks is passed to the calibration by name."
                ) from error
            if not isinstance(error, IndexError):
                raise
            raise CalibrationError(
                f"{name} ends by an {said}, as pipelines do that have a list with one value for each step: a "
                "measurement calls the network more often, at the cleanest level and between the steps. Where it is "
                "such a list (of guidances), the model cannot be measured through it."
            ) from error


def step_counter(report: Report, first: int) -> Report:
    """What the recorder calls after each network call, so that the bar moves within a batch."""
    done = float(first)

    def on_step(samples: float) -> None:
        nonlocal done
        done += samples
        report(done)

    return on_step
