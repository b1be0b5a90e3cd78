"""Calls of a pipeline that nobody knows: sample i has prompt i in turn and seed + i, however the batches fall."""

from __future__ import annotations

import re
from inspect import Parameter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import diffusers
import pytest
import torch

from diffusers_deis_sn.collect.calls import _ONE_TEXT, guidance_in_use, plan_calls
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
    words = ["takes no guidance_scales (did you mean `guidance_scale`?)", "num_inference_steps"]
    refused(CalibrationError, words, plan_calls, swallowing, "a", 10, 0, {"guidance_scales": 3})
    refused(CalibrationError, ["takes no colour"], plan_calls, swallowing, "a", 10, 0, {"colour": "red"})


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("cost", "costs"),
        ("steps", "num_inference_steps"),
        ("guidance", "guidance_scale"),
        ("cfg", "guidance_scale"),
        ("license", "licence"),
        ("batchsize", "batch_size"),
        ("tolerence", "tolerance"),
        ("batch_sise", "batch_size"),
    ],
)
@pytest.mark.parametrize("pipe", [painter, swallowing])
def test_a_name_that_nobody_knows_is_refused_with_the_one_that_is_meant(pipe, option, meant):
    ours = ("costs", "licence", "batch_size", "tolerance")
    words = [f"takes no {option} (did you mean `{meant}`?)"]
    refused(CalibrationError, words, plan_calls, pipe, "a", 10, 0, {option: 1}, ours)


def test_a_pipeline_that_passes_on_what_it_is_given_takes_what_its_parent_takes():
    class Parent:
        def __call__(self, prompt, num_inference_steps=50, eta=0.0): ...

    class Child(Parent):
        def __call__(self, prompt, num_inference_steps=50, **kwargs): ...

    assert plan_calls(Child(), "a", 10, 0, {"eta": 0.5}).arguments(0, 1)["eta"] == 0.5
    refused(CalibrationError, ["takes no etas (did you mean `eta`?)"], plan_calls, Child(), "a", 10, 0, {"etas": 0.5})


@pytest.mark.parametrize("scale", [-1, -0.5, float("nan"), float("inf")])
def test_a_guidance_that_is_none_is_refused(scale):
    words = ["`guidance_scale` must be 0 or more", repr(scale)]
    refused(CalibrationError, words, plan_calls, painter, "a", 10, 0, {"guidance_scale": scale})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("folder", ["the name 'folder'", "deis-sn calibrate folder -o"]),
        (Path("folder"), ["the name 'folder'"]),
        (Parameter, ["the class Parameter", "Parameter.from_pretrained"]),
        (3, ["an object of class int"]),
        (None, ["an object of class NoneType"]),
    ],
)
def test_what_is_no_pipeline_is_called_what_it_is(given, words):
    refused(CalibrationError, ["A loaded pipeline is needed", *words], plan_calls, given, None, 10, 0, {})


# --------------------------------------------------------------------------------- arguments that belong to samples


def labelled(class_labels, num_inference_steps=50, generator=None): ...


def drawing(prompt, image=None, mask_image=None, num_inference_steps=50, generator=None, sigmas=None): ...


def embedded(prompt=None, prompt_embeds=None, prompt_attention_mask=None, num_inference_steps=50, generator=None): ...


@pytest.mark.parametrize("cuts", [(0, 12), (0, 8, 12), (0, 1, 5, 12)])
@pytest.mark.parametrize("make", [list, tuple, torch.tensor])
def test_eight_labels_serve_twelve_samples_in_turn(cuts, make):
    calls = plan_calls(labelled, None, 10, 5, {"class_labels": make([7, 6, 5, 4, 3, 2, 1, 0])})
    batches = [calls.arguments(a, b - a) for a, b in pairwise(cuts)]
    assert [int(one) for batch in batches for one in batch["class_labels"]] == [*range(7, -1, -1), 7, 6, 5, 4]
    seeds = [one.initial_seed() for batch in batches for one in batch["generator"]]
    assert seeds == list(range(5, 17))


def test_one_label_is_that_of_every_sample():
    assert plan_calls(labelled, None, 10, 0, {"class_labels": 3}).arguments(4, 3)["class_labels"] == [3, 3, 3]


def test_images_and_masks_go_with_their_prompts():
    images, masks = ["cat", "dog"], torch.arange(3).reshape(3, 1, 1, 1).expand(3, 1, 4, 4)
    calls = plan_calls(drawing, PROMPTS, 10, 0, {"image": images, "mask_image": masks, "sigmas": [1.0, 0.5]})
    batch = calls.arguments(2, 4)
    assert batch["prompt"] == ["c", "a", "b", "c"] and batch["image"] == ["cat", "dog", "cat", "dog"]
    assert batch["mask_image"][:, 0, 0, 0].tolist() == [2, 0, 1, 2]
    assert batch["sigmas"] == [1.0, 0.5]  # of the run, not of a sample


@pytest.mark.parametrize("image", ["cat", torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4), ["cat"]])
def test_one_image_is_the_pipelines_to_repeat(image):
    assert plan_calls(drawing, PROMPTS, 10, 0, {"image": image}).arguments(0, 3)["image"] is image


def test_a_list_that_is_for_one_sample_stays_whole():
    class Painter:
        def __call__(self, prompt, image=None, num_inference_steps=50): ...

    class Flux2Pipeline(Painter): ...

    several = Painter()
    several.controlnet = SimpleNamespace(nets=[1, 2])
    for pipe in (several, Flux2Pipeline()):
        assert plan_calls(pipe, PROMPTS, 10, 0, {"image": ["cat", "dog"]}).arguments(1, 1)["image"] == ["cat", "dog"]


def test_embeddings_stand_for_prompts_with_their_masks():
    embeds, mask = torch.arange(2.0).reshape(2, 1, 1), torch.arange(2).reshape(2, 1)
    calls = plan_calls(embedded, None, 10, 0, {"prompt_embeds": embeds, "prompt_attention_mask": mask})
    batch = calls.arguments(1, 3)
    assert batch["prompt_embeds"].flatten().tolist() == batch["prompt_attention_mask"].flatten().tolist() == [1, 0, 1]
    assert len(batch["generator"]) == 3


@pytest.mark.parametrize("name", ["class_labels", "image"])
def test_an_empty_list_is_refused(name):
    pipe, prompts = (labelled, None) if name == "class_labels" else (drawing, "a")
    refused(CalibrationError, [f"`{name}` is empty"], plan_calls, pipe, prompts, 10, 0, {name: []})


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


class DreamLitePainter:
    def __call__(self, prompt, num_inference_steps=50, guidance_scale=7.5, generator=None, negative_prompt=None): ...


def test_a_pipeline_that_takes_one_text_is_given_no_lists():
    calls = plan_calls(DreamLitePainter(), PROMPTS, 10, 40, {"negative_prompt": "bad"})
    for sample in range(4):
        arguments = calls.arguments(sample, 1)
        assert (arguments["prompt"], arguments["negative_prompt"]) == ("abca"[sample], "bad")
        assert arguments["generator"].initial_seed() == 40 + sample
    refused(CalibrationError, ["one text", "batch_size=1"], calls.arguments, 0, 2)


def test_pipelines_of_diffusers_that_refuse_lists_of_texts_are_known():
    sources = [
        path.read_text(encoding="utf-8") for path in Path(diffusers.__path__[0], "pipelines").rglob("pipeline_*.py")
    ]
    for source in sources:
        if "has to be of type `str` but is" in source:
            names = re.findall(r"^class (\w+)", source, re.MULTILINE)
            assert any(part in name for part in _ONE_TEXT for name in names), names
