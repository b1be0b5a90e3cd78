"""The guidance that a pipeline runs with: read when a run begins and in each step, and what is made of it."""

from __future__ import annotations

import copy
import gc
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, calibrate
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.following import GAIN, LEAST_GUIDANCE, TRUSTED
from diffusers_deis_sn.schedulers._guidance import NONE, PipelineGuidance
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import costed_record
from tiny_pipelines import BUILDERS
from toy_models import Pipe

OURS = [DEISSNScheduler, ScoreOptimalScheduler]
MEASURED_AT = 3.0
STATS = costed_record(vp_schedule(**SD_BETAS)).with_origin(guidance_scale=MEASURED_AT)
RECIPES = (Method("noise", 1, 0, None, "power_t", 1.5), Method("noise", 1, 0, None, "learned"))
TRIED = STATS.with_trials(Trials(RECIPES, (6,), [[0.1], [0.1]], [[0.1], [0.1]], [[1.0], [1.0]], 2))


def limit(scheduler: Any) -> float:
    """Of the corrections of the present run."""
    return scheduler.recipe.solver.corrector.gain


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"guidance_scale": 7.5}, 7.5),
        ({"guidance_scale": 5}, 5.0),
        ({"guidance_scale": 0.0}, NONE),
        ({"guidance_scale": 7.5, "do_classifier_free_guidance": False}, NONE),
        ({"guidance_scale": torch.tensor([[1.0, 2.5, 2.0]])}, 2.5),  # a scale for each frame
        ({"guidance_scale": 3.5, "transformer": SimpleNamespace(config=SimpleNamespace(guidance_embeds=True))}, NONE),
        ({"guidance_scale": 8.0, "unet": SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=256))}, NONE),
        ({"guidance_scale": None}, None),
        ({"guidance_scale": True}, None),
        ({}, None),
    ],
    ids=str,
)
def test_what_multiplies_the_difference_of_outputs_is_read(attributes, expected):
    pipe = Pipe(**attributes)
    assert PipelineGuidance(pipe).read() == expected


