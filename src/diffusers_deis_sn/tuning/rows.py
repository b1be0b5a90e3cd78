"""Weights of a run by projection on the student's own states, step by step and in closed form.

At step n, with x_n reached by the weights so far and all outputs f_0, ..., f_n at hand, the weights of the next step
are those of the ridge regression of the teacher's sample at the next level,

    min_b  sum_s | b_x x_n + sum_j b_j f_j + low(sum_j c_j f_j) - x*(rho_{n+1}) |^2 / d + lambda g |b - b0|^2

towards b0, those of a formula, g being the mean square of the columns. Then the run goes on from the new state: each
step also repairs what those before did wrong, which a fit on the teacher's states cannot.

The method is ours, see docs/tuning.md. No sample is held out of this: a step has a few weights and d numbers a sample,
and samples that are moved by other weights than those which the next step is fitted on end far worse than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.step import low_band
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.teacher import Teacher

RIDGE = 1e-5  # of the suite's choosing networks best, or as good: 1e-3 costs a tenth to a third of the gain


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit.

    Args:
        run: The plan.
        end: Where its run ends; (S, *event).
        samples: x_n of each call; N of (S, *event).
        data: Predicted data of each call.
    """

    run: Tuned
    end: Tensor = field(repr=False)
    samples: tuple[Tensor, ...] = field(repr=False)
    data: tuple[Tensor, ...] = field(repr=False)


def fit(
    model: Model, teacher: Teacher, base: Tuned, bands: int = 1, ridge: float = RIDGE, known: Fitted | None = None
) -> Fitted:
    """Fit the weights of a run.

    Args:
        model: The network and the samples.
        teacher: Their fine run.
        base: Levels, and the weights to shrink to, of data in one band.
        bands: Number of bands with weights of their own, 1 or 2.
        ridge: lambda.
        known: Another fit of as many bands, whose calls are not made again as far as the levels are the same.
    """
    same = 0 if known is None else _same(known.run.rho[:-1], base.rho[:-1])
    samples, data = list[Tensor](), list[Tensor]()
    run = base if bands == 1 else replace(base, low=np.zeros_like(base.weights))
    x = model.start(float(base.rho[0]))
    for n, level in enumerate(base.rho[:-1].tolist()):
        if known is not None and n < same:
            x, output = known.samples[n], known.data[n]
        else:
            output = model.first(level) if n == 0 else model.data(x, level)
        samples.append(x)
        data.append(output)
        columns, b0 = columns_of(x, data, bands), base_row(base, n, bands)
        row = b0 + np.linalg.solve(*normal_equations(columns, teacher.at(float(base.rho[n + 1])), b0, ridge))
        run = with_row(run, n, row)
        x = combined(columns, row).reshape(x.shape)
    return Fitted(run, x, tuple(samples), tuple(data))


def base_row(base: Tuned, n: int, bands: int) -> Array:
    """Row n of a formula, of which the low band has no weights of its own; (C,)."""
    return np.concatenate([base.transfer[n : n + 1], base.weights[n, : n + 1], np.zeros((bands - 1) * (n + 1))])


def with_row(run: Tuned, n: int, row: Array) -> Tuned:
    """A run with another row n: factor of the sample, weights of outputs, and those of low bands where it has some."""
    transfer, weights = run.transfer.copy(), run.weights.copy()
    transfer[n], weights[n, : n + 1] = row[0], row[1 : n + 2]
    low = None
    if run.low is not None:
        low = run.low.copy()
        low[n, : n + 1] = row[n + 2 :]
    return replace(run, transfer=transfer, weights=weights, low=low)


def _same(one: Array, other: Array) -> int:
    """How many levels are the same, from the first on."""
    different = np.flatnonzero(one[: len(other)] != other[: len(one)])
    return int(different[0]) if len(different) else min(len(one), len(other))


def columns_of(x: Tensor, data: Sequence[Tensor], bands: int) -> Tensor:
    """What the next sample is combined of: x, outputs, newest first, and their low bands; (C, S, d)."""
    newest = list(data[::-1])
    parts = [x, *newest, *(map(low_band, newest) if bands == 2 else ())]
    return torch.stack([part.flatten(1) for part in parts])


def combined(columns: Tensor, row: Array) -> Tensor:
    """What a row makes of columns; (S, d)."""
    return torch.einsum("csd,c->sd", columns, torch.from_numpy(row).to(columns))


def normal_equations(columns: Tensor, target: Tensor, b0: Array, ridge: float) -> tuple[Array, Array]:
    """Matrix (C, C) and right side (C,) of the regression of what b0 leaves of a target.

    Args:
        columns: What is combined; (C, S, d).
        target: What is to come of it; (S, *event).
        b0: Weights to shrink to; (C,).
        ridge: lambda.
    """
    missed = target.flatten(1) - combined(columns, b0)
    matrix, right = gram(columns), np.zeros(len(b0))
    for one, rest in zip(columns.unbind(1), missed, strict=True):
        right += (one.double() @ rest.double()).numpy()
    return matrix + ridge * np.trace(matrix) / len(matrix) * np.eye(len(matrix)), right


def gram(columns: Tensor) -> Array:
    """Products of columns (C, S, d), summed over the samples in float64; (C, C)."""
    matrix = np.zeros((len(columns), len(columns)))
    for one in columns.unbind(1):
        wide = one.double()
        matrix += (wide @ wide.T).numpy()
    return matrix
