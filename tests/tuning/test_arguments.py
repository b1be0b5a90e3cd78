"""What tuning is asked for with."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.arguments import (
    FEWEST,
    STEPS,
    check_budget,
    check_samples,
    seconds_of,
    steps_of,
    wanted_steps,
)
from refusals import refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, 16, 8, None), ["num_samples", "at least 4", "3"]),
        ((16, 3, 8, None), ["num_held_out", "at least 4"]),
        ((16, 16, 0, None), ["batch_size"]),
        ((16.0, 16, 8, None), ["num_samples"]),
        ((16, 16, 8, 3), ["prompts", "at least 4", "got 3"]),
    ],
)
def test_too_few_are_refused(arguments, words):
    refused(CalibrationError, words, check_samples, *arguments)


def test_as_few_as_there_may_be():
    check_samples(FEWEST, FEWEST, 1, FEWEST)


def test_steps_are_one_number_or_several():
    assert wanted_steps(7) == (7,) and wanted_steps([10, 5]) == (5, 10) and wanted_steps(range(1, 21))[-1] == 20


@pytest.mark.parametrize("steps", [0, 21, (5, 5), (), (4, 5.0), True])
def test_numbers_of_steps_that_are_none(steps):
    refused(CalibrationError, ["`steps`", "1 to 20"], wanted_steps, steps)


def test_texts_of_the_command_line():
    assert steps_of("10, 5,8") == (5, 8, 10) and steps_of(None) == STEPS
    assert [seconds_of(one) for one in ("300", "90s", "5m", "1.5h", None)] == [300.0, 90.0, 300.0, 5400.0, None]
    for text in ("5;8", "", "-5", "5,", "5.0", "five"):
        refused(CalibrationError, ["`steps`"], steps_of, text)
    for text in ("", "5 days", "-5m", "m", "nan"):
        refused(CalibrationError, ["`budget`", "5m"], seconds_of, text)


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf"), True, "5m"])
def test_budgets_that_are_none(budget):
    refused(CalibrationError, ["`budget`"], check_budget, budget)
    check_budget(None)
