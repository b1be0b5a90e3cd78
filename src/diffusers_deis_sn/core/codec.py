"""Grids and solvers as JSON, by registered names, so that they survive a config's way through files and other classes.

    @register("cosine")
    @dataclass(frozen=True)
    class Cosine:
        power: float = 1.0

        def levels(self, process, steps, ends): ...

Nothing is imported by path: a name that no program has registered is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from diffusers_deis_sn.core import grids, solvers
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ConfigurationError

PRIVATE = "_deis_sn"  # the one key of a config under which everything of ours lies
KIND = "kind"
T = TypeVar("T")

_CLASSES: dict[str, type] = {}


@checked(ConfigurationError)
def register(name: str) -> Callable[[type[T]], type[T]]:
    """Make a frozen dataclass known under a name, so that a saved config can hold it; a class decorator.

    Args:
        name: What configs call the class; the same in every program that loads them.

    Returns:
        The decorator, which gives the class back unchanged.

    Raises:
        ConfigurationError: No frozen dataclass, or a name that another class has.
    """

    def enter(cls: type[T]) -> type[T]:
        parameters = vars(cls).get("__dataclass_params__")
        if parameters is None or not parameters.frozen or KIND in cls.__annotations__:
            raise ConfigurationError(
                f"A frozen dataclass without a field {KIND!r} can be registered, got {cls.__name__}. Write "
                "@dataclass(frozen=True) between @register and the class."
            )
        known = _CLASSES.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigurationError(f"{name!r} is the name of {known.__qualname__} already. Choose another.")
        _CLASSES[name] = cls
        return cls

    return enter


for _name, _cls in {
    "trailing": grids.Trailing,
    "linspace": grids.Linspace,
    "leading": grids.Leading,
    "power": grids.Power,
    "beta": grids.Beta,
    "shifted": grids.Shifted,
    "whole": grids.Whole,
    "multistep": solvers.Multistep,
    "corrector": solvers.Corrector,
    "runge_kutta": solvers.RungeKutta,
}.items():
    register(_name)(_cls)


def encode(value: Any) -> Any:
    """The value for JSON: its name and the fields that are not at their defaults; what is no dataclass as it is.

    Raises:
        ConfigurationError: A class that is not registered.
    """
    if isinstance(value, np.generic):
        return value.item()
    factor = is_dataclass(value) or hasattr(value, "levels") or hasattr(value, "table")
    if not factor or isinstance(value, type):
        return value
    name = _name_of(type(value))
    if name is None:
        raise ConfigurationError(
            f"{type(value).__name__} has no name that a config could hold. Decorate the class with "
            '@register("a-name") from diffusers_deis_sn.core.codec. Levels of your own are `sigmas=` of the pipeline, '
            "and learned grids come with `stats=`."
        )
    said = {
        one.name: encode(getattr(value, one.name))
        for one in fields(value)
        if one.init and not _is_default(getattr(value, one.name), one.default)
    }
    return {KIND: name, **said}


def decode(data: Any) -> Any:
    """The value again; what is no object with a kind as it is. Lists, as JSON has them, are tuples in its fields.

    Raises:
        ConfigurationError: A name that nobody registered, or a field that the class does not have.
    """
    if not isinstance(data, Mapping) or KIND not in data:
        return data
    said = {key: _frozen(decode(one)) for key, one in data.items() if key != KIND}
    cls = _CLASSES.get(str(data[KIND]))
    if cls is None:
        raise ConfigurationError(
            f"This config has a grid or solver {data[KIND]!r}, which no program here has registered. Import the "
            "module that registers it, or choose another: grid=None, solver='multistep'. Known are "
            f"{', '.join(sorted(_CLASSES))}."
        )
    unknown = sorted(said.keys() - {one.name for one in fields(cls)})
    if unknown:
        raise ConfigurationError(f"{data[KIND]!r} has no {', '.join(unknown)}. It was saved by another version of it.")
    try:
        return cls(**said)
    except TypeError as error:
        raise ConfigurationError(f"{data[KIND]!r} cannot be made from a config: {error}. Give it anew.") from error


def _frozen(value: Any) -> Any:
    """Lists as tuples, all the way down: a frozen value is to be hashable, and equal to what was saved."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


def _name_of(cls: type) -> str | None:
    """The name of a class: its own, or the newest of one written in the same place; None if it has none.

    A cell of a notebook that is run again makes its class anew, and values of the one before may still be about.
    """
    home = (cls.__module__, cls.__qualname__)
    same = [name for name, other in _CLASSES.items() if (other.__module__, other.__qualname__) == home]
    return next((name for name, other in _CLASSES.items() if other is cls), same[-1] if same else None)


def _is_default(value: Any, default: Any) -> bool:
    """Whether a field says nothing. Raises ConfigurationError for arrays, which JSON does not have."""
    if isinstance(value, np.ndarray):
        raise ConfigurationError(
            f"A config cannot hold an array, got one of shape {value.shape} in a field. Use a tuple of numbers."
        )
    return default is not MISSING and bool(value == default)
