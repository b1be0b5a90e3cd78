"""The guidance that a pipeline runs with. No scheduler is told, and much depends on it.

A scheduler is called by its pipeline, so it is enough to look at who calls `set_timesteps`: once a run, by the frames
of the interpreter, as `logging` and `warnings` do. Where there is no pipeline, nobody says it, and None is the answer.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any
from weakref import ReferenceType, ref

NONE = 1.0  # the conditional output alone
FRAMES = 8  # from `set_timesteps` to a pipeline's `__call__` there are two or three
HOLDERS = ("self", "pipe", "pipeline", "components")  # how those who hold a scheduler call themselves


class PipelineGuidance:
    """Reads the guidance of a pipeline that may go away.

    Args:
        pipe: A pipeline of Diffusers, or anything with an attribute `guidance_scale`.
        fixed: What is known of the present call already, where the pipeline's attributes do not say it.
    """

    def __init__(self, pipe: Any, fixed: float | None = None) -> None:
        self._pipe: ReferenceType[Any] = ref(pipe)
        self._fixed = fixed

    @property
    def holder(self) -> Any:
        """The pipeline, None where it is gone."""
        return self._pipe()

    @classmethod
    def of_caller(cls, scheduler: Any) -> PipelineGuidance | None:
        """That of the pipeline whose call this is, one which holds the scheduler; None where there is none."""
        frame: FrameType | None = sys._getframe(1)
        for _ in range(FRAMES):
            if frame is None:
                return None
            names = frame.f_code.co_varnames
            for name in HOLDERS:
                holder = frame.f_locals.get(name) if name in names else None
                if holder is None or holder is scheduler or _attribute(holder, "scheduler") is not scheduler:
                    continue
                try:
                    return cls(holder, _of_call(frame))
                except TypeError:  # it cannot be referred to weakly
                    return None
            frame = frame.f_back
        return None

    def read(self) -> float | None:
        """The factor between a guided and an unguided output in the present call; None where nobody says.

        One where guidance is off, and for distilled networks (`guidance_embeds`), which are told the scale as an input
        and called once: it multiplies nothing. Of a scale for each frame the largest.
        """
        pipe = self._pipe()
        if pipe is None:
            return None
        if self._fixed is not None:
            return self._fixed
        if is_distilled(pipe) or _attribute(pipe, "do_classifier_free_guidance") is False:
            return NONE
        scale = _attribute(pipe, "guidance_scale")
        if scale is None:
            scale = _attribute(_attribute(pipe, "guider"), "guidance_scale")  # of modular pipelines
        if hasattr(scale, "max") and hasattr(scale, "numel"):
            scale = float(scale.max()) if scale.device.type == "cpu" else None
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            return None
        return max(float(scale), NONE)  # below one a network's own output weighs less, and nothing is multiplied


def _of_call(frame: FrameType) -> float | None:
    """What the call has in variables alone: true guidance of networks that are told another scale, or a loop's own."""
    names, known = frame.f_code.co_varnames, frame.f_locals
    if "true_cfg_scale" in names:
        scale = known.get("true_cfg_scale") if known.get("do_true_cfg", True) else NONE
    elif "guidance_scale" in names and not hasattr(type(known.get("self")), "guidance_scale"):
        scale = known.get("guidance_scale")
    else:
        return None
    return max(float(scale), NONE) if isinstance(scale, int | float) and not isinstance(scale, bool) else None


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
