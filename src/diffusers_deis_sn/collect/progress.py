"""What a person sees while samples are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[float, int], None]
"""Called after each step with the samples drawn so far, a fraction within a batch, and how many there will be."""

_BAR = "{l_bar}{bar}| {n:.1f}/{total} samples [{elapsed}<{remaining}]"


@contextmanager
def meter(progress: bool | Progress, total: int, title: str = "Calibrating") -> Iterator[Callable[[float], None]]:
    """A function to be told how many samples are drawn, which may be a fraction.

    Args:
        progress: True for a bar with the time that remains, False for nothing, or the caller's own function.
        total: How many there will be.
        title: What stands beside the bar.
    """
    if callable(progress):
        yield lambda done: progress(min(done, total), total)
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, bar_format=_BAR, disable=not progress) as bar:

        def report(done: float) -> None:
            bar.update(min(done, total) - bar.n)

        yield report


@contextmanager
def silenced(pipe: Any) -> Iterator[None]:
    """The pipeline's own progress bar off within, and as it was afterwards."""
    if not hasattr(pipe, "set_progress_bar_config"):
        yield
        return
    # There is no public reader, and the attribute is absent until the bar is first configured or shown.
    absent, before = not hasattr(pipe, "_progress_bar_config"), dict(getattr(pipe, "_progress_bar_config", {}))
    pipe.set_progress_bar_config(**{**before, "disable": True})
    try:
        yield
    finally:
        pipe.set_progress_bar_config(**before)
        if absent and "_progress_bar_config" in vars(pipe):
            del pipe._progress_bar_config
