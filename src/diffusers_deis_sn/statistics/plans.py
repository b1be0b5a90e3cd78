"""Runs that were fitted to a model, `core.tuned`, by number of calls and guidance; and how a file holds them.

What a run of a tuned plan leaves of the distance to a fine run is known from samples that it was not fitted on, beside
that of the recipe which is followed without it and of the best of other schedulers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.table import MOST_TUNED
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import Exact, run_between
from diffusers_deis_sn.core.value_types import checked, shown
from diffusers_deis_sn.errors import DeisSnError, StatisticsError
from diffusers_deis_sn.statistics.rules import listed

TENSORS = ("plan_rho", "plan_times", "plan_told", "plan_transfer", "plan_weights", "plan_low")
MOST_PLANS = 1000
SAME = 0.02  # relative: guidances so near are one

_FACTS: dict[str, type | tuple[type, ...]] = {
    "calls": int,
    "guidance": (int, float),
    "of": str,
    "bands": int,
    "shift": (int, float),
    "num_samples": int,
    "error": (int, float),
    "default_error": (int, float),
    "rival_error": (int, float),
}


@dataclass(frozen=True)
class TunedPlan:
    """A run, what it is for, and what it was worth on samples that it was not fitted on.

    Args:
        run: Its numbers.
        guidance: That it was fitted at; one for none.
        num_samples: Number of those samples.
        error: Geometric mean of their RMS distances to the fine run.
        default_error: The same of the recipe that is followed without the plan.
        rival_error: The same of the best other scheduler that was run.

    Raises:
        StatisticsError: Facts that are none.
    """

    run: Tuned
    guidance: float = 1.0
    num_samples: int = 1
    error: float = 1.0
    default_error: float = 1.0
    rival_error: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.run, Tuned):
            raise StatisticsError(f"A plan needs a Tuned run, got {type(self.run).__name__}.")
        if not _positive(self.guidance):
            raise StatisticsError(f"`guidance` of a plan must be a positive number, got {self.guidance!r}.")
        if type(self.num_samples) is not int or self.num_samples < 1:
            raise StatisticsError(f"`num_samples` of a plan must be a whole number above zero, got {self.num_samples}.")
        for name in ("error", "default_error", "rival_error"):
            if not _positive(getattr(self, name)):
                raise StatisticsError(f"`{name}` of a plan must be a positive number, got {getattr(self, name)!r}.")
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "guidance", float(self.guidance))

    @property
    def calls(self) -> int:
        """Number of network calls."""
        return len(self.run)

    def __str__(self) -> str:
        ratio = self.error / min(self.default_error, self.rival_error)
        return f"{self.calls} calls at guidance {self.guidance:g}: {ratio:.2f} of the best other error"


@dataclass(frozen=True, eq=False)
class Plans:
    """The plans of a model, by number of calls and then guidance.

    Args:
        entries: At least one; no two of the same number of calls and guidance. Any order.
        sample_shape: Of the samples that they were fitted on, without the axis of the batch.

    Raises:
        StatisticsError: No plans, two for the same, or no shape.
    """

    entries: tuple[TunedPlan, ...]
    sample_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        entries = listed(self.entries)
        if not entries or not all(isinstance(one, TunedPlan) for one in entries):
            raise StatisticsError("`entries` of plans must hold at least one TunedPlan.")
        ranked = tuple(sorted(entries, key=lambda one: (one.calls, one.guidance)))
        object.__setattr__(self, "entries", ranked)
        for one, two in pairwise(ranked):
            if one.calls == two.calls and _near(one.guidance, two.guidance):
                raise StatisticsError(f"Two plans of {one.calls} calls at guidance {one.guidance:g}. Leave one out.")
        shape = tuple(self.sample_shape) if isinstance(self.sample_shape, list | tuple) else ()
        if not shape or not all(type(size) is int and size > 0 for size in shape):
            raise StatisticsError(
                f"`sample_shape` of plans must hold whole numbers above zero, got {shown(self.sample_shape)}."
            )
        object.__setattr__(self, "sample_shape", shape)
        if any(one.run.low is not None for one in ranked) and not _has_bands(shape):
            raise StatisticsError(f"Plans in two bands need samples of even height and width, got {shape}.")

    @checked(StatisticsError)
    def find(self, calls: int, guidance: float | None) -> TunedPlan | None:
        """The plan for a run, None where there is none.

        Args:
            calls: How many network calls the run makes.
            guidance: That it runs with; None where nobody says, and then a plan is taken that has no sister.
        """
        entries = [one for one in self.entries if one.calls == calls]
        if guidance is None:
            return entries[0] if len(entries) == 1 else None
        return next((one for one in entries if _near(one.guidance, guidance)), None)

    def serving(self, calls: int, guidance: float | None, process: NoiseSchedule) -> TunedPlan | None:
        """The plan for a run: the one that is there, or else what lies between those of two other guidances."""
        found = self.find(calls, guidance)
        return self.between(calls, guidance, process) if found is None and guidance is not None else found

    def all_serving(self, guidance: float | None, process: NoiseSchedule) -> list[TunedPlan]:
        """The plans for runs at a guidance, one for each number of calls that has one; see `serving`."""
        numbers = sorted({one.calls for one in self.entries})
        return [one for calls in numbers if (one := self.serving(calls, guidance, process)) is not None]

    def between(self, calls: int, guidance: float, process: NoiseSchedule) -> TunedPlan | None:
        """The plan for a run at a guidance between two that plans were fitted at, None beyond them.

        What it is worth is not known: the errors are the geometric means of its neighbours'.
        """
        known = [one for one in self.entries if one.calls == calls]
        below = [one for one in known if one.guidance < guidance]
        above = [one for one in known if one.guidance > guidance]
        if not below or not above:
            return None
        low, high = below[-1], above[0]
        share = (guidance - low.guidance) / (high.guidance - low.guidance)
        return _made_of(low, high, guidance, lambda: low.run.towards(high.run, share, process))

    def between_calls(
        self, calls: int, guidance: float | None, process: NoiseSchedule, exact: Exact
    ) -> TunedPlan | None:
        """The plan for a run of a number of calls between two that are there, near enough to each other; else None.

        Args:
            calls: How many network calls the run makes.
            guidance: As in `find`.
            process: Of the model.
            exact: See `core.between.run_between`.
        """
        numbers = sorted({one.calls for one in self.entries})
        below = next((one for n in numbers[::-1] if n < calls and (one := self.serving(n, guidance, process))), None)
        above = next((one for n in numbers if n > calls and (one := self.serving(n, guidance, process))), None)
        if below is None or above is None:
            return None
        scale = below.guidance if guidance is None else guidance
        return _made_of(below, above, scale, lambda: run_between(below.run, above.run, calls, process, exact))

    @checked(StatisticsError)
    def at(self, guidance: float | None) -> dict[int, TunedPlan]:
        """The plans for a guidance, by their numbers of calls; see `find`."""
        found = {one.calls: self.find(one.calls, guidance) for one in self.entries}
        return {calls: one for calls, one in found.items() if one is not None}

    def with_plans(self, *plans: TunedPlan) -> Plans:
        """These and others, which take the place of those of the same number of calls and guidance."""
        kept = [
            one
            for one in self.entries
            if not any(one.calls == new.calls and _near(one.guidance, new.guidance) for new in plans)
        ]
        return Plans((*kept, *plans), self.sample_shape)

    def check(self, process: NoiseSchedule) -> None:
        """Raise StatisticsMismatchError for plans of another noise schedule."""
        for one in self.entries:
            one.run.check(process)

    def __len__(self) -> int:
        """Number of plans."""
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plans):
            return NotImplemented
        return (self.entries, self.sample_shape) == (other.entries, other.sample_shape)

    def __hash__(self) -> int:
        return hash((self.entries, self.sample_shape))

    def __reduce__(self) -> tuple[Callable[..., Plans], tuple[Any, ...]]:
        """Copies are built anew, as their runs are."""
        return type(self), tuple(getattr(self, one.name) for one in fields(self))

    # -------------------------------------------------------------------------------------------------- as a file

    def encode(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Facts for JSON, and tensors by name: rows of all plans, one after the other, zeros above left out."""
        listed = [
            {
                "calls": one.calls,
                "guidance": one.guidance,
                "of": one.run.of,
                "bands": one.run.bands,
                "shift": float(one.run.shift),
                "num_samples": one.num_samples,
                "error": one.error,
                "default_error": one.default_error,
                "rival_error": one.rival_error,
            }
            for one in self.entries
        ]
        runs = [one.run for one in self.entries]
        tensors = {f"plan_{name}": _joined([getattr(run, name) for run in runs]) for name in _FLAT}
        tensors["plan_weights"] = _joined([_packed(run.weights) for run in runs])
        tensors["plan_low"] = _joined([_packed(run.low) for run in runs if run.low is not None])
        return {"entries": listed, "sample_shape": list(self.sample_shape)}, tensors

    @classmethod
    def decode(cls, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Plans:
        """The plans of `encode`, whose tensors have the `lengths` that the facts say. Raises StatisticsError."""
        places, entries = dict.fromkeys(TENSORS, 0), []

        def taken(name: str, count: int) -> Array:
            start = places[name]
            places[name] += count
            return np.asarray(tensors[name][start : start + count])

        for one in facts["entries"]:
            calls = one["calls"]
            size = calls * (calls + 1) // 2
            rho = taken("plan_rho", calls + 1)
            times, told, transfer = (taken(name, calls) for name in TENSORS[1:4])
            weights = _unpacked(taken("plan_weights", size), calls)
            low = _unpacked(taken("plan_low", size), calls) if one["bands"] == 2 else None
            run = Tuned(rho, times, told, transfer, weights, low, one["of"], one["shift"])
            entries.append(TunedPlan(run, **{name: one[name] for name in _OF_PLAN}))
        return cls(tuple(entries), tuple(facts["sample_shape"]))


def _made_of(low: TunedPlan, high: TunedPlan, guidance: float, make: Callable[[], Tuned]) -> TunedPlan | None:
    """A plan between two, whose errors are the geometric means of theirs; None where they have nothing between them."""
    try:
        run = make()
    except DeisSnError:
        return None
    errors = ((getattr(low, name) * getattr(high, name)) ** 0.5 for name in _OF_PLAN[2:])
    return TunedPlan(run, guidance, min(low.num_samples, high.num_samples), *errors)


def merged(several: Iterable[Plans | None]) -> Plans | None:
    """All plans of several; of two for the same run the first. Raises StatisticsError for other sizes of samples."""
    there = [one for one in several if one is not None]
    if len({one.sample_shape for one in there}) > 1:
        raise StatisticsError("Plans of samples of different sizes do not go into one record. Leave all but one out.")
    found = None
    for one in reversed(there):
        found = one if found is None else found.with_plans(*one.entries)
    return found


_FLAT = ("rho", "times", "told", "transfer")
_OF_PLAN = ("guidance", "num_samples", "error", "default_error", "rival_error")


def sound_facts(facts: object) -> str | None:
    """What is wrong with the facts of plans in a file, None if their tensors can be told apart by them."""
    if not isinstance(facts, dict) or not isinstance(facts.get("entries"), list):
        return "has `plans` in its metadata without `entries`"
    if not isinstance(facts.get("sample_shape"), list):
        return "has `plans` in its metadata without `sample_shape`"
    if not 1 <= len(facts["entries"]) <= MOST_PLANS:
        return f"has {len(facts['entries'])} plans, and 1 to {MOST_PLANS} are sound"
    for one in facts["entries"]:
        for name, kind in _FACTS.items():
            value = one.get(name) if isinstance(one, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                return f"has a plan with {name!r} = {value!r}"
        if not 1 <= one["calls"] <= MOST_TUNED or one["bands"] not in (1, 2):
            return f"has a plan of {one['calls']} calls in {one['bands']} bands"
    return None


def lengths(facts: Mapping[str, Any]) -> dict[str, int]:
    """Lengths of the tensors, by sound facts."""
    calls = [one["calls"] for one in facts["entries"]]
    rows = [n * (n + 1) // 2 for n in calls]
    banded = [row for row, one in zip(rows, facts["entries"], strict=True) if one["bands"] == 2]
    return dict(zip(TENSORS, (sum(calls) + len(calls), *[sum(calls)] * 3, sum(rows), sum(banded)), strict=True))


def _has_bands(shape: Sequence[int]) -> bool:
    return len(shape) >= 3 and shape[-1] % 2 == 0 and shape[-2] % 2 == 0


def _packed(weights: Array) -> Array:
    """The rows without what is above the diagonal, (N (N + 1) / 2,)."""
    return weights[np.tril_indices(len(weights))]


def _unpacked(values: Array, calls: int) -> Array:
    weights = np.zeros((calls, calls))
    weights[np.tril_indices(calls)] = values
    return weights


def _joined(parts: list[Array]) -> Array:
    return np.concatenate([np.zeros(0), *parts])


def _positive(value: object) -> bool:
    # By comparison first, for whole numbers of files may be too large for a float.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0.0 < value < 1e30 and isfinite(value)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(one, other)
