"""A pipeline as a function: what its network says of any samples at any level, and nothing left behind."""

from __future__ import annotations

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.running import Running
from diffusers_deis_sn.tuning.samples import batches
from refusals import refused
from tiny_pipelines import BUILDERS
from toy_models import PROCESSES, ToyPipeline, noise, output

SOLVER = {"solver": Multistep(2, of="data"), "grid": Whole(Power("t", 1.5))}


def arguments(pipe: Any, samples: int = 5, batch_size: int = 2, **options: Any) -> Any:
    prompts = options.pop("prompts", None)
    return batches(plan_calls(pipe, prompts, 5, 0, options), list(range(samples)), batch_size)


@pytest.mark.parametrize("name", PROCESSES)
def test_it_says_what_the_network_says(name):
    pipe = ToyPipeline(name)
    before = pipe.scheduler
    with Asker(pipe, arguments(pipe)) as asker:
        assert pipe.scheduler is not before
        starts = torch.cat([torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(5)])
        torch.testing.assert_close(asker.start, starts)
        assert (asker.noise.kind, asker.prediction, asker.asked) == (pipe.process.kind, pipe.prediction, 5)
        process, prediction = PROCESSES[name]
        for level in (5.0, 0.1, 1.0, 1.0):  # in any order
            level = float(process.whole(np.array([level, 0.0]))[0])
            x = noise(5, 3) * float(process.sigma([level])[0])
            torch.testing.assert_close(
                asker(x.float(), level).double(), output(x, level, process, prediction), rtol=1e-3, atol=2e-5
            )
    assert pipe.scheduler is before
    assert pipe.calls == 3 + 4 * 3  # three batches


TAKEN = ("sd", "sdxl", "flux", "sd3", "sd3_dynamic", "pixart_alpha", "wan", "ddim", "sana", "lumina2")


@cache
def built(name: str) -> Any:
    return BUILDERS[name]()


@pytest.mark.parametrize("name", TAKEN)
def test_a_run_by_questions_is_the_pipelines_own(name):
    pipe, options = built(name)
    options = dict(options)
    prompts = options.pop("prompt", None)
    if "output_type" in options and getattr(pipe, "vae", None) is not None:
        options["output_type"] = "latent"
    calls = arguments(
        pipe, 2, 1 if prompts is None else 2, **({} if prompts is None else {"prompts": [prompts]}), **options
    )
    make = partial(DEISSNScheduler.from_config, dict(pipe.scheduler.config), stats=False, **SOLVER)
    scheduler = make()
    expected = Running(pipe, calls).ends(lambda: scheduler, 4)
    tuned = Tuned.of_plan(scheduler._run.plan)
    with Asker(pipe, calls) as asker:
        model = Model(asker.noise, asker.prediction, asker, asker.start)
        assert asker.shift == pytest.approx(scheduler._run.shift)
        found = model.run(tuned)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


class Painting(ToyPipeline):
    """Changes its samples between steps."""

    def stepped(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return super().stepped(x + 0.1, t)


class Copying(ToyPipeline):
    """Walks through a copy of the times."""

    def __call__(self, batch_size: int = 1, num_inference_steps: int = 50, generator: Any = None) -> Any:
        self.scheduler.set_timesteps(num_inference_steps)
        times, x = self.scheduler.timesteps.tolist(), noise(batch_size).float()
        for t in times:
            x = self.stepped(x, torch.tensor(t))
        return SimpleNamespace(images=x)


class Early(ToyPipeline):
    """Stops after two steps."""

    def __call__(self, batch_size: int = 1, num_inference_steps: int = 50, generator: Any = None) -> Any:
        self.scheduler.set_timesteps(num_inference_steps)
        x = noise(batch_size).float()
        for t in self.scheduler.timesteps[:2]:
            x = self.stepped(x, t)


class Failing(ToyPipeline):
    """Its third call fails."""

    def stepped(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if self.calls == 3:
            raise RuntimeError("out of memory")
        return super().stepped(x, t)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Painting, ["changes its samples"]), (Copying, ["own list of times"]), (Early, ["ended where"])],
)
def test_pipelines_that_cannot_be_asked(kind, words):
    pipe = kind()
    before = pipe.scheduler

    def ask() -> None:
        with Asker(pipe, arguments(pipe)) as asker:
            for level in (1.0, 0.5, 0.2):
                asker(noise(5).float(), float(pipe.process.whole(np.array([level, 0.0]))[0]))

    refused(CalibrationError, words, ask)
    assert pipe.scheduler is before


def test_what_a_pipeline_raises_is_raised():
    pipe = Failing()
    before = pipe.scheduler
    with pytest.raises(RuntimeError, match="out of memory"), Asker(pipe, arguments(pipe)) as asker:
        asker(noise(5).float(), 1.0)
    assert pipe.scheduler is before


def test_who_has_failed_fails_again_when_asked_again():
    pipe = Failing()
    with Asker(pipe, arguments(pipe)) as asker:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="out of memory"):
                asker(noise(5).float(), 1.0)


def test_an_error_within_the_block_stops_all_batches():
    pipe = ToyPipeline()
    with pytest.raises(KeyboardInterrupt), Asker(pipe, arguments(pipe)) as asker:
        raise KeyboardInterrupt
    assert not any(batch._thread.is_alive() for batch in asker._batches.values())


class Mixed(ToyPipeline):
    """Knows how its network is run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[Any] = set()

    def __call__(self, batch_size: int = 1, num_inference_steps: int = 50, generator: Any = None) -> Any:
        product = torch.ones(2, 2, requires_grad=True) @ torch.ones(2, 2)
        self.seen.add((product.dtype, product.requires_grad, torch.get_num_threads()))
        return super().__call__(batch_size, num_inference_steps, generator)


def test_mixed_precision_and_threads_are_those_of_the_caller():
    pipe = Mixed()
    with torch.autocast("cpu", torch.bfloat16), Asker(pipe, arguments(pipe)):
        pass
    assert pipe.seen == {(torch.bfloat16, False, torch.get_num_threads())}


def test_images_to_start_from_are_refused():
    pipe, options = built("sd_img2img")
    refused(CalibrationError, ["text-to-image"], lambda: Asker(pipe, [lambda: options]).__enter__())
