"""Which solver, grid and scale a run has on a model: those of the tried method that was best, or what is safe.

`schedulers` makes options of these for Diffusers; programs with loops of their own take `recipe_of` and `recipe_over`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffusers_deis_sn.core.coefficients import MAX_ORDER
from diffusers_deis_sn.core.grids import Beta, Ends, Given, Grid, Power, Shifted, Whole
from diffusers_deis_sn.core.named_grids import named_grid
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import ConfigurationError, DeisSnError
from diffusers_deis_sn.learn.defaults import unmeasured
from diffusers_deis_sn.learn.grid import EqualCost, Learned
from diffusers_deis_sn.statistics.guidances import USUAL
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method

LEAST_GUIDANCE = 2.0  # that a correction's gain is divided by
GAIN = 0.75  # at guidance one: the largest factor by which a correction may pass an error on
NO_LIMIT = 1e6  # a gain that no correction reaches
TRUSTED = 1.25  # how much more guidance than a recipe was tried with it may be used at
SAME_LEVELS = 2e-3  # relative: sigmas this close to those of a recipe are its own, on their way through float32 or text


def best_method(
    statistics: ScoreStatistics | None,
    steps: int,
    guidance: float | None = None,
    learned: bool | None = None,
    path: str = "vp",
) -> Method | None:
    """The method that was best with so many steps, if any were tried near the guidance in use.

    Args:
        statistics: Of the model; without any, what is safe then.
        steps: Number of steps, at least 1.
        guidance: That of the runs; None where nobody knows.
        learned: Whether the method is to have the learned grid, or one with a name; None for either.
        path: Of the process, which decides where there are no statistics.
    """
    if statistics is None:
        return unmeasured(steps, guidance, path)
    if statistics.trials is None:
        return None
    measured = statistics.origin.guidance_scale
    if guidance is not None and measured is not None and guidance > TRUSTED * max(measured, 1.0):
        return None
    return statistics.trials.best(steps, learned)


def gain_limit(gain: float, guidance: float | None, statistics: ScoreStatistics | None) -> float:
    """A gain divided by the guidance, which multiplies how far an output moves with its sample.

    Never by less than two: in directions of pure noise, where d eps / d y = 1 / rho in any network, a chain of
    large steps passes errors on, the correction with one sign and the next extrapolation with the other.

    Args:
        gain: At guidance one.
        guidance: That of the runs; that of the statistics if None, and `USUAL` where nobody says.
        statistics: Of the model, or None.
    """
    if guidance is None and statistics is not None:
        guidance = statistics.origin.guidance_scale
    return gain / max(LEAST_GUIDANCE, USUAL if guidance is None else guidance)


def solver_of(method: Method, statistics: ScoreStatistics | None) -> Multistep:
    """The solver of a method, with the limit that it was tried with, also where there is less guidance now."""
    gain = NO_LIMIT if method.corrector_gain is None else method.corrector_gain
    corrector = Corrector(method.corrector_order, gain_limit(gain, None, statistics))
    return Multistep(method.solver_order, "t", method.integrand, corrector, share=method.share)


def safe_solver(
    statistics: ScoreStatistics | None, steps: int, guidance: float | None = None, path: str = "vp"
) -> Multistep:
    """The solver where no method is followed: what nothing was tried for, and levels from elsewhere.

    With statistics two outputs of noise and corrections under the limit of the guidance; without, predicted data.
    """
    if statistics is None:
        return solver_of(unmeasured(steps, guidance, path), None)
    return Multistep(corrector=Corrector(MAX_ORDER, gain_limit(GAIN, guidance, statistics)))


def scale_for(of: str, statistics: ScoreStatistics | None, cutoff: float | None = None) -> Normaliser:
    """r(t) of the statistics, or nu(t) for the data form; flat without.

    Args:
        of: What is integrated, "noise" or "data".
        statistics: Of the model.
        cutoff: See `Normaliser`.

    Raises:
        ConfigurationError: The statistics do not tell nu.
    """
    if statistics is None:
        return Normaliser.flat()
    if of == "noise":
        return Normaliser(statistics.timesteps, statistics.mean_abs, cutoff)
    if statistics.mean_abs_data is None:
        raise ConfigurationError(
            "Multistep(of='data') is normalised by the mean magnitude of predicted data, and these statistics do not "
            "hold it (`mean_abs_data`). Measure them again with `deis-sn calibrate`, or use of='noise' or "
            "no statistics (stats=False)."
        )
    return Normaliser(statistics.timesteps, statistics.mean_abs_data, cutoff)


def shifted(grid: Grid, shift: float, terminal: float | None = None) -> Grid:
    """A grid as flow-matching models have it; levels that are laid out from one end to the other are not shifted."""
    if isinstance(grid, Learned | Shifted | Beta) or (isinstance(grid, Power) and grid.variable == "sigma"):
        return grid
    return Shifted(grid, shift, terminal)


def recipe_of(
    process: NoiseSchedule,
    statistics: ScoreStatistics | None,
    steps: int,
    *,
    guidance: float | None = None,
    learned: bool | None = None,
    shift: float = 1.0,
    prediction: str = "epsilon",
) -> Recipe | None:
    """The recipe of the best method for so many steps, with the grid that it was tried on.

    Args:
        process: The model's.
        statistics: Of the model, of one guidance; None without any.
        steps: Number of steps.
        guidance: That of the runs.
        learned: See `best_method`; where the statistics tell no learned grid up to the start of a run, only others.
        shift: Of the model's grids, if it is a flow.
        prediction: What the network predicts.

    Returns:
        None where no such method was tried.
    """
    if learned is not False and statistics is not None and _learned(process, statistics, None) is None:
        learned = False if learned is None else learned
    method = best_method(statistics, steps, guidance, learned, process.path)
    if method is None:
        return None
    grid: Grid | None = named_grid(method.timestep_spacing, method.grid_exponent) if not method.learned else None
    if grid is None:
        grid = _learned(process, statistics, method.spread) if statistics is not None else None
    if grid is None:
        return None
    solver = solver_of(method, statistics)
    ends = Ends(method.final_sigmas_type, method.start_time)
    scale = scale_for(solver.of, statistics)
    return Recipe(process, Whole(shifted(grid, shift)), solver, scale, ends, prediction)


def fitted_run(
    process: NoiseSchedule,
    statistics: ScoreStatistics | None,
    steps: int,
    *,
    guidance: float | None = None,
    levels: Array | None = None,
) -> Tuned | None:
    """The run that `tune` fitted to the model, whatever the shift of a flow; None where there is none.

    Args:
        process: The model's.
        statistics: Of the model.
        steps: Number of steps.
        guidance: That of the runs.
        levels: rho_0 > ... > rho_N that the run has to be at; (N + 1,).
    """
    if statistics is None or statistics.plans is None:
        return None
    found = statistics.plans.serving(steps, guidance, process)
    if found is None:
        return None
    return found.run if levels is None or _close(process, found.run.rho, levels) else None


def recipe_over(
    process: NoiseSchedule,
    statistics: ScoreStatistics | None,
    levels: Array,
    *,
    guidance: float | None = None,
    shift: float = 1.0,
    prediction: str = "epsilon",
) -> Recipe:
    """The recipe for levels that somebody else has chosen: a method's where they are its own, else what is safe.

    Args:
        process: The model's.
        statistics: Of the model, of one guidance; None without any.
        levels: rho_0 > ... > rho_N; (N + 1,).
        guidance: That of the runs.
        shift: Of the model's grids, if it is a flow.
        prediction: What the network predicts.
    """
    given, steps = Given(np.asarray(levels, dtype=np.float64)), len(levels) - 1
    for learned in (None, True):
        recipe = recipe_of(
            process, statistics, steps, guidance=guidance, learned=learned, shift=shift, prediction=prediction
        )
        if recipe is not None and _same(process, recipe, given.values):
            return replace(recipe, grid=given)
    solver = safe_solver(statistics, steps, guidance, process.path)
    return Recipe(process, given, solver, scale_for(solver.of, statistics), prediction=prediction)


def _same(process: NoiseSchedule, recipe: Recipe, levels: Array) -> bool:
    """Whether a recipe has these levels; compared as sigmas, for noise alone has no one level."""
    try:
        own = recipe.levels(len(levels) - 1)
    except DeisSnError:
        return False
    return _close(process, own, levels)


def _close(process: NoiseSchedule, own: Array, levels: Array) -> bool:
    return np.allclose(process.as_sigma(own), process.as_sigma(levels), rtol=SAME_LEVELS, atol=1e-9)


def _learned(process: NoiseSchedule, statistics: ScoreStatistics, spread: float | None) -> Learned | None:
    """The learned grid, None where the statistics tell none for whole runs."""
    try:
        learned = EqualCost(spread=spread).of(statistics, process)
        learned.check(process, Ends())
    except DeisSnError:
        return None
    return learned
