"""The guidance that a pipeline runs with, read from the pipeline itself: no scheduler is told."""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType, ref

NONE = 1.0  # the conditional output alone


class PipelineGuidance:
    """Reads the guidance of a pipeline that may go away.

    Args:
        pipe: A pipeline of Diffusers, or anything with an attribute `guidance_scale`.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe: ReferenceType[Any] = ref(pipe)

    def read(self) -> float | None:
        """The factor between a guided and an unguided output in the present call; None where nobody says.

        One where guidance is off, and for distilled networks (`guidance_embeds`), which are told the scale as an input
        and called once: it multiplies nothing. Of a scale for each frame the largest.
        """
        pipe = self._pipe()
        if pipe is None:
            return None
        if is_distilled(pipe) or _attribute(pipe, "do_classifier_free_guidance") is False:
            return NONE
        scale = _attribute(pipe, "guidance_scale")
        if hasattr(scale, "max") and hasattr(scale, "numel"):
            scale = float(scale.max()) if scale.device.type == "cpu" else None
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            return None
        return max(float(scale), NONE)  # below one a network's own output weighs less, and nothing is multiplied


def is_distilled(pipe: Any) -> bool:
    """Whether the network takes the scale of guidance as an input."""
    for name in ("transformer", "unet"):
        config = getattr(getattr(pipe, name, None), "config", None)
        if config is not None and (
            getattr(config, "guidance_embeds", False) or getattr(config, "time_cond_proj_dim", None) is not None
        ):
            return True
    return False


def _attribute(pipe: Any, name: str) -> Any:
    """An attribute of a pipeline; None before its first call, where its properties raise."""
    try:
        return getattr(pipe, name, None)
    except Exception:  # whatever a property of somebody's pipeline raises
        return None
