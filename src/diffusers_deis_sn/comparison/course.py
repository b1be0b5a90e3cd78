"""The runs of a comparison in their order: the converged one, all in each column, and rivals in further calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from diffusers_deis_sn.collect.calls import lacks_memory
from diffusers_deis_sn.collect.progress import JSON, Meter, Progress, meter
from diffusers_deis_sn.comparison.advice import OURS, Equal, verdict_of
from diffusers_deis_sn.comparison.contenders import Contender, Skipped, said
from diffusers_deis_sn.comparison.reference import Reference, converge
from diffusers_deis_sn.comparison.rows import Row, guess
from diffusers_deis_sn.comparison.running import Runner
from diffusers_deis_sn.comparison.search import MOST, first_as_near
from diffusers_deis_sn.errors import CalibrationInterruptedError

logger = logging.getLogger("diffusers_deis_sn")


class Course:
    """Makes the runs of a comparison.

    Args:
        runner: Draws and keeps them.
        progress: As for `compare`.
        tell: Told of what is through, by name of the event.
        skipped: Those that do not take part, to which those are added that fail.

    Attributes:
        rows: Of the runs that are through.
    """

    def __init__(
        self, runner: Runner, progress: bool | str | Progress, tell: Callable[..., None], skipped: list[Skipped]
    ) -> None:
        self.rows: list[Row] = []
        self._runner, self._progress, self._tell, self._skipped = runner, progress, tell, skipped
        self._out: set[str] = set()

    def converged(self, candidates: Sequence[Contender], coarse: int) -> tuple[Reference, Contender]:
        """The converged run, by the first of the samplers that the pipeline takes, and that sampler."""
        for one in candidates[:-1]:
            try:
                return self._converged(one, coarse), one
            except CalibrationInterruptedError:
                raise
            except Exception as error:  # whatever a pipeline raises with a scheduler that does not suit it
                if lacks_memory(error):
                    raise
                logger.info("No converged run by %s. %s", one.name, said(error))
        return self._converged(candidates[-1], coarse), candidates[-1]

    def _converged(self, one: Contender, coarse: int) -> Reference:
        prompts = self._runner.prompts
        with self._meter("Converged run", prompts) as report:
            reference = converge(self._runner, one, coarse, lambda share: report(prompts * share))
        if not reference.converged:
            logger.warning(
                "Runs of %d and %d steps of %s still differ by %.2g: smaller distances mean little.",
                reference.check_steps,
                reference.steps,
                reference.scheduler,
                reference.check_distance,
            )
        self._tell("reference", steps=reference.steps, check_distance=reference.check_distance)
        return reference

    def columns(self, entrants: Sequence[Contender], numbers: Sequence[int]) -> None:
        """All schedulers in all numbers of calls."""
        prompts = self._runner.prompts
        runs = [(one, calls) for calls in numbers for one in entrants if one.takes_part(calls)]
        with self._meter("Comparing", prompts * len(runs)) as report:
            for place, (one, calls) in enumerate(runs):
                self._runner.report = _beyond(prompts * place, report)
                self._run(one, calls)
                report(prompts * (place + 1))

    def _run(self, one: Contender, calls: int, further: bool = False) -> Row | None:
        """One scheduler in so many calls; None where it fails, which is noted among those that do not take part."""
        if one.name in self._out:
            return None
        try:
            row = self._runner.row(one, calls, further)
        except CalibrationInterruptedError:
            raise
        except Exception as error:  # whatever a pipeline raises with a scheduler that does not suit it
            if lacks_memory(error):
                raise
            self._out.add(one.name)
            self._skipped.append(Skipped(one.name, said(error)))
            self.rows = [row for row in self.rows if row.scheduler != one.name]
            return None
        self.rows.append(row)
        self._tell("run", scheduler=one.name, calls=row.calls, geometric_mean=row.geometric_mean, rms=row.rms)
        return row

    def equal(self, entrants: Sequence[Contender], calls: int) -> Equal | None:
        """How many calls a rival needs for ours, where ours win: the fewest that any needs."""
        verdict, ours, rival, _ = verdict_of(self.rows, calls)
        if verdict != OURS or ours is None or rival is None:
            return None
        target, limit = ours.geometric_mean, MOST * calls
        rivals = [one for one in entrants if not one.ours and one.calls is None and one.name not in self._out]
        rivals.sort(key=lambda one: (self._wanted(one, target), one.name != rival.scheduler))
        found = Equal(rivals[0].name, self._first(rivals[0], target, calls, limit), limit)
        for one in rivals[1:]:
            # It needs fewer only if it comes as near in one call less, which is one run to find out.
            last = (found.calls or limit + 1) - 1
            if last > calls and self._error(one, last) <= target:
                found = Equal(one.name, self._first(one, target, calls, last), limit)
        return found

    def _wanted(self, one: Contender, target: float) -> float:
        """In how many calls a rival may come as near, as far as its rows tell."""
        known = sorted((row.calls, row.geometric_mean) for row in self.rows if row.scheduler == one.name)
        return guess(known, target) if len(known) > 1 else float("inf")

    def _first(self, one: Contender, target: float, calls: int, limit: int) -> int | None:
        known = {row.calls: row.geometric_mean for row in self.rows if row.scheduler == one.name}
        return first_as_near(lambda number: self._error(one, number), known, target, calls, limit)

    def _error(self, one: Contender, calls: int) -> float:
        known = next((row for row in self.rows if (row.scheduler, row.calls) == (one.name, calls)), None)
        if known is not None:
            return known.geometric_mean
        with self._meter(f"{one.name} in {calls} steps", self._runner.prompts) as report:
            self._runner.report = report
            row = self._run(one, calls, further=True)
        return float("inf") if row is None else row.geometric_mean

    def _meter(self, title: str, total: int) -> AbstractContextManager[Meter]:
        return meter(False if self._progress == JSON else self._progress, total, title)


def _beyond(done: float, report: Callable[[float], None]) -> Callable[[float], None]:
    """Reports what is drawn beyond what was."""
    return lambda drawn: report(done + drawn)
