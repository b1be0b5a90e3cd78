"""A plan walks without state."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.vp import vp_schedule

VP = vp_schedule(**SD_BETAS)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_a_step_has_no_state():
    plan, x = Recipe(VP, solver=Multistep(3)).plan(8), noise(2, 5)
    history = [noise(2, 5) * k for k in (1.0, 0.5, 0.2, 0.1, 7.0)]
    once, again = plan.advance(5, x, history[:3]), plan.advance(5, x, history)  # older outputs than it combines
    assert torch.equal(once, again) and torch.equal(x, noise(2, 5)) and torch.equal(once, plan.advance(5, x, history))
