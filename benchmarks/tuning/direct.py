"""A network of the suite called directly, so that gradients go through it: to its sample and to its time.

direct = Direct.of(load("digits-mlp-flow@3"), samples=24, seed=20_000)
clean = direct.data(x, time, numbers)     # predicted data, with gradients
model = direct.model()                    # the same for what needs none
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.mnist_network import SHARED, mnist_tool
from benchmarks.suite.extra_problems import Digit
from benchmarks.suite.problems import Network, Problem, Text
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.tuning.model import Model

Output = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What the network predicts for samples (B, *event) at a time () of the samples with these numbers (B,)."""


@dataclass(frozen=True)
class Direct:
    """A network, its process, and the noise that its samples start from.

    Args:
        process: The noise schedule.
        prediction: What the network predicts, "epsilon" or "flow_prediction".
        output: See `Output`.
        noise: Unit noise, (S, *event).
    """

    process: NoiseSchedule
    prediction: str
    output: Output
    noise: Tensor

    @classmethod
    def of(cls, problem: Problem, samples: int, seed: int) -> Direct:
        """That of a problem, with as many samples of the noise, classes and prompts of a seed.

        Raises:
            TypeError: A problem whose network is not known here.
        """
        scheduler = DEISSNScheduler.from_config(problem.config, stats=False)
        prediction = str(scheduler.config["prediction_type"])
        if prediction not in ("epsilon", "flow_prediction"):
            raise TypeError(f"{problem.name} predicts {prediction}, and gradients are for epsilon and flow_prediction.")
        noise = problem.noise(samples, seed)
        return cls(scheduler.noise, prediction, _output(problem, samples, seed), noise)

    def data(self, x: Tensor, time: Tensor, numbers: Tensor, told: Tensor | None = None) -> Tensor:
        """The clean samples that the network predicts, perhaps told another time; (B, *event)."""
        alpha, sigma = self.scales(time)
        said = self.output(x, time if told is None else told, numbers)
        return x - sigma * said if self.prediction == "flow_prediction" else (x - sigma * said) / alpha

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at times, float64; log rho is linear between whole ones. Same shape."""
        if self.process.path == "flow":
            sigma = time / len(self.process)
            return 1.0 - sigma, sigma
        table = torch.from_numpy(np.log(self.process.rho(np.arange(float(len(self.process))))))
        below = time.detach().floor().clamp(0, len(table) - 2).long()
        rho = torch.lerp(table[below], table[below + 1], time - below).exp()
        alpha = (1.0 + rho**2).rsqrt()
        return alpha, rho * alpha

    def model(self) -> Model:
        """The network without gradients, as teachers and fits see it."""
        numbers = torch.arange(len(self.noise))

        @torch.no_grad()
        def network(x: Tensor, level: float) -> Tensor:
            time = torch.tensor(float(self.process.call_times(np.array([level]))[0]), dtype=torch.float64)
            return self.output(x, time, numbers)

        return Model(self.process, self.prediction, network, self.noise)

    @property
    def times(self) -> tuple[float, float]:
        """The first and the last time that the network may be called at."""
        first, last = self.process.call_times(np.array([self.process.top, self.process.bottom])).tolist()
        return first, last

    def levels(self, times: Array) -> Array:
        """rho of times, and the end; (N + 1,)."""
        levels: Array = np.append(self.process.rho(times), 0.0)
        return levels


def _output(problem: Problem, samples: int, seed: int) -> Output:
    if isinstance(problem, Network):
        return _of_network(problem, problem.labels(samples, seed))
    if isinstance(problem, Text) and hasattr(problem.pipe, "unet"):
        return _of_pipeline(problem, problem.prompts(samples, seed))
    if isinstance(problem, Digit) and problem.family == "vp" and problem.guidance == 1.0:
        return _of_transformer(problem)
    raise TypeError(f"How the network of {problem.name} is called is not known here.")


def _of_network(problem: Network, labels: Tensor | None) -> Output:
    net = problem.pipe.network

    def output(x: Tensor, time: Tensor, numbers: Tensor) -> Tensor:
        times = time.float().expand(len(x))
        if labels is None:
            return net(x, times, None)
        own = labels[numbers]
        if problem.guidance == 1.0:
            return net(x, times, own)
        both = torch.cat([torch.full_like(own, problem.classes), own])
        free, asked = net(x.repeat(2, 1, 1, 1), times.repeat(2), both).chunk(2)
        return free + problem.guidance * (asked - free)

    return output


def _of_pipeline(problem: Text, prompts: list[str]) -> Output:
    """Of Stable Diffusion."""
    pipe = problem.pipe
    pipe.unet.requires_grad_(False)
    with torch.no_grad():
        asked, free = pipe.encode_prompt(prompts, torch.device("cpu"), 1, True)

    def output(x: Tensor, time: Tensor, numbers: Tensor) -> Tensor:
        def said(x: Tensor, texts: Tensor) -> Tensor:
            out: Tensor = pipe.unet(x, time.float(), encoder_hidden_states=texts).sample
            return out

        if problem.guidance == 1.0:
            return said(x, asked[numbers])
        one, two = said(x.repeat(2, 1, 1, 1), torch.cat([free[numbers], asked[numbers]])).chunk(2)
        return one + problem.guidance * (two - one)

    return output


def _of_transformer(problem: Digit) -> Output:
    """Of ../shared: a flow network as one of betas, see there."""
    pipe, net = problem.pipe, mnist_tool(SHARED).load_mnist_vit()
    net.requires_grad_(False)
    betas: Any = pipe.scheduler.alphas_cumprod.double()
    odds = torch.log(betas) - torch.log1p(-betas)

    def output(x: Tensor, time: Tensor, numbers: Tensor) -> Tensor:
        low = time.detach().floor().clamp(0, len(odds) - 2).long()
        square = torch.sigmoid(torch.lerp(odds[low], odds[low + 1], time - low))
        a, s = square.sqrt(), (1.0 - square).sqrt()
        clean = net((x / (a + s)).float(), (a / (a + s)).float().expand(len(x)), numbers % pipe.classes)
        return (x - a * clean) / s

    return output
