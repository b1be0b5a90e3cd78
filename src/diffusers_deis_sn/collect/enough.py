"""Whether enough samples were measured: how far runs of few steps would move within the standard errors.

r enters a run by its integrals alone, and the learned grid by the shares of a path's length. So it is not the error of
r that counts, but what it does to the coefficients of the runs that are made with it.
"""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.core.coefficients import starts_from_noise
from diffusers_deis_sn.core.grids import Ends, Power
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.statistics.record import ScoreStatistics

STEPS = (5, 8, 12, 20)
SOLVER = Multistep(2, corrector=Corrector(4, gain=0.375))  # the form that r matters most to, as it is tried
DRAWS = 12  # of r within its standard errors
ENOUGH = 0.03  # change of a coefficient that makes no run worse, on any network of the suite (benchmarks/calibration)
POOR = 0.1  # and one that is not


def plan_change(statistics: ScoreStatistics, process: NoiseSchedule) -> float:
    """How far a coefficient of a run of 5 to 20 steps moves if r moves by its standard errors; infinite if unknown.

    The largest change in each step over its largest coefficient, its root mean square over draws of r, at the step and
    number of steps where that is largest. Errors at different times are drawn independently: a factor that all have in
    common changes no run, and neighbours of one trajectory err alike, so this is on the safe side.

    Args:
        statistics: With standard errors of `mean_abs`.
        process: Of the model.
    """
    error = statistics.mean_abs_error
    if error is None or not np.all(np.isfinite(error)):
        return float("inf")
    rng, changes = np.random.default_rng(0), []
    factors = 1.0 + rng.standard_normal((DRAWS, len(error))) * (error / statistics.mean_abs)
    for steps in STEPS:
        levels = Power("t", 2.0).levels(process, steps, Ends(start=_start(process)))
        exact = _weights(statistics, process, levels, np.ones(len(error)))
        size = np.abs(exact).max(axis=1)
        moved = [
            np.abs(_weights(statistics, process, levels, np.maximum(row, 0.1)) - exact).max(axis=1) for row in factors
        ]
        changes.append(np.max(np.sqrt(np.mean(np.square(moved), axis=0)) / size))
    return float(max(changes))


def path_change(statistics: ScoreStatistics) -> float:
    """Relative standard error of the length of the path that learned grids share; zero where there is none."""
    solver = statistics.costs.get("solver")
    return 0.0 if solver is None else solver.uncertainty


def samples_for(change: float, samples: int, wanted: float = ENOUGH) -> int:
    """How many samples may bring a change down to what is wanted: it falls with the root of their number."""
    return int(np.ceil(samples * (change / wanted) ** 2))


def _start(process: NoiseSchedule) -> float:
    """Below noise alone, where a step has no coefficients of its own kind."""
    return 0.98 if starts_from_noise(process, np.array([process.top])) else 1.0


def _weights(statistics: ScoreStatistics, process: NoiseSchedule, levels: Array, factor: Array) -> Array:
    """Coefficients of each step, all outputs at hand; (N, k)."""
    scale = Normaliser(statistics.timesteps, statistics.mean_abs * factor)
    table = SOLVER.table(process, scale, levels)
    return np.asarray(table.weights[-1])
