"""Solvers as textbooks write them: they keep y_n, redo steps, and take every integral by adaptive quadrature.

The package puts each call into one row of a table that refers to the sample at hand only. Here nothing is rearranged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import brentq

from diffusers_deis_sn.core.runge_kutta import Tableau
from diffusers_deis_sn.core.table import CoefficientTable
from oracles import Definition, integral

Output = Callable[[np.ndarray, float], np.ndarray]
"""What a solver integrates, eps or x_0, at the sample x of the level rho."""

BASHFORTH = ([1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24])
MOULTON = ([1.0], [1 / 2, 1 / 2], [5 / 12, 8 / 12, -1 / 12], [9 / 24, 19 / 24, -5 / 24, 1 / 24])


@dataclass
class Textbook:
    """One process, normaliser and choice of what is interpolated; `Definition` has the process.

    Args:
        process: alpha, r and u of the level; its `levels` are those of the run.
        integrand: "noise" or "data".
        equal_steps: Weights of equal steps in place of the polynomial's integrals.
    """

    process: Definition
    integrand: str = "noise"
    equal_steps: bool = False
    known: dict[Any, np.ndarray] = field(default_factory=dict)

    def scale(self, rho: float) -> float:
        """What x is divided by to make the linear part of the equation vanish: alpha, or sigma for data."""
        return self.process.alpha(rho) * (1.0 if self.integrand == "noise" else rho)

    def r(self, rho: float) -> float:
        return self.process.r(self.process.time(rho))

    def area(self, f: Callable[[float], float], top: float, bottom: float) -> float:
        """int f r drho, or int f nu d(1 / rho) for data; `r` is nu then."""
        kinks = self.process.kinks()
        if self.integrand == "noise":
            return integral(lambda rho: f(rho) * self.r(rho), top, bottom, kinks)
        return -integral(lambda rho: f(rho) * self.r(rho) / rho**2, top, bottom, kinks)

    def weights(self, n: int, nodes: Sequence[int]) -> np.ndarray:
        """Weights of the outputs at the levels `nodes` in the step from level n to n + 1; (len(nodes),)."""
        key = n, tuple(nodes)
        if key not in self.known:
            self.known[key] = self._weights(n, nodes)
        return self.known[key]

    def _weights(self, n: int, nodes: Sequence[int]) -> np.ndarray:
        top, bottom = self.process.levels[n], self.process.levels[n + 1]
        u = [self.process.u(self.process.levels[i]) if len(nodes) > 1 else 0.0 for i in nodes]
        scale = np.array([self.r(self.process.levels[i]) for i in nodes])

        def basis(rho: float, j: int) -> float:
            here = self.process.u(rho) if len(u) > 1 else 0.0  # log rho has no value at zero, and needs none
            return float(np.prod([(here - u[k]) / (u[j] - u[k]) for k in range(len(u)) if k != j]))

        if self.equal_steps:
            fractions = np.array((MOULTON if nodes[0] == n + 1 else BASHFORTH)[len(nodes) - 1])
            if bottom == 0.0 and self.integrand == "data":
                return self.r(0.0) * fractions / scale
            return self.scale(bottom) * self.area(lambda _: 1.0, top, bottom) * fractions / scale
        if bottom == 0.0 and self.integrand == "data":  # d(1 / rho) has all its weight at the end
            return self.r(0.0) * np.array([basis(0.0, j) for j in range(len(u))]) / scale
        areas = [self.area(lambda rho, j=j: basis(rho, j), top, bottom) for j in range(len(u))]
        return self.scale(bottom) * np.array(areas) / scale

    def advance(self, x: np.ndarray, n: int, nodes: Sequence[int], outputs: dict[int, np.ndarray]) -> np.ndarray:
        """The step from level n to n + 1, from x."""
        ratio = self.scale(self.process.levels[n + 1]) / self.scale(self.process.levels[n])
        return ratio * x + sum(w * outputs[i] for w, i in zip(self.weights(n, nodes), nodes, strict=True))

    def multistep(
        self,
        output: Output,
        x: np.ndarray,
        order: int,
        corrector: int = 0,
        lower_order_final: bool = False,
        start: int = 0,
    ) -> list[np.ndarray]:
        """Predictor and corrector: the sample that each call is given, then the result.

        The corrected sample is kept; the step to it is redone from the corrected one before, with the new output.
        """
        levels, steps = self.process.levels, len(self.process.levels) - 1
        outputs: dict[int, np.ndarray] = {}
        path, corrected = [x], x
        for n in range(start, steps):
            outputs[n] = output(path[-1], levels[n])
            if corrector and n > start:
                nodes = range(n, max(n - corrector, start - 1), -1)
                corrected = self.advance(corrected, n - 1, nodes, outputs)
            else:
                corrected = path[-1]
            most = min(order, steps - n) if lower_order_final else order
            if self.integrand == "data" and self.process.interpolation == "log_rho" and levels[n + 1] == 0.0:
                most = 1
            path.append(self.advance(corrected, n, range(n, max(n - most, start - 1), -1), outputs))
        return path

    def level_at(self, top: float, bottom: float, share: float) -> float:
        """rho with int r drho = share of that of the whole step."""
        if share in (0.0, 1.0):
            return top if share == 0.0 else bottom
        whole = self.area(lambda _: 1.0, top, bottom)
        return brentq(lambda rho: self.area(lambda _: 1.0, top, rho) - share * whole, top, bottom, xtol=1e-15)

    def runge_kutta(self, output: Output, x: np.ndarray, tableaux: Sequence[Tableau]) -> list[np.ndarray]:
        """Runge-Kutta from level to level with y_n kept: the sample that each call is given, then the result."""
        levels, path = self.process.levels, []
        for n, tableau in enumerate(tableaux):
            y, h, slopes = x / self.scale(levels[n]), self.area(lambda _: 1.0, levels[n], levels[n + 1]), []
            for c, row in zip(tableau.nodes, tableau.stages, strict=True):
                rho = self.level_at(levels[n], levels[n + 1], c)
                path.append(self.scale(rho) * (y + h * sum(a * k for a, k in zip(row, slopes, strict=True))))
                slopes.append(output(path[-1], rho) / self.r(rho))
            x = self.scale(levels[n + 1]) * (y + h * sum(b * k for b, k in zip(tableau.weights, slopes, strict=True)))
        return [*path, x]


def walk(table: CoefficientTable, output: Output, x: np.ndarray, start: int = 0) -> list[np.ndarray]:
    """The rows of a table, one after the other: the sample that each call is given, then the result."""
    path, history = [x], []
    for n in range(start, len(table)):
        history = [output(path[-1], table.levels[n]), *history][: table.order]
        row = table.rows[len(history) - 1][n]
        path.append(table.transfers[n] * path[-1] + sum(w * f for w, f in zip(row, history, strict=False)))
    return path
