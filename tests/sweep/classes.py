"""Which classes there are: the pipelines of the installed Diffusers whose constructor takes a scheduler."""

from __future__ import annotations

import inspect
import re
import typing
import warnings
from functools import cache
from types import UnionType
from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from diffusers.utils import DummyObject


@cache
def pipeline_classes() -> dict[str, type]:
    """Name -> class, in the order of the alphabet; those that Diffusers hides for want of a library are in `hidden`."""
    found = {name: _class_of(name) for name in sorted(dir(diffusers)) if "Pipeline" in name}
    return {
        name: cls
        for name, cls in found.items()
        if inspect.isclass(cls)
        and not isinstance(cls, DummyObject)
        and issubclass(cls, DiffusionPipeline)
        and any("scheduler" in parameter for parameter in constructor(cls))
    }


@cache
def hidden_classes() -> tuple[str, ...]:
    """Pipelines in whose place Diffusers puts a dummy, for a library that they need is not installed."""
    found = {name: _class_of(name) for name in sorted(dir(diffusers)) if "Pipeline" in name}
    return tuple(name for name, cls in found.items() if isinstance(cls, DummyObject))


def _class_of(name: str) -> Any:
    """The class; None where Transformers is too old for it, which Diffusers says by a RuntimeError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return getattr(diffusers, name, None)
        except RuntimeError:
            return None


def constructor(cls: type) -> dict[str, inspect.Parameter]:
    """Parameters of a class's constructor but self."""
    return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])


METHODS = {"VersatileDiffusionPipeline": "text_to_image"}
"""Methods to call in place of pipelines that cannot be called."""


def method(cls: Any) -> Any:
    """What runs a pipeline of a class: its call, or the method in place of one."""
    return getattr(cls, METHODS.get(cls.__name__, "__call__"))


def call(cls: Any) -> dict[str, inspect.Parameter]:
    """Parameters of a call but self."""
    return dict(list(inspect.signature(method(cls)).parameters.items())[1:])


def annotated(parameter: inspect.Parameter) -> tuple[str, ...]:
    """Names of the classes that an annotation allows."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        return tuple(re.findall(r"\w+", annotation))
    if typing.get_origin(annotation) in (typing.Union, UnionType, list, tuple):
        return tuple(getattr(one, "__name__", str(one)) for one in typing.get_args(annotation) if one is not type(None))
    return (getattr(annotation, "__name__", str(annotation)),)
