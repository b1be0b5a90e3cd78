"""Fine runs, how fine they are, and where they are at any level."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.meter import CHECK_CALLS, FINE_CALLS, FINEST_CALLS
from diffusers_deis_sn.tuning.model import Model

FINE = Multistep(3, "t", "data", Corrector(3))
GRID = Whole(Power("t", 2.0))


ORDER = 3.0  # how many times nearer to the truth than to the coarser run the fine one is, of order two
SLOWEST = 0.6  # of what the last doubling left: a run that is left more does not converge


@dataclass(frozen=True)
class Goal:
    """How fine a fine run is.

    Args:
        calls: Of the network.
        far: How far off it is, by the run of half as many: geometric mean over samples.
    """

    calls: int
    far: float


@dataclass(frozen=True, eq=False)
class Teacher:
    """Samples along a fine run; in between by cubic Hermite interpolation.

    The slope of x / alpha over rho is the noise that the network predicts, and that of x / sigma over 1 / rho the data:
    the first is smooth where there is little noise, the second where there is much.

    Args:
        process: Of the model.
        levels: rho_0 > ... > rho_K of the run.
        samples: x at these levels; K + 1 of (S, *event).
        data: Predicted data at all levels but the last; K of (S, *event).
    """

    process: NoiseSchedule
    levels: tuple[float, ...]
    samples: tuple[Tensor, ...]
    data: tuple[Tensor, ...]

    @classmethod
    def of(cls, model: Model, steps: int) -> Teacher:
        """A fine run of so many steps."""
        plan = Recipe(model.process, GRID, FINE, prediction=model.prediction).plan(steps)
        x, samples, data = model.start(plan.levels[0]), list[Tensor](), list[Tensor]()
        for n, level in enumerate(plan.levels[:-1]):
            samples.append(x)
            data.append(model.first(level) if n == 0 else model.data(x, level))
            x = plan.advance(n, x, data[: -plan.table.order - 1 : -1])
        return cls(model.process, plan.levels, (*samples, x), tuple(data))

    @property
    def end(self) -> Tensor:
        """Where it ends; (S, *event)."""
        return self.samples[-1]

    def at(self, level: float) -> Tensor:
        """Where it is at a level; (S, *event)."""
        if level <= self.levels[-1]:
            return self.end
        i = len(self.levels) - 1 - bisect_left(self.levels[::-1], level)  # levels[i] >= level > levels[i + 1]
        if i < 0 or self.levels[i] == level:
            return self.samples[max(i, 0)]
        if i == len(self.data) - 1:  # the last step takes the last output for its data
            return self._between(i, level, self.data[i], self.data[i])
        return self._between(i, level, self.data[i], self.data[i + 1])

    def _between(self, i: int, level: float, one: Tensor, two: Tensor) -> Tensor:
        high, low = self.levels[i], self.levels[i + 1]
        (a, b, c), (s, t, u) = (
            map(float, scale([high, low, level])) for scale in (self.process.alpha, self.process.sigma)
        )
        if low > 0.5 or high > 2.0:
            h, share = 1.0 / low - 1.0 / high, (1.0 / level - 1.0 / high) / (1.0 / low - 1.0 / high)
            return u * _hermite(share, h, self.samples[i] / s, one, self.samples[i + 1] / t, two)
        h, share = low - high, (level - high) / (low - high)
        slopes = [(x - alpha * clean) / sigma for x, clean, alpha, sigma in ((self.samples[i], one, a, s),)]
        slopes.append(slopes[0] if t == 0.0 else (self.samples[i + 1] - b * two) / t)
        return c * _hermite(share, h, self.samples[i] / a, slopes[0], self.samples[i + 1] / b, slopes[1])


class Teachers:
    """Fine runs of a model, each as fine as what is held against it needs.

    Args:
        model: The model.
        affords: Whether so many calls more a sample may be made.
    """

    def __init__(self, model: Model, affords: Callable[[int], bool] = lambda calls: True) -> None:
        self._model, self._affords = model, affords
        first = Teacher.of(model, FINE_CALLS)
        self._known = [(first, self._goal(Teacher.of(model, CHECK_CALLS), first))]

    def within(self, error: float) -> tuple[Teacher, Goal]:
        """The coarsest run that is off by no more, of `FINE_CALLS` twice as many up to `FINEST_CALLS`.

        The last of those that are known where it does not converge, or where more would take too long.
        """
        for teacher, goal in self._known:
            if goal.far <= error:
                return teacher, goal
        while self._goes_on():
            coarser, before = self._known[-1]
            finer = Teacher.of(self._model, 2 * before.calls)
            self._known.append((finer, self._goal(coarser, finer)))
            if self._known[-1][1].far <= error:
                break
        return self._known[-1]

    def _goes_on(self) -> bool:
        *_, (_, last) = self._known
        converges = len(self._known) == 1 or last.far <= SLOWEST * self._known[-2][1].far
        possible = 2 * last.calls <= min(FINEST_CALLS, len(self._model.process))
        return converges and possible and self._affords(2 * last.calls)

    @staticmethod
    def _goal(coarser: Teacher, teacher: Teacher) -> Goal:
        return Goal(len(teacher.data), Judged.of(coarser.end, teacher.end).geometric / ORDER)


def _hermite(s: float, h: float, y0: Tensor, d0: Tensor, y1: Tensor, d1: Tensor) -> Tensor:
    """The cubic with these values and slopes at both ends of an interval of width h, at its share s."""
    return torch.stack(
        [
            (2 * s**3 - 3 * s**2 + 1) * y0,
            (s**3 - 2 * s**2 + s) * h * d0,
            (3 * s**2 - 2 * s**3) * y1,
            (s**3 - s**2) * h * d1,
        ]
    ).sum(0)
