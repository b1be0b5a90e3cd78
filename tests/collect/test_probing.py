"""Probes of a step: how many calls they make, at which levels, and that their questions come in that order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from diffusers_deis_sn.collect.probing import ProbeGroup
from diffusers_deis_sn.learn.costs import answered

BOTH = ("corrector", "predictor")
CALLS = {(): 0, ("corrector",): 1, ("predictor",): 15, BOTH: 16}  # for each step
LEVELS = np.array([8.0, 3.0, 1.0, 0.2, 0.0])


@pytest.mark.parametrize("costs", CALLS)
def test_calls_are_at_the_level_of_the_step_or_at_the_one_entered_and_none_follow_the_last(costs):
    group = ProbeGroup(costs)
    levels, needs = group.calls(LEVELS)
    assert len(group) == CALLS[costs]
    assert len(levels) == len(needs) + 1 == (len(LEVELS) - 2) * (len(group) + 1) + 2
    assert levels[-2:].tolist() == LEVELS[-2:].tolist() and needs[-1] == 1
    for n, (here, there) in enumerate(pairwise(LEVELS[:-1])):
        of_step = slice(n * (len(group) + 1), (n + 1) * (len(group) + 1))
        assert levels[of_step][0] == here and set(levels[of_step]) <= {here, there}
        assert needs[of_step].tolist() == list(range(1, len(group) + 2))


@pytest.mark.parametrize("costs", CALLS)
def test_questions_come_at_the_levels_that_were_planned(costs):
    """And of several samples each has a cost of every name, which is zero where the score does not change."""
    asked, y = [], torch.ones(3, 4, dtype=torch.float64)

    def answer(_, at_entered):
        asked.append(0.5 if at_entered else 1.0)
        return torch.zeros_like(y)

    found = answered(ProbeGroup(costs).ask(y, torch.zeros_like(y), 1.0, 0.5, [torch.Generator()]), answer)
    assert asked == ProbeGroup(costs).calls(np.array([1.0, 0.5, 0.0]))[0][1:-2].tolist()
    assert set(found) == set(costs)
    assert all(torch.equal(cost, torch.zeros(3, dtype=cost.dtype)) for cost in found.values())
