"""Which type of value each argument takes: read off its annotation, and looked at before anything is computed from it.

    @checked(ConfigurationError, steps=TimestepsError)
    def learned_sigmas(stats: ScoreStatistics | str, steps: int, cost: str | None = None) -> Array: ...

Numbers of NumPy are numbers here and its bools bools, a bool is no number, and NaN is none either. `ArrayLike` and
`NDArray` are real numbers in lists, arrays or tensors, and a function that asks for the latter is given an array, as
one that asks for a number is given Python's own. Which values of its type are right is each function's affair.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache, wraps
from typing import Any, NamedTuple, TypeGuard, TypeVar, Union, cast, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.errors import DeisSnError
from diffusers_deis_sn.escaping import plain

LARGEST_FLOAT = int(np.finfo(np.float64).max)
SECRET = "token"  # an argument that no message shows
F = TypeVar("F", bound=Callable[..., Any])


class Kind(NamedTuple):
    """What a value may be.

    Attributes:
        told: In a message, after "must be".
        holds: Whether a value is of it.
        made: What a function is given of it.
        exact: Types whose values are all of it, and stay as they are: most arguments need no more than this look.
    """

    told: str
    holds: Callable[[Any], bool]
    made: Callable[[Any], Any] = lambda value: value
    exact: frozenset[type] = frozenset()


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number that a float can have, which a bool is not."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return not isinstance(value, int) or abs(value) <= LARGEST_FLOAT


def is_real(value: object) -> TypeGuard[float]:
    """Whether a value is a number that a float can have, infinity included; neither a bool nor NaN."""
    return is_number(value) and not math.isnan(value)


def is_whole(value: object, least: float = 0, most: float = np.inf) -> TypeGuard[int]:
    """Whether a value is a whole number, not a bool, from `least` to `most`."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and least <= int(value) <= most


def is_flag(value: object) -> bool:
    """Whether a value is True or False."""
    return isinstance(value, bool | np.bool_)


def are_numbers(value: object) -> bool:
    """Whether a value is a real number, or an array of them as NumPy reads one."""
    try:
        return np.asarray(value).dtype.kind in "iuf"
    except (ValueError, TypeError, RuntimeError, OverflowError):  # ragged, or a tensor of another device
        return False


def is_list(value: object) -> TypeGuard[Collection[Any]]:
    """Whether a value holds others that can be counted, but is neither a text nor a mapping."""
    try:  # arrays of no axis have a length that fails
        return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) and len(value) >= 0
    except TypeError:
        return False


def shown(value: object) -> str:
    """A value as messages have it."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and getattr(value, "shape", ()) != ():
        return f"{type(value).__name__} of shape {tuple(value.shape)} and {value.dtype}"
    try:
        return plain(repr(value))
    except Exception:  # whatever a stranger's class raises, and numbers too long to write
        return f"a value of type {type(value).__name__}"


def _own(value: Any) -> Any:
    """Python's own number in place of NumPy's, which JSON does not have."""
    return value.item() if isinstance(value, np.generic) else value


ANYTHING = Kind("anything", lambda value: True)
NONE = Kind("None", lambda value: value is None, exact=frozenset({type(None)}))
FLAG = Kind("True or False", lambda value: value is None or is_flag(value))  # None is not set, in Diffusers' configs
NUMBERS = Kind("an array of numbers", are_numbers)
_PLAIN = {
    bool: Kind("True or False", is_flag, _own, frozenset({bool})),
    int: Kind("a whole number", lambda value: is_whole(value, -np.inf), _own, frozenset({int})),
    float: Kind("a number", is_real, _own),
    str: Kind("a text", lambda value: isinstance(value, str), exact=frozenset({str})),
    bytes: Kind("bytes", lambda value: isinstance(value, bytes), exact=frozenset({bytes})),
    type(None): NONE,
}
_ARRAY_LIKE = frozenset(get_args(ArrayLike))


def kind_of(hint: Any) -> Kind:
    """The kind of value that an annotation stands for; anything where it is one that is not known here."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is Any:  # a class in some versions of Python
        return ANYTHING
    if origin in (Union, types.UnionType):
        return _any_of(args)
    if origin is np.ndarray:
        return NUMBERS._replace(made=lambda value: np.asarray(value, dtype=np.float64))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*map(kind_of, args))
    if origin is tuple and Ellipsis not in args:
        return _tuple(*map(kind_of, args))
    if isinstance(origin, type) and issubclass(origin, Collection):  # sequences and tuples of any length are lists here
        one = kind_of(args[0])
        return Kind(f"a list, each {one.told}", lambda value: is_list(value) and all(map(one.holds, value)))
    if origin is not None and isinstance(origin, type):
        hint = origin
    if hint is Callable or origin is Callable:
        return Kind("a function", callable)
    if not isinstance(hint, type):
        return ANYTHING
    exact = frozenset({hint} - {type})
    return Kind(
        f"a {hint.__name__}", lambda value: isinstance(value, hint) and not isinstance(value, type), exact=exact
    )


