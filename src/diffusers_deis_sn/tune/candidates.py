"""Plans of a run, each with one freedom more than the one before: weights, times, bands, the first time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tune.search import Found, Search, as_data

FREEDOMS = ("weights", "times", "bands", "first time")
SWEEPS = (0.3, 0.12)  # size of the moves of times, and of those once the first time is free
STARTS, FEW = 2, 6  # grids to go on from up to so many calls, whose sweeps are short and end in different places


class OutOfTimeError(Exception):
    """The time for a search is spent."""


def candidates(search: Search, recipes: Sequence[Recipe], calls: int, bands: int) -> Iterator[tuple[str, Found]]:
    """Plans by what was left free in them; one that gets better comes again under the same name.

    Args:
        search: Where to look.
        recipes: Whose grids to start on; the first is that which runs follow without a plan.
        calls: Number of network calls.
        bands: How many bands the samples have.

    Raises:
        CalibrationError: No recipe gives finite samples.
    """
    try:
        yield from _all(search, recipes, calls, bands)
    except OutOfTimeError:
        return


def _all(search: Search, recipes: Sequence[Recipe], calls: int, bands: int) -> Iterator[tuple[str, Found]]:
    started = search.started(recipes, calls)
    if not started:
        raise CalibrationError(f"No run of {calls} calls ends in finite samples, so there is nothing to fit.")
    found = started[0]
    yield "weights", found
    for start in started[: STARTS if calls <= FEW else 1]:
        for better in search.swept(start, SWEEPS[0], free_start=False):
            if better.score < found.score:
                found = better
                yield "times", found
    if bands == 2:
        found = search.at(found.recipe, found.run.rho, 2)
        yield "bands", found
    for step in SWEEPS:
        for better in search.swept(found, step) if step == SWEEPS[-1] else search.begun(found, step):
            found = better
            yield "first time", found


def blended(found: Found, default: Tuned, share: float) -> Tuned:
    """A plan between the default, share 0, and what was found, share 1: gaps by their logarithms, weights linearly.

    Args:
        found: The plan.
        default: The run that is made without one.
        share: How much of what was found.
    """
    process, run = found.recipe.process, found.run
    one, two = (_gaps(process.progress(each.rho[:-1])) for each in (default, run))
    gaps = np.exp((1.0 - share) * np.log(one) + share * np.log(two))
    tau = np.cumsum(gaps[::-1])[::-1]
    tau *= ((1.0 - share) * one.sum() + share * two.sum()) / tau[0]
    levels = process.whole(np.append(process.level(tau), run.rho[-1]))
    exact, there = as_data(found.recipe, levels), as_data(found.recipe, run.rho)
    return replace(
        exact,
        transfer=exact.transfer + share * (run.transfer - there.transfer),
        weights=exact.weights + share * (run.weights - there.weights),
        low=None if run.low is None else share * run.low,
    )


def _gaps(tau: Array) -> Array:
    """What lies between neighbouring times, and between the last and zero."""
    return tau - np.append(tau[1:], 0.0)
