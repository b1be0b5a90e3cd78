"""Statistics of several guidances: each run has those of the guidance that its pipeline runs with."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.following import TRUSTED
from records import guided_family
from tiny_pipelines import BUILDERS
from toy_models import Pipe

OURS = [DEISSNScheduler, ScoreOptimalScheduler]
NOISE = vp_schedule(**SD_BETAS)
FAMILY = guided_family(NOISE, (1.0, 3.0, 9.0))


def ends(scheduler: Any, steps: int = 6) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(x), t, x).prev_sample
    return x


def alone(ours: Any, guidance: float | None, **options: Any) -> torch.Tensor:
    """The end of a run with the statistics of this guidance and no others, in a pipeline that runs with it."""
    pipe = Pipe(guidance_scale=guidance)  # which a scheduler refers to weakly
    return ends(ours.for_pipeline(pipe, stats=FAMILY.at(guidance), **options))


@pytest.mark.parametrize("recipe", ["measured", "fixed"])
@pytest.mark.parametrize("ours", OURS)
def test_a_run_is_that_of_the_statistics_of_its_guidance(ours, recipe):
    pipe = Pipe(guidance_scale=None)
    scheduler = ours.for_pipeline(pipe, stats=FAMILY, recipe=recipe)
    for guidance in (3.0, 7.0, 1.0, 9.0, 2.0, 3.0):
        pipe.guidance_scale = guidance
        assert torch.equal(ends(scheduler), alone(ours, guidance, recipe=recipe))
    assert scheduler.statistics is FAMILY


def test_where_nobody_says_the_guidance_the_usual_is_meant():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=FAMILY, recipe="fixed")
    assert torch.equal(ends(scheduler), ends(DEISSNScheduler(**SD_BETAS, stats=FAMILY.at(9.0), recipe="fixed")))


def test_an_option_that_says_the_guidance_wins():
    pipe = Pipe(guidance_scale=9.0)
    scheduler = DEISSNScheduler.for_pipeline(pipe, stats=FAMILY, recipe="fixed", guidance_scale=3.0)
    assert torch.equal(ends(scheduler), alone(DEISSNScheduler, 3.0, recipe="fixed", guidance_scale=3.0))


@pytest.mark.parametrize(("guidance", "nearest"), [(0.5, 1.0), (10.0, 9.0), (9.0 * TRUSTED + 1.0, 9.0)])
def test_beyond_what_was_measured_the_nearest_serves_and_is_told_once(guidance, nearest, caplog):
    family = guided_family(NOISE, (2.0, 3.0, 9.0)) if nearest == 1.0 else FAMILY
    pipe = Pipe(guidance_scale=guidance)
    scheduler = DEISSNScheduler.for_pipeline(pipe, stats=family, recipe="fixed")
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        found = ends(scheduler)
        ends(scheduler, 8)
    told = [text for text in caplog.messages if "cover guidance" in text]
    assert len(told) == 1 and "deis-sn calibrate --guidance-scale" in told[0]
    one = DEISSNScheduler.for_pipeline(pipe, stats=family.at(guidance), recipe="fixed")
    assert torch.equal(found, ends(one))


@pytest.mark.parametrize("guidance", [1.0, 2.5, 9.0])
def test_within_what_was_measured_nothing_is_said(guidance, caplog):
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        pipe = Pipe(guidance_scale=guidance)
        ends(DEISSNScheduler.for_pipeline(pipe, stats=FAMILY))
    assert not caplog.messages


@pytest.mark.parametrize("ours", OURS)
def test_a_run_from_an_image_is_planned_anew_with_the_same_statistics(ours):
    def later(stats: Any) -> list[float]:
        pipe = Pipe(guidance_scale=2.0)
        scheduler = ours.for_pipeline(pipe, stats=stats)
        scheduler.set_timesteps(8)
        scheduler.set_begin_index(4)
        scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), scheduler.timesteps[4:5])
        return scheduler.timesteps.tolist()

    assert later(FAMILY) == later(FAMILY.at(2.0))


@pytest.mark.parametrize("ours", OURS)
def test_a_scheduler_keeps_all_of_them_wherever_it_goes(ours, tmp_path):
    scheduler = ours(**SD_BETAS, stats=FAMILY)
    scheduler.save_pretrained(tmp_path)
    others = [
        ours.from_pretrained(tmp_path),
        ours.from_config(scheduler.config),
        copy.deepcopy(scheduler),
        pickle.loads(pickle.dumps(scheduler)),
    ]
    assert all(other.statistics == FAMILY for other in others)


def test_a_pipeline_of_diffusers_has_those_of_its_call():
    pipe, arguments = BUILDERS["sd"]()
    process = DEISSNScheduler.from_config(pipe.scheduler.config, stats=False).noise
    family = guided_family(process, (1.0, 5.0))
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=family, recipe="fixed")
    for guidance in (4.0, 2.0):
        pipe(**arguments | {"num_inference_steps": 2, "guidance_scale": guidance, "output_type": "latent"})
        r = family.at(guidance)
        assert pipe.scheduler.normaliser(r.timesteps) == pytest.approx(r.mean_abs)
