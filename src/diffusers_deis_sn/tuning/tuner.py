"""The course of tuning: runs without plans, fine runs, fits, and what decides on samples that were held out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffusers_deis_sn.collect.calls import PipelineCalls
from diffusers_deis_sn.collect.progress import Progress
from diffusers_deis_sn.core.step import has_bands
from diffusers_deis_sn.errors import CalibrationInterruptedError, DeisSnError, ProcessLostError
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.candidates import OutOfTimeError, candidates
from diffusers_deis_sn.tuning.dealing import largest
from diffusers_deis_sn.tuning.deciding import WANTED, Jury, Without, check_fine
from diffusers_deis_sn.tuning.keeping import Fit, Fits
from diffusers_deis_sn.tuning.meter import FINE_CALLS, Meter
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.outcome import Outcome, Tuning
from diffusers_deis_sn.tuning.running import Running, rivals
from diffusers_deis_sn.tuning.samples import Arguments, batches
from diffusers_deis_sn.tuning.search import Found, Search
from diffusers_deis_sn.tuning.teacher import Teachers

logger = logging.getLogger("diffusers_deis_sn")
T = TypeVar("T")


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
        fits: What was fitted before, what keeps it, and the processes that share the work.
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
    fits: Fits = field(default_factory=Fits)
    meter: Meter = field(init=False)

    def tuned(self) -> Tuning:
        """All of it; raises as `tune`."""
        self.fits.resume()
        with self._jury() as jury:
            before = dict(self._each(jury.without))
            fine = jury.fine()
            self._fit(before, fine)
            ends = {FINE_CALLS: fine}
            outcomes = dict(self._each(lambda calls: self._outcome(jury, calls, before[calls], ends)))
            return self._tuning(jury, list(outcomes.values()))

    def _outcome(self, jury: Jury, calls: int, before: Without, ends: dict[int, Tensor]) -> Outcome:
        """What is decided for a number of steps, by the fine run that it was fitted to; `ends` are those known."""
        goal = self.fits.goals[calls]
        if goal.calls not in ends:
            ends[goal.calls] = jury.fine(goal.calls)
        return jury.outcome(before, self.fits.found[calls], ends[goal.calls], goal)

    def _each(self, work: Callable[[int], T]) -> Iterator[tuple[int, T]]:
        """What is done for each number of steps; between two of them it may be stopped."""
        for calls in self.steps:
            yield calls, work(calls)
            self.fits.pause()

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
        shards = self.fits.shards
        left = tuple(calls for calls in self.steps if calls not in self.fits.found)
        self.meter = Meter(
            self.progress if shards.leads else False,
            len(self.fitted),
            len(self.held_out),
            self.steps,
            1 + len(others),
            self.budget,
            left,
        )
        running = Running(self.pipe, self._batches(self.held_out), self._report, shards=shards)
        try:
            yield Jury(running, config, self.statistics, others, self.guidance, self.meter, checks)
        finally:
            self.meter.close()

    def _batches(self, samples: list[int]) -> list[Arguments]:
        return batches(self.calls, samples, largest(self.batch_size, len(samples), self.fits.shards))

    def _report(self, samples: int) -> None:
        if self.fits.signals is not None:
            self.fits.signals.tell()
        self.meter(samples * self.fits.shards.world)  # the others make about as many calls meanwhile

    def _tuning(self, jury: Jury, outcomes: list[Outcome]) -> Tuning:
        accepted = [one.plan for one in outcomes if one.plan is not None]
        record = jury.with_plans(*accepted) if accepted else self.statistics
        seconds = self.fits.shards.led(lambda: repr(self.meter.seconds).encode())  # what comes next depends on them
        return Tuning(record, tuple(outcomes), self.meter.done, float(seconds.decode()))

    def _fit(self, before: Mapping[int, Without], fine: Tensor) -> None:
        """Fit what is not fitted yet: in the first process, which all others serve with their part of the network."""
        if not self.meter.left:
            return
        shards = self.fits.shards
        with Asker(self.pipe, self._batches(self.fitted), self._report, shards) as asker:
            if shards.leads:
                self._search(asker, before, fine)
            else:
                asker.serve()
        self.fits.share()

    def _search(self, asker: Asker, before: Mapping[int, Without], fine: Tensor) -> None:
        """What is found for each number of steps by what was left free, and how fine the run that it is fitted to."""
        model = Model(asker.noise, asker.prediction, asker, asker.start)
        teachers = Teachers(model, self._affords)
        errors = {calls: before[calls].errors(fine) for calls in self.meter.left}
        goals = {calls: WANTED * min(both) for calls, both in errors.items()}
        check_fine(teachers.within(max(goals.values()))[1], {calls: without for calls, (without, _) in errors.items()})
        bands = 2 if has_bands(fine.shape) else 1
        for place, calls in enumerate(self.meter.left):
            teacher, goal = teachers.within(goals[calls])
            search, menu = Search(model, teacher, self._clock(place, calls, *errors[calls])), before[calls].menu
            found: dict[str, Fit] = {}
            try:
                for name, one in candidates(search, menu, calls, bands):
                    recipe = next(n for n, recipe in enumerate(menu) if recipe is one.recipe)
                    found[name] = Fit(one.run, recipe)
            except (CalibrationInterruptedError, ProcessLostError):
                raise
            except DeisSnError as error:
                logger.warning("No plan of %d steps: %s", calls, error)
                found = {}
            self.fits.keep(calls, found, goal)

    def _affords(self, calls: int) -> bool:
        """Whether there is time for a finer run, of the samples to fit on and of those held out; then it is counted."""
        if not self.meter.affords(calls):
            return False
        self.meter.more(calls * (len(self.fitted) + len(self.held_out)))
        return True

    def _clock(self, place: int, calls: int, without: float, rival: float) -> Callable[[Found], None]:
        """Told of every fit; ends the search in time, and shows the least error so far beside those to be beaten."""
        deadline, least = self.meter.deadline(place), float("inf")

        def spent(found: Found) -> None:
            nonlocal least
            if found.score < least:
                least = found.score
                error = float(torch.tensor(found.score).exp())
                said = f"{calls} steps: {error:.3g} (without a plan {without:.3g}, best of Diffusers {rival:.3g})"
                self.meter.say(said, steps=calls, error=error, without=without, rival=rival)
            self.fits.stop()
            if self.meter.seconds > deadline:
                raise OutOfTimeError

        return spent
