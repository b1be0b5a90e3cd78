"""Runs that begin later: planned anew from there, so that `strength` is a share of the process."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.schedulers._later import check_first, time_of_begin
from diffusers_deis_sn.statistics.trials import Method
from records import costed_record, with_trials
from refusals import refused
from tiny_pipelines.studio import Studio

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

SD = vp_schedule(**SD_BETAS)
FEW = Method("noise", 3, 2, 0.5, "power_t", 1.5)
LEARNED = Method("data", 2, 2, None, "learned")
TRIED = with_trials(costed_record(SD), FEW)
MOST = 12.0  # guidance of any of these pipelines by default, and more
SQUARE = with_trials(costed_record(SD), Method("data", 3, 3, None, "power_t", 2.0), guidance=MOST)
ROUND = with_trials(costed_record(SD), Method("noise", 2, 4, 0.5, "power_t", 1.0), guidance=MOST)  # 10 whole times


@cache
def room(name: str) -> Studio:
    return Studio(name)


@pytest.mark.parametrize("stats", [SQUARE, ROUND], ids=["fractional times", "whole times"])
@pytest.mark.parametrize("options", [{}, {"use_karras_sigmas": True, "solver_order": 3}], ids=str)
@pytest.mark.parametrize("name", ["sd_img2img", "sd_inpaint", "sdxl_img2img", "kandinsky22_img2img"])
def test_a_run_from_an_image_is_that_of_the_options(name, options, stats):
    """`strength` is a share of the process, and a recipe's grid is not spaced like shares."""
    studio = room(name)
    recipe, fixed = (
        DEISSNScheduler.from_config(studio.config, **SD_BETAS, **options, stats=stats, recipe=kind)
        for kind in ("measured", "fixed")
    )
    for steps, strength in ((20, 0.05), (10, 0.3), (5, 0.6), (4, 0.75), (10, 0.95)):
        expected = studio.run(fixed, steps, strength=strength)
        times, inputs = studio.times, studio.inputs
        assert torch.equal(studio.run(recipe, steps, strength=strength), expected)
        assert studio.times == times and all(map(torch.equal, studio.inputs, inputs))
        assert recipe.method is None and recipe.begin_index == fixed.begin_index
    studio.run(recipe, 10, strength=1.0)
    assert recipe.method == stats.trials.recipes[0]
    whole = DEISSNScheduler.from_config(studio.config, **SD_BETAS, stats=stats, recipe="measured")
    whole.set_timesteps(10)
    assert studio.times == whole.timesteps.tolist()
    assert torch.equal(studio.run(recipe, 5, strength=0.6), studio.run(fixed, 5, strength=0.6))  # and again


@pytest.mark.parametrize("name", ["sd_img2img", "kandinsky22_img2img"])
def test_learned_times_from_an_image_are_those_of_the_options(name):
    studio, stats = room(name), with_trials(costed_record(SD), LEARNED, guidance=MOST)
    recipe, fixed = (
        ScoreOptimalScheduler.from_config(studio.config, **SD_BETAS, stats=stats, recipe=kind)
        for kind in ("measured", "fixed")
    )
    result, expected = (studio.run(scheduler, 10, strength=0.4) for scheduler in (recipe, fixed))
    if name == "sd_img2img":
        assert torch.equal(result, expected) and recipe.method is None
    else:  # its list of times is cut, with learned times too
        studio.run(recipe, 10, strength=0.4)
        assert recipe.method == LEARNED and studio.times == recipe.timesteps[6:].tolist()


def test_a_copy_of_the_old_times_is_an_error_and_not_another_picture():
    scheduler, x = DEISSNScheduler(**SD_BETAS, stats=TRIED), torch.ones(1, 3)
    for begins in (True, False):  # with set_begin_index, and without
        scheduler.set_timesteps(10)
        kept = scheduler.timesteps[4:].clone()
        if begins:
            scheduler.set_begin_index(4)
        scheduler.add_noise(x, x, kept[:1])
        assert scheduler.method is None and scheduler.timesteps[4] == 599.0
        with pytest.raises(StepError, match=r"copy of `scheduler.timesteps`|is not in the plan|at timestep 599"):
            scheduler.step(x, kept[0], x)


def test_noise_added_in_training_or_by_hand_plans_nothing():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=TRIED)
    x = torch.ones(2, 3)
    before = scheduler.add_noise(x, x, torch.tensor([10, 500]))
    scheduler.set_timesteps(6)
    plan = scheduler._plan
    assert torch.equal(scheduler.add_noise(x, x, torch.tensor([10, 500])), before)  # of two samples, so of no run
    assert torch.equal(scheduler.add_noise(x, x, torch.tensor([10])), scheduler.add_noise(x, x, torch.tensor([10, 10])))
    scheduler.add_noise(x, x, scheduler.timesteps[:1])  # with which a whole run begins
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(x), t, x).prev_sample
        scheduler.add_noise(x, x, scheduler.timesteps[3:4])  # within a run, as inpainting does
    assert scheduler._plan is plan and scheduler.method == FEW


def test_noise_of_the_first_time_as_it_was_is_noise_of_the_first_time_as_it_is():
    scheduler, x = DEISSNScheduler(**SD_BETAS, stats=TRIED), torch.ones(1, 3)
    scheduler.set_timesteps(10)
    before, run = scheduler.timesteps[4:5].clone(), scheduler._run
    assert time_of_begin(run, before) is before  # it begins at its beginning
    scheduler.set_begin_index(4)
    scheduler.add_noise(x, x, before)
    run = scheduler._run
    assert (run.begin, run.begun_at) == (4, float(before)) != (4, run.plan.times[4])
    for given in (before, before.bfloat16(), before.floor(), before.half()):  # as loops hand it back
        assert time_of_begin(run, given).tolist() == [run.plan.times[4]]
    other = before + 1.0
    assert time_of_begin(run, other) is other
    check_first(run.plan, 4, scheduler.timesteps[4])
    refused(StepError, ["anew from step 4", "copy of"], check_first, run.plan, 4, before)
