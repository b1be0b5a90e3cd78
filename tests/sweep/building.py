"""Builds a pipeline from the annotations of its constructor, and its call from the names of the call's parameters."""

from __future__ import annotations

import contextlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from tiny_pipelines.families import FAMILIES
from tiny_pipelines.flow import flow_vae
from tiny_pipelines.registry import BUILDERS, PIXELS

from .classes import annotated, call, constructor, method, pipeline_classes
from .cookbook import recipe_of
from .parts import PARTS
from .pictures import mask, picture
from .recipes import LEFT_OUT

MADE = {family.pipeline: family.builder for family in FAMILIES} | {"CogVideoXPipeline": "cogvideox"}
"""Classes that the tests of the catalogue have a builder for."""


class NotBuiltError(Exception):
    """Nothing here makes a component that the class needs."""


ARGUMENTS: dict[str, Any] = {
    "prompt": "a red fox in the snow",
    "negative_prompt": "",
    "height": PIXELS,
    "width": PIXELS,
    "num_frames": 9,
    "max_sequence_length": 24,
    "image": picture,
    "mask_image": mask,
    "control_image": picture,
    "strength": 0.6,
    "video": lambda: [picture()] * 9,
    "use_resolution_binning": False,
    "clean_caption": False,
    "complex_human_instruction": None,
    "class_labels": [1],
}
"""What a call is given for parameters of these names. A function is called for its value."""


def components(name: str) -> dict[str, Any]:
    """Tiny components of a class by name."""
    recipe, made = recipe_of(name), {}
    parameters = constructor(pipeline_classes()[name])
    flow = any("FlowMatch" in one for part in parameters if "scheduler" in part for one in annotated(parameters[part]))
    for part, parameter in parameters.items():
        if part in recipe.parts:
            value = recipe.parts[part]
            made[part] = value() if callable(value) and not isinstance(value, torch.nn.Module) else value
        elif part in ("safety_checker", "watermarker", "requires_safety_checker", "add_watermarker"):
            made[part] = None if part in ("safety_checker", "watermarker") else False
        elif parameter.default is not inspect.Parameter.empty and part != "transformer":
            continue
        elif flow and "AutoencoderKL" in annotated(parameter):
            made[part] = flow_vae(4)
        else:
            known = [one for one in annotated(parameter) if one in PARTS]
            if not known:
                raise NotBuiltError(f"{part}: {'|'.join(annotated(parameter))}")
            made[part] = PARTS[known[0]]()
    return made


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """A tiny pipeline of a class, from a fixed seed, and the arguments to call it with."""
    cls = pipeline_classes()[name]
    if name in MADE:
        return BUILDERS[MADE[name]]()
    with torch.random.fork_rng(devices=[]), patched(cls):
        torch.manual_seed(0)
        pipe = cls(**components(name))
    for attribute, value in recipe_of(name).attributes.items():
        setattr(pipe, attribute, value)
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe, arguments(name)


def arguments(name: str) -> dict[str, Any]:
    """What it is called with: what `ARGUMENTS` and its recipe have for parameters of these names."""
    cls = pipeline_classes()[name]
    taken, recipe = call(cls), recipe_of(name)
    chosen = {key: value for key, value in {**ARGUMENTS, **recipe.call}.items() if key in taken}
    if "output_type" in taken and "output_type" not in chosen:
        chosen["output_type"] = "latent" if '"latent"' in inspect.getsource(method(cls)) else "np"
    return {
        key: value() if callable(value) and not isinstance(value, torch.Tensor) else value
        for key, value in chosen.items()
        if value is not LEFT_OUT
    }


@contextlib.contextmanager
def patched(cls: type) -> Iterator[None]:
    """While names of modules are those of the recipe of a pipeline: of its own module, or with the path of another."""
    with contextlib.ExitStack() as stack:
        for path, value in recipe_of(cls.__name__).patches.items():
            place, _, attribute = path.rpartition(".")
            place = pkgutil.resolve_name(place) if place else inspect.getmodule(cls)
            stack.enter_context(mock.patch.object(place, attribute, value, create=True))
        yield
