"""What a comparison is asked for with, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from diffusers_deis_sn.collect.arguments import MOST, check_count
from diffusers_deis_sn.comparison.advice import judged_at
from diffusers_deis_sn.errors import ComparisonError

MOST_CALLS = 1000


def compared(steps: int | Sequence[int], judged: int | None) -> tuple[tuple[int, ...], int]:
    """The numbers of calls, rising, and the one that is judged.

    Args:
        steps: Numbers of network calls.
        judged: The one that the recommendation is for; the middle one if None.

    Raises:
        ComparisonError: Something else than whole numbers from 1 to `MOST_CALLS`, or `judged` is none of them.
    """
    steps = [steps] if isinstance(steps, int) else list(steps)
    sound = [one for one in steps if isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= MOST_CALLS]
    if not sound or len(sound) < len(steps):
        raise ComparisonError(
            f"`steps` must be whole numbers from 1 to {MOST_CALLS}, such as 6, 8, 10, got {list(steps)!r}."
        )
    numbers = tuple(sorted(set(sound)))
    if judged is not None and judged not in numbers:
        raise ComparisonError(f"`judged` must be one of `steps`, {list(numbers)}, got {judged!r}.")
    return numbers, judged_at(numbers) if judged is None else judged


def check_numbers(num_prompts: int | None, batch_size: int) -> None:
    """Raise ComparisonError for a number of prompts, or of pictures at once, that cannot be."""
    if num_prompts is not None:
        check_count("num_prompts", num_prompts, 1, MOST, ComparisonError)
    check_count("batch_size", batch_size, 1, MOST, ComparisonError)
