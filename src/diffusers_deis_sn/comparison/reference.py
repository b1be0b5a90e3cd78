"""The converged run that all are held against, and how well it is known to have converged.

It is one of Diffusers' samplers in many steps, twice as many again until two runs agree: their distance is at most
`NEAR` of that of the same sampler in the most steps that are compared. The error of the finer run is then smaller
still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from diffusers_deis_sn.comparison.contenders import Contender
from diffusers_deis_sn.comparison.rows import TINIEST
from diffusers_deis_sn.comparison.running import Runner, apart

FIRST, MOST = 50, 400  # steps
NEAR = 0.1  # a share that, added to a distance at a right angle, makes it longer by half a hundredth
CHECKED = 8  # prompts, the first


@dataclass(frozen=True)
class Reference:
    """A converged run.

    Args:
        scheduler: Its name.
        code: Lines that make it.
        steps: Of the run.
        check_steps: Of the run of half as many steps that it was held against.
        check_prompts: Number of prompts of both.
        check_distance: Geometric mean of their distance: more than the error of the run.
        check_share: That over the distance of the same sampler in `coarse_steps`.
        coarse_steps: The most steps that are compared.
    """

    scheduler: str
    code: tuple[str, ...]
    steps: int
    check_steps: int
    check_prompts: int
    check_distance: float
    check_share: float
    coarse_steps: int

    @property
    def converged(self) -> bool:
        """Whether the two runs agree."""
        return self.check_share <= NEAR


def converge(
    runner: Runner, one: Contender, coarse: int, report: Callable[[float], None], most: int = MOST
) -> Reference:
    """Find how many steps it takes, and draw all prompts in so many.

    Args:
        runner: Draws, keeps, and is told the number of steps.
        one: The sampler.
        coarse: The most steps that are compared.
        report: Told how much is done, as a share; it may have to be done again in more steps.
        most: Steps that are not exceeded.

    Raises:
        ComparisonError: See `Easel.draw`.
        CalibrationInterruptedError: Ctrl-C.
    """
    count = min(CHECKED, runner.prompts)
    planned = count * (coarse + FIRST) + runner.prompts * 2 * FIRST

    def ends(steps: int, prompts: int, before: int = 0) -> Tensor:
        runner.report = lambda done: report(min(1.0, (before + done * steps) / planned))
        return runner.ends(one, steps, prompts)

    few, before = ends(coarse, count), ends(FIRST, count, count * coarse)
    steps = 2 * FIRST
    while True:
        fine = ends(steps, count, count * (coarse + FIRST))
        distance, scale = _mean(apart(fine, before)), _mean(apart(fine, few))
        if distance <= NEAR * scale or 2 * steps > most:
            break
        steps, before = 2 * steps, fine
    ends(steps, runner.prompts, count * (coarse + FIRST))
    runner.fine = steps
    return Reference(one.name, one.code, steps, steps // 2, count, distance, distance / scale, coarse)


def _mean(distances: np.ndarray) -> float:
    return float(np.exp(np.log(np.maximum(distances, TINIEST)).mean()))
