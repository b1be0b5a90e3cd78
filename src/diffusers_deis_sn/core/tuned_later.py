"""Runs that begin half-way, as `strength` has them, inside the times of runs that were fitted to a model.

A plan's times are a function of the share u of its calls, tau(u), linear between them and zero at u = 1. A run of n
calls from tau_s takes what is left of that way, from the share u_s where tau(u_s) = tau_s, at n equal steps of u. Where
there are several plans, of other numbers of calls, the gaps between times are the geometric means of what each says:
times of one plan alone are uneven by chance.

Weights are exact ones over these times, not the plans': those are of runs that have seen the whole way, and were many
times worse where it is cut. With fewer than six calls such times were worse than those without plans on some networks
(docs/tuning.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffusers_deis_sn.core.grids import Given
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.table import MOST_TUNED
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import TimestepsError

FEWEST = 6  # calls
STRETCH = 2.5  # the most calls for each of the plan's own below the start


@dataclass(frozen=True, eq=False)
class Inside(Given):
    """Levels of a run whose later part lies inside the times of a plan."""


def levels_inside(
    runs: Sequence[Tuned],
    start: float,
    calls: int,
    process: NoiseSchedule,
    fewest: int = FEWEST,
    stretch: float = STRETCH,
) -> Array | None:
    """The levels of a run to clean data that begins at a level, inside the times of plans.

    Args:
        runs: Plans of the model, for the guidance in use.
        start: rho of the first call.
        calls: How many there are, n.
        process: Of the model.
        fewest: Calls that it has at least.
        stretch: How many it has at most for each call that the longest plan has there.

    Returns:
        None where the plans tell none: too few or too many calls, no plan, or no room for so many whole times. (n + 1,)
    """
    if not fewest <= calls <= MOST_TUNED or not runs:
        return None
    top = float(process.progress(start))
    if calls > stretch * max(len(one) * (1.0 - _above(one, top, process)) for one in runs) * (1.0 + 1e-9):
        return None
    gaps = np.exp(np.mean([np.log(_gaps(one, top, calls, process)) for one in runs], axis=0))
    tau = np.cumsum(gaps[::-1])[::-1]
    rho = process.level(tau * (top / tau[0]))
    rho[0] = start
    try:
        levels = process.whole(np.append(rho, runs[0].rho[-1]))
    except TimestepsError:
        return None
    sound = levels[0] == start and np.all(np.diff(levels) < 0.0)
    return levels if sound else None


def _gaps(run: Tuned, top: float, calls: int, process: NoiseSchedule) -> Array:
    """What lies between neighbouring times, and below the last, of so many calls of a plan's way; (n,)."""
    first = _above(run, top, process)
    tau = np.interp(first + (1.0 - first) * np.linspace(0.0, 1.0, calls + 1), *_way(run, process))
    return tau[:-1] - tau[1:]


def _way(run: Tuned, process: NoiseSchedule) -> tuple[Array, Array]:
    """Shares u of the calls, and tau there, down to clean data; (N + 1,) each."""
    return np.linspace(0.0, 1.0, len(run) + 1), np.append(process.progress(run.rho[:-1]), 0.0)


def _above(run: Tuned, top: float, process: NoiseSchedule) -> float:
    """The share of the calls that lies above tau = `top`, below one."""
    shares, tau = _way(run, process)
    return float(np.interp(-top, -tau, shares))
