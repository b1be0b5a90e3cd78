"""What a person sees while samples are drawn, and what a program reads."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers_deis_sn.errors import CalibrationError

Progress = Callable[[float, int], None]
"""Called after each step with the samples drawn so far, a fraction within a batch, and how many there will be."""

JSON = "json"
_BAR = "{l_bar}{bar}| {n:.1f}/{total} samples [{elapsed}<{remaining}{postfix}]"


def check_progress(progress: bool | str | Progress) -> None:
    """Raise CalibrationError for what is no kind of progress."""
    if not isinstance(progress, bool) and progress != JSON and not callable(progress):
        raise CalibrationError(f"`progress` must be True, False, {JSON!r} or a function, got {progress!r}.")


class Meter:
    """Called with the samples drawn so far, which may be a fraction. This one shows nothing."""

    def __call__(self, done: float) -> None:
        """Take in how many samples are drawn."""

    def batch(self, done: int, error: float) -> None:
        """Take in that a batch is through.

        Args:
            done: Samples drawn.
            error: Relative standard error of r so far; infinite where it is unknown.
        """
        self(done)


class _Bar(Meter):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __call__(self, done: float) -> None:
        self._bar.update(min(done, self._bar.total) - self._bar.n)

    def batch(self, done: int, error: float) -> None:
        if math.isfinite(error):
            self._bar.set_postfix_str(f"r ±{error:.1%}", refresh=False)
        self(done)
        self._bar.refresh()


class _Function(Meter):
    def __init__(self, function: Progress, total: int) -> None:
        self._function, self._total = function, total

    def __call__(self, done: float) -> None:
        self._function(min(done, self._total), self._total)


class _Lines(Meter):
    def __init__(self, total: int, done: int) -> None:
        self._total, self._first, self._started = total, done, time.monotonic()

    def batch(self, done: int, error: float) -> None:
        spent = time.monotonic() - self._started
        remaining = spent * (self._total - done) / max(done - self._first, 1)
        tell("batch", samples=done, num_samples=self._total, relative_error=error, remaining_s=round(remaining, 3))


@contextmanager
def meter(progress: bool | str | Progress, total: int, title: str = "Calibrating", done: int = 0) -> Iterator[Meter]:
    """What is to be told how many samples are drawn.

    Args:
        progress: True for a bar with the time that remains and the error of r, False for nothing, "json" for a line a
            batch, or the caller's own function.
        total: How many there will be.
        title: What stands beside the bar.
        done: How many there are already, which took no time now.
    """
    if callable(progress):
        yield _Function(progress, total)
    elif progress == JSON:
        yield _Lines(total, done)
    else:
        from tqdm.auto import tqdm

        with tqdm(total=total, initial=done, desc=title, bar_format=_BAR, disable=not progress) as bar:
            yield _Bar(bar) if progress else Meter()


# ------------------------------------------------------------------------------------------------------ for programs


def tell(event: str, **facts: Any) -> None:
    """One JSON object as a line of ASCII on stdout; numbers that are not finite are null."""
    known = {name: _finite(value) for name, value in facts.items()}
    sys.stdout.write(json.dumps({"event": event, **known}) + "\n")
    sys.stdout.flush()


@contextmanager
def telling(progress: bool | str | Progress) -> Iterator[Callable[..., None]]:
    """`tell` where a program reads, with our warnings as events meanwhile; a function that does nothing otherwise."""
    if progress != JSON:
        yield lambda event, **facts: None
        return
    logger, handler = logging.getLogger("diffusers_deis_sn"), _Warnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield tell
    finally:
        logger.removeHandler(handler)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell("warning", message=record.getMessage())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
