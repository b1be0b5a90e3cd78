"""Where in its run a scheduler is: known by the list of times that a pipeline walks through, and by nothing read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.schedulers._cursor import Cursor
from records import costed_record

STATS = costed_record(DEISSNScheduler(**SD_BETAS).noise)
OURS = [DEISSNScheduler, ScoreOptimalScheduler]


def run(scheduler: Any, steps: int = 6) -> Tensor:
    scheduler.set_timesteps(steps)
    x = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3.0 * x + float(t) / 500.0), t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("steps", [(6, 6), (6, 9)])
@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("between", [0, 1, 2])
@pytest.mark.parametrize("ours", OURS)
def test_a_run_that_another_one_has_ended_is_an_error_and_no_picture(ours, steps, before, between):
    """Whoever plans last goes on alone; the other is told at its next step, however far both had come."""
    scheduler = ours.from_config(SD_BETAS, stats=STATS)
    expected = run(copy.deepcopy(scheduler), steps[1])
    x = torch.ones(1, 3, 4)
    scheduler.set_timesteps(steps[0])
    mine = scheduler.timesteps
    for t in mine[:before]:
        x = scheduler.step(torch.zeros_like(x), t, x).prev_sample
    scheduler.set_timesteps(steps[1])
    y = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
    for n, t in enumerate(scheduler.timesteps):
        if n == between and (before or between or steps[0] != steps[1]):
            with pytest.raises(StepError, match="share one scheduler"):
                scheduler.step(torch.zeros_like(x), mine[before], x)
        y = scheduler.step(torch.sin(3.0 * y + float(t) / 500.0), t, y).prev_sample
    assert torch.equal(y, expected)


def test_one_list_of_times_may_be_walked_through_for_every_run_of_its_kind():
    scheduler = DEISSNScheduler.from_config(SD_BETAS, stats=STATS)
    expected = run(scheduler)
    times = scheduler.timesteps
    for _ in range(3):
        scheduler.set_timesteps(6)
        y = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
        for t in times:
            y = scheduler.step(torch.sin(3.0 * y + float(t) / 500.0), t, y).prev_sample
        assert torch.equal(y, expected)


def test_a_time_is_known_by_where_it_lies():
    """So turns are seen on an accelerator too, without reading from it; tests/test_gpu.py does so there."""
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(6)
    assert [scheduler._cursor.place(t) for t in scheduler.timesteps] == list(range(6))
    assert [scheduler._cursor.place(t) for t in scheduler.timesteps[2:]] == [2, 3, 4, 5]
    assert scheduler._cursor.place(scheduler.timesteps[3].expand(4)) == 3
    assert scheduler._cursor.place(scheduler.timesteps[3].clone()) is None and scheduler._cursor.place(3) is None


def test_before_a_plan_no_step_is_entered_and_no_time_is_known():
    cursor = Cursor(torch.arange(5))
    assert cursor.place(cursor.grid[2]) is None
    with pytest.raises(StepError, match="set_timesteps"):
        cursor.enter(2, torch.ones(1), int)


def test_a_view_of_another_kind_is_no_place_in_the_list():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(6)
    times = scheduler.timesteps
    assert scheduler._cursor.place(times[:0]) is None
    assert scheduler._cursor.place(times.view(torch.uint8)[1:2]) is None  # between two times


@pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])
def test_several_times_at_once_are_no_step(ours):
    """One for each sample will do where all are the same: the first alone would be a wrong index for the others."""
    scheduler = ours()
    scheduler.set_timesteps(6)
    times = scheduler.timesteps
    assert scheduler.index_for_timestep(times[2].expand(4)) == 2
    for several in (times[:2], times[:2].half(), torch.stack([times[1], times[1], times[3]])):
        with pytest.raises(StepError, match="that differ"):
            scheduler.index_for_timestep(several)
        with pytest.raises(StepError, match="that differ"):
            scheduler.step(torch.zeros(len(several), 2), several, torch.zeros(len(several), 2))
