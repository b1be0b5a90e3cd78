"""The layout of `score_statistics.safetensors`, and nobody else knows it; its specification is stats/README.md.

A sealed safetensors file (`hub.sealed`) of three to nine curves, two more tensors for each cost, three for trials, six
for plans, and one metadata key, `score_statistics`, whose value is JSON: `{"costs": {...}, "format_version": 1,
"origin": {...}, "sha256": "..."}`. With several guidances every tensor but those of plans has a leading axis for them,
and the metadata a list of what there would be for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.errors import StatisticsError, StatisticsFormatError
from diffusers_deis_sn.hub.sealed import SealError, UnknownVersionError, header_of, seal, unseal
from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.plans import Plans, lengths, sound_facts
from diffusers_deis_sn.statistics.trials import TABLES, Method, Trials

FORMAT_VERSION = 1
LARGEST_FILE = 16 * 2**20  # bytes; a thousand times take 60 kB

Curves = dict[str, NDArray[Any]]

METADATA_KEY = "score_statistics"
REQUIRED = ("timesteps", "log_snr", "mean_abs")  # what sampling needs; the others tell how good it is
DTYPES = {
    "timesteps": "F64",
    "log_snr": "F64",
    "mean_abs": "F64",
    "mean_abs_error": "F64",
    "mean_square": "F64",
    "mean_square_error": "F64",
    "mean_abs_data": "F64",
    "mean_abs_data_error": "F64",
    "num_samples": "I64",
}
COST_TENSORS = {name: (f"{name}_cost", f"{name}_cost_error") for name in COST_ORDERS}  # one row of K - 1 numbers each
TRIAL_TENSORS = {name: f"trial_{name}" for name in TABLES}  # each one row for each recipe
MEMBERS = "members"  # of the metadata, where there are several guidances: what a file of one has, for each
MOST_MEMBERS = 100
MOST_TRIED = 1000  # recipes, or numbers of calls
VELOCITY = "sigma"  # v of the costs in a file; others follow from it
_NUMPY = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8")}

_MEASURE = "Measure again with `deis-sn calibrate`, or take the file from its publisher anew."
_UPGRADE = "Upgrade diffusers_deis_sn, or measure again with `deis-sn calibrate`."
_FOREIGN_KINDS = (
    (b"PK\x03\x04", "a zip archive, as torch.save and numpy.savez write them"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull`"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)


@dataclass(frozen=True)
class Content:
    """What a file holds, not yet checked for sense.

    Args:
        curves: Arrays named in `DTYPES`, each (K,).
        origin: Where they come from.
        costs: For each cost its `values` and `error`, (K - 1,), its `order` and its `num_samples`.
        trials: Recipes as JSON has them, `calls`, `num_samples` and the three tables; None where none were made.
    """

    curves: dict[str, Any]
    origin: StatisticsOrigin
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, Any] | None = None

    def local_costs(self) -> dict[str, LocalCost]:
        """The costs as values. Raises StatisticsError where they are none."""
        return {name: LocalCost(**facts) for name, facts in self.costs.items()}

    def tried(self) -> Trials | None:
        """The trials as a value. Raises StatisticsError where they are none."""
        if self.trials is None:
            return None
        recipes = tuple(Method.from_dict(facts) for facts in self.trials["recipes"])
        return Trials(**(self.trials | {"recipes": recipes, "calls": tuple(self.trials["calls"])}))


Fitted = tuple[dict[str, Any], dict[str, NDArray[Any]]] | None
"""Facts and tensors of plans, as `Plans.decode` takes them; None where there are none."""

Part = tuple[Mapping[str, NDArray[Any]], StatisticsOrigin, Mapping[str, LocalCost], Trials | None]
"""Curves, origin, costs and trials of one guidance."""


def encode(parts: Sequence[Part], plans: Plans | None = None) -> bytes:
    """Bytes of a file; equal input gives equal bytes.

    Args:
        parts: One for each guidance: arrays named in `DTYPES`, each (K,), those of `REQUIRED` at least; where they come
            from; local costs by name, each of K - 1 intervals; recipes tried on the model. All with the same arrays.
        plans: Runs fitted to the model, each at a guidance of its own.
    """
    written = [_encoded(*part) for part in parts]
    payload, tensors = written[0]
    if len(written) > 1:
        payload = {MEMBERS: [facts for facts, _ in written]}
        tensors = {name: np.stack([arrays[name] for _, arrays in written]) for name in tensors}
    if plans is not None:
        payload["plans"], of_plans = plans.encode()
        tensors |= of_plans
    return seal(tensors, payload, METADATA_KEY, FORMAT_VERSION)


def _encoded(
    curves: Mapping[str, NDArray[Any]],
    origin: StatisticsOrigin,
    costs: Mapping[str, LocalCost],
    trials: Trials | None,
) -> tuple[dict[str, Any], Curves]:
    """Facts and tensors of one guidance."""
    payload: dict[str, Any] = {"origin": origin.as_dict()}
    tensors = {name: np.ascontiguousarray(curve, dtype=_NUMPY[DTYPES[name]]) for name, curve in curves.items()}
    for name, cost in costs.items():
        facts = {"num_samples": cost.num_samples, "order": cost.order, "velocity": VELOCITY}
        payload.setdefault("costs", {})[name] = facts
        tensors |= zip(COST_TENSORS[name], (cost.values, cost.error), strict=True)
    if trials is not None:
        recipes = [one.as_dict() for one in trials.recipes]
        payload["trials"] = {"calls": trials.calls, "num_samples": trials.num_samples, "recipes": recipes}
        tensors |= {tensor: getattr(trials, name) for name, tensor in TRIAL_TENSORS.items()}
    return payload, tensors


def decode(data: bytes, place: str) -> tuple[tuple[Content, ...], Fitted]:
    """What the bytes of a file hold, for each guidance, and facts and tensors of plans.

    Only the layout is checked here; whether the numbers make sense is the record's business.

    Args:
        data: The whole file.
        place: What the message calls it, its path.

    Raises:
        StatisticsFormatError: Not safetensors, truncated, damaged, foreign, or of another version.
    """
    try:
        payload, tensors = unseal(data, METADATA_KEY, FORMAT_VERSION)
    except SealError as error:
        remedy = _UPGRADE if isinstance(error, UnknownVersionError) else _MEASURE
        raise StatisticsFormatError(f"{place!r} {_foreign(data) or error}. {remedy}") from error
    members, fitted = _members(payload, place), _plans(payload, tensors, place)
    contents = []
    for n, member in enumerate(members):
        curves = tensors
        if MEMBERS in payload:
            curves = {name: _of_member(name, values, n, len(members), place) for name, values in tensors.items()}
        facts, tried = _cost_facts(member, place), _trial_facts(member, place)
        _check_tensors(curves, facts, tried, place)
        contents.append(_content(dict(curves), _origin(member, place), facts, tried))
    return tuple(contents), fitted


def _content(
    curves: Curves, origin: StatisticsOrigin, facts: dict[str, dict[str, Any]], tried: dict[str, Any] | None
) -> Content:
    costs = {
        name: entry | dict(zip(("values", "error"), map(curves.pop, COST_TENSORS[name]), strict=True))
        for name, entry in facts.items()
    }
    tables = {name: curves.pop(tensor) for name, tensor in TRIAL_TENSORS.items()} if tried else {}
    return Content(curves, origin, costs, tried | tables if tried else None)


def read(path: Path) -> tuple[tuple[Content, ...], Fitted]:
    """`decode` of a file. Raises StatisticsFormatError also for a file larger than 16 MiB, which is not read."""
    size = path.stat().st_size
    if size > LARGEST_FILE:
        _refuse(
            str(path), f"has {size} bytes, and score statistics at most {LARGEST_FILE}", "It must be something else."
        )
    return decode(path.read_bytes(), str(path))


# ------------------------------------------------------------------------------------------------------- the checks


def _refuse(place: str, rule: str, remedy: str) -> NoReturn:
    raise StatisticsFormatError(f"{place!r} {rule}. {remedy}")


def _foreign(data: bytes) -> str | None:
    """What is wrong with a file of another kind, so that a person knows what it is; None where it is not known."""
    # A header of 640 bytes begins like a pickle, so the first bytes are judged only where they are no sane length.
    if header_of(data) is not None or int.from_bytes(data[:8], "little") <= LARGEST_FILE:
        return None
    return next((f"is {name}, and is not opened" for magic, name in _FOREIGN_KINDS if data.startswith(magic)), None)


def _members(payload: dict[str, Any], place: str) -> list[dict[str, Any]]:
    """The facts of each guidance; of the only one those of the file itself."""
    members = payload.get(MEMBERS, [payload])
    sound = isinstance(members, list) and all(isinstance(one, dict) for one in members)
    if not sound or (MEMBERS in payload and not 2 <= len(members) <= MOST_MEMBERS):
        _refuse(place, f"has `{MEMBERS}` in its metadata that are not 2 to {MOST_MEMBERS} JSON objects", _MEASURE)
    return list(members)


def _of_member(name: str, values: NDArray[Any], place: int, number: int, file: str) -> NDArray[Any]:
    """The part of a tensor that is of one guidance; the first axis is that of the guidances."""
    if values.ndim == 0 or len(values) != number:
        _refuse(
            file,
            f"has {name!r} of shape {list(values.shape)}, and its first axis must be that of {number} guidances",
            _MEASURE,
        )
    return np.ascontiguousarray(values[place])


def _origin(payload: dict[str, Any], place: str) -> StatisticsOrigin:
    """Where the numbers come from."""
    if not isinstance(payload.get("origin"), dict):
        _refuse(place, "has no `origin` in its metadata", _MEASURE)
    try:
        return StatisticsOrigin.from_dict(payload["origin"])
    except StatisticsError as error:
        _refuse(place, f"has a damaged origin: {str(error).rstrip('.')}", _MEASURE)


def _cost_facts(payload: dict[str, Any], place: str) -> dict[str, dict[str, Any]]:
    """Order and number of samples of each cost."""
    costs = payload.get("costs", {})
    if not isinstance(costs, dict) or not all(isinstance(facts, dict) for facts in costs.values()):
        _refuse(place, "has `costs` in its metadata that are not a JSON object of objects", _MEASURE)
    for name, facts in costs.items():
        if name not in COST_TENSORS:
            _refuse(place, f"has a cost {name!r}, and its format version knows {', '.join(COST_TENSORS)}", _MEASURE)
        if facts.get("velocity") != VELOCITY:
            _refuse(place, f"has a {name} cost of velocity {facts.get('velocity')!r}, not {VELOCITY!r}", _MEASURE)
    return {
        name: {"order": facts.get("order"), "num_samples": facts.get("num_samples")} for name, facts in costs.items()
    }


def _trial_facts(payload: dict[str, Any], place: str) -> dict[str, Any] | None:
    """Recipes, numbers of calls and number of samples of the trials, where there are any."""
    facts = payload.get("trials")
    if facts is None:
        return None
    wanted = {"calls": list, "num_samples": int, "recipes": list}
    if not isinstance(facts, dict) or not all(isinstance(facts.get(key), kind) for key, kind in wanted.items()):
        _refuse(place, "has `trials` in its metadata without `calls`, `num_samples` or `recipes`", _MEASURE)
    if max(len(facts["calls"]), len(facts["recipes"])) > MOST_TRIED:
        _refuse(place, f"has more than {MOST_TRIED} recipes or numbers of calls in its `trials`", _MEASURE)
    if not all(isinstance(recipe, dict) for recipe in facts["recipes"]):
        _refuse(place, "has `recipes` in its metadata that are not JSON objects", _MEASURE)
    return {key: facts[key] for key in wanted}


def _plans(payload: dict[str, Any], tensors: Curves, place: str) -> Fitted:
    """Facts and tensors of the plans, where there are any; the tensors are taken out of the others, once checked."""
    facts = payload.get("plans")
    if facts is None:
        return None
    if (rule := sound_facts(facts)) is not None:
        _refuse(place, rule, _MEASURE)
    found = {}
    for name, length in lengths(facts).items():
        if name not in tensors or _described(tensors[name]) != ("F64", [length]):
            _refuse(place, f"has {name!r} that is not F64 [{length}], which its plans need", _MEASURE)
        found[name] = tensors.pop(name)
    return facts, found


def _check_tensors(tensors: Curves, costs: Mapping[str, Any], trials: Mapping[str, Any] | None, place: str) -> None:
    """The required tensors, perhaps others that are known, and those of costs and trials, of the right shapes."""
    of_costs = {name for cost in costs for name in COST_TENSORS[cost]}
    of_trials = set(TRIAL_TENSORS.values()) if trials else set()
    missing = sorted((set(REQUIRED) | of_costs | of_trials) - tensors.keys())
    extra = sorted(tensors.keys() - DTYPES.keys() - of_costs - of_trials)
    if missing:
        _refuse(place, f"lacks the tensors {missing}", _MEASURE)
    if extra:
        _refuse(place, f"has the tensors {extra}, which its format version does not know", _MEASURE)
    length = tensors[REQUIRED[0]].size
    for name in (*(one for one in DTYPES if one in tensors), *sorted(of_costs)):
        wanted = (DTYPES.get(name, "F64"), [length if name in DTYPES else length - 1])
        if (found := _described(tensors[name])) != wanted:
            _refuse(place, f"has {name!r} as {_told(found)}, and it must be {_told(wanted)}", _MEASURE)
    of_each = [len(trials["recipes"]), len(trials["calls"])] if trials else []
    for name in sorted(of_trials):
        wanted = ("F64", of_each)
        if _described(tensors[name]) != wanted:
            _refuse(place, f"has {name!r} that is not {_told(wanted)}, a number a recipe and number of calls", _MEASURE)


def _described(values: NDArray[Any]) -> tuple[str, list[int]]:
    """dtype and shape of a tensor, as safetensors names them."""
    names = {dtype.str: name for name, dtype in _NUMPY.items()}
    return names.get(values.dtype.str, str(values.dtype)), list(values.shape)


def _told(described: tuple[str, list[int]]) -> str:
    return f"{described[0]} {described[1]}"
