"""The registry of tiny pipelines: how they are built, what they share, how they are run and reloaded."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

Pipeline = tuple[Any, dict[str, Any]]

BUILDERS: dict[str, Callable[[], Pipeline]] = {}
"""Name -> function that returns (pipeline, keyword arguments for calling it)."""

PIXELS = 32  # height and width of the inputs and of most outputs
SIZE = {"height": PIXELS, "width": PIXELS}
PROMPT = {"prompt": "a red fox in the snow", "output_type": "np"}


def builder(function: Callable[[], Pipeline]) -> Callable[[], Pipeline]:
    """Registers a function in BUILDERS; runs it with a fixed seed, leaving the global generator as it was."""

    @functools.wraps(function)
    def build() -> Pipeline:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipe, call_kwargs = function()
        for component in pipe.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval().requires_grad_(False)
        pipe.set_progress_bar_config(disable=True)
        return pipe, call_kwargs

    BUILDERS[function.__name__] = build
    return build


def image(channels: int = 3) -> torch.Tensor:
    """A fixed random picture with values in [0, 1]."""
    return torch.rand(1, channels, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))


def masked_image() -> dict[str, Any]:
    """Arguments of inpainting: a picture whose middle is to be filled."""
    mask = torch.zeros(1, 1, PIXELS, PIXELS)
    mask[..., 8:24, 8:24] = 1.0
    return {"image": image(), "mask_image": mask, **SIZE}


def network_of(pipe: Any) -> torch.nn.Module:
    """The network that a step calls."""
    return next(
        part for name in ("unet", "transformer", "prior", "decoder") if (part := getattr(pipe, name, None)) is not None
    )


def run_pipeline(
    pipe: Any, call_kwargs: dict[str, Any], num_inference_steps: int = 3, seed: int = 0, **options: Any
) -> torch.Tensor:
    """Calls the pipeline with a fresh generator and returns its images, frames, sounds or depths."""
    generator = torch.Generator().manual_seed(seed)
    arguments = call_kwargs | {"num_inference_steps": num_inference_steps, "generator": generator} | options
    return torch.as_tensor(np.asarray(pipe(**arguments)[0]))


def reload_pipeline(pipe: Any) -> Any:
    """Saves the pipeline to a temporary folder and loads it from there."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_pretrained(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Chroma uses a name that Diffusers has deprecated
            absent = {name: None for name, component in pipe.components.items() if component is None}
            loaded = DiffusionPipeline.from_pretrained(folder, **absent)
    loaded.set_progress_bar_config(disable=True)
    return loaded
