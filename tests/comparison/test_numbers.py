"""Numbers for people and for other programs."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.comparison.numbers import number, percent, plain


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.11, "0.110"),
        (0.04756, "0.0476"),
        (3.0, "3.00"),
        (123.4, "123"),
        (1234.5, "1230"),
        (0.0, "0"),
        (1e-5, "0.0000100"),
    ],
)
def test_three_digits_without_an_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_shares_are_percentages() -> None:
    assert [percent(one) for one in (0.0731, 0.5, 1.234)] == ["7.3 %", "50 %", "120 %"]


def test_programs_get_all_digits() -> None:
    assert float(plain(0.1 + 0.2)) == 0.1 + 0.2
