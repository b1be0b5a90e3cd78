"""Pipelines whose constructor replaces the scheduler, and what a saved pipeline comes back with."""

from __future__ import annotations

import diffusers
import pytest
import torch

from tiny_pipelines import reload_pipeline, run_pipeline
from tiny_pipelines.families import ASSIGN, BY_NAME, FAMILIES, SWAP, Family, pairs
from tiny_pipelines.ours import SCHEDULERS, ours, studio
from tiny_pipelines.studio import Studio

BOTH = pytest.mark.parametrize("scheduler", SCHEDULERS)
REPLACING = [family for family in FAMILIES if family.how == ASSIGN]


@pytest.mark.shows("reload")
@BOTH
@pytest.mark.parametrize("family", REPLACING, ids=str)
def test_a_constructor_that_replaces_does_so_on_loading_too_and_assigning_helps(family: Family, scheduler):
    room = Studio(family.builder)
    mine = ours(scheduler, family)
    made = type(room.pipe)(unet=room.pipe.unet, scheduler=mine)
    assert type(made.scheduler) is type(room.own)  # DDIM, or PNDM, whatever it was given
    expected = room.run(mine, 4)
    loaded = reload_pipeline(room.pipe)
    assert type(loaded.scheduler) is type(room.own)
    # The config has kept what is ours, so that assigning is all there is to do; statistics were saved beside it.
    loaded.scheduler = SCHEDULERS[scheduler].from_config(loaded.scheduler.config, stats=mine.statistics)
    result = run_pipeline(loaded, room.arguments, 4)
    torch.testing.assert_close(result, expected, rtol=0.0, atol=1e-4)


@pytest.mark.shows("reload")
@pytest.mark.parametrize(("family", "scheduler"), pairs([f for f in FAMILIES if f.how == SWAP]), ids=str)
def test_a_saved_pipeline_comes_back_with_its_scheduler(family: Family, scheduler):
    room = studio(family.builder)
    mine = ours(scheduler, family)
    expected = room.run(mine, 2)
    loaded = reload_pipeline(room.pipe)
    assert type(loaded.scheduler) is type(mine)
    assert loaded.scheduler.statistics == mine.statistics
    result = run_pipeline(loaded, room.arguments, 2)
    torch.testing.assert_close(result, expected, rtol=0.0, atol=2e-4 * max(1.0, expected.abs().max().item()))


@BOTH
def test_ddpm_keeps_what_it_is_given(scheduler):
    room = Studio("ddpm")
    mine = ours(scheduler, BY_NAME["ddpm"])
    assert diffusers.DDPMPipeline(room.pipe.unet, mine).scheduler is mine
