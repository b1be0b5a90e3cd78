"""Which probes follow each step of a recording, and at which levels the network is called for them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.learn.costs import Probe, Question, answered, corrector_probe, predictor_probe

Generators = Sequence[torch.Generator]
Costs = dict[str, Tensor]

_PROBES: dict[str, Callable[[Tensor, Tensor, float, float, Generators], Probe]] = {
    "corrector": lambda y, eps, sigma, entered, _: corrector_probe(y, eps, sigma, entered),
    "predictor": predictor_probe,
}


@dataclass(frozen=True)
class ProbeGroup:
    """The probes of one step, one after the other; its length is the number of network calls they make.

    Args:
        costs: Names of the costs, of `COST_ORDERS`.
    """

    costs: tuple[str, ...]

    def __len__(self) -> int:
        """Number of network calls."""
        return len(_at_entered(self.costs))

    def calls(self, levels: Array) -> tuple[Array, np.ndarray]:
        """Levels of all calls of a run and of its result, and which call of its step each call is.

        The last step has no probes: no level is entered from there that the network knows.

        Args:
            levels: rho of the N steps and of the end; (N + 1,).

        Returns:
            (C + 1,) and (C,), for C = (N - 1) (1 + len) + 1 calls.
        """
        at_entered = np.array(_at_entered(self.costs), dtype=bool)
        rows = [np.append(here, np.where(at_entered, there, here)) for here, there in pairwise(levels[:-1])]
        needs = [np.arange(1, len(self) + 2)] * len(rows)
        return np.concatenate([*rows, levels[-2:]]), np.concatenate([*needs, [1]])

    def ask(
        self, y: Tensor, eps: Tensor, sigma: float, entered: float, generators: Generators
    ) -> Generator[Question, Tensor, Costs]:
        """Yields the questions of all probes, is sent eps, and returns the costs of each sample by name."""
        found: Costs = {}
        for name in self.costs:
            found[name] = yield from _PROBES[name](y, eps, sigma, entered, generators)
        return found


@cache
def _at_entered(costs: tuple[str, ...]) -> tuple[bool, ...]:
    """For each call, whether it is at the level entered: found by asking about a sample of one zero."""
    found: list[bool] = []
    zero = torch.zeros(1, 1)

    def answer(_: Tensor, at_entered: bool) -> Tensor:
        found.append(at_entered)
        return zero

    answered(ProbeGroup(costs).ask(zero, zero, 1.0, 0.5, [torch.Generator()]), answer)
    return tuple(found)
