"""Plans of a run with more and more left free: weights, the first time, all times; the last in one band, or sharper.

The order in which they are tried is ours, see docs/tuning.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.search import Found, Search

ONE_BAND = "times, one band"
SHARP = "times, sharp"
FREEDOMS = ("weights", "first time", ONE_BAND, "times", SHARP)  # what is simpler is preferred where it is as good
FIRST = (0.3, 0.12)  # how far all times are scaled, in terms of 0.4 of the first
SWEEPS = (0.3, 0.12, 0.06)  # size of the moves of times


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
    """The first time comes before the others, whose best places depend on it."""
    started = search.started(recipes, calls, bands)
    if not started:
        raise CalibrationError(f"No run of {calls} calls ends in finite samples, so there is nothing to fit.")
    found = started[0]
    yield "weights", found
    for step in FIRST:
        for better in search.begun(found, step):
            found = better
            yield "first time", found
    for step in SWEEPS:
        for better in search.swept(found, step):
            found = better
            yield "times", found
    if bands == 2:
        yield ONE_BAND, search.at(found.recipe, found.run.rho)
    sharp = search.sharpened(found)
    if sharp is not None:
        yield SHARP, sharp


def blended(run: Tuned, recipe: Recipe, default: Tuned, share: float) -> Tuned:
    """A plan between the default, share 0, and what was found, share 1: gaps by their logarithms, weights linearly.

    Args:
        run: What was found.
        recipe: That its weights were shrunk to.
        default: The run that is made without one.
        share: How much of what was found.
    """
    process = recipe.process
    one, two = (_gaps(process.progress(each.rho[:-1])) for each in (default, run))
    gaps = np.exp((1.0 - share) * np.log(one) + share * np.log(two))
    tau = np.cumsum(gaps[::-1])[::-1]
    tau *= ((1.0 - share) * one.sum() + share * two.sum()) / tau[0]
    levels = process.whole(np.append(process.level(tau), run.rho[-1]))
    exact, there = Tuned.of_recipe(recipe, levels), Tuned.of_recipe(recipe, run.rho)
    return replace(
        exact,
        transfer=exact.transfer + share * (run.transfer - there.transfer),
        weights=exact.weights + share * (run.weights - there.weights),
        low=None if run.low is None else share * run.low,
    )


def _gaps(tau: Array) -> Array:
    """What lies between neighbouring times, and between the last and zero."""
    return tau - np.append(tau[1:], 0.0)
