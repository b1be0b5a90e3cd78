"""Numbers as people read them, the same in tables, pictures and lists."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Three digits, without an exponent or a point at the end."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.2e}")))))
    return f"{float(f'{value:.2e}'):.{places}f}"


def percent(share: float) -> str:
    """A share of one, as a percentage of two digits."""
    return f"{float(f'{100.0 * share:.2g}'):g} %"


def plain(value: float) -> str:
    """A number as a program reads it."""
    return repr(float(value))
