"""Ways to run from an image with what plans have: levels times weights, see `LEVELS` and `WEIGHTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import Exact, levels_between
from diffusers_deis_sn.core.tuned_later import levels_inside
from diffusers_deis_sn.errors import DeisSnError

TODAY = "as without plans"


@dataclass(frozen=True, eq=False)
class Begun:
    """A run that begins at a later call, and what there is to make another one of.

    Args:
        process: Of the model.
        today: The run as `DEISSNScheduler` has it, and the call that it begins with.
        plans: The runs that were fitted to the model, by their numbers of calls.
        options: Weights of the options, those of today.
        method: Weights of the recipe that is followed without a plan in a whole run of as many calls.
        grid: Levels of that recipe, where there is one.
    """

    process: NoiseSchedule
    today: tuple[Plan, int]
    plans: Mapping[int, Tuned]
    options: Exact
    method: Exact
    grid: Array | None

    @property
    def tail(self) -> Array:
        """Levels of today; (n + 1,)."""
        plan, begin = self.today
        return np.array(plan.levels[begin:])

    @property
    def calls(self) -> int:
        """How many there are, n."""
        return len(self.tail) - 1

    @property
    def nearest(self) -> Tuned:
        """The plan whose number of calls is the nearest."""
        return self.plans[min(self.plans, key=lambda one: abs(np.log(one / self.calls)))]


# ------------------------------------------------------------------------------------------------------------- levels


def compressed(begun: Begun) -> Array:
    """Times of the plan of as many calls, or of the nearest, read off at n places and scaled to begin at the start."""
    near = begun.nearest
    return _scaled(begun, levels_between(near, near, begun.calls, begun.process, 0.0))


def inside_one(begun: Begun) -> Array | None:
    """Times of the part of the nearest plan's way that lies below the start, see `core.later`."""
    return levels_inside([begun.nearest], float(begun.tail[0]), begun.calls, begun.process, 0, np.inf)


def inside_all(begun: Begun) -> Array | None:
    """The same of all plans together."""
    return levels_inside(list(begun.plans.values()), float(begun.tail[0]), begun.calls, begun.process, 0, np.inf)


def served(begun: Begun) -> bool:
    """Whether `DEISSNScheduler` takes times of a plan for such a run."""
    runs = list(begun.plans.values())
    return levels_inside(runs, float(begun.tail[0]), begun.calls, begun.process) is not None


def last(begun: Begun) -> Array | None:
    """The last n times of the plan of N calls, scaled to begin at the start; None where there is no such plan."""
    plan, begin = begun.today
    run = begun.plans.get(len(plan))
    return None if run is None else _scaled(begun, run.rho[begin:])


def of_method(begun: Begun) -> Array | None:
    """Times of the recipe that is followed without a plan, scaled to begin at the start."""
    return None if begun.grid is None else _scaled(begun, begun.grid)


LEVELS: dict[str, Callable[[Begun], Array | None]] = {
    "today's times": lambda begun: begun.tail,
    "the recipe's, compressed": of_method,
    "the last of the plan": last,
    "the plan, compressed": compressed,
    "inside the nearest plan": inside_one,
    "inside all plans": inside_all,
}


def _scaled(begun: Begun, levels: Array) -> Array:
    """Levels whose times are scaled so that the first is the start."""
    process, start = begun.process, begun.tail[0]
    tau = process.progress(levels[:-1])
    rho = process.level(tau * (float(process.progress(start)) / tau[0]))
    rho[0] = start
    return process.whole(np.append(rho, min(float(levels[-1]), float(begun.tail[-1]))))


# ------------------------------------------------------------------------------------------------------------ weights


def fitted(begun: Begun, levels: Array) -> Tuned:
    """The recipe's weights, with what was fitted beside them in the nearest plan, as far as it has as many calls."""
    run, n = begun.nearest, begun.calls
    base, formula = begun.method(levels), begun.method(run.rho)
    if len(run) < n:
        raise DeisSnError("No plan has as many calls.")
    none = np.zeros_like(run.weights)
    parts = (run.weights - formula.weights, none if run.low is None else run.low)
    weights, low = (np.tril(part[:n, :n]) for part in parts)
    transfer = base.transfer + (run.transfer - formula.transfer)[:n]
    return replace(base, transfer=transfer, weights=base.weights + weights, low=None if run.low is None else low)


WEIGHTS: dict[str, Callable[[Begun, Array], Tuned]] = {
    "today's": lambda begun, levels: begun.options(levels),
    "the recipe's": lambda begun, levels: begun.method(levels),
    "the plan's": fitted,
}


def ways(begun: Begun) -> Iterator[tuple[str, Tuned | None]]:
    """Name and run of each way; None for today's."""
    yield TODAY, None
    for of_levels, make in LEVELS.items():
        for of_weights, weigh in WEIGHTS.items():
            if (of_levels, of_weights) == ("today's times", "today's"):
                continue
            if of_weights == "the plan's" and of_levels != "the plan, compressed":
                continue
            if of_weights == "the recipe's" and of_levels in ("the plan, compressed", "inside the nearest plan"):
                continue
            try:
                levels = make(begun)
                if levels is not None:
                    yield f"{of_levels}; {of_weights}", weigh(begun, levels)
            except DeisSnError:  # too few whole times, or outputs that are no data
                continue
