"""From options and score statistics to a recipe: which grid, solver, corrector, limit and scale a run has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from diffusers_deis_sn.core.coefficients import MAX_ORDER
from diffusers_deis_sn.core.grids import Grid, Power, Trailing, Whole
from diffusers_deis_sn.core.named_grids import FLAGGED_SPACINGS, INTEGER_SPACINGS, named_grid
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.runge_kutta import ABOVE_DATA
from diffusers_deis_sn.core.solvers import Corrector, RungeKutta, Solver, named_solver
from diffusers_deis_sn.core.value_types import is_number
from diffusers_deis_sn.learn.following import (
    GAIN,
    best_method,
    gain_limit,
    scale_for,
    shifted,
    solver_of,
)
from diffusers_deis_sn.learn.grid import EqualCost, Learned
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method


def tried_method(
    options: Options, statistics: ScoreStatistics | None, steps: object, learned: bool | None, path: str = "vp"
) -> Method | None:
    """The method that was best with so many steps, if any were tried near the guidance in use.

    Args:
        options: Of the config, with that guidance.
        statistics: Of the model.
        steps: Number of steps.
        learned: Whether the method is to have the learned grid, or one with a name; None for either.
        path: Of the process.
    """
    if not is_number(steps) or not np.isfinite(steps):
        return None  # `check_steps` will say so
    return best_method(statistics, max(int(steps), 1), options.guidance_scale, learned, path)


def options_of(method: Method, statistics: ScoreStatistics | None) -> dict[str, Any]:
    """A method as options of a scheduler, those that all methods have in common among them.

    Its solver has the limit that it was tried with, see `learn.following`.
    """
    named = method.timestep_spacing in (*INTEGER_SPACINGS, *FLAGGED_SPACINGS)
    grid: Grid | None = None
    if method.learned:
        grid = EqualCost(spread=method.spread)
    elif not named:
        grid = named_grid(method.timestep_spacing, method.grid_exponent)
    return {
        "solver": solver_of(method, statistics),
        "grid": grid,
        "timestep_spacing": method.timestep_spacing if method.timestep_spacing in INTEGER_SPACINGS else "trailing",
        **{f"use_{one}_sigmas": method.timestep_spacing == one for one in FLAGGED_SPACINGS},
        "start_time": method.start_time,
        "end_time": None,
        "final_sigmas_type": method.final_sigmas_type,
        "normalise": True,
    }


def followed(options: Options, method: Method | None, statistics: ScoreStatistics | None) -> Options:
    """The options with those of a method in their place."""
    return options if method is None else replace(options, **options_of(method, statistics))


def recipe_of(
    options: Options,
    process: NoiseSchedule,
    statistics: ScoreStatistics | None,
    learned: Learned | None,
    *,
    shift: float = 1.0,
    tried: bool = False,
) -> Recipe:
    """The recipe of options.

    Args:
        options: Those in use.
        process: Theirs.
        statistics: Of the model, or None.
        learned: The learned grid, where the options ask for it and statistics have it.
        shift: Of the run.
        tried: Whether the options are those of a method that was tried.

    Raises:
        ConfigurationError: Options at odds with the statistics or with one another.
    """
    return Recipe(
        process,
        _grid(options, learned, shift, tried),
        _solver(options, statistics),
        scale_of(options, statistics),
        options.ends,
        options.prediction_type,
    )


def _grid(options: Options, learned: Learned | None, shift: float, tried: bool) -> Grid:
    grid = options.grid
    if grid is None:
        grid = named_grid(options.spacing, offset=options.steps_offset)
    elif options.learns:  # for the want of one, times uniform in tau
        grid = learned or (Power("t", 1.0) if options.ends.moved else Trailing())
    grid = shifted(grid, shift, options.shift_terminal)
    # Some networks, and some pipelines, know no other times.
    return Whole(grid) if tried or options.whole_timesteps else grid


def _solver(options: Options, statistics: ScoreStatistics | None) -> Solver:
    """The solver; that of a name with the corrector that is safe where nothing was tried, if outputs are normalised."""
    if not isinstance(options.solver, str):
        return options.solver
    corrector = Corrector()
    if options.solver == "multistep" and statistics is not None and options.normalise:
        corrector = Corrector(MAX_ORDER, gain_limit(GAIN, options.guidance_scale, statistics))
    solver = named_solver(options.solver, options.solver_order, corrector, options.lower_order_final)
    if isinstance(solver, RungeKutta) and options.learns:  # whose first step leaps into the data, in however many steps
        return replace(solver, above=ABOVE_DATA)
    return solver


def scale_of(options: Options, statistics: ScoreStatistics | None) -> Normaliser:
    """r(t) of the statistics, or nu(t) for the data form; flat without.

    Raises:
        ConfigurationError: The statistics do not tell nu.
    """
    if statistics is None or not options.normalise:
        return Normaliser.flat()
    return scale_for(options.integrand, statistics, float(options.clip_normalizer_steps) or None)
