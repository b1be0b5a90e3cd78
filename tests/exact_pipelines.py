"""Pipelines whose network is exact: unconditional, for any known flow, and seen at every call."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS, Epsilon


class ExactPipeline:
    """Draws samples with an exact eps(x, t) and whatever scheduler is put into it.

    Args:
        epsilon: The network.
        event: Shape of a sample.
        scheduler: The scheduler; one of Diffusers' for Stable Diffusion's betas if None.

    Attributes:
        rows: Number of samples that the network was called with, call by call.
        fail_at: Number of the network call that fails, with which exception; None for none.
    """

    def __init__(self, epsilon: Epsilon, event: tuple[int, ...], scheduler: Any = None) -> None:
        self.epsilon, self.event = epsilon, event
        self.scheduler = DDIMScheduler(**SD_BETAS) if scheduler is None else scheduler
        self.rows: list[int] = []
        self.fail_at: tuple[int, BaseException] | None = None

    def network(self, x: Tensor, t: Tensor) -> Tensor:
        self.rows.append(len(x))
        if self.fail_at is not None and len(self.rows) == self.fail_at[0]:
            raise self.fail_at[1]
        return self.epsilon(x, float(t))

    def start(self, generators: Sequence[torch.Generator]) -> Tensor:
        return torch.stack([torch.randn(self.event, generator=one, dtype=torch.float64) for one in generators])

    def __call__(self, batch_size: int = 1, generator: Any = None, num_inference_steps: int = 50) -> Any:
        generators = generator if isinstance(generator, list) else [generator] * batch_size
        x = self.start(generators)
        self.scheduler.set_timesteps(num_inference_steps)
        x = x * self.scheduler.init_noise_sigma
        for t in self.scheduler.timesteps:
            x = self.scheduler.step(self.network(x, t), t, x, return_dict=False)[0]
        return SimpleNamespace(images=x)


class Alone:
    """Mixed into a pipeline: it draws one sample a call, and takes no list of generators."""

    def __call__(self, batch_size: int = 1, generator: Any = None, num_inference_steps: int = 50) -> Any:
        if batch_size > 1 or isinstance(generator, list):
            raise ValueError("one generator, and no list of them")
        return super().__call__(1, generator, num_inference_steps)


def starts_of(pipe: ExactPipeline, number: int, seed: int = 0) -> Tensor:
    """What the samples of a calibration start from."""
    return pipe.start([torch.Generator().manual_seed(seed + i) for i in range(number)])


def gaussian_network(noise: Any, std: float) -> Epsilon:
    """eps of data N(0, std^2)."""

    def epsilon(x: Tensor, t: float) -> Tensor:
        rho = float(noise.rho(t))
        alpha = 1.0 / np.sqrt(1.0 + rho**2)
        return rho / (std**2 + rho**2) * (x / alpha)

    return epsilon
