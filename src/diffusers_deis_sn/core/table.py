"""The frozen numbers of a run: one linear combination for each network call, whatever the solver.

Multistep, corrected and Runge-Kutta solvers all take this form. With f_i the output of call i, read as noise or as
data, and x_i the sample that call i was given,

    x_{i+1} = transfer_i x_i + sum_j weights_{i,j} f_{i-j}

A corrector adds to the weights what its redone step differs by; a Runge-Kutta stage replaces, in the weights, the
slopes that led to the stage before. Neither needs a second sample kept. A run that was fitted to a model may weigh the
low band of the outputs otherwise: low(sum_j low_{i,j} f_{i-j}) is then added (`core.step.low_band`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.errors import CoefficientError

MOST_TUNED = 20  # calls of a run that is fitted to a model: beyond, formulas are as good, and the numbers many
_FLOATS = ("levels", "transfer", "weights", "node_scale", "row_sum")
_WHOSE = "Please report the scheduler's config; of a solver of your own, correct its `table`."


@dataclass(frozen=True, eq=False)
class CoefficientTable:
    """All numbers of a run, for every length of history a call may find.

    Args:
        levels: rho of the samples that the calls are given, and of the result; (C + 1,) for C calls.
        transfer: Factor of the sample; (C,).
        weights: `weights[m - 1, i, j]` multiplies the j-th newest output after call i when m outputs are at hand, zero
            for j >= m; (k, C, k). A call early in the run, or early in an image-to-image run that starts half-way,
            finds fewer than k outputs.
        node_scale: r(t_i) at the times of the calls, one where nothing is normalised; (C,).
        row_sum: What the weights of each call must give for outputs f_i = r(t_i); (C,).
        needs: Number of outputs that call i cannot do without, its own among them; (C,). A run may begin where it is
            one; it is s for the s-th stage of a Runge-Kutta step.
        low: What the weights on the low band of the outputs have beside `weights`, of the same shape; None where all
            bands have the same weights. These know no partition of unity.

    Raises:
        CoefficientError: Arrays of other shapes, or numbers that break a law: not finite, a weight on an output that is
            not there, or no partition of unity, sum_j weights r(t_{i-j}) = row_sum.

    Examples:
        >>> from diffusers_deis_sn.core.recipe import Recipe
        >>> from diffusers_deis_sn.core.solvers import Multistep
        >>> from diffusers_deis_sn.core.vp import vp_schedule
        >>> table = Recipe(vp_schedule(), solver=Multistep(2)).plan(4).table
        >>> table.weights.shape  # outputs at hand, calls, outputs
        (2, 4, 2)

    References:
        `transfer` and `weights` are Psi and C of tAB-DEIS, https://arxiv.org/abs/2204.13902.
    """

    levels: Array
    transfer: Array
    weights: Array
    node_scale: Array
    row_sum: Array
    needs: np.ndarray
    low: Array | None = None

    def __post_init__(self) -> None:
        floats = _FLOATS if self.low is None else (*_FLOATS, "low")
        for name in floats:
            object.__setattr__(self, name, _frozen(name, getattr(self, name), np.float64))
        object.__setattr__(self, "needs", _frozen("needs", self.needs, np.int64))
        self._check_shapes()
        if not np.all([np.isfinite(getattr(self, name)).all() for name in floats]):
            raise CoefficientError(f"A coefficient is not finite. {_WHOSE}")
        if np.any((self.needs < 1) | (self.needs > self.order)):
            raise CoefficientError(f"`needs` must be whole numbers from 1 to {self.order}, got {self.needs.tolist()}.")
        order, calls, _ = self.weights.shape
        for m in range(1, order + 1):
            if any(np.any(one[m - 1, :, m:] != 0.0) for one in (self.weights, self.low) if one is not None):
                raise CoefficientError(f"A weight on an output that is not there, with {m} at hand.")
            lagged = self.weights[m - 1, :, :m] * self.node_scale[lags(calls, m)]
            apart = np.abs(lagged.sum(axis=1) - self.row_sum) > 1e-9 * np.abs(lagged).sum(axis=1) + 1e-300
            if np.any(apart & (self.needs <= m)):
                raise CoefficientError(f"No partition of unity with {m} outputs. {_WHOSE}")

    def _check_shapes(self) -> None:
        calls, outputs = self.transfer.size, len(self.weights) if self.weights.ndim else 0
        wanted = {"levels": (calls + 1,), "weights": (outputs, calls, outputs)}
        wanted |= {} if self.low is None else {"low": (outputs, calls, outputs)}
        wanted |= dict.fromkeys(("transfer", "node_scale", "row_sum", "needs"), (calls,))
        for name, shape in wanted.items():
            found = getattr(self, name).shape
            if found != shape:
                raise CoefficientError(
                    f"`{name}` of a table of {calls} calls must have the shape {shape}, got {found}."
                )

    def __len__(self) -> int:
        """Number of network calls, C."""
        return len(self.transfer)

    @property
    def order(self) -> int:
        """Largest number of outputs a call combines, k."""
        return len(self.weights)

    @cached_property
    def rows(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        """`rows[m - 1][i]`: the weights of call i as Python floats, zeros at the end cut off."""
        return _rows(self.weights)

    @cached_property
    def low_rows(self) -> tuple[tuple[tuple[float, ...], ...], ...] | None:
        """The same of `low`, None where there is none."""
        return None if self.low is None else _rows(self.low)

    @cached_property
    def transfers(self) -> tuple[float, ...]:
        """`transfer` as Python floats."""
        return tuple(self.transfer.tolist())


def _frozen(name: str, values: ArrayLike, dtype: type) -> NDArray[Any]:
    """A read-only array of the type; the same one where it is that already."""
    try:
        array: NDArray[Any] = np.asarray(values, dtype=dtype)
        same = np.array_equal(array, np.asarray(values), equal_nan=dtype is np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CoefficientError(f"`{name}` of a table must be an array of numbers ({error}).") from error
    if not same:
        raise CoefficientError(f"`{name}` of a table must hold {dtype.__name__}, got {np.asarray(values).dtype}.")
    array = array.copy() if array.base is not None else array
    array.flags.writeable = False
    return array


def _rows(weights: Array) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Rows without the zeros at their ends, but for the first number."""
    held = np.maximum(np.max((weights != 0.0) * np.arange(1, weights.shape[-1] + 1), axis=-1), 1)
    tables = zip(weights.tolist(), held.tolist(), strict=True)
    return tuple([tuple([tuple(row[:k]) for row, k in zip(*table, strict=True)]) for table in tables])


def lags(number: int, width: int) -> np.ndarray:
    """Places i - j of the j-th newest of what precedes place i; held at 0 where there is none; (number, width)."""
    return np.maximum(np.arange(number)[:, None] - np.arange(width), 0)
