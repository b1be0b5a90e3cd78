"""Every family of the catalogue with both schedulers: calls, results, and Diffusers' own solvers as oracles."""

from __future__ import annotations

import pytest
import torch

from benchmarks.exact.runs import rms
from tiny_pipelines import BUILDERS, network_of
from tiny_pipelines.families import BY_NAME, FAMILIES, families, pairs
from tiny_pipelines.ours import SCHEDULERS, ours, studio, upstream, with_one_output
from tiny_pipelines.studio import Studio

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # Diffusers calls NumPy on tensors
]
BOTH = pytest.mark.parametrize("scheduler", SCHEDULERS)
ALL = pytest.mark.parametrize("family", FAMILIES, ids=str)


def assert_same_path(ours: Studio, inputs: list[torch.Tensor], result: torch.Tensor, expected: torch.Tensor) -> None:
    """Assert that the network was called with the same samples, and that the same came out."""
    assert len(ours.inputs) == len(inputs)
    for mine, theirs in [*zip(ours.inputs, inputs, strict=True), (result, expected)]:
        # Not by the largest difference: a clamp, or a pixel rounded to whole numbers, magnifies rounding now and then.
        assert mine.shape == theirs.shape
        assert rms(mine, theirs) < 1e-3 * max(theirs.abs().max().item(), 1e-6)


def test_every_tiny_pipeline_is_in_the_catalogue():
    assert set(BUILDERS) - set(BY_NAME) == {"ledits_pp"}  # which cannot run, see test_impossible.py
    for name, family in BY_NAME.items():
        assert type(studio(name).pipe).__name__ == family.pipeline


@pytest.mark.shows("calls")
@BOTH
@ALL
def test_n_steps_are_n_calls_at_its_times(family, scheduler):
    room = studio(family.builder)
    mine = ours(scheduler, family)
    result = room.run(mine, 4)
    steps, rest = divmod(len(room.times), family.calls_per_step)
    if "strength" in family.arguments:
        strength = room.arguments.get("strength", 1.0)
        assert steps in {int(4 * strength), 4 - int(4 * (1 - strength))}  # pipelines round down the one or the other
    else:
        assert steps == 4
    assert rest == 0 and steps == len(set(room.times))
    assert room.pipe.scheduler is mine and mine.step_index == len(mine.timesteps)
    assert torch.all(torch.isfinite(result)) and result.std() > 0.0


@pytest.mark.shows("first order")
@BOTH
@ALL
def test_with_one_output_it_is_diffusers_own_solver_of_first_order(family, scheduler):
    """DDIM; for flow models Euler's method. Learned variances are cut off by the pipeline there, and by us here."""
    room = studio(family.builder)
    mine = with_one_output(scheduler, family)
    result = room.run(mine, 4)
    inputs, times = room.inputs, room.times
    expected = room.run(upstream(family, mine), 4)
    assert times == pytest.approx(room.times, rel=1e-6)
    theirs, room.inputs = room.inputs, inputs
    assert_same_path(room, theirs, result, expected)


@pytest.mark.shows("callback_on_step_end")
@pytest.mark.parametrize(("family", "scheduler"), pairs(families("callback_on_step_end")), ids=str)
def test_a_callback_sees_every_step_and_may_change_the_latents(family, scheduler):
    room = studio(family.builder)
    mine = ours(scheduler, family)
    seen: list[tuple[int, float]] = []

    def watch(pipe, index, time, tensors):
        seen.append((index, float(time)))
        return {}

    def blank_the_last(pipe, index, time, tensors):
        last = index == len(seen) - 1
        return {"latents": torch.zeros_like(tensors["latents"]) if last else tensors["latents"]}

    plain = room.run(mine, 2)
    watched = room.run(mine, 2, callback_on_step_end=watch)
    assert torch.equal(watched, plain)
    begin = len(mine.timesteps) - len(seen)
    told = mine.sigmas[:-1] if family.builder == "cogview4" else mine.timesteps  # CogView 4 tells the level
    assert seen == list(enumerate(told[begin:].tolist()))
    assert begin == (mine.begin_index or 0) or "kandinsky" in family.builder
    first, second = (room.run(mine, 2, seed=seed, callback_on_step_end=blank_the_last) for seed in (1, 2))
    assert torch.equal(first, second) and not torch.equal(first, plain)


@pytest.mark.shows("guidance_rescale")
@BOTH
@pytest.mark.parametrize("family", families("guidance_rescale"), ids=str)
def test_guidance_rescale_acts_as_it_does_for_diffusers(family, scheduler):
    room = studio(family.builder)
    mine = with_one_output(scheduler, family)
    plain = room.run(mine, 4)
    result = room.run(mine, 4, guidance_rescale=0.7)
    inputs = room.inputs
    assert not torch.allclose(result, plain, rtol=0.0, atol=1e-4)
    expected = room.run(upstream(family, mine), 4, guidance_rescale=0.7)
    theirs, room.inputs = room.inputs, inputs
    assert_same_path(room, theirs, result, expected)


@pytest.mark.shows("offload")
@pytest.mark.parametrize(("family", "scheduler"), pairs([f for f in FAMILIES if f.offloads]), ids=str)
def test_offloaded_models_make_the_same(family, scheduler):
    """On a CPU models are offloaded to where they are; the hooks that move them run all the same."""
    plain = studio(family.builder)
    expected = plain.run(ours(scheduler, family), 2)
    room = Studio(family.builder)
    room.pipe.enable_model_cpu_offload(device="cpu")  # without a device it refuses, where there is no accelerator
    assert hasattr(network_of(room.pipe), "_hf_hook")
    result = room.run(ours(scheduler, family), 2)
    assert len(room.times) == len(plain.times) > 0
    assert torch.equal(result, expected)


@pytest.mark.gpu
@BOTH
@pytest.mark.parametrize("method", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
@pytest.mark.parametrize("family", [BY_NAME[name] for name in ("sd_img2img", "flux", "wan", "svd")], ids=str)
def test_models_offloaded_from_a_gpu_make_the_same(family, method, scheduler):
    """Layer by layer too, which cannot be tried without a GPU: Accelerate does not offload layers to where they are."""
    expected = studio(family.builder).run(ours(scheduler, family), 2)
    room = Studio(family.builder)
    getattr(room.pipe, method)()
    result = room.run(ours(scheduler, family), 2)
    torch.testing.assert_close(result, expected, rtol=0.0, atol=1e-2 * expected.abs().max().item())
