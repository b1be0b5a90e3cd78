"""What cannot be loaded is known without loading it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from diffusers_deis_sn.collect.loadable import (
    check_lora,
    check_other_network,
    check_pipeline,
    check_words,
    said,
)
from diffusers_deis_sn.errors import CalibrationError
from oddities import ODD
from refusals import refused


@pytest.fixture
def folder(tmp_path):
    """Files and folders of all kinds."""
    save_file({"a.weight": torch.zeros(2)}, tmp_path / "whole.safetensors")
    save_file({"a.lora_up.weight": torch.zeros(2)}, tmp_path / "lora.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(whole[:-4])
    (tmp_path / "notes.txt").write_text("a")
    for name, file in (("vae", "config.json"), ("pipeline/vae", "config.json"), ("loras", "one.safetensors")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).write_text("{}")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_what_can_be_loaded_is_taken(folder):
    for name in ("pipeline", "whole.safetensors"):
        check_pipeline(str(folder / name))
    for name in ("lora.safetensors", "loras"):
        check_lora(str(folder / name))
    for name in ("whole.safetensors", "vae", "pipeline"):
        check_other_network("vae", str(folder / name))
    for name in ("user/name", "user-1/name.of_it"):
        check_pipeline(name)
        check_lora(name)
        check_other_network("config", name)


@pytest.mark.parametrize("name", ["torn.safetensors", "notes.txt", "empty", "nowhere", "nowhere/at/all"])
def test_what_cannot_is_refused_by_its_name(folder, name):
    place = str(folder / name)
    refused(CalibrationError, [name], check_pipeline, place)
    refused(CalibrationError, ["`loras`", name], check_lora, place)
    refused(CalibrationError, ["`vae`", name], check_other_network, "vae", place)


def test_a_lora_and_a_single_network_are_no_model(folder):
    refused(CalibrationError, ["LoRA", "`loras`"], check_pipeline, str(folder / "lora.safetensors"))
    part = folder / "diffusion_pytorch_model.safetensors"
    part.write_bytes((folder / "whole.safetensors").read_bytes())
    refused(CalibrationError, ["one network"], check_pipeline, str(part))


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps", None])
@pytest.mark.parametrize("variant", ["fp16", "non_ema", None])
@pytest.mark.parametrize("revision", ["main", "refs/pr/3", "v1.0-rc+2", "8a6ef29", None])
def test_words_that_mean_something(device, variant, revision):
    check_words(device, variant, revision)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["device", "variant", "revision"])
def test_words_that_cannot_mean_anything(place):
    name = ("device", "variant", "revision")[place]
    kinds = [value for kind, value in ODD.items() if kind not in ("none", "text", "number as text", "long text")]
    for value in [*kinds, "a b", "a\nb", "a\x1b[31m", "../x", "-rf", "cuda:", "a@{1}", "a//b", "~x", "*"]:
        given = [None, None, None]
        given[place] = value
        refused(CalibrationError, [f"`{name}`"], check_words, *given)


def test_what_an_error_says_is_one_sentence():
    assert said(ValueError("a\n b")) == "a b." and said(KeyError("a")) == "KeyError: 'a'."
