"""A fit whose last step leaves samples as sharp as those of the fine run.

Least squares leave out what cannot be foretold, most of all fine detail: samples come out too smooth where few calls
leave much open. The remedy is ours, see docs/tuning.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.step import high_band
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.tuning.rows import (
    RIDGE,
    Fitted,
    base_row,
    columns_of,
    combined,
    gram,
    normal_equations,
    with_row,
)
from diffusers_deis_sn.tuning.teacher import Teacher

SINGULAR = 1e-9  # how near to its largest value the multiplier is tried


def sharpened(fitted: Fitted, teacher: Teacher, base: Tuned, bands: int, ridge: float = RIDGE) -> Fitted | None:
    """A fit with another last row, and no call of the network more.

    The row is that of least squares (`tuning.rows`) among those that leave the high band the energy of the teacher's,
    b' E b = e. With A and r the matrix and right side of the regression and mu the multiplier,

        (A - mu E) (b - b0) = r + mu E b0

    whose energy rises with mu until A - mu E is singular; mu = 0 is the row without the constraint.

    Args:
        fitted: The fit.
        teacher: Its fine run.
        base: Its levels, and the weights it was shrunk to.
        bands: Number of its bands.
        ridge: lambda.

    Returns:
        None where no row near to the fit's has that energy.
    """
    last, shape = len(fitted.run) - 1, fitted.end.shape
    columns, b0 = columns_of(fitted.samples[-1], fitted.data, bands), base_row(base, last, bands)
    detail = gram(torch.stack([high_band(one.reshape(shape)).flatten(1) for one in columns]))
    energy = float(high_band(teacher.end.double()).square().sum())
    row = _of_energy(normal_equations(columns, teacher.end, b0, ridge), b0, detail, energy)
    if row is None:
        return None
    return replace(fitted, run=with_row(fitted.run, last, row), end=combined(columns, row).reshape(shape))


def _of_energy(equations: tuple[Array, Array], b0: Array, detail: Array, energy: float) -> Array | None:
    """The row with b' E b = e; None where the multiplier would have to be larger than the least that is singular."""
    from scipy.linalg import eigh  # a second to import
    from scipy.optimize import brentq

    matrix, right = equations
    largest = float(eigh(detail, matrix, eigvals_only=True)[-1])
    if not (largest > 0.0 and energy > 0.0):
        return None

    def row(mu: float) -> Array:
        found: Array = b0 + np.linalg.solve(matrix - mu * detail, right + mu * detail @ b0)
        return found

    def excess(mu: float) -> float:
        found = row(mu)
        return float(found @ detail @ found) / energy - 1.0

    low, high = -1.0 / largest, (1.0 - SINGULAR) / largest
    if not excess(low) < 0.0 < excess(high):
        return None
    return row(float(brentq(excess, low, high, xtol=SINGULAR * high)))
