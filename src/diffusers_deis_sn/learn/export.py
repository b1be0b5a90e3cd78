"""Learned schedules as plain lists, for every program that takes one.

A run of N steps has N network calls, at rho_0 > ... > rho_{N-1}, and ends at rho_N: zero, or the cleanest measured
level. Numbers are the `sigmas` of Diffusers, k-diffusion and all that is built on it: rho = sigma / alpha, but sigma
itself, one for noise alone, of flow-matching models. They have seven digits and never an exponent: ComfyUI reads
"3e-05" as the two numbers 3 and -5.

"diffusers"  `timesteps = [...]`, N of them, and `sigmas = [..., 0.0]`, N + 1: two Python lists, of which a pipeline's
             call takes the one its scheduler knows (DPM++: whole distinct times; Euler and this package's: either; to
             the end "sigma_min" this package's take the times, for they add an end to sigmas; times know no other end,
             so that a run to a level above zero has sigmas alone). Of a flow-matching model
             the zero is left out, which its schedulers append; and they shift what they are given, while these are the
             levels of the calls: give the scheduler shift=1.
"comfyui"    N + 1 numbers between commas, for the node ManualSigmas, which takes them as they are.
"a1111"      N numbers in brackets, for the scheduler "custom" of the extension webUI_ExtraSchedulers, for AUTOMATIC1111
             and Forge. The final zero is left out: they append it, as to their own list for Align Your Steps. Set their
             "Sampling steps" to N; at any other number they interpolate the list in log sigma.
"json"       One object with all of it and how it was made, for programs; its keys are those of `schedule_facts`.
"csv"        A table with the columns call, timestep, sigma and rho, one row for each call and one for the end.

`learned_sigmas` gives the same sigmas to Python.
"""

from __future__ import annotations

import json
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.flow import check_shift
from diffusers_deis_sn.core.grids import FINAL_SIGMAS
from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import checked, is_whole
from diffusers_deis_sn.errors import ConfigurationError, StatisticsError, TimestepsError
from diffusers_deis_sn.learn import measured
from diffusers_deis_sn.learn.grid import PATH_TOP, default_spread, learned_path
from diffusers_deis_sn.learn.part import Part, check_steps
from diffusers_deis_sn.learn.path import SchedulePath, velocity_factor
from diffusers_deis_sn.statistics.cost import LocalCost, preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

FORMATS = ("diffusers", "comfyui", "a1111", "json", "csv")
DIGITS = 7  # what float32, in which all of these programs hold their sigmas, can tell apart
WHOLE = Part()


@checked(ConfigurationError, steps=TimestepsError, stats=StatisticsError)
def learned_sigmas(
    stats: ScoreStatistics | str | PathLike[str],
    steps: int,
    *,
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
    spread: float | None = None,
    start: float = 1.0,
    end: float | None = None,
    denoise: float = 1.0,
    guidance_scale: float | None = None,
    shift: float = 1.0,
    **hub_options: Any,
) -> Array:
    """Sigmas of a learned schedule, for any program that takes a list of them.

        sigmas = learned_sigmas("my-statistics", 10)
        pipe(prompt, sigmas=sigmas)  # with a scheduler that takes them; of flows with its shift=, and sigmas[:-1]

    Args:
        stats: Statistics, a file, a folder or a Hub name.
        steps: Number of network calls N, at least 1.
        cost: "solver", "corrector" or "predictor"; if None, the first of these that the statistics have.
        velocity: v of the cost: "sigma", "vp_sigma" or "unit", see `EqualCost`.
        final: Where the run ends: "zero", or "sigma_min", the cleanest measured level.
        spread: Share of the path that is spread evenly over time, see `EqualCost`.
        start: tau where the run starts; 1 is noise.
        end: tau where it ends; as `final` says if None.
        denoise: As in ComfyUI: the last `steps` of int(steps / denoise) steps.
        guidance_scale: Guidance scale of your runs, for statistics of several guidance scales.
        shift: For flow-matching models: the shift that your program applies to the list, as Diffusers' schedulers do;
            the result is the list before it. 1 for programs that use the list as it is.
        **hub_options: As for `ScoreStatistics.load`.

    Returns:
        As Diffusers, k-diffusion and ComfyUI have them: sigma / alpha, or sigma itself, from 1, of flow-matching
        models. Strictly falling; the network is called at all but the last; float64, (N + 1,).

    Raises:
        TimestepsError: No step.
        ConfigurationError: An unknown name, or a share out of range.
        MissingCostError: The cost is not in the statistics.
        ScheduleError: As `learned_levels`.
        StatisticsNotFoundError: No statistics there.

    Examples:
        >>> sigmas = learned_sigmas(statistics, 8)  # of `calibrate`, or a file, folder or Hub name
        >>> len(sigmas), float(sigmas[-1])
        (9, 0.0)

    References:
        https://arxiv.org/abs/2412.07877, theorem 3.1: steps of equal length along the path.
    """
    statistics = ScoreStatistics.load(stats, **hub_options).at(guidance_scale)
    levels = learned_levels(statistics, steps, cost, velocity, final, spread, Part(start, end, denoise))
    return measured.as_sigma(statistics, _before_shift(statistics, levels, shift))


