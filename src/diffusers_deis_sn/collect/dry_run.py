"""What a measurement will take, from a few timed calls of the network; nothing is measured or written."""

from __future__ import annotations

import inspect
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch

from diffusers_deis_sn.collect.arguments import Size, check_numbers
from diffusers_deis_sn.collect.calls import PipelineCalls, called, plan_calls
from diffusers_deis_sn.collect.guidances import guidances
from diffusers_deis_sn.collect.lending import silenced
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.run import TRIAL_CALLS, calibrate, recording
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import CalibrationError, SeveralError

TIMED = 3  # calls, after one that warms up
MIB = 2**20


@dataclass(frozen=True)
class Forecast:
    """What `calibrate` will take with the same arguments.

    Args:
        least: Smallest number of network calls of the measurement, each of a whole batch.
        most: Largest number; another one than `least` where the number of samples is "auto".
        trials: Largest number of network calls of the trials; some processes have not all recipes.
        seconds_per_call: Seconds that a call of a whole batch takes.
        memory_mib: Peak of the GPU's memory in MiB, or of the process where the model is on the CPU.
        device: Whose memory that is.

    Examples:
        >>> forecast = Forecast(least=400, most=800, trials=200, seconds_per_call=0.5, memory_mib=9000.0, device="cuda")
        >>> forecast.seconds
        (300.0, 500.0)
    """

    least: int
    most: int
    trials: int
    seconds_per_call: float
    memory_mib: float
    device: str

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds that it takes, at least and at most."""
        return (self.least + self.trials) * self.seconds_per_call, (self.most + self.trials) * self.seconds_per_call

    def __str__(self) -> str:
        """For people."""
        least, most = (_duration(one) for one in self.seconds)
        calls = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        spent = least if least == most else f"{least} to {most}"
        return (
            f"{calls} network calls to measure and up to {self.trials} for the trials, of a batch each\n"
            f"{spent} at {self.seconds_per_call:.3g} s a call\n"
            f"{self.memory_mib:.0f} MiB of memory at the peak ({self.device})"
        )


class _Through(Exception):  # noqa: N818 - not an error: the way out of a run in the middle
    """The calls were timed."""


@checked(CalibrationError)
def dry_run(
    pipe: Any,
    prompts: str | PathLike[str] | Sequence[str] | None = None,
    num_samples: int | str | None = None,
    num_inference_steps: int | None = None,
    batch_size: int = 8,
    seed: int = 0,
    *,
    costs: Sequence[str] = (),
    trials: int | None = None,
    thorough: bool = False,
    **pipeline_kwargs: Any,
) -> Forecast:
    """How many calls `calibrate` will make with these arguments, and how long and how much memory they take.

    The pipeline draws the first batch, and is stopped when `TIMED` calls of the network were timed. What it does
    besides its network is not in the time. Its scheduler is put back.

    Args:
        pipe: As for `calibrate`, as are the others.
        prompts: The same.
        num_samples: The same.
        num_inference_steps: The same.
        batch_size: The same.
        seed: The same.
        costs: The same; a cost is measured no longer than its tolerance asks for, so that there may be fewer calls.
        trials: The same.
        thorough: The same.
        **pipeline_kwargs: The same.

    Returns:
        Network calls, seconds a call and memory; `print` it.

    Raises:
        CalibrationError: As `calibrate` does, also for a pipeline that never calls its scheduler.
        ConfigurationError: A model of a process that is not supported.
    """
    size = Size.of(num_samples, num_inference_steps, trials, thorough)
    check_numbers(size.num_samples, size.num_inference_steps, batch_size, seed, size.trials)
    prompts, pipeline_kwargs = prompts_given(prompts, pipeline_kwargs)
    several = guidances(pipeline_kwargs)
    if (
        several is not None
    ):  # of which the strongest is timed: with one some pipelines call their network on half as much
        pipeline_kwargs[several[0]] = several[1][-1]
    times = 1 if several is None else len(several[1])
    ours = inspect.signature(calibrate).parameters
    calls = plan_calls(pipe, prompts, size.num_inference_steps, seed, pipeline_kwargs, ours)
    dense = "strength" not in inspect.signature(pipe).parameters
    with recording(pipe, costs=costs, dense=dense) as recorder, silenced(pipe):
        count = min(batch_size, size.marks[0])
        try:
            drawn, in_batch, seconds = _timed(pipe, recorder, calls, count)
        except SeveralError:
            drawn, in_batch, seconds = _timed(pipe, recorder, calls, 1)
    if drawn != count:  # the pipeline or its own arguments decide
        batch_size = drawn
    batches = [math.ceil(one / batch_size) for one in _steps(size.marks)]
    tried = min(size.trials, size.marks[0]) if "generator" in calls.takes else 0
    memory, device = _peak()
    return Forecast(
        least=times * batches[0] * in_batch,
        most=times * sum(batches) * in_batch,
        trials=times * math.ceil(tried / batch_size) * TRIAL_CALLS,
        seconds_per_call=seconds,
        memory_mib=memory,
        device=device,
    )


def _steps(marks: Sequence[int]) -> list[int]:
    """Samples from one mark to the next."""
    return [after - before for before, after in zip((0, *marks), marks, strict=False)]


def _timed(pipe: Any, recorder: RecordingScheduler, calls: PipelineCalls, count: int) -> tuple[int, int, float]:
    """Number of samples of a batch, of its calls, and seconds of one of them."""
    drawn, in_batch, moments = 0, 0, list[float]()

    def on_step(share: float) -> None:
        nonlocal drawn, in_batch
        if not moments:  # runs from an image begin in the middle of the times
            drawn = round(share * len(recorder.timesteps))
            in_batch = len(recorder.timesteps) - (recorder.step_index or 0)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        moments.append(time.perf_counter())
        if len(moments) > TIMED:
            raise _Through

    recorder.asked, recorder.on_step = count if calls.sized else 0, on_step
    recorder.generators = [torch.Generator().manual_seed(calls.seed + i) for i in range(count)]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        called(pipe, calls.arguments(0, count))
    except _Through:
        if hasattr(pipe, "maybe_free_model_hooks"):  # a run that is cut leaves an offloaded network where it is
            pipe.maybe_free_model_hooks()
    if len(moments) < 2:
        raise CalibrationError(
            f"{type(pipe).__name__} called `step` of its scheduler {len(moments)} times, and two are needed to time a "
            "call. Statistics need a pipeline that samples with `pipe.scheduler`."
        )
    return drawn, in_batch, (moments[-1] - moments[0]) / (len(moments) - 1)


def _peak() -> tuple[float, str]:
    """MiB, and of what."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB, "CUDA"
    try:
        import resource
    except ImportError:  # Windows
        return float("nan"), "unknown"
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB, "process"


def _duration(seconds: float) -> str:
    if seconds < 90.0:
        return f"{max(seconds, 1.0):.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"
