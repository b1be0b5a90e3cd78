"""The converged run against the exact flow of Gaussian data, and the steps it takes."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from benchmarks.exact.flows import SD_BETAS
from comparisons import SD, STD, pipeline
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.comparison.contenders import own, yardsticks
from diffusers_deis_sn.comparison.drawing import Easel
from diffusers_deis_sn.comparison.keeping import Keeper
from diffusers_deis_sn.comparison.reference import NEAR, converge
from diffusers_deis_sn.comparison.running import Runner, apart
from exact_pipelines import starts_of

SCHEDULER = DDIMScheduler(**SD_BETAS)


def runner(folder) -> tuple[Runner, object]:
    pipe = pipeline()
    return Runner(
        Easel(pipe, plan_calls(pipe, None, 10, 0, {})), Keeper(folder, {}), 10, 2, 5, Interruptions(True)
    ), pipe


def test_it_ends_where_the_exact_flow_does(tmp_path) -> None:
    one, pipe = runner(tmp_path)
    told: list[float] = []
    reference = converge(one, yardsticks(SCHEDULER)[0], 8, told.append)
    starts = starts_of(pipe, 10)
    # From rho to clean data a Gaussian of standard deviation c shrinks by c / (c^2 + rho^2)^(1/2).
    top = float(SD.rho(999.0))
    exact = starts * (1.0 + top**2) ** 0.5 * STD / (STD**2 + top**2) ** 0.5
    error = apart(one.converged(0, 10), exact)
    few = apart(one.easel.draw(yardsticks(SCHEDULER)[0].make(), 8, 0, 10, False).ends, exact)
    assert reference.converged and reference.steps == 100 and reference.check_prompts == 8
    assert (error < NEAR * few).all()
    assert told == sorted(told) or max(told) <= 1.0
    assert torch.isfinite(one.converged(0, 10)).all()


def test_a_sampler_that_converges_slowly_takes_more_steps_and_may_not_be_through(tmp_path) -> None:
    one, _ = runner(tmp_path)
    reference = converge(one, own(SCHEDULER), 60, lambda _: None, most=200)
    assert reference.steps == 200
    assert reference.check_share > NEAR and not reference.converged
