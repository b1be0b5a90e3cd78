"""Measuring the score statistics of any pipeline: put a recorder in, run, put the user's scheduler back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.collect.arguments import Size, check_kinds, check_numbers, check_tolerance
from diffusers_deis_sn.collect.calls import guidance_in_use, plan_calls
from diffusers_deis_sn.collect.checkpoint import Keeper
from diffusers_deis_sn.collect.fingerprint import asked, of_model
from diffusers_deis_sn.collect.guidances import at_each_guidance
from diffusers_deis_sn.collect.keeping import Keeping
from diffusers_deis_sn.collect.lending import lent, silenced
from diffusers_deis_sn.collect.progress import Progress, check_progress, meter, telling
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.sampling import Drawing
from diffusers_deis_sn.collect.sharing import Shards, sharing
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.collect.stopping import Stopping, at_guidance, tell_poor
from diffusers_deis_sn.collect.trying import CALLS, FINE_CALLS, MENU, Trier
from diffusers_deis_sn.core.value_types import demand, kind_of
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, CheckpointError, ProcessLostError
from diffusers_deis_sn.statistics.origin import StatisticsOrigin, hash_prompts
from diffusers_deis_sn.statistics.record import ScoreStatistics

logger = logging.getLogger("diffusers_deis_sn")

TRIAL_CALLS = len(MENU) * sum(CALLS) + FINE_CALLS + 2 * CALLS[0]


@at_each_guidance
def calibrate(
    pipe: Any,
    prompts: str | PathLike[str] | Sequence[str] | None = None,
    num_samples: int | str | None = None,
    num_inference_steps: int | None = None,
    batch_size: int = 8,
    seed: int = 0,
    *,
    base_model: str | None = None,
    revision: str | None = None,
    licence: str | None = None,
    costs: Sequence[str] = (),
    tolerance: float = 0.03,
    trials: int | None = None,
    thorough: bool = False,
    data: Tensor | None = None,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    skip_invalid: bool = False,
    progress: bool | str | Progress = True,
    **pipeline_kwargs: Any,
) -> ScoreStatistics:
    """Score statistics of a pipeline's model, measured along fine trajectories of plain DEIS.

        r(t) = E mean_i |eps_theta(x_t, t)_i|,    a mean over samples and their components, at each time t

    Sample i has the seed `seed` + i and prompt i (in turn), so the result does not depend on `batch_size`, except for
    rounding and where a pipeline draws noise for one image of a whole batch (a list of images has it for each). The
    pipeline gets its own scheduler back, also after an error. Memory does not grow with `num_samples`.
    Times are uniform in t^(1/2), or in t for pipelines with `strength`, whose runs may start anywhere.

    Then a few recipes (solver, corrector, limit, grid) draw the first `trials` samples in 4 to 20 steps, and their
    distance to a fine run of the same samples is measured. `DEISSNScheduler` uses the nearest one for its number of
    steps. This takes `TRIAL_CALLS` network evaluations a sample.

    `costs` adds what `ScoreOptimalScheduler` may learn its grid from. After each step the network is then evaluated on
    the same sample at the time of the next step (once for the "corrector" cost), or on samples near it (fifteen times
    for "predictor"); trajectories and r(t) stay the same. A cost is measured until the path's length is known to
    `tolerance`. This is checked after every 8 samples, and until then batches have at most 8.

    With `checkpoint` the state is saved after each batch, and the same call with `resume=True` continues from there.
    The statistics are the same, bit for bit, as without the interruption (if the samples depend on a generator alone,
    and on the same device). Ctrl-C and SIGTERM finish the batch first; a second one stops at once. Delete the file
    when you have saved the statistics.

    Processes of accelerate or torch.distributed share the work: call this in all of them with the same arguments, each
    with the pipeline on its own device. Every process draws a batch in each round and tries some of the recipes. All
    return the same statistics, equal to those of one process up to rounding. Only the first process logs and writes the
    checkpoint.

    With a list for `guidance_scale` (or `true_cfg_scale`) all of this is done for each guidance scale, and the result
    holds them all: a scheduler uses the part for the guidance scale of its run, see `ScoreStatistics.at`. There is then
    one checkpoint for each, such as `model.checkpoint.g3.safetensors`.

    Args:
        pipe: Any pipeline of a variance-preserving, EDM or flow-matching model; its class need not be known.
        prompts: What users of the model ask for, used in turn; required where the pipeline takes a prompt. Also a file
            of them (.txt, .csv, .tsv, .jsonl), see `collect.prompts.read_prompts`.
        num_samples: Number of samples, at least 2; or "auto", the default, for 8, 16, 32 or 64: as many as it takes
            until a standard error of r moves no coefficient of a run of 5 to 20 steps by more than `tolerance`, and the
            learned grid's path is as long to within it.
        num_inference_steps: Number of steps of a trajectory, at least 2; 50 if None. One more call is made at the
            cleanest level.
        batch_size: Number of samples drawn at once; one where the pipeline fails on several.
        seed: Seed of the first sample.
        base_model: What to call the model in the record; by default where the pipeline was loaded from.
        revision: Its revision, for the record.
        licence: Licence of the statistics, for the record.
        costs: Costs to be measured as well: "corrector", "predictor", both or none.
        tolerance: Relative standard error of the path's length at which a cost counts as measured; 0 for all samples.
        trials: Number of samples on which recipes are tried, at most `num_samples`; 4 if None, 0 for none. Pipelines
            whose samples do not depend on a generator alone have none.
        thorough: 64 samples of 200 steps and trials on 8 instead, where nothing else is said.
        data: Clean samples as the scheduler sees them (latents of latent models), to be noised at every time instead of
            going along trajectories; (M, *event). Sample i uses number i, in turn.
        checkpoint: File that the state is kept in, such as "model.checkpoint.safetensors".
        resume: Go on from the checkpoint; from the beginning where there is none yet.
        skip_invalid: Leave out samples with values that are not finite, at all times and in the trials, instead of an
            error; the record's origin says how many were.
        progress: True for a bar with the time that remains and the largest relative standard error of r, False for
            none, "json" for lines on stdout that a program reads (see the README), or a function of samples drawn and
            samples in all.
        **pipeline_kwargs: Further arguments of the pipeline's call, such as `guidance_scale`, `height`, `image`. Lists
            and batches of what belongs to samples (class labels, images, masks, embeddings) are used in turn.

    Returns:
        Statistics of the guided output, at the times that were visited.

    Raises:
        CalibrationError: No loaded pipeline, arguments that make no measurement or that nobody knows, a pipeline that
            never calls its scheduler, or outputs that are not finite. Also costs of pipelines that change their samples
            between steps (inpainting), and the predictor's cost in half precision.
        CheckpointError: A checkpoint that is there without `resume`, is of another measurement, or cannot be written.
        CalibrationInterruptedError: Ctrl-C or SIGTERM; the checkpoint has what was measured.
        ProcessLostError: Another process failed or died; the same.
        ConfigurationError: A model of a process that is not supported.

    Examples:
        >>> statistics = calibrate(pipe, num_samples=2, num_inference_steps=8, trials=0, progress=False)
        >>> len(statistics)  # times at which r(t) is known
        9

    References:
        r(t) is that of Xia et al., https://arxiv.org/abs/2311.00157, whose code takes it along generated samples too.
    """
    check_kinds(prompts=prompts, costs=costs, num_samples=num_samples, seed=seed, progress=progress)
    check_kinds(thorough=thorough, resume=resume, skip_invalid=skip_invalid, checkpoint=checkpoint)
    size = Size.of(num_samples, num_inference_steps, trials, thorough)
    check_numbers(size.num_samples, size.num_inference_steps, batch_size, seed, size.trials)
    check_tolerance(tolerance)
    check_progress(progress)
    _check_data(data)
    _check_resume(checkpoint, resume)
    prompts, pipeline_kwargs = prompts_given(prompts, pipeline_kwargs)
    config = getattr(getattr(pipe, "scheduler", None), "config", {})  # `recording` refuses a pipeline without
    calls = plan_calls(
        pipe, prompts, size.num_inference_steps, seed, pipeline_kwargs, inspect.signature(calibrate).parameters
    )
    facts = (prompts, *size[:2], batch_size, seed, costs, tolerance, size.trials, skip_invalid)
    record = recording(
        pipe,
        prompts=calls.prompts,
        guidance_scale=guidance_in_use(pipe, pipeline_kwargs),
        seed=seed,
        base_model=base_model,
        revision=revision,
        licence=licence,
        costs=costs,
        dense="strength" not in inspect.signature(pipe).parameters,
    )
    # From the inside outwards: signals act only where the pipeline is lent, not while it is being lent or given back.
    with (
        sharing(None if checkpoint is None else str(checkpoint)) as shards,
        heard(shards),
        Interruptions(checkpoint is not None) as stop,
        telling(progress if shards.leads else False) as tell,
        record as recorder,
        silenced(pipe),
        stop.acting(),
    ):
        progress = progress if shards.leads else False
        keeper = keeper_of(checkpoint, resume, shards)
        run = {} if keeper is None else asked(*facts, pipeline_kwargs) | of_model(pipe, recorder, data, (MENU, CALLS))
        keeping = Keeping(keeper, run, recorder, stop, shards)
        samples = min(size.trials, size.marks[0]) if "generator" in calls.takes else 0
        keeping.resume()
        drawing = Drawing(pipe, recorder, calls, batch_size, data, skip_invalid, shards)
        stopping = Stopping(recorder, tolerance, shards)
        tell(
            "start",
            model=recorder.origin.base_model,
            guidance_scale=recorder.origin.guidance_scale,
            **size._asdict(),
            batch_size=batch_size,
            seed=seed,
            samples=recorder.drawn,
        )
        for most in size.marks:
            if recorder.drawn > most:  # known when it was gone on from
                continue
            with meter(progress, most, f"Calibrating{at_guidance(recorder.origin)}", recorder.drawn) as report:
                while recorder.drawn < most:
                    stopping.give_up_costs()
                    drawing.round(stopping.next_look(most), keeping.told(report))
                    report.batch(recorder.drawn, recorder.ledger.relative_error)
                    keeping.keep(most, last=not samples and recorder.drawn >= size.marks[-1])
            if most == size.marks[-1] or stopping.enough():
                break
        statistics = recorder.measured()
        stopping.tell_missed()
        tell_poor(statistics, recorder.noise)
        if samples:
            with meter(progress, samples, f"Trying recipes{at_guidance(recorder.origin)}") as report:
                trier = Trier(pipe, config, statistics, calls, samples, batch_size, keeping.told(report))
                trier.shards, trier.singly = shards, drawing.singly is not False
                trier.left_out, trier.known = recorder.ledger.invalid, keeping.tried
                trier.after_run = lambda: keeping.keep(recorder.drawn)
                trier.after_trial = lambda recipe, calls, error: tell(
                    "trial", recipe=str(recipe), calls=calls, error=error
                )
                statistics = _tried(statistics, trier)
        tell("end", samples=recorder.drawn, times=len(statistics), relative_error=recorder.ledger.relative_error)
        return _agreed(statistics, shards)


def _tried(statistics: ScoreStatistics, trier: Trier) -> ScoreStatistics:
    """The statistics with trials, or as they are where the pipeline fails: what was measured is not lost for it."""
    try:
        return statistics.with_trials(trier.tried(MENU, CALLS))
    except (CalibrationInterruptedError, CheckpointError, ProcessLostError):
        raise
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
    dense: bool = False,
) -> Iterator[RecordingScheduler]:
    """Measure while you call the pipeline yourself: a recorder takes the place of its scheduler.

        with recording(pipe) as recorder:
            for prompt in prompts:
                pipe(prompt, num_inference_steps=200)
        statistics = recorder.measured()

    The pipeline has its own scheduler again at the end of the block, also after an exception. All calls must have the
    same times, so the same number of steps; each may draw any number of samples.

    Args:
        pipe: Anything that samples with its attribute `scheduler`.
        prompts: For the record, of which only a hash is kept.
        guidance_scale: For the record, as are the others.
        seed: The same.
        base_model: The same; by default where the pipeline was loaded from.
        revision: The same.
        licence: The same.
        costs: Costs to be measured as well, see `calibrate`.
        dense: Whether at times that are dense next to clean data, for pipelines whose runs start at noise.

    Yields:
        The recording scheduler; its `measured()` gives the statistics.

    Raises:
        CalibrationError: No scheduler, an unknown cost, or different times in different calls.
        ConfigurationError: A model of a process that is not supported.
    """
    demand(CalibrationError, "prompts", kind_of(Sequence[str] | None), prompts)
    demand(CalibrationError, "dense", kind_of(bool), dense)
    check_kinds(costs=costs)
    scheduler: Any = getattr(pipe, "scheduler", None)
    if not hasattr(scheduler, "config"):
        raise CalibrationError(
            f"{type(pipe).__name__} has no attribute `scheduler` with a config. Statistics are measured through it."
        )
    origin = StatisticsOrigin(
        base_model=base_model if base_model is not None else model_name(pipe),
        revision=revision,
        guidance_scale=guidance_scale,
        seed=seed,
        prompts_hash=None if prompts is None else hash_prompts(prompts),
        licence=licence,
    )
    recorder = RecordingScheduler.measuring(scheduler.config, origin, costs, dense)
    with lent(pipe):
        pipe.scheduler = recorder
        with _full_precision(recorder.costs):
            yield recorder


def _agreed(statistics: ScoreStatistics, shards: Shards) -> ScoreStatistics:
    """The first process's statistics, in all of them."""
    if shards.world == 1:
        return statistics
    content = shards.led(statistics.to_bytes)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "agreed.safetensors"
        file.write_bytes(content)
        return ScoreStatistics.load(file)


