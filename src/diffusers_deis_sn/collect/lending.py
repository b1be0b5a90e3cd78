"""A pipeline is its owner's: whoever runs it with other schedulers gives it back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def lent(pipe: Any) -> Iterator[None]:
    """The pipeline has its own scheduler again in the end, wherever what is within stopped."""
    scheduler = pipe.scheduler
    try:
        yield
    finally:
        pipe.scheduler = scheduler


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
