"""Learned schedules as plain lists, for every program that takes one.

A run of N steps has N network calls, at rho_0 > ... > rho_{N-1}, and ends at rho_N: zero, or the cleanest measured
level. Numbers are rho = sigma / alpha, the `sigmas` of Diffusers, k-diffusion and all that is built on it, with seven
digits and never an exponent: ComfyUI reads "3e-05" as the two numbers 3 and -5.

"diffusers"  `timesteps = [...]`, N of them, and `sigmas = [..., 0.0]`, N + 1: two Python lists, of which a pipeline's
             call takes the one its scheduler knows (DPM++: whole distinct times; Euler and this package's: either; to
             the end "sigma_min" this package's take the times, for they add an end to sigmas).
"comfyui"    N + 1 numbers between commas, for the node ManualSigmas, which takes them as they are.
"a1111"      N numbers in brackets, for the scheduler "custom" of the extension webUI_ExtraSchedulers, for AUTOMATIC1111
             and Forge. The final zero is left out: they append it, as to their own list for Align Your Steps. Set their
             "Sampling steps" to N; at any other number they interpolate the list in log sigma.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.grids import FINAL_SIGMAS
from diffusers_deis_sn.core.vp import distinct_times
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from diffusers_deis_sn.learn.path import Array, SchedulePath, velocity_factor
from diffusers_deis_sn.statistics.cost import LocalCost, preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

FORMATS = ("diffusers", "comfyui", "a1111")
LABELS: tuple[Callable[[Array], Array], ...] = (lambda log_rho: 0.25 * log_rho, np.exp)  # log(sigma) / 4, and sigma
DIGITS = 7  # what float32, in which all of these programs hold their sigmas, can tell apart


def learned_levels(
    statistics: ScoreStatistics, steps: int, cost: str | None = None, velocity: str = "sigma", final: str = "zero"
) -> Array:
    """Levels of a run whose steps have equal cost; (N + 1,), falling.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls N, at least 1.
        cost: "solver", "corrector" or "predictor"; `preferred_cost` of those in the record if None.
        velocity: v of the cost, a name of `learn.path.VELOCITIES`.
        final: Where the run ends: "sigma_min", the cleanest measured level, or "zero", where the last step goes on from
            there. The calls are the same.

    Raises:
        TimestepsError: No step.
        ConfigurationError: Unknown `final`.
        MissingCostError: The cost is not in the record.
        ScheduleError: Costs that are no path, or an unknown velocity.
    """
    if type(steps) is not int or steps < 1:
        raise TimestepsError(f"The number of steps must be a whole number of at least 1, got {steps!r}.")
    if final not in FINAL_SIGMAS:
        raise ConfigurationError(f"The end of a run must be one of {', '.join(FINAL_SIGMAS)}, got {final!r}.")
    path = SchedulePath.of(statistics, cost or preferred_cost(statistics.costs, velocity), velocity)
    return path.run(steps, end=0.0 if final == "zero" else float(path.levels[0]))


def call_times(statistics: ScoreStatistics, levels: ArrayLike) -> Array:
    """What the network of these statistics is called with at noise levels; same shape.

    A function of sigma where the measured times are one; else a monotone cubic of log rho through them. Beyond the
    measured levels the nearest of them.

    Args:
        statistics: The record.
        levels: rho, positive.
    """
    known = statistics.log_rho
    log_rho = np.clip(np.log(levels), known[0], known[-1])
    label = _label(statistics)
    if label is not None:
        return np.asarray(label(log_rho))
    from scipy.interpolate import PchipInterpolator  # a second to import

    return np.asarray(PchipInterpolator(known, statistics.timesteps)(log_rho))


def whole_call_times(statistics: ScoreStatistics, levels: ArrayLike) -> Array:
    """The nearest distinct whole training times of a run's calls; (N,) for levels (N + 1,), falling.

    Args:
        statistics: A record over training times 0, 1, ...
        levels: rho_0 > ... > rho_N; the last is the end and no call.

    Raises:
        TimestepsError: More calls than there are whole times in the measured range.
    """
    row = np.asarray(levels, dtype=np.float64)
    times = call_times(statistics, row[:-1])
    lowest, highest = int(np.ceil(statistics.timesteps[0])), int(np.floor(statistics.timesteps[-1]))
    if row[-1] > 0.0:  # the run ends at a level of its own, which a call there would not move
        lowest = max(lowest, int(np.floor(call_times(statistics, row[-1]))) + 1)
    return distinct_times(np.round(times), lowest, highest)


def in_whole_times(statistics: ScoreStatistics) -> bool:
    """Whether the network is called with an index of its noise table, and not with a function of sigma."""
    return _label(statistics) is None


def _label(statistics: ScoreStatistics) -> Callable[[Array], Array] | None:
    """The function of log rho that the measured times are; None for the times of a table."""
    known = statistics.log_rho
    for label in LABELS:
        if np.allclose(statistics.timesteps, label(known), rtol=1e-5, atol=1e-5):
            return label
    return None


def schedule_text(
    statistics: ScoreStatistics,
    steps: int,
    form: str = "diffusers",
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
) -> str:
    """A learned schedule in the form that a program takes; no line break last.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls.
        form: One of `FORMATS`.
        cost: As in `learned_levels`, and so the two below.
        velocity: v of the cost.
        final: Where the run ends.

    Raises:
        ConfigurationError: Unknown `form` or `final`; "a1111" with an end other than zero.
        TimestepsError: No step; for "diffusers" more steps than there are whole times to call.
        MissingCostError: The cost is not in the record.
        ScheduleError: As `learned_levels`.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"The format of a schedule must be one of {', '.join(FORMATS)}, got {form!r}.")
    levels = learned_levels(statistics, steps, cost, velocity, final)
    if form == "comfyui":
        return _numbers(levels)
    if form == "a1111":
        if final != "zero":
            raise ConfigurationError(
                f"AUTOMATIC1111 and Forge end every run at zero, and the end is {final!r}. Use 'zero', or another "
                "format."
            )
        return f"[{_numbers(levels[:-1])}]"
    if in_whole_times(statistics):
        times = ", ".join(str(int(time)) for time in whole_call_times(statistics, levels))
    else:
        times = _numbers(call_times(statistics, levels[:-1]))
    return f"timesteps = [{times}]\nsigmas = [{_numbers(levels)}]"