@contextmanager
def heard(shards: Shards) -> Iterator[None]:
    """The log of the first process alone: the others have the same to say."""
    before = logger.disabled
    logger.disabled = before or not shards.leads
    try:
        yield
    finally:
        logger.disabled = before


def keeper_of(checkpoint: str | PathLike[str] | None, resume: bool, shards: Shards) -> Keeper | None:
    """The checkpoint's file, read. Raises CheckpointError where it is not to be gone on from, or cannot be."""
    if checkpoint is None:
        return None
    found: Keeper | None = None

    def read() -> bytes:
        nonlocal found
        found = Keeper(checkpoint, resume, shards.leads)
        return b""

    shards.each(read)  # what is wrong with it, all are told
    return found


def _check_resume(checkpoint: str | PathLike[str] | None, resume: bool) -> None:
    if checkpoint is not None:
        return
    if resume:
        raise CheckpointError("`resume=True` needs the file to go on from, and `checkpoint` is None. Name it.")


def _check_data(data: Tensor | None) -> None:
    if data is None:
        return
    if not isinstance(data, Tensor) or data.ndim < 2 or len(data) == 0:
        shape = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise CalibrationError(f"`data` must be a tensor of at least one clean sample, (M, *event), got {shape}.")
    if not bool(torch.isfinite(data).all()):
        raise CalibrationError("`data` must be finite, and holds NaN or infinite values. Check how it was encoded.")


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


def model_name(pipe: Any) -> str | None:
    """Where the pipeline was loaded from; of a folder only its name, for a path says nothing to anybody else."""
    name = getattr(pipe, "name_or_path", None)
    if not isinstance(name, str | Path) or not str(name):
        return None
    folder = Path(name)
    return folder.resolve().name if folder.exists() or folder.is_absolute() else str(name)