def _any_of(hints: tuple[Any, ...]) -> Kind:
    of_arrays = _ARRAY_LIKE <= set(hints)
    kinds = [kind_of(one) for one in hints if not (of_arrays and one in _ARRAY_LIKE)]
    kinds = sorted([*([NUMBERS] if of_arrays else []), *kinds], key=lambda kind: kind is NONE)

    def made(value: Any) -> Any:
        return next(kind.made(value) for kind in kinds if kind.holds(value))

    told, exact = " or ".join(kind.told for kind in kinds), frozenset[type]().union(*(kind.exact for kind in kinds))
    return Kind(told, lambda value: any(kind.holds(value) for kind in kinds), made, exact)


def _tuple(*kinds: Kind) -> Kind:
    def holds(value: Any) -> bool:
        whole = isinstance(value, tuple) and len(value) == len(kinds)
        return whole and all(kind.holds(one) for kind, one in zip(kinds, value, strict=True))

    return Kind(f"({', '.join(kind.told for kind in kinds)})", holds)


def _mapping(key: Kind, of: Kind) -> Kind:
    def holds(value: Any) -> bool:
        return isinstance(value, Mapping) and all(key.holds(k) and of.holds(v) for k, v in value.items())

    return Kind(f"a mapping of {key.told} to {of.told}", holds)


@cache
def _arguments(function: Callable[..., Any]) -> dict[str, tuple[Kind, bool]]:
    """Kind of each argument, in order, and whether it has a default; not before all that annotations name is there."""
    found = {}
    names = inspect.unwrap(function).__globals__
    for name, one in inspect.signature(function).parameters.items():
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            # Our own source; and not all at once (eval_str), for a result may be of a package that is not imported.
            hint = eval(one.annotation, names) if isinstance(one.annotation, str) else one.annotation
            found[name] = ANYTHING if hint is one.empty else kind_of(hint), one.default is not one.empty
    return found


def demand(error: type[DeisSnError], name: str, kind: Kind, value: object, default: bool = True) -> None:
    """Raise an error, of a kind, for a value that is not what it must be.

    Args:
        error: What is raised.
        name: Of the argument.
        kind: What it takes.
        value: What was given.
        default: Whether it can be left out.
    """
    if not kind.holds(value):
        got = f"a value of type {type(value).__name__}" if name == SECRET else shown(value)
        remedy = "Give one, or leave it out" if default else "Give one"
        raise error(f"`{name}` must be {kind.told}, got {got}. {remedy}.")


def checked(error: type[DeisSnError], **errors: type[DeisSnError]) -> Callable[[F], F]:
    """Refuse arguments of another type than their annotations say, by an error of a kind; a decorator.

    Args:
        error: What is raised.
        **errors: What is raised for single arguments instead.

    Returns:
        The decorator, of a function, of a method, or of a dataclass.
    """

    def enter(decorated: F) -> F:
        function: Callable[..., Any] = vars(decorated)["__init__"] if isinstance(decorated, type) else decorated

        @wraps(function)
        def asked(*args: Any, **options: Any) -> Any:
            known = _arguments(function)
            given = dict(zip(known, args, strict=False))
            for name, value in (*given.items(), *options.items()):
                kind, default = known.get(name, (ANYTHING, True))
                if kind is not ANYTHING and type(value) not in kind.exact:
                    demand(errors.get(name, error), name, kind, value, default)
                    (given if name in given else options)[name] = kind.made(value)
            return function(*given.values(), *args[len(known) :], **options)

        if not isinstance(decorated, type):
            return cast(F, asked)
        type.__setattr__(decorated, "__init__", asked)
        return decorated

    return enter
