"""The course of tuning: runs without plans, fine runs, fits, and what decides on samples that were held out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from diffusers_deis_sn.collect.calls import PipelineCalls
from diffusers_deis_sn.collect.progress import Progress
from diffusers_deis_sn.core.update import has_bands
from diffusers_deis_sn.errors import DeisSnError
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.candidates import OutOfTimeError, candidates
from diffusers_deis_sn.tuning.deciding import Jury, Without
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.meter import CHECK_CALLS, FINE_CALLS, Meter
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.outcome import Outcome, Tuning
from diffusers_deis_sn.tuning.running import Running, rivals
from diffusers_deis_sn.tuning.samples import batches
from diffusers_deis_sn.tuning.search import Found, Search
from diffusers_deis_sn.tuning.teacher import Teacher

logger = logging.getLogger("diffusers_deis_sn")

FIRST_ORDER = 3.0  # how many times nearer to the truth than to the coarser run the fine one is, of order two


@dataclass
class Tuner:
    """Tunes a pipeline, see `tuning.run.tune`.

    Args:
        pipe: The pipeline.
        calls: How to call it.
        statistics: Of its model.
        steps: Numbers of steps.
        fitted: Numbers of the samples to fit on.
        held_out: Numbers of those that decide.
        batch_size: Number of samples drawn at once.
        guidance: What the pipeline's arguments say of it.
        budget: Seconds, or None.
        progress: As in `tune`.
    """

    pipe: Any
    calls: PipelineCalls
    statistics: ScoreStatistics
    steps: tuple[int, ...]
    fitted: list[int]
    held_out: list[int]
    batch_size: int
    guidance: float | None
    budget: float | None = None
    progress: bool | str | Progress = False
    meter: Meter = field(init=False)

    def tuned(self) -> Tuning:
        """All of it; raises as `tune`."""
        with self._jury() as jury:
            before = {calls: jury.without(calls) for calls in self.steps}
            fine = jury.fine()
            found, far = self._found(before)
            return self._tuning(jury, [jury.outcome(before[calls], found[calls], fine, far) for calls in self.steps])

    def checked(self, plans: Mapping[int, TunedPlan]) -> Tuning:
        """Whether plans from before, by their numbers of steps, are still better than runs without."""
        with self._jury(checks=True) as jury:
            before = {calls: jury.without(calls) for calls in self.steps}
            fine = jury.fine()
            return self._tuning(jury, [jury.checked(before[calls], plans[calls], fine) for calls in self.steps])

    @contextmanager
    def _jury(self, checks: bool = False) -> Iterator[Jury]:
        config = dict(self.pipe.scheduler.config)
        others = rivals(config, DEISSNScheduler.from_config(config, stats=self.statistics).noise.kind)
        self.meter = Meter(
            self.progress, len(self.fitted), len(self.held_out), self.steps, 1 + len(others), self.budget
        )
        running = Running(self.pipe, batches(self.calls, self.held_out, self.batch_size), self.meter)
        try:
            yield Jury(running, config, self.statistics, others, self.guidance, self.meter, checks)
        finally:
            self.meter.close()

    def _tuning(self, jury: Jury, outcomes: list[Outcome]) -> Tuning:
        accepted = [one.plan for one in outcomes if one.plan is not None]
        record = jury.with_plans(*accepted) if accepted else self.statistics
        return Tuning(record, tuple(outcomes), self.meter.done, self.meter.seconds)

    def _found(self, before: Mapping[int, Without]) -> tuple[dict[int, dict[str, Found]], float]:
        """What was found for each number of steps by what was left free, and how far off the fine run is."""
        with Asker(self.pipe, batches(self.calls, self.fitted, self.batch_size), self.meter) as asker:
            model = Model(asker.noise, asker.prediction, asker, asker.start)
            teacher, coarser = Teacher.of(model, FINE_CALLS), Teacher.of(model, CHECK_CALLS)
            far = Judged.of(coarser.end, teacher.end).geometric / FIRST_ORDER
            bands = 2 if has_bands(teacher.end.shape) else 1
            found: dict[int, dict[str, Found]] = {}
            for place, calls in enumerate(self.steps):
                search = Search(model, teacher, self._clock(place, calls))
                try:
                    found[calls] = dict(candidates(search, before[calls].menu, calls, bands))
                except DeisSnError as error:
                    logger.warning("No plan of %d steps: %s", calls, error)
                    found[calls] = {}
            return found, far

    def _clock(self, place: int, calls: int) -> Callable[[Found], None]:
        """Told of every fit; ends the search in time, and shows the least error so far."""
        deadline, least = self.meter.deadline(place), float("inf")

        def spent(found: Found) -> None:
            nonlocal least
            if found.score < least:
                least = found.score
                error = float(torch.tensor(found.score).exp())
                self.meter.say(f"{calls} steps: {error:.3g}", steps=calls, error=error)
            if self.meter.seconds > deadline:
                raise OutOfTimeError

        return spent
