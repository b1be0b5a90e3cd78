"""Outcomes of tuning as tests make them up, and calls of a pipeline that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.core.grids import Trailing
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.outcome import Outcome
from diffusers_deis_sn.tuning.samples import batches
from refusals import refused
from toy_models import PROCESSES, ToyPipeline, noise

DEFAULT, PLAN = Judged(0.02, 0.03, 0.025), Judged(0.01, 0.015, 0.012)
RIVALS = {"DDIM": Judged(0.09, 0.1, 0.1), "UniPC": Judged(0.05, 0.06, 0.05)}


def planned(calls: int = 5, guidance: float = 1.0) -> TunedPlan:
    """A plan that is a run of a formula."""
    return TunedPlan(Tuned.of_plan(Recipe(PROCESSES["vp"][0], Trailing(), Multistep(2)).plan(calls)), guidance)


def found(calls: int = 5, guidance: float = 1.0) -> Outcome:
    """An outcome with a plan."""
    return Outcome(calls, guidance, DEFAULT, RIVALS, planned(calls, guidance), PLAN, "times")


def failed(calls: int = 8, guidance: float = 1.0, rivals: Mapping[str, Judged] = RIVALS) -> Outcome:
    """An outcome without."""
    return Outcome(calls, guidance, DEFAULT, rivals)


def asked(pipe: Any, samples: int = 5, batch_size: int = 2, **options: Any) -> Any:
    """Arguments of a call for each batch."""
    prompts = options.pop("prompts", None)
    return batches(plan_calls(pipe, prompts, 5, 0, options), list(range(samples)), batch_size)


def refused_when_asked(pipe: ToyPipeline, words: list[str]) -> None:
    """Assert that a pipeline cannot be asked, and has its own scheduler again."""
    before = pipe.scheduler

    def ask() -> None:
        with Asker(pipe, asked(pipe)) as asker:
            for level in (1.0, 0.5, 0.2):
                asker(noise(5).float(), float(pipe.process.whole(np.array([level, 0.0]))[0]))

    refused(CalibrationError, words, ask)
    assert pipe.scheduler is before