def _before_shift(statistics: ScoreStatistics, levels: Array, shift: float) -> Array:
    """The levels that a flow's shift makes these of; (N + 1,).

    Raises:
        ConfigurationError: No positive number; or a shift of another process, which has none.
    """
    if shift == 1.0:
        return levels
    check_shift(shift, "exponential", None)
    if measured.path_of(statistics) != "flow":
        raise ConfigurationError(
            f"`shift` is that of flow-matching models, and these statistics are of a {measured.path_of(statistics)} "
            f"process, got {shift!r}. Leave it out."
        )
    # Noise alone is what it is; elsewhere rho becomes shift times rho.
    return np.where(measured.as_sigma(statistics, levels) >= 1.0, levels, levels / shift)


def own_spread(
    statistics: ScoreStatistics, steps: int, cost: str | None, velocity: str, spread: float | None, part: Part = WHOLE
) -> float | None:
    """The share that `ScoreOptimalScheduler` spreads evenly in runs of so many steps, where nobody says another.

    That of the method which it follows, where methods were tried on the model; None for that of the cost.
    """
    preferred = cost in (None, preferred_cost(statistics.costs, velocity)) and velocity == "sigma"
    if spread is not None or not preferred or part.denoise != 1.0 or not is_whole(steps, 1):
        return spread
    method = None if statistics.trials is None else statistics.trials.best(steps, True)
    return None if method is None else method.spread


@checked(ConfigurationError, steps=TimestepsError, statistics=StatisticsError)
def learned_levels(
    statistics: ScoreStatistics,
    steps: int,
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
    spread: float | None = None,
    part: Part = WHOLE,
) -> Array:
    """Levels rho of a run whose steps have equal cost, those of `ScoreOptimalScheduler`; (N + 1,), falling.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls N, at least 1.
        cost: "solver", "corrector" or "predictor"; `preferred_cost` of those in the record if None.
        velocity: v of the cost, a name of `learn.path.VELOCITIES`.
        final: Where the run ends: "sigma_min", the cleanest measured level, or "zero", where the last step goes on from
            there. The calls are the same.
        spread: Share of the path that is spread evenly over time, see `learn.grid.EqualCost`; as `own_spread` if None.
        part: Of the process, where the run is not the whole of it.

    Raises:
        TimestepsError: No step, or more than `learn.part.MOST`.
        ConfigurationError: Unknown `final`, or a part that starts below the cleanest measured level.
        MissingCostError: The cost is not in the record.
        ScheduleError: Costs that are no path, an unknown velocity, or a share that is none.
    """
    check_steps(steps)
    if final not in FINAL_SIGMAS:
        raise ConfigurationError(f"The end of a run must be one of {', '.join(FINAL_SIGMAS)}, got {final!r}.")
    spread = own_spread(statistics, steps, cost, velocity, spread, part)
    path = learned_path(statistics, measured.progress(statistics), cost, velocity, spread)
    first, bottom = measured.level(statistics, part.start), float(path.levels[0])
    last = (0.0 if final == "zero" else bottom) if part.end is None else measured.level(statistics, part.end)
    if first <= max(bottom, last):
        raise ConfigurationError(
            f"`start` must lie above the cleanest measured level, {bottom:.4g}, and the end of the run, {last:.4g}, "
            f"got {part.start:g}, the level {first:.4g}."
        )
    start = min(first, PATH_TOP) if measured.is_noise_alone(statistics, first) else first
    levels = path.run(part.total(steps), start, last)
    levels[0] = first
    return levels[-(steps + 1) :]


