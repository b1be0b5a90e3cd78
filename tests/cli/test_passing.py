"""Arguments of the pipeline as NAME=VALUE, and messages in the words of the command line."""

from __future__ import annotations

import pytest
from PIL import Image

from diffusers_deis_sn.cli.passing import (
    end_of_run,
    flagged,
    guidance_numbers,
    naming_flags,
    opened,
    pipeline_arguments,
)
from diffusers_deis_sn.errors import (
    CalibrationError,
    CalibrationInterruptedError,
    CheckpointError,
    ConfigurationError,
    TimestepsError,
)
from refusals import refused


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('"3"', "3"),
        ('{"scale": 0.5}', {"scale": 0.5}),
        ("a red fox", "a red fox"),
        ("a=b", "a=b"),
        ("NaN", "NaN"),
        ("", ""),
    ],
)
def test_a_value_is_what_it_is_in_json_or_a_text(text, value):
    assert pipeline_arguments([f"name={text}"]) == {"name": value}


def test_an_argument_that_comes_again_is_a_list():
    assert pipeline_arguments(["a=1", "b=x", "a=2"]) == {"a": [1, 2], "b": "x"}


def test_pictures_are_opened_late_and_masks_stay_grey(tmp_path):
    Image.new("RGBA", (4, 2), (255, 0, 0, 255)).save(tmp_path / "cat.png")
    Image.new("L", (4, 2), 9).save(tmp_path / "mask.png")
    given = pipeline_arguments([f"image={tmp_path / 'cat.png'}", f"image={tmp_path / 'mask.png'}", "eta=1"])
    images = opened(given)["image"]
    assert [(one.mode, one.size) for one in images] == [("RGB", (4, 2)), ("L", (4, 2))]
    assert images[0].getpixel((0, 0)) == (255, 0, 0) and opened(given)["eta"] == 1


@pytest.mark.parametrize("text", ["image", "=3", "two words=3", "3=4"])
def test_what_is_no_argument_is_refused(text):
    refused(CalibrationError, ["--arg", "NAME=VALUE", repr(text)], pipeline_arguments, [text])


def test_pictures_that_are_none_are_refused(tmp_path):
    refused(CalibrationError, ["--arg image", "not there"], pipeline_arguments, [f"image={tmp_path / 'no.png'}"])
    (tmp_path / "page.png").write_text("<html>")
    given = pipeline_arguments([f"image={tmp_path / 'page.png'}"])
    refused(CalibrationError, ["page.png", "cannot be read"], opened, given)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`num_samples` must be", "--num-samples must be"),
        ("Use `seed=`.", "Use --seed."),
        ("`num_inference_steps` of", "--steps of"),
        ("`loras` needs", "--lora needs"),
        ("Pass `class_labels=` to", "Pass --arg class_labels=... to"),
        ("inside `recording(pipe)`, `prompt_embeds`", "inside `recording(pipe)`, `prompt_embeds`"),
    ],
)
def test_messages_name_the_flag(message, shown):
    names = ["num_samples", "seed", "num_inference_steps"]
    assert flagged(message, names) == shown


def test_only_errors_of_the_calibration_are_put_in_other_words():
    with pytest.raises(CalibrationError, match="--seed is"), naming_flags(["seed"]):
        raise CalibrationError("`seed` is")
    with pytest.raises(ConfigurationError, match="`seed` is"), naming_flags(["seed"]):
        raise ConfigurationError("`seed` is")


@pytest.mark.parametrize("kind", [CheckpointError, CalibrationInterruptedError])
def test_an_error_in_other_words_is_of_the_same_class(kind):
    with pytest.raises(kind, match="--seed is"), naming_flags(["seed"]):
        raise kind("`seed` is")


@pytest.mark.parametrize(("text", "value"), [(None, None), ("7.5", 7.5), ("3", 3.0), ("1,3, 7.5", [1.0, 3.0, 7.5])])
def test_one_guidance_is_a_number_and_several_are_a_list(text, value):
    assert guidance_numbers(text) == value


@pytest.mark.parametrize("text", ["", "a", "1,,3", "1;3"])
def test_what_is_no_guidance_is_refused(text):
    refused(CalibrationError, ["`guidance_scale`", "1,3,5,7.5", repr(text)], guidance_numbers, text)


def test_the_end_of_a_run_is_a_name_or_a_share():
    assert end_of_run("zero") == ("zero", None) and end_of_run("sigma_min") == ("sigma_min", None)
    assert end_of_run("0.02") == ("zero", 0.02) and end_of_run("0") == ("zero", 0.0)
    refused(ConfigurationError, ["`end`", "zero, sigma_min", "'never'"], end_of_run, "never")


def test_other_kinds_of_errors_name_flags_where_that_is_said():
    kinds = (ConfigurationError, TimestepsError)
    for kind in kinds:
        with pytest.raises(kind, match="--seed is"), naming_flags(["seed"], kinds):
            raise kind("`seed` is")
