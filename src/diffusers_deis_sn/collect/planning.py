"""How runs are planned that measure, and runs that methods are tried in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from diffusers_deis_sn.collect.probing import ProbeGroup
from diffusers_deis_sn.core.plan import Plan, make_plan
from diffusers_deis_sn.core.process import SNAP, Array, NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.schedulers._given import Request
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.schedulers._planner import Planner

WIDEST = 3.0  # ratio of neighbouring levels between which a cost is still local: its length is then a fifth too long


class RecordingPlanner(Planner):
    """Plans the runs of a recording: with a call at the cleanest level, and calls for probes."""

    costs: tuple[str, ...] = ()
    fine = False

    def levels(self, recipe: Recipe, options: Options, shift: float, request: Request) -> Array:
        """The levels asked for, and one more call at the cleanest level of training.

        There r falls fastest, and a grid that is uniform in time stops short of it: below the last measured time r is
        held flat, which would cost the last step of every run more than all other steps together. Where costs are
        measured, further levels are put in where neighbours are too far apart for a cost to be local.

        Raises:
            CalibrationError: The pipeline calls its network at times that are not those of its sigmas.
        """
        if request.labelled:
            raise CalibrationError(
                "This pipeline calls its network at times that are not those of its sigmas, and statistics are written "
                "against times. They cannot be measured through it."
            )
        levels, process = super().levels(recipe, options, shift, request), recipe.process
        if levels[-1] == 0.0 and levels[-2] > process.bottom * (1.0 + 1e-6):
            levels = np.insert(levels, -1, process.bottom)
        return _refined(process, levels) if self.fine else levels

    def plan(self, recipe: Recipe, levels: Array) -> Plan:
        """The run through these levels, with all probe steps but after the last: nothing is entered from there."""
        calls, needs = ProbeGroup(self.costs).calls(levels)
        return make_plan(recipe.process, recipe.table(levels), recipe.prediction, recipe.solver.of, calls, needs)


class TryingPlanner(Planner):
    """Plans at distinct whole times, as methods are followed; and not where no scheduler chooses the times."""

    def chooses_grid(self, request: Request) -> bool:
        """Always: a grid is what is tried, also that of the options' defaults."""
        return True

    def levels(self, recipe: Recipe, options: Options, shift: float, request: Request) -> Array:
        """As ever. Raises CalibrationError for times by hand: such runs follow no method later either."""
        if request.given:
            raise CalibrationError("The pipeline chooses its times itself.")
        return recipe.process.whole(super().levels(recipe, options, shift, request))


def _refined(noise: NoiseSchedule, levels: Array) -> Array:
    """The levels, and others between neighbours more than `WIDEST` apart, as far as there are any."""
    calls = levels[:-1]
    more = np.concatenate([np.zeros(0), *(_between(noise, *pair) for pair in pairwise(calls.tolist()))])
    if not len(more):
        return levels
    return _refined(noise, np.append(np.unique(np.append(calls, more))[::-1], levels[-1]))


def _between(noise: NoiseSchedule, high: float, low: float) -> Array:
    """Levels that divide an interval evenly in log rho into parts of `WIDEST` at most; at whole times if any."""
    parts = int(np.ceil(np.log(high / low) / np.log(WIDEST) - 1e-6))
    inner = np.geomspace(high, low, parts + 1)[1:-1]
    if not noise.numbered or not len(inner):
        return inner
    first, last = np.floor(noise.time(low) + SNAP) + 1.0, np.ceil(noise.time(high) - SNAP) - 1.0
    return noise.rho(np.unique(np.clip(np.round(noise.time(inner)), first, last))) if first <= last else np.zeros(0)
