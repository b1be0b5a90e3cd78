"""Calls of a pipeline that nobody knows: sample i has prompt i in turn and seed + i, however the batches fall."""

from __future__ import annotations

from inspect import Parameter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from diffusers_deis_sn.collect.calls import called, guidance_in_use, plan_calls
from diffusers_deis_sn.errors import CalibrationError, SeveralError
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


# ------------------------------------------------------------------------------------------- pipelines without lists


class Alone:
    """Draws one sample a call, or fails; `lists` for one that takes lists of one."""

    scheduler = SimpleNamespace(step_index=None)

    def __init__(self, lists: bool = False) -> None:
        self.lists = lists

    def __call__(self, prompt, num_inference_steps=50, generator=None, negative_prompt=None, phrases=None):
        """What a sample is drawn from."""
        if isinstance(generator, list) and not (self.lists and len(generator) == 1):
            torch.rand(1, generator=generator[0])
            raise ValueError("a list of generators is not yet supported")
        texts = [one[0] if self.lists else one for one in (prompt, negative_prompt)]
        assert all(isinstance(text, str) for text in texts)
        return [*texts, phrases, float(torch.rand(1, generator=generator[0] if self.lists else generator))]


def test_one_sample_of_a_pipeline_that_takes_no_lists_is_that_of_one_that_does():
    options = {"negative_prompt": "bad", "phrases": ["a fox"]}
    for pipe in (Alone(), Alone(lists=True)):
        calls = plan_calls(pipe, PROMPTS, 10, 40, options)
        for sample, prompt in enumerate("abca"):
            number = float(torch.rand(1, generator=torch.Generator().manual_seed(40 + sample)))
            assert called(pipe, calls.arguments(sample, 1)) == [prompt, "bad", ["a fox"], number]
        refused(SeveralError, ["2 samples", "not yet supported", "batch_size=1"], called, pipe, calls.arguments(0, 2))


def test_what_fails_for_another_reason_stays_as_it_is():
    class Late(Alone):
        def __call__(self, prompt, num_inference_steps=50, generator=None):
            self.scheduler = SimpleNamespace(step_index=3)
            return super().__call__(prompt, generator=generator)

    pipe = Late()
    calls = plan_calls(pipe, PROMPTS, 10, 40, {})
    with pytest.raises(ValueError, match=r"^a list of generators"):
        called(pipe, calls.arguments(0, 2))
    refused(CalibrationError, ["ours"], called, Mock(side_effect=CalibrationError("ours.")), calls.arguments(0, 2))


class Whole:
    components = property(lambda self: {})

    def __init__(self, **parts) -> None:
        self.scheduler = object()
        vars(self).update(parts)


class Combined(Whole):
    def __call__(self, prompt, num_inference_steps=50): ...


def test_of_pipelines_that_are_made_of_others_the_part_that_draws_is_named():
    prior, decoder = Combined(), Combined()
    pipe = Combined(prior_pipe=prior, decoder_pipe=decoder)
    refused(CalibrationError, ["`pipe.prior_pipe` or `pipe.decoder_pipe`"], plan_calls, pipe, "a", 10, 0, {})
    pipe.scheduler = decoder.scheduler
    refused(CalibrationError, ["draws: `pipe.decoder_pipe`"], plan_calls, pipe, "a", 10, 0, {})
    refused(CalibrationError, ["Whole has no call"], plan_calls, Whole(), "a", 10, 0, {})


def wordless(prompt, prompt_embeds_qwen=None, num_inference_steps=50, generator=None): ...


def test_embeddings_by_another_name_stand_for_a_prompt_that_has_to_be_given():
    words = torch.arange(2.0).reshape(2, 1, 1)
    calls = plan_calls(wordless, None, 10, 0, {"prompt_embeds_qwen": words})
    arguments = calls.arguments(1, 2)
    assert arguments["prompt"] is None and arguments["prompt_embeds_qwen"].flatten().tolist() == [1.0, 0.0]
    refused(CalibrationError, ["`prompt_embeds_qwen`"], plan_calls, wordless, None, 10, 0, {})
