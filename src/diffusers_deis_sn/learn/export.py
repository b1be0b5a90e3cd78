"""Learned schedules as plain lists, for every program that takes one.

A run of N steps has N network calls, at rho_0 > ... > rho_{N-1}, and ends at rho_N: zero, or the cleanest measured
level. Numbers are the `sigmas` of Diffusers, k-diffusion and all that is built on it: rho = sigma / alpha, but sigma
itself, one for noise alone, of flow-matching models. They have seven digits and never an exponent: ComfyUI reads
"3e-05" as the two numbers 3 and -5.

"diffusers"  `timesteps = [...]`, N of them, and `sigmas = [..., 0.0]`, N + 1: two Python lists, of which a pipeline's
             call takes the one its scheduler knows (DPM++: whole distinct times; Euler and this package's: either; to
             the end "sigma_min" this package's take the times, for they add an end to sigmas). Of a flow-matching model
             the zero is left out, which its schedulers append; and they shift what they are given, while these are the
             levels of the calls: give the scheduler shift=1.
"comfyui"    N + 1 numbers between commas, for the node ManualSigmas, which takes them as they are.
"a1111"      N numbers in brackets, for the scheduler "custom" of the extension webUI_ExtraSchedulers, for AUTOMATIC1111
             and Forge. The final zero is left out: they append it, as to their own list for Align Your Steps. Set their
             "Sampling steps" to N; at any other number they interpolate the list in log sigma.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from diffusers_deis_sn.core.grids import FINAL_SIGMAS
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from diffusers_deis_sn.learn import measured
from diffusers_deis_sn.learn.grid import PATH_TOP, learned_path
from diffusers_deis_sn.learn.path import Array, SchedulePath, velocity_factor
from diffusers_deis_sn.statistics.cost import LocalCost, preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

FORMATS = ("diffusers", "comfyui", "a1111")
DIGITS = 7  # what float32, in which all of these programs hold their sigmas, can tell apart


def learned_levels(
    statistics: ScoreStatistics,
    steps: int,
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
    spread: float | None = None,
) -> Array:
    """Levels rho of a run whose steps have equal cost, those of `ScoreOptimalScheduler`; (N + 1,), falling.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls N, at least 1.
        cost: "solver", "corrector" or "predictor"; `preferred_cost` of those in the record if None.
        velocity: v of the cost, a name of `learn.path.VELOCITIES`.
        final: Where the run ends: "sigma_min", the cleanest measured level, or "zero", where the last step goes on from
            there. The calls are the same.
        spread: Share of the path that is spread evenly over time, see `learn.grid.EqualCost`.

    Raises:
        TimestepsError: No step.
        ConfigurationError: Unknown `final`.
        MissingCostError: The cost is not in the record.
        ScheduleError: Costs that are no path, an unknown velocity, or a share that is none.
    """
    if type(steps) is not int or steps < 1:
        raise TimestepsError(f"The number of steps must be a whole number of at least 1, got {steps!r}.")
    if final not in FINAL_SIGMAS:
        raise ConfigurationError(f"The end of a run must be one of {', '.join(FINAL_SIGMAS)}, got {final!r}.")
    path = learned_path(statistics, measured.progress(statistics), cost, velocity, spread)
    top = float(path.levels[-1])
    start = min(top, PATH_TOP) if measured.starts_from_noise(statistics) else top
    levels = path.run(steps, start, 0.0 if final == "zero" else float(path.levels[0]))
    levels[0] = top
    return levels


def schedule_text(
    statistics: ScoreStatistics,
    steps: int,
    form: str = "diffusers",
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
    spread: float | None = None,
) -> str:
    """A learned schedule in the form that a program takes; no line break last.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls.
        form: One of `FORMATS`.
        cost: As in `learned_levels`, and so the three below.
        velocity: v of the cost.
        final: Where the run ends.
        spread: Share that is spread evenly.

    Raises:
        ConfigurationError: Unknown `form` or `final`; "a1111" with an end other than zero.
        TimestepsError: No step; for "diffusers" more steps than there are whole times to call.
        MissingCostError: The cost is not in the record.
        ScheduleError: As `learned_levels`.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"The format of a schedule must be one of {', '.join(FORMATS)}, got {form!r}.")
    levels = learned_levels(statistics, steps, cost, velocity, final, spread)
    sigmas = measured.as_sigma(statistics, levels)
    if form == "comfyui":
        return _numbers(sigmas)
    if form == "a1111":
        if final != "zero":
            raise ConfigurationError(
                f"AUTOMATIC1111 and Forge end every run at zero, and the end is {final!r}. Use 'zero', or another "
                "format."
            )
        return f"[{_numbers(sigmas[:-1])}]"
    if measured.in_whole_times(statistics):
        times = ", ".join(str(int(time)) for time in measured.whole_call_times(statistics, levels))
    else:
        times = _numbers(measured.call_times(statistics, levels[:-1]))
    if measured.path_of(statistics) == "flow":
        sigmas = sigmas[:-1]
    return f"timesteps = [{times}]\nsigmas = [{_numbers(sigmas)}]"


def schedule_summary(
    statistics: ScoreStatistics,
    steps: int,
    cost: str | None = None,
    velocity: str = "sigma",
    spread: float | None = None,
) -> str:
    """One line: how long the path is, how well that is known, the energy of its steps, and where that comes from.

    The energy is that of the path itself; a share that is spread evenly has its price.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls.
        cost: Name of the cost.
        velocity: v of the cost.
        spread: Share that is spread evenly.

    Raises:
        MissingCostError: The cost is not in the record.
        ScheduleError: As `learned_levels`.
    """
    cost = cost or preferred_cost(statistics.costs, velocity)
    path, local = SchedulePath.of(statistics, cost, velocity), cost_with_velocity(statistics, cost, velocity)
    energy = path.energy(learned_levels(statistics, steps, cost, velocity, "sigma_min", spread))
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
