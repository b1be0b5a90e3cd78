"""Ensembles of experts: Stable Diffusion XL's base goes to a share of the process, its refiner on from there."""

from __future__ import annotations

import pytest
import torch

from tiny_pipelines.families import BY_NAME
from tiny_pipelines.ours import SCHEDULERS, ours, studio, with_one_output
from tiny_pipelines.studio import Studio

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # Diffusers calls NumPy on tensors
    pytest.mark.shows("experts"),
]
BOTH = pytest.mark.parametrize("scheduler", SCHEDULERS)
BASE, REFINER = BY_NAME["sdxl"], BY_NAME["sdxl_img2img"]
BASES = pytest.mark.parametrize("family", [BASE], ids=str)
REFINERS = pytest.mark.parametrize("family", [REFINER], ids=str)


def planned(scheduler, family, steps: int) -> list[float]:
    """Times of a whole run."""
    mine = ours(scheduler, family)
    mine.set_timesteps(steps)
    return mine.timesteps.tolist()


@BOTH
@BASES
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_base_and_refiner_cut_one_run_by_value(family, scheduler, share):
    base, refiner = studio(family.builder), studio(REFINER.builder)
    latents = base.run(ours(scheduler, family), 10, denoising_end=share, output_type="latent")
    continued = ours(scheduler, REFINER)
    refiner.run(continued, 10, image=latents, denoising_start=share)
    times, cut = planned(scheduler, family, 10), 1000.0 - 1000.0 * share
    assert base.times == [time for time in times if time >= cut]
    assert refiner.times == [time for time in times if time < cut]
    assert continued.begin_index == len(base.times) and base.times and refiner.times


@BOTH
@REFINERS
def test_with_one_output_both_experts_together_are_one_run(family, scheduler):
    """The same weights in both: what the base leaves is what the refiner takes up, without noise of its own."""
    base, refiner = studio(BASE.builder), studio(family.builder)
    guided = {"output_type": "latent", "guidance_scale": 3.0}
    mine = with_one_output(scheduler, family)
    whole = base.run(mine, 10, **guided)
    latents = base.run(mine, 10, **guided, denoising_end=0.6)
    end = refiner.run(mine, 10, **guided, image=latents, denoising_start=0.6)
    torch.testing.assert_close(end, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())
    assert not torch.allclose(latents, whole, rtol=0.1)


@BOTH
@REFINERS
def test_a_start_in_the_process_takes_the_latents_as_they_are(family, scheduler):
    """No noise is added, whatever the seed."""
    room = studio(family.builder)
    latents = torch.randn(1, 4, 16, 16)
    firsts = []
    for seed in (1, 2):
        room.run(ours(scheduler, family), 5, seed=seed, image=latents, denoising_start=0.4)
        firsts.append(room.inputs[0])
    assert torch.equal(*firsts)


@BOTH
@pytest.mark.parametrize("family", [BY_NAME["sdxl_inpaint"]], ids=str)
def test_an_expert_for_painting_cuts_by_value_too(family, scheduler):
    """Within its loop this pipeline adds noise again and again."""
    room = Studio(family.builder)
    room.run(ours(scheduler, family), 10, denoising_start=0.6)
    assert room.times == [time for time in planned(scheduler, family, 10) if time < 400.0]


@BOTH
@REFINERS
def test_the_end_of_a_run_with_strength_is_cut_by_value(family, scheduler):
    room = studio(family.builder)
    mine = ours(scheduler, family)
    room.run(mine, 10, strength=0.6, denoising_end=0.8)
    assert room.times == [time for time in mine.timesteps[4:].tolist() if time >= 200.0] != []
