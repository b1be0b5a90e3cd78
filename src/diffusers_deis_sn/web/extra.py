"""Whether Gradio is there, which the extra `web` brings."""

from __future__ import annotations

from typing import Any

from diffusers_deis_sn.errors import MissingExtraError

OLDEST = 6


def needed() -> Any:
    """Gradio. Raises MissingExtraError where it is not installed, or older than `OLDEST`."""
    try:
        import gradio
    except ImportError as error:
        raise MissingExtraError("The page needs Gradio", "web") from error
    if int(gradio.__version__.partition(".")[0]) < OLDEST:
        raise MissingExtraError(f"The page needs Gradio {OLDEST} or newer, got {gradio.__version__}", "web")
    return gradio
