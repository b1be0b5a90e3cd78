"""Learned times in Diffusers' pipelines: how many calls, at which times, from which level in image to image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.learn.grid import EqualCost
from records import costed_record
from tiny_pipelines import PROMPT
from tiny_pipelines.studio import Studio

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

TEXT_TO_IMAGE = ("sd", "ddpm", "sdxl", "sd_controlnet", "dit", "kandinsky22")
IMAGE_TO_IMAGE = ("sd_img2img", "sd_inpaint", "sd_inpaint9", "sdxl_img2img", "sdxl_inpaint", "sd_controlnet_img2img")


class Learned:
    """A tiny pipeline whose model has the betas that `STATS` are for, and learned times."""

    def __init__(self, name: str | Studio, **options: Any):
        self.room = Studio(name) if isinstance(name, str) else name
        self.use(ScoreOptimalScheduler, stats=STATS, **options)

    def use(self, scheduler: type, **options: Any) -> None:
        self.scheduler = scheduler.from_config(self.room.config, **SD_BETAS, **options)

    def run(self, steps: int, **options: Any) -> torch.Tensor:
        return self.room.run(self.scheduler, steps, **options)

    @property
    def times(self) -> list[float]:
        return self.room.times

    @property
    def inputs(self) -> list[torch.Tensor]:
        return self.room.inputs


SD = vp_schedule(**SD_BETAS)
STATS = costed_record(SD)


def learned_times(steps: int, **options: Any) -> list[float]:
    """Times of a run from pure noise."""
    scheduler = ScoreOptimalScheduler(**SD_BETAS, stats=STATS, **options)
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


def check_steps_from(scheduler: ScoreOptimalScheduler, begin: int, share: float) -> None:
    """Assert that the steps from `begin` on start at a share of the process and have equal lengths of path."""
    plan = scheduler._plan
    starts = [level for level, is_start in zip(plan.levels[:-1], plan.starts, strict=True) if is_start][begin:]
    assert SD.progress(starts[0]) == pytest.approx(share, rel=1e-9)
    position = np.append(scheduler.path.position(starts), 0.0)  # the last step goes on from the end of the path
    assert np.allclose(np.diff(position), np.diff(position).mean(), rtol=1e-5) and plan.levels[-1] == 0.0


# ------------------------------------------------------------------------------------------------------ text to image


@pytest.mark.parametrize("family", TEXT_TO_IMAGE)
@pytest.mark.parametrize("steps", [1, 4])
def test_n_calls_at_the_learned_times(family, steps):
    studio = Learned(family)
    images = studio.run(steps)
    assert torch.all(torch.isfinite(images)) and images.std() > 0.0
    assert studio.times == learned_times(steps)
    assert studio.scheduler.step_index == steps


def test_whole_times_reach_the_network_as_integers():
    studio = Learned("dit", whole_timesteps=True)
    studio.run(5)
    assert studio.times == learned_times(5, whole_timesteps=True)
    assert studio.scheduler.timesteps.dtype == torch.int64


@pytest.mark.parametrize("given", [{"timesteps": [999, 612, 33]}, {"sigmas": [14.0, 2.0, 0.1]}], ids=str)
def test_times_given_to_the_pipeline_win(given):
    studio = Learned("sd")
    studio.run(50, **given)
    expected = given.get("timesteps") or SD.time(given["sigmas"])
    assert studio.times == pytest.approx(list(expected), rel=1e-6)


def test_a_saved_pipeline_comes_back_with_its_times(tmp_path):
    studio = Learned("sd", grid=EqualCost("predictor"))
    before = studio.run(3)
    studio.room.pipe.save_pretrained(tmp_path)
    again = type(studio.room.pipe).from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert isinstance(again.scheduler, ScoreOptimalScheduler) and again.scheduler.statistics == STATS
    images = again(**PROMPT, num_inference_steps=3, generator=torch.Generator().manual_seed(0)).images
    assert again.scheduler.timesteps.tolist() == studio.times
    assert np.allclose(np.asarray(images), before, atol=1e-4)


# ----------------------------------------------------------------------------------------------------- image to image


@pytest.mark.parametrize("family", IMAGE_TO_IMAGE)
@pytest.mark.parametrize(("steps", "strength"), [(5, 0.6), (10, 0.35)])
def test_a_run_starts_at_its_strength_and_has_equal_steps_from_there(family, steps, strength):
    studio = Learned(family)
    images = studio.run(steps, strength=strength)
    calls = int(steps * strength)
    begin = steps - calls
    assert len(studio.times) == calls and studio.scheduler.begin_index == begin
    assert studio.times == studio.scheduler.timesteps[begin:].tolist()
    assert studio.times != learned_times(steps)[begin:]
    check_steps_from(studio.scheduler, begin, calls / steps)
    assert torch.all(torch.isfinite(images)) and images.std() > 0.0


@pytest.mark.parametrize("family", IMAGE_TO_IMAGE)
def test_the_image_is_noised_to_the_level_of_trailing_times(family):
    """The network's first call is, sample and time, that of `DEISSNScheduler` on its trailing grid."""
    studio = Learned(family)
    firsts = []
    for scheduler in (ScoreOptimalScheduler, DEISSNScheduler):
        studio.use(scheduler, stats=STATS)
        studio.run(10, strength=0.6)
        firsts.append((studio.times[0], studio.inputs[0]))
    assert firsts[0][0] == pytest.approx(firsts[1][0], abs=1e-3) and firsts[0][0] == pytest.approx(599.0, abs=1e-3)
    assert torch.allclose(firsts[0][1], firsts[1][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["sd_img2img", "sd_inpaint", "sdxl_img2img"])
def test_full_strength_is_a_run_from_the_start(family):
    studio = Learned(family)
    studio.run(6, strength=1.0)
    assert studio.times == learned_times(6) and studio.scheduler.begin_index == 0


@pytest.mark.parametrize("solver", ["heun", "kutta3", "rk4"])
@pytest.mark.parametrize("family", ["sd_img2img", "sd_inpaint", "sdxl_img2img"])
def test_solvers_of_several_calls_begin_with_a_step(family, solver):
    studio = Learned(family, solver=solver)
    studio.run(5, strength=0.6)
    stages, last = len(TABLEAUX[solver]), len(TABLEAUX[TABLEAUX[solver].at_clean or solver])
    assert studio.scheduler.begin_index == 2 * stages
    assert len(studio.times) == 2 * stages + last
    assert studio.times == studio.scheduler.timesteps[2 * stages :].tolist()
    check_steps_from(studio.scheduler, 2, 0.6)


def test_whole_times_in_image_to_image():
    studio = Learned("sd_img2img", whole_timesteps=True)
    studio.run(10, strength=0.6)
    assert studio.times[0] == 599.0 and all(time.is_integer() for time in studio.times)
    assert studio.times == studio.scheduler.timesteps[4:].tolist()


def test_given_times_are_cut_and_not_planned_anew():
    studio = Learned("sd_img2img")
    times = [990, 700, 450, 300, 120]
    studio.run(5, strength=0.6, timesteps=times)
    assert studio.times == times[2:]


def test_every_run_starts_afresh():
    """One scheduler for runs of one strength, of another, and from pure noise."""
    studio, text = Learned("sd_img2img"), Learned("sd")
    first, plain = studio.run(8, strength=0.3), text.run(8)
    assert not torch.equal(studio.run(8, strength=0.8), first)
    text.scheduler = studio.scheduler
    assert torch.equal(text.run(8), plain) and text.times == learned_times(8)
    assert torch.equal(studio.run(8, strength=0.3), first)


def test_strength_plans_anew_and_the_end_is_cut_by_value():
    studio = Learned("sdxl_img2img")
    studio.run(10, strength=0.6, denoising_end=0.8)
    check_steps_from(studio.scheduler, 4, 0.6)
    assert studio.times == [time for time in studio.scheduler.timesteps[4:].tolist() if time >= 200.0]


# ---------------------------------------------------------------------------------------- pipelines of other manners


def test_a_pipeline_that_sets_no_begin_runs_through_the_last_learned_times():
    """Kandinsky's finds its first step by the time, whose noise the image has: a list that is cut."""
    studio = Learned("kandinsky22_img2img")
    images = studio.run(10, strength=0.4)
    assert studio.scheduler.begin_index is None
    assert studio.times == learned_times(10)[6:] and len(studio.times) == 4
    assert torch.all(torch.isfinite(images)) and images.std() > 0.0


class Keeper(StableDiffusionImg2ImgPipeline):
    """Walks through a copy of the times."""

    def get_timesteps(self, *arguments: Any) -> Any:
        timesteps, number = super().get_timesteps(*arguments)
        return timesteps.clone(), number


def test_a_pipeline_that_kept_the_old_times_is_told_so():
    room = Studio("sd_img2img")
    room.pipe = Keeper(**room.pipe.components, requires_safety_checker=False)
    room.pipe.set_progress_bar_config(disable=True)
    studio = Learned(room)
    with pytest.raises(StepError, match=r"anew from step 4 .* timestep 599, .* copy of `scheduler.timesteps`"):
        studio.run(10, strength=0.6)
    studio.run(10, strength=1.0)  # nothing to plan anew
    assert studio.times == learned_times(10)
