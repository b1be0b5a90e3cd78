"""Pipelines that no other scheduler can serve: they replace it, call what is not there, or ship a config we refuse."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from diffusers_deis_sn.errors import ConfigurationError, StepError, TimestepsError
from refusals import refused
from tiny_pipelines import BUILDERS, image
from tiny_pipelines.families import BY_NAME, IMPOSSIBLE, REFUSED
from tiny_pipelines.other import pixel_unet
from tiny_pipelines.ours import SCHEDULERS, ours
from tiny_pipelines.stable_diffusion import sd_components

BOTH = pytest.mark.parametrize("scheduler", SCHEDULERS)


@BOTH
@pytest.mark.parametrize("row", [row for row in IMPOSSIBLE if row.ships], ids=str)
def test_the_config_of_such_a_pipeline_is_refused_in_memory_and_from_a_file(row, scheduler):
    config = row.shipped()
    refused(ConfigurationError, ["onfig"], SCHEDULERS[scheduler].from_config, config)
    saved = {name: value for name, value in config.items() if name != "_use_default_values"}
    saved |= {"_class_name": row.ships, "_diffusers_version": "0.36.0"}
    refused(ConfigurationError, [row.ships], SCHEDULERS[scheduler].from_config, saved)


def test_all_that_are_said_to_be_refused_have_a_config_to_refuse():
    assert all(bool(row.ships) == (row.how == REFUSED) for row in IMPOSSIBLE)


def test_all_pipelines_named_exist():
    for row in IMPOSSIBLE:
        for name in row.pipelines:
            assert issubclass(getattr(diffusers, name), diffusers.DiffusionPipeline)


@BOTH
def test_ledits_replaces_what_it_is_given_and_cannot_invert_with_another(scheduler):
    components = sd_components()
    del components["requires_safety_checker"]
    mine = components["scheduler"] = ours(scheduler, BY_NAME["sd"])
    pipe = diffusers.LEditsPPPipelineStableDiffusion(**components)
    assert type(pipe.scheduler) is DPMSolverMultistepScheduler
    pipe.scheduler = mine
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(ConfigurationError):  # by name; or for the spacing that it writes into the config
        pipe.invert(image(), num_inversion_steps=4)


def test_ledits_itself_runs_with_the_scheduler_it_puts_in():
    """So the tiny pipeline is sound, and it is the scheduler that the test above fails by."""
    pipe, _ = BUILDERS["ledits_pp"]()
    pipe.invert(image(), num_inversion_steps=4, generator=torch.Generator().manual_seed(0))
    assert len(pipe.zs) == 4


# ----------------------------------------------------------- calls that only the scheduler of such a pipeline answers


@pytest.mark.filterwarnings("ignore:The preprocess method is deprecated:FutureWarning")  # RePaint's own
@BOTH
def test_repaint_calls_what_only_its_own_scheduler_has(scheduler):
    own = diffusers.RePaintScheduler()
    pipe = diffusers.RePaintPipeline(pixel_unet(), own)
    pipe.set_progress_bar_config(disable=True)
    whole = {"image": torch.zeros(1, 3, 16, 16), "mask_image": torch.ones(1, 1, 16, 16)}
    settings = {"num_inference_steps": 4, "jump_length": 2, "jump_n_sample": 2, "output_type": "np"}
    assert pipe(**whole, **settings).images.shape == (1, 16, 16, 3)  # it is the scheduler that the next call fails by
    pipe.scheduler = SCHEDULERS[scheduler].from_config(own.config)
    with pytest.raises((TypeError, ConfigurationError, TimestepsError)):
        pipe(**whole, **settings)


@pytest.mark.parametrize("names", [("undo_step",), ("step_correct",), ("step_pred",), ("add_noise_to_input",)], ids=str)
@BOTH
def test_what_stochastic_pipelines_call_is_not_there(names, scheduler):
    assert not any(hasattr(SCHEDULERS[scheduler], name) for name in names)


@BOTH
def test_cycle_diffusion_wants_the_variance_of_ddim(scheduler):
    """It takes only schedulers with `_get_variance`, and noise by `eta`, which we refuse."""
    mine = SCHEDULERS[scheduler]()
    assert not hasattr(mine, "_get_variance")
    with pytest.raises(StepError, match="eta"):
        mine.step(torch.zeros(1), 0, torch.zeros(1), eta=0.1)


@BOTH
def test_cosmos_reads_a_second_output(scheduler):
    mine = SCHEDULERS[scheduler]()
    mine.set_timesteps(timesteps=[900, 500])
    x = torch.zeros(1, 3, 4, 4)
    assert len(mine.step(x, 900, x, return_dict=False)) == 1
