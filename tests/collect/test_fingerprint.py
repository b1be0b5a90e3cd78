"""What decides the numbers: each fact is seen, equal runs are equal, and private texts are not told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image

from diffusers_deis_sn.collect.fingerprint import asked, describe, of_model
from diffusers_deis_sn.collect.run import recording
from tiny_pipelines import BUILDERS

ASKED = {
    "prompts": ["a red seven"],
    "num_samples": 64,
    "num_inference_steps": 200,
    "batch_size": 8,
    "seed": 0,
    "costs": ("corrector",),
    "tolerance": 0.02,
    "trials": 8,
    "skip_invalid": False,
    "arguments": {"guidance_scale": 7.5, "negative_prompt": "a secret"},
}
OTHERS = {
    "prompts": ["a red six"],
    "num_samples": 63,
    "num_inference_steps": 201,
    "batch_size": 4,
    "seed": 1,
    "costs": ("predictor",),
    "tolerance": 0.0,
    "trials": 0,
    "skip_invalid": True,
    "arguments": {"guidance_scale": 7.5, "negative_prompt": "another"},
}


@pytest.mark.parametrize("name", ASKED)
def test_every_argument_counts_and_under_its_name(name):
    one, other = asked(**ASKED), asked(**(ASKED | {name: OTHERS[name]}))
    assert [key for key in one if one[key] != other[key]] == [name]


def test_equal_arguments_are_equal_in_any_form_and_json_has_them():
    other = ASKED | {"prompts": "a red seven", "costs": ["corrector", "corrector"]}
    assert asked(**ASKED) == asked(**other)
    assert json.loads(json.dumps(asked(**ASKED), allow_nan=False)) == asked(**ASKED)


def test_texts_are_not_told():
    text = json.dumps(asked(**ASKED))
    assert "secret" not in text and "seven" not in text


VALUES = [
    None,
    True,
    1,
    2,
    0.1,
    float("nan"),
    float("inf"),
    "a",
    "b",
    [1, 2],
    [2, 1],
    {"a": 1},
    {"a": "b"},
    np.arange(4.0),
    np.arange(4),
    np.arange(4.0).reshape(2, 2),
    torch.arange(4.0),
    torch.arange(4.0, dtype=torch.bfloat16),
    torch.arange(4.0).reshape(2, 2),
    torch.tensor(3.0),
    Image.new("RGB", (2, 3)),
    Image.new("RGB", (2, 3), "red"),
    Image.new("RGB", (3, 2)),
    [Image.new("L", (1, 1))],
]


def test_different_values_are_described_differently_and_equal_ones_equally():
    told = [json.dumps(describe(value), allow_nan=False) for value in VALUES]
    assert len(set(told)) == len(VALUES)
    assert told == [json.dumps(describe(value)) for value in VALUES]
    turned = torch.arange(6.0).reshape(2, 3).T
    assert describe(turned) == describe(turned.contiguous())  # the layout in memory is no fact


def test_of_other_objects_only_the_class_is_known():
    assert describe(DDIMScheduler()) == describe(DDIMScheduler(beta_start=0.001))
    assert describe(lambda: None) == "builtins.function"


def model_facts(change=None, data=None, recipes=(), name="sd"):
    pipe, _ = BUILDERS[name]()
    if change is not None:
        change(pipe)
    with recording(pipe) as recorder:
        return of_model(pipe, recorder, data, recipes)


def train(pipe) -> None:
    with torch.no_grad():
        for weight in pipe.unet.parameters():
            weight.mul_(1.001)


def schedule(**options):
    def change(pipe) -> None:
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **options)

    return change


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"change": train}, {"weights"}),
        ({"change": lambda pipe: pipe.to(torch.bfloat16)}, {"dtype", "weights"}),
        ({"change": schedule(beta_end=0.013)}, {"noise_schedule"}),
        ({"change": schedule(prediction_type="v_prediction")}, {"prediction_type"}),
        ({"change": schedule(thresholding=True)}, {"thresholding"}),
        ({"data": torch.zeros(2, 4)}, {"data"}),
        ({"recipes": ("a",)}, {"recipes"}),
        ({"name": "ddpm"}, {"pipeline", "weights", "noise_schedule"}),
    ],
)
def test_every_fact_of_the_model_counts_and_under_its_name(change, facts):
    one, other = model_facts(), model_facts(**change)
    assert {key for key in one if one[key] != other[key]} == facts
    assert one == model_facts()
