"""Silence for what other libraries say of themselves while we call them; errors are let through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hushed(bars: bool = True, logs: bool = True) -> Iterator[None]:
    """Diffusers and Transformers show no bars and log errors alone within, and are as they were afterwards.

    Args:
        bars: Whether progress bars are off. Those of downloads go with them.
        logs: Whether errors are all that is logged.
    """
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    libraries = (of_diffusers, of_transformers)
    before = [(one, one.get_verbosity(), one.is_progress_bar_enabled()) for one in libraries]
    try:
        for one in libraries:
            if logs:
                one.set_verbosity_error()
            if bars:
                one.disable_progress_bar()
        yield
    finally:
        for one, verbosity, enabled in before:
            one.set_verbosity(verbosity)
            if bars and enabled:
                one.enable_progress_bar()
