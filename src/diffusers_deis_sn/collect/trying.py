"""Recipes tried on a pipeline: each draws the same few samples, and is held against a fine run of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffusers_deis_sn.collect.calls import PipelineCalls, called, of_each
from diffusers_deis_sn.collect.planning import TryingPlanner
from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.core.plan import Plan, Raw
from diffusers_deis_sn.errors import (
    CalibrationError,
    CalibrationInterruptedError,
    CheckpointError,
    DeisSnError,
    ProcessLostError,
    SeveralError,
)
from diffusers_deis_sn.schedulers._cursor import Cursor
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator
from diffusers_deis_sn.schedulers._options_to_recipe import options_of
from diffusers_deis_sn.schedulers._own_config import OF_GRIDS
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.schedulers.score_optimal import ScoreOptimalScheduler
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import LEARNED, TABLES, Method, Trials

logger = logging.getLogger("diffusers_deis_sn")

CALLS = (4, 5, 6, 8, 10, 12, 15, 20)  # numbers of network calls that recipes are tried with
FINE_CALLS = 80
FINE = Method("noise", 2, 3, 0.75, "power_t", 2.0)
# What was best, or nearly, on one of the suite's choosing networks in one of these numbers of calls; and Karras' grid,
# which the best rivals of many calls have.
MENU = (
    *(Method("noise", 2, 4, gain, "power_t", k) for gain in (0.375, 0.75) for k in (1.0, 1.5, 2.0)),
    *(Method("noise", 2, 4, None, "power_t", k) for k in (1.5, 2.0)),
    Method("data", 1, 0, None, "power_t", 1.0),  # under strong guidance nothing that extrapolates is safe in few calls
    *(Method("data", 2, 2, None, "power_t", k) for k in (1.5, 2.0)),
    *(Method("data", 3, 3, None, "power_t", k) for k in (2.0, 2.5)),
    Method("noise", 2, 4, 0.75, "karras"),
    Method("data", 3, 3, None, "karras"),
    Method("noise", 2, 4, 0.375, LEARNED, spread=0.3),
    *(Method("noise", 2, 4, 0.75, LEARNED, spread=share) for share in (0.0, 0.5)),
    Method("noise", 2, 4, 1.5, LEARNED, spread=0.3),
    Method("data", 3, 3, None, LEARNED, spread=0.5),
)


Distances = tuple[float, float, float]  # in the order of `TABLES`


class Finishing(ExponentialIntegrator):
    """A scheduler that keeps where its runs end: `ends`, float32 on the CPU, a batch each."""

    _planning = TryingPlanner
    _silent = True
    ends: list[Tensor]

    def _advance(
        self, cursor: Cursor, plan: Plan, row: int, output: Tensor, sample: Tensor, raw: Raw | None = None
    ) -> Tensor:
        if row and not cursor.at_hand:
            raise CalibrationError(f"The pipeline begins at step {row} of a run, as from an image.")
        result = super()._advance(cursor, plan, row, output, sample, raw)
        if row == len(plan) - 1:
            self.ends.append(result.detach().to("cpu", torch.float32))
        return result


class FinishingScheduler(Finishing, DEISSNScheduler):
    """One with grids that have names."""


class LearnedScheduler(Finishing, ScoreOptimalScheduler):
    """One with the learned grid."""


@dataclass
class Trier:
    """Draws the same samples through a pipeline with one recipe after another.

    Args:
        pipe: The pipeline; its scheduler is replaced for each run, and is the caller's to put back.
        config: Of the model's scheduler.
        statistics: Of the model.
        calls: How to call the pipeline.
        samples: Number of samples.
        batch_size: Number of samples drawn at once.
        report: Told after each run how many samples are through with everything, a fraction.
        singly: Whether a pipeline that fails on several samples is given one a call: it failed on them before.
        left_out: Numbers of samples that do not count.
        known: Distances by number of the recipe and number of calls; those that are there are not measured again.
        after_run: Called when a run is through. May raise CalibrationInterruptedError or CheckpointError, which end it
            all; any other error only means that a recipe is not tried.
        shards: The processes that share the recipes; each draws the fine run for itself.
        after_trial: Called with each recipe, number of calls and error that is new.
    """

    pipe: Any
    config: Mapping[str, Any]
    statistics: ScoreStatistics
    calls: PipelineCalls
    samples: int
    batch_size: int
    report: Callable[[float], None]
    singly: bool = False
    left_out: Collection[int] = ()
    known: dict[tuple[int, int], Distances] = field(default_factory=dict)
    after_run: Callable[[], None] = lambda: None
    shards: Shards = ALONE
    after_trial: Callable[[Method, int, float], None] = lambda *_: None
    done: int = 0
    planned: int = 1

    def ends(self, recipe: Method, steps: int, kind: type[Finishing] | None = None) -> Tensor:
        """Where all samples end but those left out; (S, *event).

        Raises:
            CalibrationError: A pipeline whose runs do not follow recipes, or do not come to their end.
            ConfigurationError: A recipe that the process does not have.
        """
        kind = kind or (LearnedScheduler if recipe.learned else FinishingScheduler)
        options = options_of(recipe, self.statistics) | {"recipe": "fixed", "guidance_scale": None}
        if recipe.learned:
            options = {name: value for name, value in options.items() if name not in OF_GRIDS}
        scheduler = kind.from_config(dict(self.config), stats=self.statistics, **options)
        scheduler.ends, drawn = [], 0
        self.pipe.scheduler = scheduler
        calls = replace(self.calls, fixed={**self.calls.fixed, "num_inference_steps": steps})
        while drawn < self.samples:
            before, asked = len(scheduler.ends), min(self.batch_size, self.samples - drawn)
            try:
                called(self.pipe, calls.arguments(drawn, asked))
            except SeveralError as error:
                if not self.singly and error.__cause__ is not None:
                    raise error.__cause__ from error
                self.batch_size = 1
                continue
            if len(scheduler.ends) == before:
                raise CalibrationError("The pipeline stops before the end of a run.")
            ends = of_each(scheduler.ends[-1], asked if calls.sized else 0)
            scheduler.ends[before:] = [ends]  # some pipelines run several times in a call
            drawn += len(ends)
            self.done += len(ends) * steps
            self.report(self.done / self.planned)
        ends = torch.cat(scheduler.ends)[: self.samples]
        return ends[[number not in self.left_out for number in range(len(ends))]] if self.left_out else ends

    def tried(self, recipes: Sequence[Method], numbers: Sequence[int]) -> Trials | None:
        """All recipes with all numbers of calls; those that the process does not have are left out.

        None where there are no others, or no fine run.

        Raises:
            CalibrationError: The pipeline failed, in this process or in another that recipes were dealt to.
            ProcessLostError: Another process is gone.
        """
        self.done, self.planned = 0, len(recipes) * sum(numbers) + FINE_CALLS + 2 * numbers[0]
        if all((place, steps) in self.known for place in range(len(recipes)) for steps in numbers):
            return self._trials(
                {one: [self.known[n, steps] for steps in numbers] for n, one in enumerate(recipes)}, numbers
            )
        fine: Tensor | None = None

        def draw() -> bytes:
            nonlocal fine
            fine = self._fine(numbers[0])
            return b"" if fine is None else b"there"

        there = self.shards.each(draw)  # where one process has none, the others try nothing either
        if not all(there) or fine is None:
            return None
        self.after_run()
        failed = set() if self.shards.world == 1 else self._share(recipes, numbers, fine)
        rows: dict[Method, list[Distances]] = {}
        for place, recipe in enumerate(recipes):
            if place in failed:
                continue
            try:
                rows[recipe] = [self._distances(place, recipe, steps, fine) for steps in numbers]
            except (CalibrationInterruptedError, CheckpointError, ProcessLostError):
                raise
            except DeisSnError as error:
                logger.info("Not tried: %s. %s", recipe, error)
        return self._trials(rows, numbers) if rows else None

    def _trials(self, rows: Mapping[Method, Sequence[Distances]], numbers: Sequence[int]) -> Trials:
        tables: NDArray[np.float64] = np.array(list(rows.values())).transpose(2, 0, 1)
        count = self.samples - sum(number < self.samples for number in self.left_out)
        return Trials(tuple(rows), tuple(numbers), **dict(zip(TABLES, tables, strict=True)), num_samples=count)

    def _share(self, recipes: Sequence[Method], numbers: Sequence[int], fine: Tensor) -> set[int]:
        """Deal all runs to the processes, and know them all. The places of recipes that the process does not have."""
        runs = [(place, calls) for calls in numbers for place in range(len(recipes))]  # like calls at the same time
        missing, failed = [run for run in runs if run not in self.known], set[int]()
        self.done += self.samples * sum(calls for _, calls in self.known)
        while missing:
            dealt, missing = missing[: self.shards.world], missing[self.shards.world :]
            before = self.done
            told = self._answers([(recipes[place], calls) for place, calls in dealt], fine)
            self.done = before + self.samples * sum(calls for _, calls in dealt)
            for (place, calls), one in zip(dealt, told, strict=False):
                if "none" in one:
                    logger.info("Not tried: %s. %s", recipes[place], one["none"])
                    failed.add(place)
                else:
                    self.known[place, calls] = (one["error"], one["rms"], one["grain"])
            missing = [run for run in missing if run[0] not in failed]
            self.after_run()
        return failed

    def _answers(self, dealt: Sequence[tuple[Method, int]], fine: Tensor) -> list[dict[str, Any]]:
        """What one run in each process gave, or why there is none."""

        def answer() -> bytes:
            if self.shards.rank >= len(dealt):
                return b"{}"
            try:
                found = distances(self.ends(*dealt[self.shards.rank]), fine)
                return json.dumps(dict(zip(("error", "rms", "grain"), found, strict=True))).encode()
            except DeisSnError as error:
                return json.dumps({"none": str(error)}).encode()
            except Exception as error:  # whatever a pipeline raises: all processes go on without trials, or none
                return json.dumps({"broken": f"{type(error).__name__}: {error}"}).encode()

        told = [json.loads(one) for one in self.shards.each(answer)]
        for one in told:
            if "broken" in one:
                raise CalibrationError(one["broken"])
        return told

    def _distances(self, place: int, recipe: Method, steps: int, fine: Tensor) -> Distances:
        """Of one recipe in one number of calls."""
        if (place, steps) in self.known:
            self.done += self.samples * steps
        else:
            self.known[place, steps] = distances(self.ends(recipe, steps), fine)
            self.after_trial(recipe, steps, self.known[place, steps][0])
            self.after_run()
        return self.known[place, steps]

    def _fine(self, steps: int) -> Tensor | None:
        """The run that all are held against; None if there is none, or if no two runs end alike."""
        try:
            fine, once, again = self.ends(FINE, FINE_CALLS), self.ends(FINE, steps), self.ends(FINE, steps)
        except DeisSnError as error:
            logger.info("No recipes are tried. %s", error)
            return None
        if not bool(torch.isfinite(fine).all()):
            logger.warning("No recipes are tried: a run of %d steps ends in values that are not finite.", FINE_CALLS)
            return None
        if not torch.allclose(once, again, rtol=SAME, atol=SAME * float(fine.abs().max()), equal_nan=True):
            logger.warning("No recipes are tried: this pipeline's samples do not depend on the generator alone.")
            return None
        return fine


def distances(ends: Tensor, fine: Tensor) -> Distances:
    """Error, RMS and grain as in `statistics.trials`; `LOST` where ends are not finite."""
    each = (ends - fine).flatten(1).double().square().mean(1)
    if not bool(torch.isfinite(each).all()):
        return LOST, LOST, LOST
    each = each.clamp_min(TINY)
    band, own = finest_band(fine), finest_band(ends)
    grain = 1.0 if band is None or own is None or band <= TINY else own / band
    return float(each.log().mean().mul(0.5).exp()), float(each.mean().sqrt()), grain


LOST, TINY = 1e30, 1e-30
SAME = 1e-2  # of the largest value: half precision on an accelerator does not give equal numbers twice


def finest_band(samples: Tensor) -> float | None:
    """Mean square of what 2x2 means leave out; None of samples without two even axes of space."""
    if samples.ndim < 4 or samples.shape[-1] % 2 or samples.shape[-2] % 2:
        return None
    flat = samples.reshape(-1, 1, *samples.shape[-2:]).double()
    return float((flat - functional.interpolate(functional.avg_pool2d(flat, 2), scale_factor=2.0)).square().mean())
