"""Whole runs with any scheduler, watched; and the schedulers of Diffusers for each kind of model."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.running import Running, rivals
from diffusers_deis_sn.tuning.samples import batches
from toy_models import PROCESSES, ToyPipeline


def calls(pipe: Any, samples: int = 5) -> Any:
    return batches(plan_calls(pipe, None, 5, 0, {}), list(range(samples)), 2)


def test_all_samples_end_where_the_pipeline_says():
    pipe, told = ToyPipeline(), list[int]()
    before, own = pipe.scheduler, DDIMScheduler(**SD_BETAS)
    signature = inspect.signature(own.step)
    running = Running(pipe, calls(pipe), told.append)
    ends = running.ends(lambda: own, 7)
    assert pipe.scheduler is before and inspect.signature(own.step) == signature and "step" not in vars(own)
    pipe.scheduler = own
    expected = pipe(5, 7, [torch.Generator().manual_seed(i) for i in range(5)]).images
    torch.testing.assert_close(ends, expected)
    assert running.asked == sum(told) == 5 * 7
    assert torch.equal(running.ends(lambda: DDIMScheduler(**SD_BETAS), 7), ends)  # generators are new


def test_a_pipeline_without_steps_is_refused():
    pipe = ToyPipeline()
    pipe.drawn = lambda generators, steps: None
    before = pipe.scheduler
    with pytest.raises(CalibrationError, match="never called"):
        Running(pipe, calls(pipe)).ends(lambda: DDIMScheduler(**SD_BETAS), 4)
    assert pipe.scheduler is before


@pytest.mark.parametrize("name", PROCESSES)
def test_rivals_come_near_with_many_steps(name):
    pipe = ToyPipeline(name)
    found = rivals(pipe.scheduler.config, pipe.process.kind)
    assert len(found) >= 2 and "DPM++ 2M" in found
    running = Running(pipe, calls(pipe, 4))
    ends = {key: (running.ends(make, 6), running.ends(make, 100)) for key, make in found.items()}
    fine = ends["DPM++ 2M"][1]
    for few, many in ends.values():
        assert Judged.of(many, fine).geometric < 0.6 * Judged.of(few, fine).geometric + 1e-6


def test_models_of_no_known_rivals_have_none():
    assert rivals({}, "ve") == {}
