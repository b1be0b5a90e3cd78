"""From options and score statistics to a recipe: which grid, solver, corrector, limit and scale a run has."""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.core.coefficients import MAX_ORDER
from diffusers_deis_sn.core.grids import Grid, Shifted, Whole, is_number
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Corrector, Solver, named_solver
from diffusers_deis_sn.core.spacing import LEVEL_SPACINGS, named_grid
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.learn.grid import Learned
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import LEARNED, Method, unmeasured

UNKNOWN_GUIDANCE = 7.5  # what Stable Diffusion is called with, and on the safe side for others
LEAST_GUIDANCE = 2.0  # that a correction's gain is divided by
TRUSTED = 1.25  # how much more guidance than a recipe was tried with it may be used at


def tried_method(
    options: Options, follows: bool, statistics: ScoreStatistics | None, steps: object, learned: bool | None
) -> Method | None:
    """The method that was best with so many steps, if tried ones are to be followed and there are any.

    Args:
        options: Of the config.
        follows: Whether they are to be followed.
        statistics: Of the model.
        steps: Number of steps, or None in a run whose times are given.
        learned: Whether the method is to have the learned grid, or one with a name; None for either.
    """
    if not follows or not is_number(steps) or not np.isfinite(steps):
        return None  # `check_steps` will say so
    number = max(int(steps), 1)
    if statistics is None:
        return unmeasured(number)
    if statistics.trials is None:
        return None
    if (options.guidance_scale or 0.0) > TRUSTED * (statistics.origin.guidance_scale or 1.0):
        return None
    return statistics.trials.best(number, learned)


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
        _solver(options, statistics, tried),
        scale_of(options, statistics),
        options.ends,
        options.prediction_type,
    )


def _grid(options: Options, learned: Learned | None, shift: float, tried: bool) -> Grid:
    spacing = options.spacing
    grid: Grid
    if options.grid is not None and not tried:
        own, terminal = options.grid, options.shift_terminal
        grid = own if isinstance(own, Shifted) else Shifted(own, shift, terminal)
    elif spacing == LEARNED and learned is not None:
        grid = learned
    elif spacing == LEARNED:  # for the want of one, times uniform in tau
        base = named_grid("power_t", 1.0) if options.ends.moved else named_grid("trailing")
        grid = Shifted(base, shift, options.shift_terminal)
    else:
        grid = named_grid(spacing, options.grid_exponent, options.steps_offset)
        if spacing not in LEVEL_SPACINGS and spacing != "beta":
            grid = Shifted(grid, shift, options.shift_terminal)
    # Some networks, and some pipelines, know no other times.
    return Whole(grid) if tried or options.whole_timesteps else grid


def _solver(options: Options, statistics: ScoreStatistics | None, tried: bool) -> Solver:
    if not isinstance(options.solver, str):
        return options.solver
    corrector = Corrector(corrector_order(options, statistics), gain_limit(options, statistics, tried))
    return named_solver(
        options.solver,
        options.solver_order,
        options.interpolation,
        options.integrand,
        corrector,
        options.lower_order_final,
    )


def scale_of(options: Options, statistics: ScoreStatistics | None) -> Normaliser:
    """r(t) of the statistics, or nu(t) for the data form; flat without.

    Raises:
        ConfigurationError: The statistics do not tell nu.
    """
    if statistics is None or not options.normalise:
        return Normaliser.flat()
    cutoff = float(options.clip_normalizer_steps) or None
    if options.of_integrand == "noise":
        return Normaliser(statistics.timesteps, statistics.mean_abs, cutoff)
    if statistics.mean_abs_data is None:
        raise ConfigurationError(
            "integrand='data' is normalised by the mean magnitude of predicted data, and these statistics do not "
            "hold it (`mean_abs_data`). Measure them again with `deis-sn calibrate`, or use integrand='noise' or "
            "no statistics (stats=False)."
        )
    return Normaliser(statistics.timesteps, statistics.mean_abs_data, cutoff)


def corrector_order(options: Options, statistics: ScoreStatistics | None) -> int:
    """Order of the corrector in use."""
    if options.corrector_order is not None:
        return options.corrector_order
    normalised = statistics is not None and options.normalise and options.integrand == "noise"
    return MAX_ORDER if normalised and options.solver == "multistep" else 0


def gain_limit(options: Options, statistics: ScoreStatistics | None, tried: bool = False) -> float:
    """`corrector_gain` divided by the guidance, which multiplies how far an output moves with its sample.

    Never by less than two: in directions of pure noise, where d eps / d y = 1 / rho in any network, a chain of
    large steps passes errors on, the correction with one sign and the next extrapolation with the other.
    """
    # A method is followed with the limit that it was tried with, also where there is less guidance now.
    guidance = None if tried else options.guidance_scale
    if guidance is None and statistics is not None:
        guidance = statistics.origin.guidance_scale
    guidance = UNKNOWN_GUIDANCE if guidance is None else guidance
    return float(options.corrector_gain) / max(LEAST_GUIDANCE, guidance)
