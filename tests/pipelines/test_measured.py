"""Every pipeline can be measured, or says why not: the recorder is called as any scheduler is."""

from __future__ import annotations

import inspect

import pytest

from diffusers_deis_sn import DEISSNScheduler, calibrate
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.trying import FinishingScheduler, LearnedScheduler
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused
from tiny_pipelines import BUILDERS

IMPOSSIBLE = {
    "ledits_pp": (CalibrationError, "num_inference_steps"),
    "cogview4": (CalibrationError, "not those of its sigmas"),
}
CALLED = ("set_timesteps", "step", "scale_model_input", "add_noise", "set_begin_index")


@pytest.mark.parametrize("name", BUILDERS)
def test_every_pipeline_is_measured_or_says_why_not(name):
    pipe, arguments = BUILDERS[name]()
    options = {key: value for key, value in arguments.items() if key not in ("prompt", "num_inference_steps")}
    quick = {"num_samples": 2, "num_inference_steps": 4, "batch_size": 1, "trials": 0, "progress": False}

    def measure():
        return calibrate(pipe, arguments.get("prompt"), **quick, **options)

    if name in IMPOSSIBLE:
        error, words = IMPOSSIBLE[name]
        refused(error, [words], measure)
    else:
        statistics = measure()
        assert len(statistics) >= 2 and statistics.origin.sample_shape is not None


@pytest.mark.parametrize("kind", [RecordingScheduler, FinishingScheduler, LearnedScheduler])
@pytest.mark.parametrize("method", CALLED)
def test_schedulers_of_measurements_name_the_arguments_that_pipelines_look_for(kind, method):
    """Diffusers reads `inspect.signature(scheduler.set_timesteps)` to know whether it may pass `sigmas`."""
    named = [inspect.signature(getattr(one, method)).parameters.keys() for one in (kind, DEISSNScheduler)]
    assert named[0] == named[1]
