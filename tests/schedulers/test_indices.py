"""Private names of Diffusers for where a run is."""

from __future__ import annotations

import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from toy_models import walk


def test_a_run_is_reset_by_the_private_index_as_it_is_for_diffusers():
    scheduler, x = DEISSNScheduler(**SD_BETAS), torch.randn(2, 3)
    scheduler.set_timesteps(5)
    first = walk(scheduler, x, scheduler.timesteps)
    assert scheduler._step_index == scheduler.step_index == 5
    scheduler._step_index = None
    assert scheduler.step_index is None
    assert torch.equal(walk(scheduler, x, scheduler.timesteps), first)
    scheduler._begin_index = 2
    assert scheduler.begin_index == 2
    walk(scheduler, x, scheduler.timesteps[2:])
    scheduler._begin_index = None
    assert scheduler.begin_index is None and scheduler.step_index is None


def test_a_run_is_not_moved_to_another_step():
    scheduler, x = DEISSNScheduler(**SD_BETAS), torch.randn(2, 3)
    scheduler.set_timesteps(5)
    walk(scheduler, x, scheduler.timesteps[:2])
    scheduler._step_index = 2  # where it is
    with pytest.raises(AttributeError, match="step 1"):
        scheduler._step_index -= 1
    assert scheduler.step_index == 2
