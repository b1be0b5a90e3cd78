"""A model to tune: pictures whose pixels are two bumps, with an exact network for any process, and a pipeline of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.tuning.model import Model

SHAPE = (2, 4, 4)
PROCESSES: dict[str, tuple[NoiseSchedule, str]] = {
    "vp": (vp_schedule(**SD_BETAS), "epsilon"),
    "v": (vp_schedule(**SD_BETAS), "v_prediction"),
    "flow": (FlowSchedule(), "flow_prediction"),
    "edm": (EDMSchedule(), "epsilon"),
}


def clean(y: Tensor, rho: float, place: float = 0.8, width: float = 0.2) -> Tensor:
    """E[x_0 | x_0 + rho noise = y] of pixels around -place and place, each with a normal distribution."""
    total = width**2 + rho**2
    return (width**2 * y + rho**2 * place * torch.tanh(place * y / total)) / total


def output(x: Tensor, level: float, process: NoiseSchedule, prediction: str) -> Tensor:
    """What a network of the process says."""
    alpha, sigma = process.alpha([level]), process.sigma([level])
    a, b = (float(one[0]) for one in process.view("data", prediction, alpha, sigma))
    return (clean(x / float(alpha[0]), level) - b * x) / a


def noise(samples: int, seed: int = 0, shape: Sequence[int] = SHAPE) -> Tensor:
    return torch.randn(samples, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy(name: str = "vp", samples: int = 8, seed: int = 0, shape: Sequence[int] = SHAPE) -> Model:
    """A model in float64."""
    process, prediction = PROCESSES[name]
    return Model(
        process, prediction, lambda x, level: output(x, level, process, prediction), noise(samples, seed, shape)
    )


class ToyPipeline:
    """Draws samples of it with whatever scheduler; counts the calls of its network.

    Args:
        name: Of the process.
    """

    name_or_path = "toy"
    shape = SHAPE

    def __init__(self, name: str = "vp") -> None:
        self.process, self.prediction = PROCESSES[name]
        self.scheduler: Any = {
            "vp": lambda: DDIMScheduler(**SD_BETAS),
            "v": lambda: DDIMScheduler(**SD_BETAS, prediction_type="v_prediction"),
            "flow": FlowMatchEulerDiscreteScheduler,
            "edm": EDMEulerScheduler,
        }[name]()
        self.calls = 0

    def __call__(self, batch_size: int = 1, num_inference_steps: int = 50, generator: Any = None) -> Any:
        return self.drawn(generator if isinstance(generator, list) else [generator] * batch_size, num_inference_steps)

    @torch.no_grad()
    def drawn(self, generators: Sequence[Any], steps: int) -> Any:
        """Samples of these generators."""
        x = torch.stack([torch.randn(self.shape, generator=one) for one in generators])
        self.scheduler.set_timesteps(steps)
        x = x * getattr(self.scheduler, "init_noise_sigma", 1.0)
        for t in self.scheduler.timesteps:
            x = self.stepped(x, t)
        return SimpleNamespace(images=x)

    def stepped(self, x: Tensor, t: Tensor) -> Tensor:
        """The next sample."""
        self.calls += 1
        scaled = self.scheduler.scale_model_input(x, t) if hasattr(self.scheduler, "scale_model_input") else x
        level = float(self.process.rho([float(t)])[0])
        factor = float(self.process.input_scale(self.process.sigma([level]))[0])
        told = output(scaled.double() / factor, level, self.process, self.prediction).float()
        result: Tensor = self.scheduler.step(told, t, x, return_dict=False)[0]
        return result


class TextPipeline(ToyPipeline):
    """The same for a prompt each, which changes nothing; it knows which it was asked for."""

    def __init__(self, name: str = "vp") -> None:
        super().__init__(name)
        self.prompts: list[str] = []

    def __call__(
        self,
        prompt: Sequence[str],
        num_inference_steps: int = 50,
        generator: Any = None,
        guidance_scale: float = 1.0,
    ) -> Any:
        self.prompts += prompt
        return self.drawn(generator, num_inference_steps)


class Pipe(SimpleNamespace):
    """Just enough of a pipeline, which a plain namespace is not: it can be referred to weakly."""

    scheduler: Any = None

    def __init__(self, **attributes: Any) -> None:
        super().__init__(config={}, scheduler=DEISSNScheduler(**SD_BETAS), **attributes)


def walk(scheduler: Any, x: Tensor, times: Iterable[Tensor]) -> Tensor:
    """A run over some of the times, of a network that says a tenth of its input."""
    for t in times:
        x = scheduler.step(0.1 * x, t, x).prev_sample
    return x
