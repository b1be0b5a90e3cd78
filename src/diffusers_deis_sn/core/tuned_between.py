"""A run of N calls from runs of fewer and of more that were fitted to a model.

A run of n calls is a function of the share u of its way. Times: the logarithm of n times the gap at u, read off at the
N places of the new run, is linear between the two; so is the first time. Weights: what was fitted is how those of step
n on output n - j differ from the weights of a formula over the same times. These differences, by u and by j, are read
off likewise and added to the weights of that formula over the new times, which are exact there.

Differences are not those of a run that was fitted for N calls: three quarters of them measured best on the networks of
the suite that decide, between 6 and 8 and between 8 and 10 calls. Between numbers that are further apart than 4 : 3
runs came out no better than without a plan, so there is none (docs/tuning.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import StatisticsError

FITTED = 0.75  # share of what was fitted
APART = 4.0 / 3.0  # ratio of numbers of calls
Exact = Callable[[Array], Tuned]
"""The weights of a formula over levels, of data in one band."""


def run_between(
    low: Tuned, high: Tuned, calls: int, process: NoiseSchedule, exact: Exact, fitted: float = FITTED
) -> Tuned:
    """A run of so many calls; `low` or `high` itself where it has as many.

    Args:
        low: A run of fewer calls, of data.
        high: One of more.
        calls: How many there are to be.
        process: Of both.
        exact: The weights that hold where nothing is fitted.
        fitted: Share of the fitted differences.

    Raises:
        StatisticsError: Runs that have no between: too far apart, not around this number, or of other integrands,
            shifts, ends or times that are told.
        TimestepsError: Times that are too near to one another for whole ones.
    """
    for one in (low, high):
        if len(one) == calls:
            return one
    _check(low, high, calls)
    share = float(np.log(calls / len(low)) / np.log(len(high) / len(low)))
    rho = levels_between(low, high, calls, process, share)
    base = exact(rho)
    transfer, weights, bands = base.transfer.copy(), base.weights.copy(), np.zeros_like(base.weights)
    for one, part in ((low, fitted * (1.0 - share)), (high, fitted * share)):
        formula = exact(one.rho)
        transfer += part * _along(one.transfer - formula.transfer, calls)
        weights += part * _rows(one.weights - formula.weights, calls)
        bands += 0.0 if one.low is None else part * _rows(one.low, calls)
    two = low.low is not None or high.low is not None
    return replace(base, transfer=transfer, weights=weights, low=bands if two else None, shift=low.shift)


def levels_between(low: Tuned, high: Tuned, calls: int, process: NoiseSchedule, share: float) -> Array:
    """The levels of so many calls at a share of the way from one run to the other; (N + 1,)."""
    one, two = (process.progress(each.rho[:-1]) for each in (low, high))
    gaps = np.exp((1.0 - share) * _log_gaps(one, calls) + share * _log_gaps(two, calls))
    tau = np.cumsum(gaps[::-1])[::-1]
    tau *= ((1.0 - share) * one[0] + share * two[0]) / tau[0]
    return process.whole(np.append(process.level(tau), low.rho[-1]))


def _check(low: Tuned, high: Tuned, calls: int) -> None:
    if not len(low) < calls < len(high) or len(high) > APART * len(low):
        raise StatisticsError(f"Plans of {len(low)} and {len(high)} calls give none of {calls} in between.")
    facts = [(one.of, one.shift, float(one.rho[-1])) for one in (low, high)]
    if facts[0] != facts[1] or low.of != "data" or any(not np.array_equal(o.told, o.times) for o in (low, high)):
        raise StatisticsError("Only plans of predicted data with the same shift and end are interpolated.")


def _log_gaps(tau: Array, calls: int) -> Array:
    """Logarithms of what lies between neighbouring times, and below the last, of a run with another number of calls."""
    gaps, own = tau - np.append(tau[1:], 0.0), len(tau)
    return np.interp(_middles(calls), _middles(own), np.log(own * gaps)) - np.log(calls)


def _middles(calls: int) -> Array:
    return (np.arange(calls) + 0.5) / calls


def _along(values: Array, calls: int) -> Array:
    """Values of each step, read off at the steps of another number of calls."""
    return np.interp(np.linspace(0.0, 1.0, calls), np.linspace(0.0, 1.0, len(values)), values)


def _rows(weights: Array, calls: int) -> Array:
    """`weights[n, j]` likewise, each j for itself; zero where there is no such output."""
    rows = np.zeros((calls, calls))
    for j in range(min(len(weights), calls)):
        rows[:, j] = _along(weights[:, j], calls)
    return np.tril(rows)
