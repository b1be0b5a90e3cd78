"""Runs that begin in the middle: as many calls as the strength asks for, from the level the image was noised to."""

from __future__ import annotations

import pytest
import torch

from tiny_pipelines.families import families
from tiny_pipelines.ours import SCHEDULERS, ours, studio, upstream, with_one_output

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors
BOTH = pytest.mark.parametrize("scheduler", SCHEDULERS)
PARTS = pytest.mark.parametrize("family", families("strength"), ids=str)
STRENGTHS = pytest.mark.parametrize(("steps", "strength"), [(20, 0.05), (5, 0.2), (5, 0.6), (4, 0.75), (3, 1.0)])


@pytest.mark.shows("strength")
@BOTH
@STRENGTHS
@PARTS
def test_a_share_of_the_steps_from_a_share_of_the_process(family, scheduler, steps, strength):
    room = studio(family.builder)
    mine = ours(scheduler, family)
    result = room.run(mine, steps, strength=strength)
    assert torch.all(torch.isfinite(result)) and result.std() > 0.0
    calls, rest = divmod(len(room.times), family.calls_per_step)
    # Pipelines round down the steps that are taken or those that are not.
    assert rest == 0 and calls in {int(steps * strength), steps - int(steps - steps * strength)}
    assert mine.step_index == len(mine.timesteps)
    assert mine.begin_index in (None, steps - calls)
    told = mine.timesteps[steps - calls :].tolist()
    scale = told[0] / room.times[0]  # flow pipelines tell their network t / 1000
    assert told == pytest.approx([scale * time for time in room.times], rel=1e-5)
    assert told == sorted(told, reverse=True)


@pytest.mark.shows("strength")
@BOTH
@PARTS
def test_the_first_call_gets_the_image_with_the_noise_of_its_time(family, scheduler):
    """As from Diffusers' own scheduler at the same times; the rest of the path is then the same too."""
    room = studio(family.builder)
    mine = with_one_output(scheduler, family)
    result = room.run(mine, 5, strength=0.6)
    times, inputs = room.times, room.inputs
    expected = room.run(upstream(family, mine), 5, strength=0.6)
    assert times == pytest.approx(room.times, rel=1e-6)
    for one, other in zip(inputs, room.inputs, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3 * other.abs().max().item())
    torch.testing.assert_close(result, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.shows("strength")
@BOTH
@pytest.mark.parametrize("family", [f for f in families("strength") if f.process == "vp"], ids=str)
def test_a_run_of_strength_s_begins_at_s_of_the_training_times(family, scheduler):
    room = studio(family.builder)
    mine = ours(scheduler, family)
    room.run(mine, 10, strength=0.6)
    whole = ours(scheduler, family)
    whole.set_timesteps(10)
    if mine.begin_index is None:  # a list that is cut: times of a whole run
        assert room.times == whole.timesteps[4:].tolist()
    else:
        assert room.times[0] == pytest.approx(599.0, abs=1e-3)
