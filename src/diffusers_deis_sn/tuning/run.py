"""`tune`: plans for a pipeline's model, fitted to fine runs and accepted where they are better on other samples."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import torch
from torch import distributed

from diffusers_deis_sn.collect.calls import guidance_in_use, plan_calls
from diffusers_deis_sn.collect.progress import Progress, check_progress, silenced
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.collect.run import calibrate
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.arguments import HELD_OUT, SAMPLES, STEPS, check_budget, check_samples, wanted_steps
from diffusers_deis_sn.tuning.outcome import Tuning
from diffusers_deis_sn.tuning.samples import numbers
from diffusers_deis_sn.tuning.tuner import Tuner


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
    progress: bool | str | Progress = True,
    **pipeline_kwargs: Any,
) -> Tuning:
    """Plans for a model: times and weights of runs of few steps, fitted to fine runs without gradients.

        tuning = tune(pipe, prompts, steps=(5, 8), guidance_scale=7.5)
        print(tuning)
        tuning.statistics.save(folder)
        pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=folder)

    For each number of steps weights are fitted by least squares on the states that the run itself comes to, and times
    are searched around that (`tuning.rows`, `tuning.search`). A plan is accepted where, on samples with other noise and
    prompts, the geometric mean of the distances to the fine run is less than that of the run without a plan and of
    DPM++ 2M, UniPC and others of Diffusers, their RMS is not larger by more than 2 %, and sharpness and colour are kept
    to 3 %. Otherwise there is none for that number, and the outcome says why.

    The pipeline is asked through its scheduler alone and has its own again afterwards.

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
        progress: True for a bar, False for none, "json" for lines that a program reads, or a function of calls made and
            calls in all.
        **pipeline_kwargs: Further arguments of the pipeline's call, such as `guidance_scale`; see `calibrate`.

    Returns:
        The outcomes, and the statistics with the plans that were accepted beside those from before.

    Raises:
        CalibrationError: No pipeline that can be tuned, too few prompts or samples, or a budget too small for anything.
        StatisticsError: Statistics that cannot be read, or are another model's.
        ConfigurationError: A model of a process that is not supported.
    """
    wanted = wanted_steps(steps)
    check_budget(budget)
    check_progress(progress)
    prompts, pipeline_kwargs = prompts_given(prompts, pipeline_kwargs)
    calls = plan_calls(pipe, prompts, wanted[0], seed, pipeline_kwargs, inspect.signature(tune).parameters)
    check_samples(num_samples, num_held_out, batch_size, None if calls.prompts is None else len(set(calls.prompts)))
    if "generator" not in calls.takes:
        raise CalibrationError(
            f"{type(pipe).__name__} takes no `generator`, so no two runs start from the same noise. It cannot be tuned."
        )
    if not hasattr(getattr(pipe, "scheduler", None), "config"):
        raise CalibrationError(f"{type(pipe).__name__} has no attribute `scheduler` with a config to be tuned through.")
    measure = {"batch_size": batch_size, "seed": seed, "progress": progress if isinstance(progress, bool) else False}
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        raise CalibrationError("`tune` runs in one process, got several. Call it in one; `calibrate` may be shared.")
    record = _statistics(pipe, statistics, prompts, measure, pipeline_kwargs)
    fitted, held_out = numbers(num_samples, num_held_out, None if calls.prompts is None else len(calls.prompts))
    guidance = guidance_in_use(pipe, pipeline_kwargs)
    tuner = Tuner(pipe, calls, record, wanted, fitted, held_out, batch_size, guidance, budget, progress)
    # Signals act only within: not while the scheduler is being put back.
    with Interruptions(False) as stop, _given_back(pipe), silenced(pipe), stop.acting(), torch.no_grad():
        return tuner.tuned()


@contextmanager
def _given_back(pipe: Any) -> Iterator[None]:
    """The pipeline has its own scheduler again in the end, wherever what is within stopped."""
    own = pipe.scheduler
    try:
        yield
    finally:
        pipe.scheduler = own


def _statistics(
    pipe: Any,
    statistics: ScoreStatistics | str | PathLike[str] | None,
    prompts: str | Sequence[str] | None,
    measure: dict[str, Any],
    pipeline_kwargs: dict[str, Any],
) -> ScoreStatistics:
    """Those that are given, those of the pipeline's scheduler, or new ones."""
    if statistics is not None:
        return ScoreStatistics.load(statistics)
    own = getattr(pipe.scheduler, "statistics", None)
    return own if isinstance(own, ScoreStatistics) else calibrate(pipe, prompts, **measure, **pipeline_kwargs)
