"""What a comparison may be asked for with."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.comparison.arguments import check_numbers, compared
from diffusers_deis_sn.errors import ComparisonError
from oddities import ODD
from refusals import refused


def test_numbers_of_calls_rise_and_the_middle_one_is_judged():
    assert compared([10, 6, 8, 6], None) == ((6, 8, 10), 8)
    assert compared(5, 5) == ((5,), 5)


@pytest.mark.parametrize("steps", [[], [0], [6, -1], [1001], [True], [2.0], ["6"]])
def test_numbers_that_are_no_steps_are_refused(steps):
    refused(ComparisonError, ["`steps`", "1 to 1000"], compared, steps, None)


def test_what_is_judged_is_compared():
    refused(ComparisonError, ["`judged`", "[6, 8]", "7"], compared, [6, 8], 7)


@pytest.mark.parametrize("kind", [kind for kind, value in ODD.items() if kind not in ("one", "none")])
def test_numbers_of_prompts_and_of_pictures_at_once(kind):
    refused(ComparisonError, ["`batch_size`"], check_numbers, None, ODD[kind])
    refused(ComparisonError, ["`num_prompts`"], check_numbers, ODD[kind], 4)
    check_numbers(None, 1)
