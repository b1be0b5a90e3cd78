"""DEIS-SN for ComfyUI: sigmas learned from a model's scores, and the solver that walks them."""

from __future__ import annotations

from .nodes import DeisSnSampler, DeisSnScheduler

NODE_CLASS_MAPPINGS = {"DeisSnScheduler": DeisSnScheduler, "DeisSnSampler": DeisSnSampler}
NODE_DISPLAY_NAME_MAPPINGS = {"DeisSnScheduler": "DEIS-SN scheduler", "DeisSnSampler": "DEIS-SN sampler"}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