def schedule_summary(statistics: ScoreStatistics, steps: int, cost: str | None = None, velocity: str = "sigma") -> str:
    """One line: how long the path is, how well that is known, the energy of its steps, and where that comes from.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls.
        cost: Name of the cost.
        velocity: v of the cost.

    Raises:
        MissingCostError: The cost is not in the record.
        ScheduleError: As `learned_levels`.
    """
    cost = cost or preferred_cost(statistics.costs, velocity)
    path, local = SchedulePath.of(statistics, cost, velocity), cost_with_velocity(statistics, cost, velocity)
    energy = path.energy(path.partition(steps))
    calls = "1 call" if steps == 1 else f"{steps} calls"
    return (
        f"{calls} along a path of length {path.path_length:.4g} ± {local.uncertainty:.1%}, energy {energy:.4g}: {cost} "
        f"cost, v = {velocity}, {local.num_samples} samples of {statistics.origin.base_model or 'an unknown model'}"
    )


def cost_with_velocity(statistics: ScoreStatistics, cost: str, velocity: str = "sigma") -> LocalCost:
    """A measured cost as another velocity would have made it: times (v / sigma)^2 at the level entered.

    Raises:
        MissingCostError: The cost is not in the record.
        ScheduleError: An unknown velocity.
    """
    local, factor = statistics.cost(cost), velocity_factor(np.exp(statistics.log_rho[:-1]), velocity)
    if cost == "solver":  # which knows none
        return local
    return replace(local, values=factor * local.values, error=factor * local.error)


def _numbers(values: Array) -> str:
    """Numbers between commas, each with a point and without an exponent."""
    looks: dict[str, Any] = {"precision": DIGITS, "fractional": False, "trim": "0"}
    return ", ".join(np.format_float_positional(value, **looks) for value in values)
