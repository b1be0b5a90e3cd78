"""Score statistics as JSON for a program: everything that a file holds.

One object. What is not known is null; arrays are cleanest time first, as in the record.

`num_times`          K.
`guidances`          that were measured, rising; empty where it is not known.
`guidance_scale`     the one of them that the record's own curves are of, or null.
`timesteps`          what the network was called with; (K,).
`log_snr`            log(alpha^2 / sigma^2) there; (K,).
`members`            one object for each guidance, in their order, each with

    `origin`         model, noise schedule and settings, under the names of `StatisticsOrigin`.
    `num_samples`    behind each time; (K,).
    `mean_abs`, `mean_square`, `mean_abs_data` and each with `_error`: r, m and nu and their standard errors; (K,).
    `costs`          by name: `values` and `error` of the K - 1 intervals, `order`, `num_samples`, `path_length` and its
                     `relative_error`, null for a path of no length.
    `trials`         null, or `calls`; `num_samples`; `recipes`, a list of objects with `name`, `options` (those that
                     differ from the defaults of `statistics.trials.Method`), `error`, `rms` and `grain` by calls; and
                     `best`, the place in `recipes` that is followed for each of the calls.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.statistics import format as layout
from diffusers_deis_sn.statistics.cost import LocalCost
from diffusers_deis_sn.statistics.guidances import Guided
from diffusers_deis_sn.statistics.trials import TABLES, Trials

COMMON = ("timesteps", "log_snr")  # of all guidances


class Told(Guided, Protocol):
    """What is told of a record."""

    @property
    def guidances(self) -> tuple[float, ...]:
        """Measured in all."""
        ...

    @property
    def members(self) -> tuple[Told, ...]:
        """One for each guidance."""
        ...


def facts(statistics: Told) -> dict[str, Any]:
    """What is known of a record, in plain JSON types; the keys are those above."""
    shared = {name: statistics.curves[name].tolist() for name in COMMON}
    return {
        "num_times": len(shared["timesteps"]),
        "guidances": list(statistics.guidances),
        "guidance_scale": statistics.origin.guidance_scale,
        **shared,
        "members": [_member(one) for one in statistics.members],
    }


def as_json(statistics: Told) -> str:
    """`facts` as a text of one line, in ASCII."""
    return json.dumps(facts(statistics), allow_nan=False)


def _member(one: Told) -> dict[str, Any]:
    curves = {name: None if values is None else values.tolist() for name, values in _own_curves(one).items()}
    return {
        "origin": one.origin.as_dict(),
        **curves,
        "costs": {name: _cost(cost) for name, cost in one.costs.items()},
        "trials": None if one.trials is None else _trials(one.trials),
    }


def _own_curves(one: Told) -> dict[str, NDArray[Any] | None]:
    return {name: one.curves.get(name) for name in layout.DTYPES if name not in COMMON}


def _cost(cost: LocalCost) -> dict[str, Any]:
    length = float(np.sum(cost.values ** (1.0 / cost.order)))
    return {
        "values": cost.values.tolist(),
        "error": cost.error.tolist(),
        "order": cost.order,
        "num_samples": cost.num_samples,
        "path_length": length,
        "relative_error": cost.uncertainty if length > 0.0 else None,
    }


def _trials(trials: Trials) -> dict[str, Any]:
    recipes = [
        {
            "name": str(recipe),
            "options": recipe.as_dict(),
            **{name: getattr(trials, name)[place].tolist() for name in TABLES},
        }
        for place, recipe in enumerate(trials.recipes)
    ]
    best = [trials.best(calls) for calls in trials.calls]
    return {
        "calls": list(trials.calls),
        "num_samples": trials.num_samples,
        "recipes": recipes,
        "best": [None if one is None else trials.recipes.index(one) for one in best],
    }
