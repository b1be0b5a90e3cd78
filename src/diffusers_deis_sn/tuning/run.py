"""`tune`: plans for a pipeline's model, fitted to fine runs and accepted where they are better on other samples."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from diffusers_deis_sn.collect.arguments import check_kinds
from diffusers_deis_sn.collect.calls import PipelineCalls, guidance_in_use, plan_calls
from diffusers_deis_sn.collect.checkpoint import unfinished
from diffusers_deis_sn.collect.guidances import parts
from diffusers_deis_sn.collect.lending import lent, silenced
from diffusers_deis_sn.collect.places import further
from diffusers_deis_sn.collect.progress import Progress, check_progress
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.collect.run import calibrate, heard, keeper_of
from diffusers_deis_sn.collect.sharing import Shards, sharing
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.errors import CalibrationError, CheckpointError
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.statistics.plans import Plans
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.arguments import (
    FEWEST,
    HELD_OUT,
    MORE,
    SAMPLES,
    STEPS,
    check_budget,
    check_samples,
    wanted_steps,
)
from diffusers_deis_sn.tuning.keeping import Fits, run_facts
from diffusers_deis_sn.tuning.outcome import Tuning
from diffusers_deis_sn.tuning.samples import numbers
from diffusers_deis_sn.tuning.tuner import Tuner

logger = logging.getLogger("diffusers_deis_sn")


def tune(
    pipe: Any,
    prompts: str | PathLike[str] | Sequence[str] | None = None,
    steps: int | Sequence[int] = STEPS,
    *,
    statistics: ScoreStatistics | str | PathLike[str] | None = None,
    num_samples: int = SAMPLES,
    num_held_out: int = HELD_OUT,
    batch_size: int = 8,
    seed: int = 0,
    budget: float | None = None,
    anew: bool = True,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | str | Progress = True,
    **pipeline_kwargs: Any,
) -> Tuning:
    """Plans for a model: times and weights of runs of few steps, fitted to fine runs without gradients.

        tuning = tune(pipe, prompts, steps=(5, 8), guidance_scale=7.5)
        print(tuning)
        tuning.statistics.save(folder)
        pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=folder)

    For each number of steps, least squares fit the weights along the run's own states, and a search around that fits
    the times (`tuning.rows`, `tuning.search`). A plan is then tested on samples with other noise and prompts. It is
    accepted if the geometric mean of its distances to the fine run is below that of the run without a plan and of DPM++
    2M, UniPC and others of Diffusers, if their RMS is at most 2 % larger, and if sharpness and colour stay within 3 %.
    Otherwise there is no plan for that number of steps, and the outcome says why.

    If no plan is accepted for a number of steps, and twice as many samples may help, `tune` fits and tests once more on
    these, as far as `budget` allows.

    Only the pipeline's scheduler is replaced; it gets its own back afterwards.

    With a list for `guidance_scale` (or `true_cfg_scale`) all of this is done for each guidance scale, and the
    statistics hold the plans of all.

    With `checkpoint` the state is saved after each number of steps, and the same call with `resume=True` continues
    from there and gives the same plans, bit for bit; fits on more samples have a file of their own beside it. Ctrl-C
    and SIGTERM finish the current fit first; a second one stops at once. Delete the file (with several guidance scales
    there is one for each, as in `calibrate`) when you have saved the statistics. Processes of accelerate or
    torch.distributed share the samples: call this in all of them with the same arguments, each with the pipeline on its
    own device. Batches are those of one process, or smaller if there were fewer batches than processes, so plans are
    the same up to rounding.

    Args:
        pipe: Any pipeline of a variance-preserving, EDM or flow-matching model that starts from noise.
        prompts: What users of the model ask for, at least four where it takes any; a list or a file.
        steps: Numbers of steps to tune, 1 to 20.
        statistics: Those of the model: a record, a file or a folder. If None those of the pipeline's own scheduler, and
            where it has none they are measured first.
        num_samples: Number of samples to fit on.
        num_held_out: Number of samples that decide, of other noise and other prompts.
        batch_size: Number of samples drawn at once.
        seed: Seed of the first sample.
        budget: Seconds that all may take, roughly: searches end early; None for no limit.
        anew: Whether to tune what the statistics hold a plan for at this guidance; else only the rest.
        checkpoint: File that the state is kept in, such as "model.tuning.safetensors".
        resume: Go on from the checkpoint; from the beginning where there is none yet.
        progress: True for a bar, False for none, "json" for lines that a program reads, or a function of calls made and
            calls in all.
        **pipeline_kwargs: Further arguments of the pipeline's call, such as `guidance_scale`; see `calibrate`.

    Returns:
        The outcomes, and the statistics with the plans that were accepted beside those from before.

    Raises:
        CalibrationError: No pipeline that can be tuned, too few prompts or samples, or a budget too small for anything.
        StatisticsError: Statistics that cannot be read, or are another model's.
        ConfigurationError: A model of a process that is not supported.

    Examples:
        >>> tuning = tune(pipe, steps=2, statistics=statistics, num_samples=4, num_held_out=4, progress=False)
        >>> [outcome.calls for outcome in tuning.outcomes]
        [2]

    References:
        The method is this package's, see docs/tuning.md.
    """
    check_kinds(prompts=prompts, steps=steps, seed=seed, progress=progress)
    check_kinds(anew=anew, resume=resume, checkpoint=checkpoint)
    wanted = wanted_steps(steps)
    check_budget(budget)
    ours = inspect.signature(tune).parameters
    if resume and checkpoint is None:
        raise CalibrationError("`resume` goes on from a checkpoint, and none is named. Give `checkpoint`.")
    several = parts(
        path_of("none" if checkpoint is None else checkpoint, "`checkpoint`", CheckpointError), pipeline_kwargs
    )
    if checkpoint is not None and not resume:
        for path in several:  # before anything is fitted
            unfinished(path)
            unfinished(further(path))
    asked = [_Asked.of(pipe, prompts, wanted[0], seed, progress, options, ours) for options in several.values()]
    check_samples(num_samples, num_held_out, batch_size, asked[0].prompts)
    measure = {"batch_size": batch_size, "seed": seed, "progress": progress if isinstance(progress, bool) else False}
    options = prompts_given(prompts, pipeline_kwargs)[1]
    found = Tuning(_statistics(pipe, statistics, asked[0].texts, measure | options), ())
    for place, (path, one) in enumerate(zip(several, asked, strict=True)):
        plans = None if anew else found.statistics.plans
        left = tuple(calls for calls in wanted if plans is None or plans.find(calls, one.guidance) is None)
        if not left:
            continue
        share = None if budget is None else (budget - found.seconds) / (len(asked) - place)
        if share is not None and share <= 0.0 and found.outcomes:
            logger.warning("The budget is spent: guidance %s and above were not tuned.", one.guidance)
            break
        course = _Course(pipe, one, None if checkpoint is None else path, resume, batch_size, seed, progress)
        once = course.tuned(found.statistics, left, (num_samples, num_held_out), share)
        found = found.and_then(once)
        rest = once.undecided(share)
        if rest:
            logger.info(
                "No plan for %s steps passed the test. Trying again with twice as many samples.",
                ", ".join(map(str, rest)),
            )
            more = (MORE * num_samples, MORE * num_held_out)
            share = None if share is None else share - once.seconds
            found = found.or_rather(course.again.tuned(found.statistics, rest, more, share))
    return found


@dataclass(frozen=True)
class _Course:
    """Tuning at one guidance.

    Args:
        pipe: The pipeline.
        asked: How it is called.
        checkpoint: File that the state is kept in; None for none.
        resume: Whether to go on from it.
        batch_size: Number of samples drawn at once.
        seed: Of the first sample.
        progress: As in `tune`.
    """

    pipe: Any
    asked: _Asked
    checkpoint: Path | None
    resume: bool
    batch_size: int
    seed: int
    progress: bool | str | Progress

    def tuned(
        self, statistics: ScoreStatistics, steps: tuple[int, ...], samples: tuple[int, int], budget: float | None
    ) -> Tuning:
        """The outcomes for these numbers of steps, and the statistics with the plans.

        Args:
            statistics: Of the model.
            steps: Numbers of steps.
            samples: How many to fit on, and how many to hold out.
            budget: Seconds; None for as long as it takes.
        """
        one, prompts = self.asked, self.asked.prompts_in_turn
        fitted, held_out = numbers(*samples, prompts)
        pipe, size = self.pipe, self.batch_size
        tuner = Tuner(pipe, one.calls, statistics, steps, fitted, held_out, size, one.guidance, budget, self.progress)
        with _lent(pipe, self.checkpoint) as (shards, stop):
            keeper = keeper_of(self.checkpoint, self.resume, shards)
            counts = (fitted, held_out, size, self.seed)
            facts = {} if keeper is None else run_facts(pipe, one.texts, one.options, statistics, counts)
            tuner.fits = Fits(keeper, facts, shards, stop)
            return tuner.tuned()

    @property
    def again(self) -> _Course:
        """The same with a checkpoint of its own."""
        return self if self.checkpoint is None else replace(self, checkpoint=further(self.checkpoint))


def check_plans(
    pipe: Any,
    prompts: str | PathLike[str] | Sequence[str] | None = None,
    *,
    statistics: ScoreStatistics | str | PathLike[str] | None = None,
    num_held_out: int = HELD_OUT,
    batch_size: int = 8,
    seed: int = 0,
    progress: bool | str | Progress = True,
    **pipeline_kwargs: Any,
) -> Tuning:
    """Whether plans are still better on a model that they were not fitted to, such as one with a LoRA: keep or refit.

    Args are those of `tune`; the plans are those of the statistics for the guidance in use.

    Returns:
        The outcomes, and the statistics with the plans that are: others are left out.

    Raises:
        CalibrationError: As `tune`; also where there are no such plans.
    """
    asked = _Asked.of(pipe, prompts, 1, seed, progress, pipeline_kwargs, inspect.signature(check_plans).parameters)
    check_samples(FEWEST, num_held_out, batch_size, asked.prompts)
    own = getattr(pipe.scheduler, "statistics", None)
    record: ScoreStatistics | None = own if statistics is None else ScoreStatistics.load(statistics)
    plans = None if record is None else record.plans
    there = {} if plans is None else plans.at(asked.guidance)
    if record is None or plans is None or not there:
        raise CalibrationError(
            f"There are no plans for guidance {asked.guidance!r} to be checked. Name `statistics` that hold some, or "
            "the guidance that they were fitted at (`guidance_scale=`)."
        )
    samples = numbers(SAMPLES, num_held_out, asked.prompts_in_turn)[1]
    tuner = Tuner(pipe, asked.calls, record, tuple(there), [], samples, batch_size, asked.guidance, progress=progress)
    with _lent(pipe) as (tuner.fits.shards, _):
        found = tuner.checked(there)
    worse = [there[one.calls] for one in found.outcomes if one.plan is None]
    kept = [one for one in plans.entries if one not in worse]
    left = record.with_plans(Plans(tuple(kept), plans.sample_shape) if kept else None)
    return replace(found, statistics=left)


@dataclass(frozen=True)
class _Asked:
    """How a pipeline is called, once that is checked.

    Args:
        calls: The calls.
        guidance: What its arguments say of it.
        texts: The prompts as they were given.
        options: Further arguments.
    """

    calls: PipelineCalls
    guidance: float | None
    texts: str | Sequence[str] | None
    options: dict[str, Any]

    @classmethod
    def of(
        cls,
        pipe: Any,
        prompts: str | PathLike[str] | Sequence[str] | None,
        steps: int,
        seed: int,
        progress: bool | str | Progress,
        options: dict[str, Any],
        ours: Iterable[str],
    ) -> _Asked:
        """Raises CalibrationError for a pipeline that cannot be tuned."""
        check_progress(progress)
        texts, options = prompts_given(prompts, options)
        calls = plan_calls(pipe, texts, steps, seed, options, ours)
        name = type(pipe).__name__
        if "generator" not in calls.takes:
            raise CalibrationError(
                f"{name} takes no `generator`, so no two runs start from the same noise. It cannot be tuned."
            )
        if not hasattr(getattr(pipe, "scheduler", None), "config"):
            raise CalibrationError(f"{name} has no attribute `scheduler` with a config to be tuned through.")
        return cls(calls, guidance_in_use(pipe, options), texts, options)

    @property
    def prompts(self) -> int | None:
        """Number of different prompts."""
        return None if self.calls.prompts is None else len(set(self.calls.prompts))

    @property
    def prompts_in_turn(self) -> int | None:
        """Number of prompts that are used in turn."""
        return None if self.calls.prompts is None else len(self.calls.prompts)


@contextmanager
def _lent(pipe: Any, checkpoint: Path | None = None) -> Iterator[tuple[Shards, Interruptions]]:
    """The pipeline, to be called. Signals act only within: not while the scheduler is being put back."""
    with (
        sharing(None if checkpoint is None else str(checkpoint)) as shards,
        heard(shards),
        Interruptions(checkpoint is not None) as stop,
        lent(pipe),
        silenced(pipe),
        stop.acting(),
        torch.no_grad(),
    ):
        yield shards, stop


def _statistics(
    pipe: Any,
    statistics: ScoreStatistics | str | PathLike[str] | None,
    texts: str | Sequence[str] | None,
    options: dict[str, Any],
) -> ScoreStatistics:
    """Those that are given, those of the pipeline's scheduler, or new ones."""
    if statistics is not None:
        return ScoreStatistics.load(statistics)
    own = getattr(pipe.scheduler, "statistics", None)
    return own if isinstance(own, ScoreStatistics) else calibrate(pipe, texts, **options)
