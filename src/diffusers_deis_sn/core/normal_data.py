"""Runs on data N(0, c^2), whose answer is known: what tells beforehand that a solver or a grid will fail.

See docs/explanation/corrector.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from diffusers_deis_sn.core.grids import Ends, Power
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep, RungeKutta
from diffusers_deis_sn.core.table import CoefficientTable

SCALES = np.array([0.03, 0.1, 0.3, 1.0])  # c, of fine texture to whole pictures
FAILING = 3.0  # times as far off as DDIM at uniform times, from which on a grid is spoken of


def deviations_off(process: NoiseSchedule, table: CoefficientTable, of: str, scales: Array = SCALES) -> Array:
    """How far a run ends from the answer, in deviations c of the data.

    There x_0 = c^2 y / (c^2 + rho^2), eps = rho y / (c^2 + rho^2), and y grows with (c^2 + rho^2)^(1/2).

    Args:
        process: The noise schedule.
        table: The run, of outputs that are not normalised: r(t) is that of all scales together.
        of: What is integrated, "noise" or "data".
        scales: c; (C,).

    Returns:
        0 for the answer; up to 1 for DDIM, whatever the levels; (C,).
    """
    levels, alpha = table.levels, process.alpha(table.levels)
    x = alpha[0] * np.sqrt(scales**2 + levels[0] ** 2)
    history: list[Array] = []
    for n, rho in enumerate(levels[:-1]):
        output = x / alpha[n] * (scales**2 if of == "data" else rho) / (scales**2 + rho**2)
        history = [output, *history][: table.order]
        row = table.rows[len(history) - 1][n]
        x = table.transfers[n] * x + sum(weight * one for weight, one in zip(row, history, strict=False))
    return np.abs(x / alpha[-1] / np.sqrt(scales**2 + levels[-1] ** 2) - 1.0)


def failing(recipe: Recipe, table: CoefficientTable, named: bool) -> str | None:
    """What is wrong with a run of one of this package's solvers, in words; None for nothing.

    Args:
        recipe: What it was planned from.
        table: The run.
        named: Whether its grid was chosen by name, and not made for the model.
    """
    if not isinstance(recipe.solver, Multistep | RungeKutta):
        return None
    levels = (*table.levels[:-1][table.needs == 1].tolist(), float(table.levels[-1]))
    return _failing(recipe.process, recipe.solver, recipe.ends, levels, named)


@lru_cache(maxsize=64)  # pipelines plan the same run for every picture
def _failing(
    process: NoiseSchedule, solver: Multistep | RungeKutta, ends: Ends, levels: tuple[float, ...], named: bool
) -> str | None:
    flat, steps = Normaliser.flat(), len(levels) - 1
    off = deviations_off(process, solver.table(process, flat, np.array(levels)), solver.of)
    if not np.max(off) <= 1.0:
        return (
            f"On normal data, whose answer is known, {steps} steps of {type(solver).__name__} end {np.max(off):.2g} "
            "deviations off, and DDIM's at most one: they pass errors on, and pictures may blow up. Use more steps, a "
            "lower order, or a limit for the corrector, Corrector(3, gain=0.375)."
        )
    if not named:
        return None
    ddim = Multistep(1).table(process, flat, Power("t", 1.0).levels(process, steps, ends))
    here, there = (float(np.linalg.norm(SCALES * one)) for one in (off, deviations_off(process, ddim, "noise")))
    if here > max(FAILING * there, 0.1):
        return (
            f"Most of these {steps} steps lie where little happens: on normal data, whose answer is known, they end "
            f"{here / there:.2g} times as far off as DDIM at uniform times. Use timestep_spacing='trailing' or "
            "grid=Power('t', 2)."
        )
    return None
