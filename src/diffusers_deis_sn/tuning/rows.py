"""Weights of a run by projection on the student's own states, step by step and in closed form.

At step n, with x_n reached by the weights so far and all outputs f_0, ..., f_n at hand, the weights of the next step
are those of the ridge regression of the teacher's sample at the next level,

    min_b  sum_s | b_x x_n + sum_j b_j f_j + low(sum_j c_j f_j) - x*(rho_{n+1}) |^2 / d + lambda g |b - b0|^2

towards b0, those of a formula, g being the mean square of the columns. Then the run goes on from the new state: each
step also repairs what those before did wrong, which a fit on the teacher's states cannot.

No sample is held out of this: a step has a few weights and d numbers a sample, and samples that are moved by other
weights than those which the next step is fitted on end far worse than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.update import low_band
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
    transfer, weights, low = base.transfer.copy(), base.weights.copy(), np.zeros_like(base.weights)
    x = model.start(float(base.rho[0]))
    for n, level in enumerate(base.rho[:-1].tolist()):
        if known is not None and n < same:
            x, output = known.samples[n], known.data[n]
        else:
            output = model.first(level) if n == 0 else model.data(x, level)
        samples.append(x)
        data.append(output)
        columns = _columns(x, data, bands)
        b0 = np.concatenate([transfer[n : n + 1], base.weights[n, : n + 1], np.zeros((bands - 1) * (n + 1))])
        row = b0 + _ridge(columns, teacher.at(float(base.rho[n + 1])), b0, ridge)
        transfer[n], weights[n, : n + 1] = row[0], row[1 : n + 2]
        low[n, : n + 1] = row[n + 2 :] if bands == 2 else 0.0
        x = torch.einsum("csd,c->sd", columns, torch.from_numpy(row).to(columns)).reshape(x.shape)
    run = replace(base, transfer=transfer, weights=weights, low=low if bands == 2 else None)
    return Fitted(run, x, tuple(samples), tuple(data))


def _same(one: Array, other: Array) -> int:
    """How many levels are the same, from the first on."""
    different = np.flatnonzero(one[: len(other)] != other[: len(one)])
    return int(different[0]) if len(different) else min(len(one), len(other))


def _columns(x: Tensor, data: Sequence[Tensor], bands: int) -> Tensor:
    """What the next sample is combined of: x, outputs, newest first, and their low bands; (C, S, d)."""
    newest = list(data[::-1])
    parts = [x, *newest, *(map(low_band, newest) if bands == 2 else ())]
    return torch.stack([part.flatten(1) for part in parts])


def _ridge(columns: Tensor, target: Tensor, b0: Array, ridge: float) -> Array:
    """What is added to b0, (C,), by the products of the columns summed over the samples in float64."""
    missed = target.flatten(1) - torch.einsum("csd,c->sd", columns, torch.from_numpy(b0).to(columns))
    gram, right = np.zeros((len(b0), len(b0))), np.zeros(len(b0))
    for one, rest in zip(columns.unbind(1), missed, strict=True):
        wide = one.double()
        gram += (wide @ wide.T).numpy()
        right += (wide @ rest.double()).numpy()
    return np.linalg.solve(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)), right)
