"""Times that samples are noised to: the process's own levels, those of a run exactly, and nothing beyond the last."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Trailing
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.rounding import BITS
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import TimestepsError
from diffusers_deis_sn.schedulers._noising import only_time, scales_at
from refusals import refused

VP = vp_schedule(**SD_BETAS)


def test_at_whole_times_they_are_the_table_of_diffusers():
    alphas = np.cumprod(1.0 - np.linspace(SD_BETAS["beta_start"] ** 0.5, SD_BETAS["beta_end"] ** 0.5, 1000) ** 2)
    times = [0, 1, 500, 999]
    alpha, sigma = scales_at(VP, None, times)
    assert alpha == pytest.approx(np.sqrt(alphas[times]), rel=1e-12)
    assert sigma == pytest.approx(np.sqrt(1.0 - alphas[times]), rel=1e-12)


def test_of_flows_they_are_the_line_from_data_to_noise():
    alpha, sigma = scales_at(FlowSchedule(1000), None, [250.0, 1000.0])
    assert sigma == pytest.approx([0.25, 1.0]) and np.add(alpha, sigma) == pytest.approx([1.0, 1.0])


def test_times_of_a_run_have_its_levels_also_where_they_were_rounded():
    plan = Recipe(VP, Trailing(), Multistep(2)).plan(7)
    exact = np.asarray(plan.levels[:-1])
    rounded = torch.tensor(plan.times).bfloat16()
    assert rounded.double().tolist() != list(plan.times)
    for times, bits in ((plan.times, None), (rounded.tolist(), BITS["bfloat16"])):
        alpha, sigma = scales_at(VP, plan, times, bits)
        assert np.divide(sigma, alpha) == pytest.approx(exact, rel=1e-12)


def test_beyond_the_last_time_there_is_no_level_but_for_its_roundings():
    refused(TimestepsError, ["end at 999", "1000"], scales_at, VP, None, [1000.0])
    last, rounded = scales_at(VP, None, [999.0]), scales_at(VP, None, [1000.0], BITS["bfloat16"])
    assert np.ravel(rounded) == pytest.approx(np.ravel(last), rel=1e-12)
    refused(TimestepsError, ["end at 999", "1040"], scales_at, VP, None, [1040.0], BITS["bfloat16"])


@pytest.mark.parametrize(
    ("times", "one"), [(torch.tensor([5, 5]), 5), (torch.tensor(7.5), 7.5), (3, 3), (torch.tensor([1, 2]), None)]
)
def test_one_time_is_told_from_several(times, one):
    assert only_time(times) == one


@pytest.mark.parametrize("shift", [0.4, 3.0])
def test_the_last_time_may_be_rounded_up_as_a_shift_in_float32_does(shift):
    flow = FlowSchedule(1000)
    last = float(FlowMatchEulerDiscreteScheduler(shift=shift).timesteps[0])
    assert scales_at(flow, None, [last, 5e2])[1] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("begin", [None, 1])
def test_between_steps_every_time_has_its_own_level(begin):
    """As of DDIM; those of Diffusers that count steps take the level of the next step for whatever time."""
    ours = DEISSNScheduler(**SD_BETAS)
    ours.set_timesteps(5)
    ours.set_begin_index(begin)
    x, noise, times = torch.ones(3, 2), torch.full((3, 2), 2.0), torch.tensor([999, 599, 7])
    theirs = DDIMScheduler(**SD_BETAS).add_noise(x, noise, times)
    for t in ours.timesteps[ours.begin_index or 0 :]:
        assert torch.allclose(ours.add_noise(x, noise, times), theirs, rtol=1e-4)
        ours.step(noise, t, x)
    assert torch.allclose(ours.add_noise(x, noise, times), theirs, rtol=1e-4)
    ours.set_timesteps(timesteps=[900.0, 500.5, 100.0])
    ours.set_begin_index(1)  # pipelines that hand a whole number back mean the time of the run
    assert ours.add_noise(x[:1], x[:1] * 0, torch.tensor([500])).unique().item() == pytest.approx(ours._plan.alpha[1])


def test_where_strength_leaves_no_step_the_noise_is_that_of_the_end():
    """Pipelines then begin behind the last step, and have no time to noise to."""
    scheduler, x = DEISSNScheduler(**SD_BETAS, recipe="fixed"), torch.ones(1, 3)
    scheduler.set_timesteps(1)
    scheduler.set_begin_index(1)
    assert torch.equal(scheduler.add_noise(x, -x, scheduler.timesteps[1:]), x)
