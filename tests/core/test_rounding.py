"""Times that a loop has rounded are known for what they were, and others for what they are."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.core.rounding import BITS, is_rounding, significant

HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}
times = st.floats(0.01, 1000.0)


@given(st.floats(0.01, 240.0), st.sampled_from(sorted(BITS)))
def test_significant_digits_are_those_of_torch(time, name):
    narrow = torch.tensor(time, dtype=torch.float64).to(getattr(torch, name))
    if narrow.abs().double() > 0.02:  # below float8 has fewer
        assert significant(time, BITS[name]) == float(narrow)


def test_every_dtype_of_torch_that_may_hold_times_is_known():
    assert {name for name in dir(torch) if re.fullmatch(r"b?float(16|8_e[45]m\w+)", name)} == set(BITS)


@given(times, st.sampled_from(sorted(HALF)), st.sampled_from([float, int, math.floor, math.ceil, round]))
def test_what_dtypes_and_whole_numbers_make_of_a_time_is_known(time, name, cut):
    narrow = torch.tensor(time, dtype=torch.float64).to(HALF[name])
    assert is_rounding(time, float(narrow), 1e-6, BITS[name])
    assert is_rounding(time, float(cut(float(narrow))), 1e-6)
    assert is_rounding(time, float(cut(time)), 1e-6)
    assert is_rounding(time, float(torch.tensor(float(cut(time))).to(HALF[name])), 1e-6)


@given(times, st.floats(-1500.0, 1500.0))
def test_what_is_far_from_a_time_is_no_rounding_of_it(time, other):
    if abs(other - time) > max(1.0, 0.13 * time):  # a float8 has three digits
        assert not is_rounding(time, other, 1e-6)
    if abs(other - time) > max(1.0, time * 2.0**-8) + 1e-3:
        assert not is_rounding(time, other, 1e-3, BITS["bfloat16"])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_rounding(number):
    assert not is_rounding(999.0, number, 1e-3)
