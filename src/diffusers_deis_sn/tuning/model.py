"""A network as the fit sees it: predicted data of all samples at a level, and the runs of a plan through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.tuned import Tuned

Network = Callable[[Tensor, float], Tensor]
"""Outputs for samples (S, *event) at a level rho."""


@dataclass
class Model:
    """A network and the noise that its samples start from.

    Args:
        process: Its noise schedule.
        prediction: What it predicts.
        network: Called with samples and a level.
        noise: Unit noise, (S, *event).
        asked: Number of calls so far, each on all samples.
    """

    process: NoiseSchedule
    prediction: str
    network: Network
    noise: Tensor
    asked: int = 0
    _first: dict[float, Tensor] = field(default_factory=dict)

    def start(self, level: float) -> Tensor:
        """What pipelines start a run from at a level; (S, *event)."""
        scale = self.process.start_scale(level)
        return self.noise if scale == 1.0 else self.noise * scale

    def data(self, x: Tensor, level: float) -> Tensor:
        """The clean samples that the network predicts; (S, *event)."""
        a, b = self._view(level)
        self.asked += 1
        return self.network(x, level) * a + x * b

    def first(self, level: float) -> Tensor:
        """The same of the start of a run, asked once for each level."""
        if level not in self._first:
            self._first[level] = self.data(self.start(level), level)
        return self._first[level]

    def run(self, tuned: Tuned) -> Tensor:
        """Where a plan's run ends, of outputs read as data; (S, *event)."""
        plan = tuned.of_data(self.process).plan(self.process, self.prediction)
        x, history = self.start(plan.levels[0]), list[Tensor]()
        for n, level in enumerate(plan.levels[:-1]):
            history = [self.first(level) if n == 0 else self.data(x, level), *history]
            x = plan.advance(n, x, history)
        return x

    def _view(self, level: float) -> tuple[float, float]:
        alpha, sigma = self.process.alpha([level]), self.process.sigma([level])
        a, b = self.process.view("data", self.prediction, alpha, sigma)
        return float(np.asarray(a).ravel()[0]), float(np.asarray(b).ravel()[0])
