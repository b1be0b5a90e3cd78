"""What becomes of a time that a loop rounds before it hands it back: by its dtype, or to a whole number.

Pipelines in half precision write `step(..., t.bfloat16(), ...)`, and others `int(t)`: 999 comes back as 1000, 748.6 as
748. Such a number is the time that it was made from, however far from it; every other number is not.
"""

from __future__ import annotations

import math

# Significant binary digits, the hidden one among them.
BITS = {"float16": 11, "bfloat16": 8, "float8_e4m3fn": 4, "float8_e4m3fnuz": 4, "float8_e5m2": 3, "float8_e5m2fnuz": 3}
EXACT = 53  # those of a float, which rounds to whole numbers alone
NARROW = tuple(sorted(set(BITS.values())))


def significant(number: float, bits: int) -> float:
    """The number that is nearest with so many significant binary digits, of two the even one."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)


def is_rounding(time: float, number: float, tolerance: float, bits: int | None = None) -> bool:
    """Whether a number is what rounding has made of a time.

    Args:
        time: t.
        number: What it is said to be.
        tolerance: By how much both may differ besides.
        bits: Significant digits of the number, where its dtype tells; by default as many as any dtype has.
    """
    if not math.isfinite(number):
        return False
    wholes = {time, float(math.floor(time)), float(math.ceil(time))}
    widths = NARROW if bits is None else (bits,)
    rounded = {significant(one, width) for one in wholes for width in widths}
    cut = {float(way(one)) for one in rounded for way in (math.floor, math.ceil)} if bits is None else set()
    return any(abs(one - number) <= tolerance for one in wholes | rounded | cut)
