"""Several networks or schedulers in one pipeline: Wan 2.2's two networks, LTX 2's picture and sound."""

from __future__ import annotations

import copy

import pytest
import torch

from sweep.measuring import Room
from tiny_pipelines.ours import SCHEDULERS

BOTH = pytest.mark.parametrize("scheduler", SCHEDULERS)


@BOTH
def test_two_networks_of_wan_share_one_run_by_value(scheduler):
    """The same weights twice: nothing changes, and each is called at its own side of the boundary."""
    room = Room("WanPipeline")
    pipe, calls = room.pipe, {"transformer": [], "transformer_2": []}
    second = copy.deepcopy(pipe.transformer)
    single = room.run(room.ours(SCHEDULERS[scheduler]), 5)[-1]
    pipe.register_modules(transformer_2=second)
    pipe.register_to_config(boundary_ratio=0.9)
    for part, times in calls.items():
        getattr(pipe, part).register_forward_pre_hook(
            lambda _, arguments, options, times=times: times.append(float(options["timestep"].max())), with_kwargs=True
        )
    mine = room.ours(SCHEDULERS[scheduler])
    torch.testing.assert_close(room.run(mine, 5)[-1], single)
    planned = mine["scheduler"].timesteps.tolist()
    assert sorted(set(calls["transformer"]), reverse=True) == [time for time in planned if time >= 900.0]
    assert sorted(set(calls["transformer_2"]), reverse=True) == [time for time in planned if time < 900.0]


@BOTH
def test_a_scheduler_of_sound_is_swapped_like_that_of_the_picture(scheduler):
    """LTX 2 copies the picture's where it has none; with ours in both places both streams are the same."""
    room = Room("LTX2ConditionPipeline")
    alone = room.run(room.ours(SCHEDULERS[scheduler]))
    room.pipe.register_modules(audio_scheduler=room.ours(SCHEDULERS[scheduler])["scheduler"])
    assert all(map(torch.equal, room.run(room.ours(SCHEDULERS[scheduler])), alone))
