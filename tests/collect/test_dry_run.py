"""What a measurement will take, against what it then took."""

from __future__ import annotations

import time

import pytest
import torch
from diffusers import DDIMScheduler

from diffusers_deis_sn.collect import dry_run as foretelling
from diffusers_deis_sn.collect import run as running
from diffusers_deis_sn.collect.dry_run import TIMED, Forecast, dry_run
from diffusers_deis_sn.collect.run import calibrate
from diffusers_deis_sn.errors import CalibrationError
from exact_pipelines import Alone, ExactPipeline
from refusals import refused
from tiny_pipelines import BUILDERS

PROMPTS = ["a red seven", "a blue two", "a green four"]


def counted(pipe) -> list[float]:
    """Grows by a time with each call of the pipeline's network."""
    calls: list[float] = []
    pipe.unet.register_forward_hook(lambda *_: calls.append(time.perf_counter()))
    return calls


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sd", {}),
        ("sd", {"costs": ("corrector",)}),
        ("sd_img2img", {"strength": 0.6}),
        ("ddpm", {"num_samples": 2, "batch_size": 8}),
    ],
)
def test_there_are_as_many_calls_as_foretold_after_four_at_most(name, options):
    pipe, arguments = BUILDERS[name]()
    scheduler, calls = pipe.scheduler, counted(pipe)
    options = {"num_samples": 5, "num_inference_steps": 5, "batch_size": 2, "trials": 0} | options
    options |= {"prompts": PROMPTS} if "prompt" in arguments else {}
    options |= {"image": arguments["image"]} if "image" in arguments else {}
    found = dry_run(pipe, **options)
    assert len(calls) == TIMED + 1 and pipe.scheduler is scheduler
    calls.clear()
    calibrate(pipe, **options, tolerance=0.0, progress=False)
    assert (found.least, found.most, found.trials) == (len(calls), len(calls), 0)


def test_calls_of_trials_are_foretold_by_batches(monkeypatch):
    monkeypatch.setattr(running, "MENU", running.MENU[:2])
    monkeypatch.setattr(running, "CALLS", (2, 4))
    monkeypatch.setattr(foretelling, "TRIAL_CALLS", 2 * (2 + 4) + running.FINE_CALLS + 2 * 2)
    pipe, _ = BUILDERS["ddpm"]()
    options = {"num_samples": 3, "num_inference_steps": 3, "batch_size": 2, "trials": 3}
    found, calls = dry_run(pipe, **options), counted(pipe)
    calibrate(pipe, **options, progress=False)
    assert found.most + found.trials == len(calls)


def test_an_unknown_number_of_samples_is_from_the_first_mark_to_the_last():
    pipe, _ = BUILDERS["ddpm"]()
    found = dry_run(pipe, num_inference_steps=4, batch_size=6, trials=1)
    # Batches of 6 and 2 to eight samples; 6, 2 to sixteen; 6, 6, 4 to 32; and six to 64.
    assert (found.least, found.most) == (2 * 5, 13 * 5)
    assert found.trials == running.TRIAL_CALLS


def test_calls_of_a_pipeline_that_draws_one_sample_a_call_are_foretold_as_such():
    class One(Alone, ExactPipeline):
        """One sample a call."""

    pipe = One(lambda x, t: x, (1, 2, 2))
    assert dry_run(pipe, num_samples=4, num_inference_steps=5, batch_size=3, trials=0).most == 4 * (5 + 1)


def test_the_time_of_a_call_is_that_of_a_slow_network():
    pipe, _ = BUILDERS["ddpm"]()
    pipe.unet.register_forward_pre_hook(lambda *_: time.sleep(0.2))
    found = dry_run(pipe, num_samples=2, num_inference_steps=9, trials=0)
    assert 0.2 < found.seconds_per_call < 2.0
    assert found.seconds == (10 * found.seconds_per_call,) * 2


def test_memory_is_at_least_what_the_process_holds():
    pipe, _ = BUILDERS["ddpm"]()
    small = dry_run(pipe, num_samples=2, num_inference_steps=4, trials=0)
    held = torch.ones(300 * 2**20 // 4)
    large = dry_run(pipe, num_samples=2, num_inference_steps=4, trials=0)
    assert large.memory_mib >= 300.0 and small.memory_mib > 0.0 and held[0] == 1.0
    assert small.device == ("CUDA" if torch.cuda.is_available() else "process")


def test_people_read_numbers_that_agree():
    text = str(Forecast(51, 408, 2016, 2.0, 1234.4, "CUDA"))
    assert text.splitlines() == [
        "51 to 408 network calls to measure and up to 2016 for the trials, of a batch each",
        "69 min to 81 min at 2 s a call",
        "1234 MiB of memory at the peak (CUDA)",
    ]
    assert "51 network calls" in str(Forecast(51, 51, 0, 0.001, 1.0, "process"))


class Idle:
    """Never calls its scheduler."""

    def __init__(self):
        self.scheduler = DDIMScheduler()

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
        self.scheduler.set_timesteps(num_inference_steps)


def test_a_pipeline_that_never_calls_its_scheduler_is_refused():
    refused(CalibrationError, ["Idle called `step` of its scheduler 0 times"], dry_run, Idle(), num_samples=2)


def test_what_cannot_be_measured_is_refused_and_the_scheduler_is_back():
    pipe, _ = BUILDERS["ddpm"]()
    scheduler = pipe.scheduler
    refused(CalibrationError, ["num_samples", "2"], dry_run, pipe, num_samples=1)
    refused(CalibrationError, ["takes no stepz"], dry_run, pipe, stepz=1)
    refused(CalibrationError, ["takes no prompts"], dry_run, pipe, prompts=["a"])
    assert pipe.scheduler is scheduler
