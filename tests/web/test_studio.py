"""What a person can choose, and two pictures of one prompt from the same noise."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers import DDIMScheduler

from benchmarks.exact.flows import SD_BETAS
from comparisons import pipeline, planned, statistics
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.errors import CalibrationError, ComparisonError
from diffusers_deis_sn.web.studio import STEPS, Offer, Studio
from refusals import refused
from tiny_pipelines import BUILDERS


def sd():
    pipe, _ = BUILDERS["sd"]()
    pipe.scheduler = DDIMScheduler(**SD_BETAS, steps_offset=1, clip_sample=False)
    return pipe


SMALL = {"height": 32, "width": 32}


@pytest.fixture(scope="module")
def studio():
    return Studio([Offer("sd", sd, statistics(), "my/statistics", SMALL), Offer("exact", pipeline, planned(5, 12))])


def test_choices_are_those_of_the_model(studio) -> None:
    found = studio.choices("sd")
    assert studio.models == ("sd", "exact")
    assert {"DPM++ 2M", "UniPC", "DEIS-SN", "ScoreOptimal"} <= set(found.schedulers)
    assert (found.left, found.right, found.steps) == ("DPM++ 2M", "DEIS-SN", STEPS)
    assert found.prompted and found.guidance == 7.5
    other = studio.choices("exact")
    assert (other.right, other.steps) == ("DEIS-SN (tuned)", 5) and not other.prompted and other.guidance is None


def test_the_guidance_of_the_statistics_goes_before_the_pipelines_own() -> None:
    record = statistics()
    record = record.with_origin(guidance_scale=3.0)
    assert Studio([Offer("sd", sd, record)]).choices("sd").guidance == 3.0


def test_pictures_are_those_that_the_pipeline_draws_from_the_seed(studio) -> None:
    told = []
    shown = studio.drawn("sd", "a fox", ("DPM++ 2M", "DEIS-SN"), 4, 3.0, 7, lambda *one: told.append(one))
    assert [one.scheduler for one in shown] == ["DPM++ 2M", "DEIS-SN"]
    assert all(one.calls == len(one.timesteps) == 4 and one.seconds > 0.0 for one in shown)
    assert told[0] == (0.125, "DPM++ 2M") and told[-1] == (1.0, "DEIS-SN")
    assert 'stats="my/statistics")' in shown[1].code[1]
    import torch

    pipe = sd()
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=statistics())
    seeded = torch.Generator().manual_seed(7)
    alone = pipe("a fox", num_inference_steps=4, guidance_scale=3.0, generator=seeded, **SMALL).images[0]
    assert np.array_equal(np.asarray(alone), np.asarray(shown[1].picture))


def test_one_model_at_a_time_is_loaded_and_keeps_its_scheduler() -> None:
    loads, pipes = [], {}

    def load(name):
        loads.append(name)
        pipes[name] = pipeline()
        return pipes[name]

    studio = Studio([Offer(name, lambda name=name: load(name), statistics()) for name in ("a", "b")])
    for name in ("a", "a", "b", "b", "a"):
        studio.choices(name)
        before = pipes[name].scheduler
        studio.drawn(name, "", ("UniPC", "DEIS-SN"), 3, None, 0)
        assert pipes[name].scheduler is before
    assert loads == ["a", "b", "a"]


def test_the_scheduler_is_given_back_when_a_run_fails() -> None:
    pipe = pipeline()
    pipe.fail_at = (2, RuntimeError("the network is broken"))
    studio, before = Studio([Offer("a", lambda: pipe, statistics())]), pipe.scheduler
    with pytest.raises(RuntimeError, match="broken"):
        studio.drawn("a", "", ("UniPC", "DEIS-SN"), 3, None, 0)
    assert pipe.scheduler is before


def test_what_cannot_be_drawn_is_said(studio, monkeypatch) -> None:
    refused(ComparisonError, ["prompt is empty"], studio.drawn, "sd", " ", ("UniPC", "DEIS-SN"), 4, 3.0, 0)
    refused(ComparisonError, ["each named once"], Studio, [])
    refused(ComparisonError, ["each named once"], Studio, [Offer("a", sd), Offer("a", sd)])
    with pytest.raises(CalibrationError, match="takes no nonsense"):
        Studio([Offer("a", pipeline, options={"nonsense": 1})]).drawn("a", "", ("DEIS-SN",), 4, None, 0)
    monkeypatch.setattr("diffusers_deis_sn.comparison.drawing.pictures_in", lambda output: None)
    refused(ComparisonError, ["makes no pictures"], studio.drawn, "exact", "", ("DEIS-SN",), 4, None, 0)