class Caller:
    """Calls a scheduler as pipelines do, by way of a function."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def __call__(self, steps: int, guidance_scale: float = 4.0) -> None:
        retrieve(self.scheduler, steps)


class TrueCaller(Caller):
    """One whose network is told a scale, and which may also guide it truly."""

    guidance_scale = 3.5
    transformer = SimpleNamespace(config=SimpleNamespace(guidance_embeds=True))

    def __call__(self, steps: int, true_cfg_scale: float = 1.0, negative: bool = True) -> None:
        do_true_cfg = true_cfg_scale > 1 and negative  # noqa: F841  (as in Diffusers)
        retrieve(self.scheduler, steps)


def retrieve(scheduler: Any, steps: int) -> None:
    scheduler.set_timesteps(steps)


@pytest.mark.parametrize("ours", OURS)
def test_whoever_calls_the_scheduler_is_asked_however_it_was_swapped_in(ours):
    pipe = Caller(ours(**SD_BETAS, stats=STATS, recipe="fixed"))
    for guidance in (6.0, 12.0):
        pipe(6, guidance_scale=guidance)
        assert limit(pipe.scheduler) == pytest.approx(GAIN / guidance)
    pipe.scheduler.set_timesteps(6)  # by nobody who holds it
    assert limit(pipe.scheduler) == pytest.approx(GAIN / MEASURED_AT)


@pytest.mark.parametrize(("options", "expected"), [({}, 1.0), ({"true_cfg_scale": 4.0}, 4.0)])
def test_true_guidance_is_told_from_a_scale_that_the_network_is_told(options, expected):
    pipe = TrueCaller(DEISSNScheduler(**SD_BETAS, stats=STATS, recipe="fixed"))
    pipe(6, **options)
    assert pipe.scheduler._run.guidance == expected
    pipe(6, **options, negative=False)
    assert pipe.scheduler._run.guidance == 1.0


def test_somebody_elses_pipeline_is_not_asked():
    inner = Caller(DEISSNScheduler(**SD_BETAS, stats=STATS, recipe="fixed"))

    class Outer(Caller):
        def __call__(self, steps: int, guidance_scale: float = 9.0) -> None:
            inner(steps, guidance_scale=5.0)

    Outer(DEISSNScheduler(**SD_BETAS))(6)
    assert inner.scheduler._run.guidance == 5.0


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_pipelines_of_diffusers_tell_their_guidance_by_themselves(name):
    pipe, arguments = BUILDERS[name]()
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=False)
    pipe(**arguments | {"num_inference_steps": 2, "guidance_scale": 4.5, "output_type": "latent"})
    distilled = getattr(getattr(pipe, "transformer", None), "config", {}).get("guidance_embeds", False)
    assert pipe.scheduler._run.guidance == (1.0 if name == "flux" else 4.5) and (not distilled or name == "flux")


def test_a_measurement_records_the_guidance_that_only_the_call_knows():
    pipe, arguments = BUILDERS["svd"]() if "svd" in BUILDERS else pytest.skip("no such pipeline here")
    statistics = calibrate(pipe, num_samples=2, num_inference_steps=3, trials=0, progress=False, **arguments)
    assert statistics.origin.guidance_scale == pytest.approx(3.0)  # the largest of its frames


def test_before_the_first_call_nothing_is_known_and_afterwards_what_it_was():
    pipe, arguments = BUILDERS["sd"]()
    scheduler = DEISSNScheduler.for_pipeline(pipe, stats=False)
    guidance = PipelineGuidance(pipe)
    assert guidance.read() is None
    pipe.scheduler = scheduler
    pipe(**arguments | {"num_inference_steps": 2, "guidance_scale": 4.0, "output_type": "latent"})
    assert guidance.read() == 4.0 and scheduler._run.guidance == 4.0


@pytest.mark.parametrize("ours", OURS)
def test_corrections_are_limited_by_the_guidance_of_the_run(ours):
    pipe = Pipe(guidance_scale=6.0)
    scheduler = ours.for_pipeline(pipe, stats=STATS, recipe="fixed")
    for guidance in (6.0, 12.0, 1.0):
        pipe.guidance_scale = guidance
        scheduler.set_timesteps(6)
        assert limit(scheduler) == pytest.approx(GAIN / max(LEAST_GUIDANCE, guidance))


@pytest.mark.parametrize("ours", OURS)
def test_what_was_tried_is_followed_near_its_guidance_only(ours):
    pipe = Pipe(guidance_scale=MEASURED_AT)
    scheduler = ours.for_pipeline(pipe, stats=TRIED)
    for guidance, followed in ((MEASURED_AT, True), (1.0, True), (1.01 * TRUSTED * MEASURED_AT, False)):
        pipe.guidance_scale = guidance
        scheduler.set_timesteps(6)
        assert (scheduler.method is not None) == followed


def test_where_a_callback_switches_guidance_off_the_run_starts_up_afresh():
    """From there on it is that of a scheduler which begins at this step with the same sample."""
    pipe = Pipe(guidance_scale=3.0)
    scheduler = DEISSNScheduler.for_pipeline(pipe, stats=STATS, recipe="fixed", solver_order=3)
    fresh = DEISSNScheduler.from_config(scheduler.config)
    for one in (scheduler, fresh):
        one.set_timesteps(8)
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps[:4]:
        x = scheduler.step(torch.sin(x), t, x).prev_sample
    pipe.guidance_scale = 0.0
    fresh.set_begin_index(4)
    y = x
    for t in scheduler.timesteps[4:]:
        x = scheduler.step(torch.cos(x), t, x).prev_sample
        y = fresh.step(torch.cos(y), t, y).prev_sample
    assert torch.equal(x, y)


def test_a_copy_is_for_another_pipeline_and_a_pipeline_may_go_away():
    pipe = Pipe(guidance_scale=12.0)
    scheduler = DEISSNScheduler.for_pipeline(pipe, stats=STATS, recipe="fixed")
    for other in (copy.copy(scheduler), copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        other.set_timesteps(6)
        assert limit(other) == pytest.approx(GAIN / MEASURED_AT)
    del pipe
    gc.collect()
    scheduler.set_timesteps(6)
    assert limit(scheduler) == pytest.approx(GAIN / MEASURED_AT)
