"""Runs that begin later, as those of image-to-image pipelines do, and that are planned anew from there."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusers_deis_sn.core.plan import OFF_GRID, Plan
from diffusers_deis_sn.core.rounding import EXACT, is_rounding
from diffusers_deis_sn.core.tuned_later import FEWEST
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.schedulers._cursor import Cursor, bits_of, first_of
from diffusers_deis_sn.schedulers._noising import only_time
from diffusers_deis_sn.schedulers._planned_run import Run
from diffusers_deis_sn.schedulers._planner import Planner

FROM_AN_IMAGE = (
    "No plan is used in this run from an image (img2img): it follows the scheduler's options. Times of plans serve "
    f"such runs from {FEWEST} network calls on."
)


def planned_anew(planner: Planner, cursor: Cursor, run: Run, timesteps: Tensor) -> Run | None:
    """A run with a grid of its own as one that begins later; None to leave it as it is.

    Args:
        planner: Of the scheduler.
        cursor: Of the run, before its first step.
        run: What it was planned from.
        timesteps: That its samples are noised to.
    """
    begin = _later_begin(cursor, run, timesteps, planner.options.learns)
    again = None if begin is None else planner.again(run, begin)
    return again if again is not None and len(again.plan) == len(cursor.grid) else None


def _later_begin(cursor: Cursor, run: Run, timesteps: Tensor, learned: bool) -> int | None:
    """The call that it begins with; None if that is the first, or was planned for already."""
    begin, plan = cursor.begin, run.plan
    if begin is None and not learned:  # some pipelines cut the list of times and say nothing
        time = only_time(timesteps)
        begin = None if time is None or time == run.begun_at else plan.index(time, bits_of(timesteps))
    if begin is None or not 0 < begin < len(plan) or not plan.starts[begin]:
        return None  # at the first, or nowhere, as `step` will say
    return begin if begin != run.begin else None


def time_of_begin(run: Run, timesteps: Tensor) -> Tensor:
    """Times to noise samples to: those of the run as it is now, where they are those of its begin as it was before."""
    time, before = only_time(timesteps), run.begun_at
    if run.begin is None or time is None or before is None:
        return timesteps
    if not is_rounding(before, time, OFF_GRID, bits_of(timesteps) or EXACT):
        return timesteps
    asked = torch.as_tensor(timesteps)
    return torch.full(asked.shape, run.plan.times[run.begin], dtype=torch.float64)


def check_first(plan: Plan, n: int, timestep: float | Tensor) -> None:
    """Read the first time of a run planned anew, for the pipeline may hold a copy of those before.

    Raises:
        StepError: It is not that of step n.
    """
    time = first_of(timestep)
    if plan.index(time, bits_of(timestep)) != n:
        raise StepError(
            f"The run was planned anew from step {n} when its noise was added, and is there at timestep "
            f"{plan.times[n]:g}, but `step` was called with {time:g}: of a copy of `scheduler.timesteps`. "
            "Walk through the scheduler's own tensor or a slice of it, or use recipe='fixed' (DEISSNScheduler)."
        )
