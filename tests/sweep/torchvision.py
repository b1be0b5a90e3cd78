"""The few functions of torchvision that Diffusers' networks and pipelines call, for environments without it.

Torchvision is built for one build of PyTorch, and the package index has none for the CPU build that these tests
install: it lacks operators and does not import. Without it Diffusers leaves names of modules undefined; the table below
gives these names a value while a pipeline is built and run.
"""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch


def nearest(pictures: torch.Tensor, size: list[int], interpolation: str) -> torch.Tensor:
    """Pictures (..., channels, height, width) of another size, each point that of the nearest."""
    return torch.nn.functional.interpolate(pictures, size=size, mode=interpolation)


def to_tensor(picture: Any) -> torch.Tensor:
    """A PIL picture as (channels, height, width), from 0 to 1."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255.0


def composed(steps: list[Any]) -> Any:
    """All steps, one after the other."""

    def run(value: Any) -> Any:
        for step in steps:
            value = step(value)
        return value

    return run


def normalised(mean: list[float], std: list[float], inplace: bool = False) -> Any:
    """Each channel less its mean, by its deviation."""
    return lambda picture: (picture - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


TRANSFORMS = SimpleNamespace(
    functional=SimpleNamespace(resize=nearest, to_tensor=to_tensor),
    InterpolationMode=SimpleNamespace(NEAREST="nearest"),
    Compose=composed,
    Lambda=lambda function: function,
    ToTensor=lambda: to_tensor,
    Normalize=normalised,
)


def omnigen_processor(*arguments: Any, **options: Any) -> Any:
    """OmniGen's processor, which its pipeline's module imports with torchvision alone."""
    from diffusers.pipelines.omnigen.processor_omnigen import OmniGenMultiModalProcessor

    return OmniGenMultiModalProcessor(*arguments, **options)


PLACES: dict[str, dict[str, Any]] = {
    "cosmos": {"diffusers.models.transformers.transformer_cosmos.transforms": TRANSFORMS},
    "cosmos 2.5 predict": {
        "diffusers.pipelines.cosmos.pipeline_cosmos2_5_predict.torchvision": SimpleNamespace(transforms=TRANSFORMS)
    },
    "cosmos 2.5 transfer": {"diffusers.models.controlnets.controlnet_cosmos.transforms": TRANSFORMS},
    "omnigen": {
        "diffusers.pipelines.omnigen.processor_omnigen.transforms": TRANSFORMS,
        "diffusers.pipelines.omnigen.pipeline_omnigen.OmniGenMultiModalProcessor": omnigen_processor,
    },
}


def names_of(*families: str) -> dict[str, Any]:
    """Names of modules that are undefined without torchvision, with their paths; none where it is installed."""
    there = importlib.util.find_spec("torchvision") is not None
    return {} if there else {path: value for family in families for path, value in PLACES[family].items()}
