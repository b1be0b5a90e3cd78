"""Calls of a pipeline that nobody knows: sample i has prompt i in turn and seed + i, however the batches fall."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from diffusers_deis_sn.collect.calls import guidance_in_use, plan_calls
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused

PROMPTS = ["a", "b", "c"]


def painter(prompt, num_inference_steps=50, guidance_scale=7.5, generator=None, negative_prompt=None): ...


def plain(batch_size=1, num_inference_steps=50, generator=None): ...


def swallowing(prompt, num_inference_steps=50, guidance_scale=5.0, **kwargs): ...


def drawn(call: dict) -> list[tuple]:
    """Texts and the first random number of each sample."""
    texts = zip(call["prompt"], call["negative_prompt"], strict=True)
    return [(*text, float(torch.rand(1, generator=one))) for text, one in zip(texts, call["generator"], strict=True)]


@pytest.mark.parametrize("negative", ["bad", ["x", "y"]])
@pytest.mark.parametrize("cuts", [(0, 7), (0, 3, 7), (0, 1, 2, 6, 7)])
def test_what_a_sample_is_drawn_from_does_not_depend_on_the_batches(cuts, negative):
    calls = plan_calls(painter, PROMPTS, 10, 40, {"negative_prompt": negative})
    batches = [calls.arguments(a, b - a) for a, b in pairwise(cuts)]
    other = [negative] * 7 if isinstance(negative, str) else [*"xyxyxyx"]
    numbers = [float(torch.rand(1, generator=torch.Generator().manual_seed(40 + i))) for i in range(7)]
    expected = list(zip("abcabca", other, numbers, strict=True))
    assert [sample for batch in batches for sample in drawn(batch)] == expected


def test_a_pipeline_without_prompts_is_told_how_many_to_draw():
    calls = plan_calls(plain, None, 10, 0, {})
    arguments = calls.arguments(3, 2)
    assert calls.sized and arguments["batch_size"] == 2 and arguments["num_inference_steps"] == 10
    assert [one.initial_seed() for one in arguments["generator"]] == [3, 4]


def test_options_of_the_caller_reach_every_call():
    calls = plan_calls(painter, "a", 10, 0, {"guidance_scale": 3.0})
    assert {calls.arguments(first, 1)["guidance_scale"] for first in range(3)} == {3.0}


def test_a_slip_is_refused_even_where_a_pipeline_swallows_every_name():
    refused(CalibrationError, ["takes no guidance_scales"], plan_calls, swallowing, "a", 10, 0, {"guidance_scales": 3})
    assert plan_calls(swallowing, "a", 10, 0, {"colour": "red"}).fixed["colour"] == "red"


@pytest.mark.parametrize(
    ("pipe", "options", "scale"),
    [
        (painter, {}, 7.5),
        (painter, {"guidance_scale": 2}, 2.0),
        (painter, {"guidance_scale": None}, None),
        (plain, {}, 1.0),
        (swallowing, {}, 5.0),
        (lambda **options: None, {}, None),
    ],
)
def test_guidance_is_that_of_the_caller_or_of_the_pipeline_or_one_where_it_knows_none(pipe, options, scale):
    assert guidance_in_use(pipe, options) == scale
