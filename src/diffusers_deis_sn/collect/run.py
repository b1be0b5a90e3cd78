"""Measuring the score statistics of any pipeline: put a recorder in, run, put the user's scheduler back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.collect.arguments import check_numbers, check_tolerance
from diffusers_deis_sn.collect.calls import guidance_in_use, plan_calls
from diffusers_deis_sn.collect.progress import Progress, meter, silenced
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.trying import CALLS, FINE_CALLS, MENU, Trier
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.origin import StatisticsOrigin, hash_prompts
from diffusers_deis_sn.statistics.record import ScoreStatistics

logger = logging.getLogger("diffusers_deis_sn")

FEWEST = 8  # samples before a standard error is believed
TRIAL_CALLS = len(MENU) * sum(CALLS) + FINE_CALLS + 2 * CALLS[0]


def calibrate(
    pipe: Any,
    prompts: str | PathLike[str] | Sequence[str] | None = None,
    num_samples: int = 64,
    num_inference_steps: int = 200,
    batch_size: int = 8,
    seed: int = 0,
    *,
    base_model: str | None = None,
    revision: str | None = None,
    licence: str | None = None,
    costs: Sequence[str] = (),
    tolerance: float = 0.02,
    trials: int = 8,
    data: Tensor | None = None,
    progress: bool | Progress = True,
    **pipeline_kwargs: Any,
) -> ScoreStatistics:
    """Score statistics of a pipeline's model, measured along fine trajectories of plain DEIS.

    Sample i starts from seed + i and has prompt i (in turn), so the result does not depend on `batch_size` but for
    rounding. The pipeline's scheduler is put back whatever happens. Memory does not grow with `num_samples`.

    Afterwards a handful of recipes (solver, corrector, limit, grid) draw the first `trials` samples in 4 to 20 steps,
    and are held against a fine run of the same samples. `DEISSNScheduler` takes the one that came nearest for its
    number of steps. This takes `TRIAL_CALLS` network calls a sample.

    With `costs` the record also serves `ScoreOptimalScheduler`. Each step is then followed by network calls on the same
    sample at the time of the next step (one for the "corrector" cost), or on samples near it (fifteen for
    "predictor"); the trajectories, and r, stay as they are. A cost is measured until the length it gives the path is
    known to `tolerance`, which takes a few batches, and on `num_samples` at most.

    Args:
        pipe: Any pipeline of a variance-preserving, EDM or flow-matching model; its class need not be known.
        prompts: What users of the model ask for, used in turn; required where the pipeline takes a prompt. Also a file
            of them (.txt, .csv, .tsv, .jsonl), see `collect.prompts.read_prompts`.
        num_samples: Number of samples, at least 2.
        num_inference_steps: Number of steps of a trajectory, at least 2; one more call is made at the cleanest level.
        batch_size: Number of samples drawn at once.
        seed: Seed of the first sample.
        base_model: What to call the model in the record; by default where the pipeline was loaded from.
        revision: Its revision, for the record.
        licence: Licence of the statistics, for the record.
        costs: Costs to be measured as well: "corrector", "predictor", both or none.
        tolerance: Relative standard error of the path's length at which a cost counts as measured; 0 for all samples.
        trials: Number of samples on which recipes are tried, at most `num_samples`; 0 for none. Pipelines whose samples
            do not depend on a generator alone have none.
        data: Clean samples as the scheduler sees them (latents of latent models), to be noised at every time instead of
            going along trajectories; (M, *event). Sample i uses number i, in turn.
        progress: True for a progress bar, False for none, or a function of samples drawn and samples in all.
        **pipeline_kwargs: Further arguments of the pipeline's call, such as `guidance_scale`, `height`, `image`. Lists
            and batches of what belongs to samples (class labels, images, masks, embeddings) are used in turn.

    Returns:
        Statistics of the guided output, at the times that were visited.

    Raises:
        CalibrationError: No loaded pipeline, arguments that make no measurement or that nobody knows, a pipeline that
            never calls its scheduler, or outputs that are not finite. Also costs of pipelines that change their samples
            between steps (inpainting), and the predictor's cost in half precision.
        ConfigurationError: A model of a process that is not supported.
    """
    check_numbers(num_samples, num_inference_steps, batch_size, seed, trials)
    check_tolerance(tolerance)
    _check_data(data)
    prompts, pipeline_kwargs = prompts_given(prompts, pipeline_kwargs)
    config = getattr(getattr(pipe, "scheduler", None), "config", {})  # `recording` refuses a pipeline without
    calls = plan_calls(
        pipe, prompts, num_inference_steps, seed, pipeline_kwargs, inspect.signature(calibrate).parameters
    )
    record = recording(
        pipe,
        prompts=calls.prompts,
        guidance_scale=guidance_in_use(pipe, pipeline_kwargs),
        seed=seed,
        base_model=base_model,
        revision=revision,
        licence=licence,
        costs=costs,
    )
    with record as recorder, silenced(pipe), meter(progress, num_samples) as report:
        while recorder.num_samples < num_samples:
            first = recorder.num_samples
            count = min(batch_size, num_samples - first)
            recorder.on_step = _step_counter(report, first)
            recorder.generators = [torch.Generator().manual_seed(seed + i) for i in range(first, first + count)]
            recorder.data = None if data is None else data[[i % len(data) for i in range(first, first + count)]]
            recorder.costs = tuple(name for name in recorder.costs if not _known(recorder, name, tolerance))
            pipe(**calls.arguments(first, count))
            if recorder.num_samples == first:
                raise CalibrationError(
                    f"{type(pipe).__name__} never called `step` of its scheduler, so there is nothing to measure. "
                    "Statistics need a pipeline that samples with `pipe.scheduler`."
                )
            report(recorder.num_samples)
        _tell_missed(recorder, tolerance)
        statistics, samples = recorder.measured(), min(trials, num_samples)
        if not samples or "generator" not in calls.takes:
            return statistics
        with meter(progress, samples, "Trying recipes") as report:
            return _tried(statistics, Trier(pipe, config, statistics, calls, samples, batch_size, report))


def _tried(statistics: ScoreStatistics, trier: Trier) -> ScoreStatistics:
    """The statistics with trials, or as they are where the pipeline fails: what was measured is not lost for it."""
    try:
        return statistics.with_trials(trier.tried(MENU, CALLS))
    except Exception as error:  # whatever a pipeline raises
        logger.warning("No recipes were tried, so runs follow the options. %s: %s", type(error).__name__, error)
        return statistics


@contextmanager
def recording(
    pipe: Any,
    *,
    prompts: Sequence[str] | None = None,
    guidance_scale: float | None = None,
    seed: int | None = None,
    base_model: str | None = None,
    revision: str | None = None,
    licence: str | None = None,
    costs: Sequence[str] = (),
) -> Iterator[RecordingScheduler]:
    """A recorder in the place of the pipeline's scheduler, for people who call the pipeline themselves.

        with recording(pipe) as recorder:
            for prompt in prompts:
                pipe(prompt, num_inference_steps=200)
        statistics = recorder.measured()

    The pipeline's own scheduler is back at the end of the block, also after an exception. The times of all calls must
    be the same; how many samples they draw is free.

    Args:
        pipe: Anything that samples with its attribute `scheduler`.
        prompts: For the record, of which only a hash is kept.
        guidance_scale: For the record, as are the others.
        seed: The same.
        base_model: The same; by default where the pipeline was loaded from.
        revision: The same.
        licence: The same.
        costs: Costs to be measured as well, see `calibrate`.

    Raises:
        CalibrationError: No scheduler, an unknown cost, or different times in different calls.
        ConfigurationError: A model of a process that is not supported.
    """
    scheduler = getattr(pipe, "scheduler", None)
    if not hasattr(scheduler, "config"):
        raise CalibrationError(
            f"{type(pipe).__name__} has no attribute `scheduler` with a config. Statistics are measured through it."
        )
    origin = StatisticsOrigin(
        base_model=base_model if base_model is not None else _model_name(pipe),
        revision=revision,
        guidance_scale=guidance_scale,
        seed=seed,
        prompts_hash=None if prompts is None else hash_prompts(prompts),
        licence=licence,
    )
    recorder = RecordingScheduler.measuring(scheduler.config, origin, costs)  # type: ignore[union-attr]
    pipe.scheduler = recorder
    try:
        with _full_precision(recorder.costs):
            yield recorder
    finally:
        pipe.scheduler = scheduler


def _check_data(data: Tensor | None) -> None:
    if data is None:
        return
    if not isinstance(data, Tensor) or data.ndim < 2 or len(data) == 0:
        shape = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise CalibrationError(f"`data` must be a tensor of at least one clean sample, (M, *event), got {shape}.")
    if not bool(torch.isfinite(data).all()):
        raise CalibrationError("`data` must be finite, and holds NaN or infinite values. Check how it was encoded.")


def _tell_missed(recorder: RecordingScheduler, tolerance: float) -> None:
    """Log the costs that the samples did not suffice for; a tolerance of zero asks for all samples and no more."""
    for name in recorder.costs if tolerance > 0.0 else ():
        reached = recorder.uncertainty(name)
        if reached > tolerance:
            logger.warning(
                "The %s cost gives the path's length to ±%.2g, not to tolerance=%g, with %d samples. %d may do.",
                name,
                reached,
                tolerance,
                recorder.num_samples,
                round(recorder.num_samples * (reached / tolerance) ** 2),
            )


@contextmanager
def _full_precision(costs: Sequence[str]) -> Iterator[None]:
    """No TF32 while the predictor's cost is measured: it divides small differences of outputs by small numbers."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    if "predictor" in costs:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _known(recorder: RecordingScheduler, name: str, tolerance: float) -> bool:
    """Whether a cost is measured to the tolerance; an error from too few samples is none to go by."""
    return recorder.num_samples >= FEWEST and recorder.uncertainty(name) <= tolerance


def _step_counter(report: Callable[[float], None], first: int) -> Callable[[float], None]:
    """What the recorder calls after each network call, so that the bar moves within a batch."""
    done = float(first)

    def on_step(samples: float) -> None:
        nonlocal done
        done += samples
        report(done)

    return on_step


def _model_name(pipe: Any) -> str | None:
    """Where the pipeline was loaded from; of a folder only its name, for a path says nothing to anybody else."""
    name = getattr(pipe, "name_or_path", None)
    if not isinstance(name, str | Path) or not str(name):
        return None
    folder = Path(name)
    return folder.resolve().name if folder.exists() or folder.is_absolute() else str(name)
