"""Numbers that make no measurement, refused before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from diffusers_deis_sn.collect.arguments import (
    MOST,
    MOST_SEED,
    check_guidance,
    check_numbers,
    check_tolerance,
    is_decimal,
    numbers_of,
)
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused

LEAST: dict[str, Any] = {"num_samples": 2, "num_inference_steps": 2, "batch_size": 1, "seed": 0, "trials": 0}


def test_the_least_of_every_number_is_taken():
    check_numbers(**LEAST)


@pytest.mark.parametrize("name", LEAST)
def test_one_less_and_what_is_no_whole_number_are_refused_by_name(name):
    for value in (LEAST[name] - 1, LEAST[name] + 0.5, float(LEAST[name]), True, None, "8"):
        refused(CalibrationError, [f"`{name}`", str(LEAST[name]), repr(value)], check_numbers, **LEAST | {name: value})


@pytest.mark.parametrize("name", LEAST)
def test_slips_of_the_keys_are_refused_by_name(name):
    most = MOST_SEED if name == "seed" else MOST
    check_numbers(**LEAST | {name: most})
    for value in (most + 1, 10**400, 10**5000):
        refused(CalibrationError, [f"`{name}`", f"at most {most}"], check_numbers, **LEAST | {name: value})


def test_several_numbers_in_a_text():
    assert numbers_of("6, 8,10", "steps", "6,8,10") == [6, 8, 10]


@pytest.mark.parametrize("text", ["", "6;8", "6,,8", "-1", "2.5", "٣", "²", "9" * 5000])
def test_texts_that_are_no_numbers_are_refused(text):
    refused(CalibrationError, ["`steps`", "6,8,10"], numbers_of, text, "steps", "6,8,10")
    assert not is_decimal(text)


def test_a_tolerance_of_all_samples_is_one():
    check_tolerance(0)
    check_tolerance(0.99)


@pytest.mark.parametrize("value", [-0.01, 1.0, float("nan"), True, None, "0.1"])
def test_what_is_no_relative_error_is_refused(value):
    refused(CalibrationError, ["`tolerance`", repr(value)], check_tolerance, value)


@pytest.mark.parametrize("scale", [0, 0.0, 1, 7.5, None, [3.0, 1.0]])
def test_no_guidance_much_guidance_and_what_only_the_pipeline_understands_are_taken(scale):
    check_guidance(scale)


@pytest.mark.parametrize("scale", [-1e-9, -3, float("nan"), float("inf"), 1e6, 10**400])
def test_what_is_no_guidance_is_refused(scale):
    refused(CalibrationError, ["`guidance_scale`", repr(scale)], check_guidance, scale)