@checked(ConfigurationError, steps=TimestepsError, statistics=StatisticsError)
def schedule_text(
    statistics: ScoreStatistics,
    steps: int,
    form: str = "diffusers",
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
    spread: float | None = None,
    part: Part = WHOLE,
    shift: float = 1.0,
) -> str:
    """A learned schedule in the form that a program takes; no line break last.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls.
        form: One of `FORMATS`.
        cost: As in `learned_levels`, and so the four below.
        velocity: v of the cost.
        final: Where the run ends.
        spread: Share that is spread evenly.
        part: Of the process.
        shift: See `learned_sigmas`; for "diffusers" alone.

    Raises:
        ConfigurationError: Unknown `form` or `final`; an end other than zero, of "a1111" or of a flow in Diffusers; a
            part that is none; a shift for a program that takes levels as they are.
        TimestepsError: No step; for "diffusers" more steps than there are whole times to call.
        MissingCostError: The cost is not in the record.
        ScheduleError: As `learned_levels`.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"The format of a schedule must be one of {', '.join(FORMATS)}, got {form!r}.")
    levels = learned_levels(statistics, steps, cost, velocity, final, spread, part)
    sigmas = measured.as_sigma(statistics, levels)
    if shift != 1.0 and form != "diffusers":
        raise ConfigurationError(
            f"`shift` is for lists that a program shifts itself, as Diffusers does, and format {form!r} has the levels "
            f"as they are, got {shift!r}. Leave it out."
        )
    if form == "comfyui":
        return sigma_list(sigmas)
    flow = measured.path_of(statistics) == "flow"
    if levels[-1] > 0.0 and (form == "a1111" or (form == "diffusers" and flow)):
        program = "AUTOMATIC1111 and Forge" if form == "a1111" else "Flow-matching schedulers of Diffusers"
        raise ConfigurationError(
            f"{program} end every run at zero, and the `end` is {part.end if part.end else final!r}. Use 'zero', or "
            "another format."
        )
    if form == "a1111":
        return f"[{sigma_list(sigmas[:-1])}]"
    if form == "json":
        return json.dumps(schedule_facts(statistics, steps, cost, velocity, final, spread, part))
    times = _call_times(statistics, levels)
    if form == "csv":
        rows = zip([*times, ""], _decimals(sigmas), _decimals(levels), strict=True)
        return "\n".join(["call,timestep,sigma,rho", *(f"{n},{','.join(row)}" for n, row in enumerate(rows))])
    if shift != 1.0:  # of times alone Diffusers' schedulers would shift the levels and not the times
        return f"sigmas = [{sigma_list(measured.as_sigma(statistics, _before_shift(statistics, levels, shift))[:-1])}]"
    told = f"sigmas = [{sigma_list(sigmas[:-1] if flow else sigmas)}]"
    return told if part.end else f"timesteps = [{', '.join(times)}]\n{told}"


@checked(ConfigurationError, steps=TimestepsError, statistics=StatisticsError)
def schedule_facts(
    statistics: ScoreStatistics,
    steps: int,
    cost: str | None = None,
    velocity: str = "sigma",
    final: str = "zero",
    spread: float | None = None,
    part: Part = WHOLE,
) -> dict[str, Any]:
    """A learned schedule and how it was made, as JSON has it.

    Keys: `steps`; `sigmas`, N + 1 as other programs have them, and `levels`, the same as rho = sigma / alpha;
    `timesteps`, the N that the network is called with, whole ones if `whole_timesteps`; `process`, "vp", "ve" or
    "flow"; `cost`, `velocity`, `spread`, `final_sigmas_type`, `start`, `end` (null: as the one before says) and
    `denoise` as they were used; `path_length` of the cost, its `relative_error`, and `energy` of the run;
    `num_samples`; `base_model` and `guidance_scale` of the statistics, null where they are not known.

    Args:
        statistics: See `learned_levels`, likewise the others.
        steps: Number of network calls.
        cost: Name of the cost.
        velocity: v of the cost.
        final: Where the run ends.
        spread: Share that is spread evenly.
        part: Of the process.

    Raises:
        ConfigurationError: As `learned_levels`, and so the others.
        TimestepsError: No step, or more of them than there are whole times.
        MissingCostError: The cost is not in the record.
        ScheduleError: Costs that are no path.
    """
    cost = preferred_cost(statistics.costs, velocity) if cost is None else cost
    spread = own_spread(statistics, steps, cost, velocity, spread, part)
    levels = learned_levels(statistics, steps, cost, velocity, final, spread, part)
    local = cost_with_velocity(statistics, cost, velocity)
    whole = measured.in_whole_times(statistics)
    times = (measured.whole_call_times if whole else _fractional_times)(statistics, levels)
    return {
        "steps": steps,
        "sigmas": measured.as_sigma(statistics, levels).tolist(),
        "levels": levels.tolist(),
        "timesteps": [int(time) for time in times] if whole else times.tolist(),
        "whole_timesteps": whole,
        "process": measured.path_of(statistics),
        "cost": cost,
        "velocity": velocity,
        "spread": default_spread(cost) if spread is None else spread,
        "final_sigmas_type": final,
        "start": part.start,
        "end": part.end,
        "denoise": part.denoise,
        "path_length": SchedulePath.of(statistics, cost, velocity).path_length,
        "relative_error": local.uncertainty,
        "energy": _energy(statistics, cost, velocity, levels),
        "num_samples": local.num_samples,
        "base_model": statistics.origin.base_model,
        "guidance_scale": statistics.origin.guidance_scale,
    }


@checked(ConfigurationError, steps=TimestepsError, statistics=StatisticsError)
def schedule_summary(
    statistics: ScoreStatistics,
    steps: int,
    cost: str | None = None,
    velocity: str = "sigma",
    spread: float | None = None,
    part: Part = WHOLE,
) -> str:
    """One line: how long the path is, how well that is known, the energy of its steps, and where that comes from.

    The energy is that of the path itself; a share that is spread evenly has its price.

    Args:
        statistics: A record that has the cost.
        steps: Number of network calls.
        cost: Name of the cost.
        velocity: v of the cost.
        spread: Share that is spread evenly.
        part: Of the process.

    Raises:
        MissingCostError: The cost is not in the record.
        ConfigurationError: As `learned_levels`.
        ScheduleError: Likewise.
    """
    cost = preferred_cost(statistics.costs, velocity) if cost is None else cost
    path, local = SchedulePath.of(statistics, cost, velocity), cost_with_velocity(statistics, cost, velocity)
    energy = _energy(
        statistics, cost, velocity, learned_levels(statistics, steps, cost, velocity, "sigma_min", spread, part)
    )
    calls = "1 call" if steps == 1 else f"{steps} calls"
    calls += "" if part.whole else f", {part},"
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


def _energy(statistics: ScoreStatistics, cost: str, velocity: str, levels: Array) -> float:
    """That of the steps, up to the end of the path where they go beyond it."""
    path = SchedulePath.of(statistics, cost, velocity)
    return path.energy(np.maximum(levels, path.levels[0]))


def _fractional_times(statistics: ScoreStatistics, levels: Array) -> Array:
    """What the network is called with, of a continuum; (N,) for levels (N + 1,)."""
    return measured.call_times(statistics, levels[:-1])


def _call_times(statistics: ScoreStatistics, levels: Array) -> list[str]:
    """What the network is called with, as texts."""
    if measured.in_whole_times(statistics):
        return [str(int(time)) for time in measured.whole_call_times(statistics, levels)]
    return _decimals(_fractional_times(statistics, levels))


def sigma_list(values: ArrayLike) -> str:
    """Numbers between commas, as ComfyUI reads them."""
    return ", ".join(_decimals(values))


def _decimals(values: ArrayLike) -> list[str]:
    """Numbers as all of these programs read them: each with a point, and without an exponent."""
    looks: dict[str, Any] = {"precision": DIGITS, "fractional": False, "trim": "0"}
    return [np.format_float_positional(value, **looks) for value in np.asarray(values)]
