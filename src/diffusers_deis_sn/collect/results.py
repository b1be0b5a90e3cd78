"""From what a recording took down to score statistics."""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.collect.bends import solver_cost
from diffusers_deis_sn.collect.ledger import Ledger
from diffusers_deis_sn.core.process import NoiseSchedule, log_snr
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics

HALF_NORMAL = (2.0 / np.pi) ** 0.5  # mean magnitude of a normal number of deviation one


def statistics_of(ledger: Ledger, noise: NoiseSchedule, origin: StatisticsOrigin) -> ScoreStatistics:
    """What was measured up to now; times that no run visited are left out.

    Args:
        ledger: What was taken down.
        noise: The process of the model.
        origin: For the record.

    Raises:
        CalibrationError: Fewer than two times were visited by at least two samples; or a cost not between all of them.
    """
    reducer = ledger.moments
    visited = _visited(ledger)
    if len(visited) < 2:
        raise CalibrationError(
            f"Too little to measure: {ledger.num_samples} samples at {np.count_nonzero(reducer.count)} times, and at "
            "least two samples at two times are needed. Did the pipeline call its scheduler?"
        )
    times = np.array(ledger.times)[visited]
    means, errors = reducer.mean[:, visited], reducer.standard_error[:, visited]
    return ScoreStatistics(
        timesteps=times,
        log_snr=log_snr(noise.rho(times)),
        mean_abs=means[0],
        mean_abs_error=errors[0],
        mean_square=means[1],
        mean_square_error=errors[1],
        mean_abs_data=means[2],
        mean_abs_data_error=errors[2],
        num_samples=reducer.count[visited],
        origin=origin,
        costs={name: _cost(ledger, name, visited) for name in ledger.costs} | _solver_cost(ledger, noise, visited),
    )


def uncertainty_of(ledger: Ledger, name: str) -> float:
    """Relative standard error of the length that a cost gives the path so far; infinite where nothing is known.

    Args:
        ledger: What was taken down.
        name: Of the cost.
    """
    reducer = ledger.costs.get(name)
    if reducer is None or reducer.count.max() < 2:
        return float("inf")
    return _cost(ledger, name, _visited(ledger)).uncertainty


def _visited(ledger: Ledger) -> np.ndarray:
    """Which of the times at least two samples have seen, cleanest first."""
    return np.flatnonzero(ledger.moments.count >= 2)[::-1]


def _solver_cost(ledger: Ledger, noise: NoiseSchedule, visited: np.ndarray) -> dict[str, LocalCost]:
    """The cost that is seen along the trajectories, if there were any."""
    levels = noise.rho(np.array(ledger.times)[visited])
    reducer, entered = ledger.bends, visited[:-1]
    seen = reducer.count[entered] >= 2
    squares, errors = (np.where(seen, row[0, entered], np.nan) for row in (reducer.mean, reducer.standard_error))
    data_scale = float(ledger.moments.mean[2, visited[0]] / HALF_NORMAL)
    progress, count = noise.progress(levels), int(reducer.count.max())
    cost = solver_cost(squares, errors, levels, progress, data_scale, count)
    return {} if cost is None else {"solver": cost}


def _cost(ledger: Ledger, name: str, visited: np.ndarray) -> LocalCost:
    """A cost of the intervals between the visited times, cleanest first."""
    reducer = ledger.costs[name]
    left = visited[1:]  # the step from each time but the cleanest
    if np.any(np.diff(visited) != -1) or np.any(reducer.count[left] < 2):
        raise CalibrationError(
            f"The {name} cost was not measured between all visited times. Call the pipeline with one "
            "`num_inference_steps` and one `strength`, to the end of each run."
        )
    return LocalCost(
        values=np.maximum(reducer.mean[0, left], 0.0),  # an estimate without bias may fall below
        error=reducer.standard_error[0, left],
        order=COST_ORDERS[name],
        num_samples=int(reducer.count[left].max()),
    )
