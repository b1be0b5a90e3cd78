"""Which samples a plan is fitted on and which are held out, and the calls of a pipeline that draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from diffusers_deis_sn.collect.calls import PipelineCalls


def numbers(samples: int, held_out: int, prompts: int | None) -> tuple[list[int], list[int]]:
    """Numbers of the samples to fit on and of those that are held out, which have other prompts.

    Args:
        samples: How many to fit on.
        held_out: How many to hold out.
        prompts: Number of prompts, which are used in turn; None where there are none.
    """
    if prompts is None or prompts >= samples + held_out:
        return list(range(samples)), list(range(samples, samples + held_out))
    part = min(max(round(prompts * samples / (samples + held_out)), 1), prompts - 1)
    fitted = [i for i in range(samples * prompts) if i % prompts < part]
    others = [i for i in range(held_out * prompts) if i % prompts >= part]
    return fitted[:samples], others[:held_out]


Arguments = Callable[[], Mapping[str, Any]]
"""Gives the arguments of a call, anew each time: generators are used up."""


def batches(calls: PipelineCalls, samples: list[int], batch_size: int) -> list[Arguments]:
    """Arguments of the calls that draw these samples, neighbours together."""
    most = batch_size if calls.sized else 1
    runs: list[list[int]] = []
    for number in samples:
        if runs and number == runs[-1][-1] + 1 and len(runs[-1]) < most:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [partial(calls.arguments, run[0], len(run)) for run in runs]
