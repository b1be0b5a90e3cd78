"""How many network calls a rival needs to come as near: runs at further numbers of calls, as few as will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor

from diffusers_deis_sn.comparison.rows import guess

MOST = 6  # times as many calls as ours at most


def first_as_near(
    error_at: Callable[[int], float], known: Mapping[int, float], target: float, start: int, most: int
) -> int | None:
    """The least number of calls above `start` in which an error is no more than `target`; None up to `most`.

    The error is taken to fall with the number of calls, so that a number is the least if one fewer is not enough.

    Args:
        error_at: Runs a rival in so many calls.
        known: What is known of it, by calls.
        target: Ours.
        start: Calls in which it is not enough.
        most: Calls that are not exceeded.
    """
    low, high = start, None  # not enough, enough
    found = dict(known)
    for calls in sorted(found):
        if calls >= start and found[calls] > target:
            low = max(low, calls)
    for calls in sorted(found, reverse=True):
        if calls > low and found[calls] <= target:
            high = calls
    while high is None or high - low > 1:
        if high is None and low >= most:
            return None
        calls = _next(found, target, low, most if high is None else high - 1)
        found[calls] = error_at(calls)
        if found[calls] <= target:
            high = calls
        else:
            low = calls
    return high


def _next(found: Mapping[int, float], target: float, low: int, limit: int) -> int:
    """A number of calls above `low` and no more than `limit` where the answer may be."""
    below = sorted((calls, error) for calls, error in found.items() if calls <= low)
    if len(below) < 2:
        return min(max(low + 1, ceil(1.5 * low)), limit)
    wanted = guess(below, target)
    # One below where the guess says it is enough, and then one above, are two runs that settle it.
    near = floor(wanted) if floor(wanted) > low else low + 1
    return min(max(near, low + 1), limit)
