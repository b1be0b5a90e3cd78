"""What annotations say is what values are held against."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.grids import Grid, Power
from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import are_numbers, checked, is_list, kind_of, shown
from diffusers_deis_sn.errors import ConfigurationError, PublishError, StepError
from oddities import ODD, ODDITIES, is_typed
from refusals import refused

TAKEN: dict[Any, list[str]] = {
    bool: ["true", "false", "numpy bool"],
    int: ["zero", "one", "minus", "large", "too large for a float", "numpy int"],
    float: [
        *("zero", "one", "minus", "large", "half", "whole float", "infinity", "minus infinity", "numpy int"),
        "numpy float",
    ],
    str: ["empty text", "text", "number as text", "surrogate", "zero byte", "unknown home", "long text"],
    bytes: ["bytes"],
    type(None): ["none"],
    Path: ["path"],
    PathLike[str]: ["path"],
    float | None: ["none", "half"],
    torch.Tensor: ["tensor", "int tensor", "empty tensor"],
    Callable[[int], int]: ["class", "function"],
    Sequence[str]: ["list of texts", "empty list"],
    tuple[int, ...]: ["list", "tuple", "empty list"],
    tuple[int, int]: ["tuple"],
    Mapping[str, int]: ["dict", "filled dict"],
    ArrayLike: ["half", "list", "tuple", "array", "empty array", "tensor", "int tensor", "nan"],
    ArrayLike | None: ["none", "array"],
    Any: list(ODD),
}
REFUSED: dict[Any, list[str]] = {
    bool: ["none", "zero", "text"],
    int: ["true", "whole float", "nan", "number as text", "array", "tensor"],
    float: ["true", "nan", "numpy nan", "too large for a float", "complex", "number as text", "array", "tensor"],
    str: ["none", "bytes", "path"],
    Path: ["text", "class"],
    float | None: ["nan", "text"],
    torch.Tensor: ["array", "half"],
    Callable[[int], int]: ["none", "object"],
    Sequence[str]: ["text", "bytes", "list", "dict", "tensor", "generator", "object"],
    tuple[int, int]: ["list", "half"],
    Mapping[str, int]: ["list", "none"],
    ArrayLike: ["none", "true", "text", "complex", "ragged", "list of texts", "dict", "set", "object"],
}


@pytest.mark.parametrize(
    ("hint", "names", "holds"),
    [*((h, n, True) for h, n in TAKEN.items()), *((h, n, False) for h, n in REFUSED.items())],
)
def test_values_of_annotations(hint, names, holds):
    odd = {**ODD, "generator": (i for i in "ab")}
    assert {name: kind_of(hint).holds(odd[name]) for name in names} == dict.fromkeys(names, holds)


def test_a_protocol_is_kept_by_values_and_not_by_their_class():
    assert kind_of(Grid).holds(Power()) and not kind_of(Grid).holds(Power) and not kind_of(Grid).holds(1)


ONE = np.ones(1)


@checked(ConfigurationError, steps=StepError)
def asked(steps: int, cost: str | None = None, levels: Array = ONE, *, token: str = "", **rest: Any) -> Any:
    """It gives back what it was given."""
    return steps, cost, levels, token, rest


def test_a_function_is_called_with_what_it_asks_for():
    assert asked(3, "a", token="b", other=object)[:2] == (3, "a")
    levels = asked(3, levels=[1, 2])[2]
    assert isinstance(levels, np.ndarray) and levels.dtype == np.float64
    given_ = np.ones(3)
    assert asked(3, None, given_)[2] is given_
    assert list(inspect.signature(asked).parameters) == ["steps", "cost", "levels", "token", "rest"]
    with pytest.raises(TypeError, match="missing"):  # as of any function
        asked()


def test_other_values_are_refused_by_name_with_the_remedy():
    refused(StepError, ["`steps` must be a whole number, got 2.0. Give one."], asked, 2.0)
    refused(ConfigurationError, ["`cost` must be a text or None, got 1. Give one, or leave it out."], asked, 2, 1)
    refused(ConfigurationError, ["`levels` must be an array of numbers"], asked, 2, None, ["a"])
    refused(ConfigurationError, ["`token`", "a value of type bytes"], asked, 2, token=b"secret")
    with pytest.raises(ConfigurationError) as error:
        asked(2, token=b"secret")
    assert "secret" not in str(error.value)


@checked(PublishError)
@dataclass(frozen=True)
class Value:
    """A value of two parts."""

    name: str
    sizes: tuple[int, ...] = field(default_factory=tuple)

    @checked(PublishError)
    def twice(self, times: int) -> int:
        """As often."""
        return times * 2

    @classmethod
    @checked(PublishError)
    def of(cls, name: str) -> Value:
        """One."""
        return cls(name)


def test_dataclasses_and_methods():
    assert Value("a", (1,)).twice(2) == 4 and Value.of("a") == Value("a") == pickle.loads(pickle.dumps(Value("a")))
    for name, action in {"name": Value, "times": Value("a").twice}.items():
        refused(PublishError, [f"`{name}` must be"], action, None)
    refused(PublishError, ["`name`"], Value.of, 1)
    refused(PublishError, ["`sizes` must be a list, each a whole number"], Value, "a", (1, 2.5))


@given(ODDITIES)
def test_whatever_is_given_is_taken_or_refused(value):
    for name in ("steps", "cost", "levels", "token"):
        try:
            asked(**{"steps": 3, name: value})
        except (ConfigurationError, StepError) as error:
            assert is_typed(error) and f"`{name}`" in str(error)
    assert not is_list(value) or len(value) >= 0
    assert not are_numbers(value) or np.asarray(value, dtype=np.float64) is not None


class Silent:
    """Says nothing of itself."""

    def __repr__(self) -> str:
        raise RuntimeError


def test_values_that_cannot_be_shown_are_named_by_their_type():
    assert shown(Silent()) == "a value of type Silent" and shown(10**5000) == "a value of type int"
    assert shown(np.zeros((2, 3))) == "ndarray of shape (2, 3) and float64" and "\n" not in shown("a\nb")
