"""The scheduler of a pipeline that is asked: who goes another way than it says is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.waiting import AskedScheduler, Stopped
from refusals import refused
from tiny_pipelines import BUILDERS
from toy_models import ToyPipeline, noise
from tunings import refused_when_asked


def test_a_step_tells_the_output_and_returns_the_next_question():
    pipe, told = ToyPipeline(), []
    levels = pipe.process.whole(np.array([1.0, 0.1, 0.0]))
    questions = [(noise(2, 1).float(), float(levels[0])), (noise(2, 2).float(), float(levels[1])), None]

    def next_question(answer: Any) -> Any:
        told.append(answer)
        return questions[len(told) - 1]

    scheduler = AskedScheduler.waiting(pipe.scheduler.config, next_question)
    scheduler.set_timesteps(50)
    x, walk = noise(2).float(), iter(scheduler.timesteps)
    for question in questions[:2]:
        output = -x
        x = scheduler.step(output, next(walk), x).prev_sample
        assert torch.equal(told[-1].output, output) and torch.equal(x, question[0])
        assert float(scheduler.timesteps[len(told)]) == pytest.approx(float(pipe.process.time(question[1])))
    with pytest.raises(Stopped):
        scheduler.step(-x, next(walk), x)
    assert scheduler.asked == 3


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


@pytest.mark.parametrize(("kind", "words"), [(Painting, ["changes its samples"]), (Copying, ["own list of times"])])
def test_pipelines_that_cannot_be_asked(kind, words):
    refused_when_asked(kind(), words)


def test_images_to_start_from_are_refused():
    pipe, options = BUILDERS["sd_img2img"]()
    refused(CalibrationError, ["text-to-image"], lambda: Asker(pipe, [lambda: options]).__enter__())
