"""Whole runs: all prompts by one scheduler, batch by batch, kept in the folder and held against the converged run."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusers_deis_sn.collect.calls import lacks_memory
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.comparison.contenders import Contender, steps_for
from diffusers_deis_sn.comparison.drawing import Drawn, Easel
from diffusers_deis_sn.comparison.keeping import CONVERGED, Keeper
from diffusers_deis_sn.comparison.rows import Row
from diffusers_deis_sn.errors import CalibrationInterruptedError, ComparisonError, SeveralError

logger = logging.getLogger("diffusers_deis_sn")


@dataclass
class Runner:
    """Runs contenders on the same prompts.

    Args:
        easel: Draws batches.
        keeper: Keeps what is drawn.
        prompts: Number of samples of each run.
        shown: Of how many, the first, there are pictures.
        batch_size: Drawn at once; halved where an accelerator's memory does not suffice.
        stop: Says when to stop.
        fine: Steps of the converged run, once it is there.
        report: Told how many samples of the present run are drawn, a fraction.
        seconds_per_call: Of one sample, as measured last.
    """

    easel: Easel
    keeper: Keeper
    prompts: int
    shown: int
    batch_size: int
    stop: Interruptions
    fine: int = 0
    report: Callable[[float], None] = field(default=lambda _: None)
    seconds_per_call: float = 0.0

    def row(self, one: Contender, calls: int, further: bool = False) -> Row:
        """A contender in so many network calls, on all prompts.

        Raises:
            ComparisonError: See `Easel.draw`; also a run that the pipeline began in the middle.
            CalibrationInterruptedError: Ctrl-C, after a whole batch.
        """
        steps = steps_for(one.make(), calls)
        run = self.keeper.run(one.name, steps, one.code)
        for first, drawn in self.batches(one, steps, run.drawn, self.prompts):
            ends = self.converged(first, len(drawn.ends))
            run.distances += apart(drawn.ends, ends).tolist()
            run.seconds += drawn.seconds
            run.calls, run.timesteps, run.sigmas = drawn.calls, drawn.timesteps, drawn.sigmas
            shown = dict(enumerate(drawn.pictures or (), first))
            self.keeper.keep(run, one.code, {number: shown[number] for number in shown if number < self.shown})
            self._stop_if_wanted()
        return Row(
            scheduler=one.name,
            calls=calls,
            made=run.calls,
            distances=np.array(run.distances),
            seconds=run.seconds / self.prompts,
            steps=steps,
            ours=one.ours,
            further=further,
            timesteps=run.timesteps,
            sigmas=run.sigmas,
        )

    def pictures(self, one: Contender, steps: int) -> tuple[bytes, ...]:
        """The pictures of a run that is through, as files have them."""
        return self.keeper.pictures(self.keeper.run(one.name, steps, one.code), one.code, self.shown)

    def converged(self, first: int, count: int) -> Tensor:
        """Where prompts end in the converged run. Raises ComparisonError where it does not have them all."""
        ends = [self.keeper.converged(self.fine, number) for number in range(first, first + count)]
        found = [torch.from_numpy(one) for one in ends if one is not None]
        if len(found) < count:
            raise ComparisonError(f"The converged run has no prompt {first + len(found)}. Begin anew with --force.")
        return torch.stack(found)

    def ends(self, one: Contender, steps: int, count: int) -> Tensor:
        """Where the first prompts end in a fine run, drawn if they are not known; (B, *event)."""
        one = replace(one, name=CONVERGED)  # it may take part as well, and its rows are others
        run = self.keeper.run(one.name, steps, one.code)
        for number in range(count):
            if self.keeper.converged(steps, number) is None:
                break
        else:
            number = count
        for first, drawn in self.batches(one, steps, number, count):
            self.keeper.keep_converged(steps, first, drawn.ends.numpy())
            run.distances += [0.0] * (first + len(drawn.ends) - run.drawn)  # from itself
            run.seconds += drawn.seconds
            run.calls, run.timesteps, run.sigmas = drawn.calls, drawn.timesteps, drawn.sigmas
            shown = dict(enumerate(drawn.pictures or (), first))
            self.keeper.keep(run, one.code, {number: shown[number] for number in shown if number < self.shown})
            self._stop_if_wanted()
        fine, self.fine = self.fine, steps
        try:
            return self.converged(0, count)
        finally:
            self.fine = fine

    def batches(self, one: Contender, steps: int, first: int, end: int) -> Iterator[tuple[int, Drawn]]:
        """Draw samples `first` to `end - 1`: number of the first of each batch, and the batch."""
        while first < end:
            # A batch has pictures or none, so that decoding those which nobody sees takes no time.
            count = min(self.batch_size, end - first)
            count = min(count, self.shown - first) if first < self.shown else count
            drawn = self._batch(one, steps, first, count)
            if drawn is None:
                continue
            self.seconds_per_call = drawn.seconds / len(drawn.ends) / max(drawn.calls, 1)
            yield first, drawn
            first += len(drawn.ends)

    def _batch(self, one: Contender, steps: int, first: int, count: int) -> Drawn | None:
        """One batch; None where there was too little memory, and the batch size is smaller now."""
        self.easel.on_step = lambda done, of: self.report(first + count * done / of)
        pictures = first < self.shown
        try:
            return self.easel.draw(one.make(), steps, first, count, pictures)
        except SeveralError as error:
            drawn = self.easel.draw(one.make(), steps, first, 1, pictures)  # else the scheduler does not suit
            self.batch_size = 1
            logger.warning("%s This is done now.", error)
            return drawn
        except Exception as error:
            if count == 1 or not lacks_memory(error):
                raise
            self.batch_size = count // 2
        gc.collect()
        torch.cuda.empty_cache()
        logger.warning("Out of memory with %d pictures at once: going on with %d.", count, self.batch_size)
        return None

    def _stop_if_wanted(self) -> None:
        if self.stop.wanted:
            raise CalibrationInterruptedError(
                f"Stopped by {self.stop.wanted}. What is drawn is kept in {str(self.keeper.folder)!r}: the same "
                "command goes on from there."
            )


def apart(ends: Tensor, others: Tensor) -> NDArray[np.float64]:
    """RMS distance over the components, (|x - y|^2 / d)^(1/2); (B,)."""
    return (ends.double() - others.double()).flatten(1).square().mean(1).sqrt().numpy()
