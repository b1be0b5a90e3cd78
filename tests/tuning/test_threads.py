"""The call of a pipeline in a thread of its own: as in the caller's, and whatever it raises is raised there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from diffusers_deis_sn.tuning.asking import Asker
from toy_models import ToyPipeline, noise
from tunings import asked, refused_when_asked


class Early(ToyPipeline):
    """Stops after two steps."""

    def __call__(self, batch_size: int = 1, num_inference_steps: int = 50, generator: Any = None) -> Any:
        self.scheduler.set_timesteps(num_inference_steps)
        x = noise(batch_size).float()
        for t in self.scheduler.timesteps[:2]:
            x = self.stepped(x, t)


def test_a_pipeline_that_ends_before_its_scheduler_does_cannot_be_asked():
    refused_when_asked(Early(), ["ended where"])


class Failing(ToyPipeline):
    """Its third call fails."""

    def stepped(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if self.calls == 3:
            raise RuntimeError("out of memory")
        return super().stepped(x, t)


def test_what_a_pipeline_raises_is_raised():
    pipe = Failing()
    before = pipe.scheduler
    with pytest.raises(RuntimeError, match="out of memory"), Asker(pipe, asked(pipe)) as asker:
        asker(noise(5).float(), 1.0)
    assert pipe.scheduler is before


def test_who_has_failed_fails_again_when_asked_again():
    pipe = Failing()
    with Asker(pipe, asked(pipe)) as asker:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="out of memory"):
                asker(noise(5).float(), 1.0)


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
    with torch.autocast("cpu", torch.bfloat16), Asker(pipe, asked(pipe)):
        pass
    assert pipe.seen == {(torch.bfloat16, False, torch.get_num_threads())}
