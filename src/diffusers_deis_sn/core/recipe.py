"""A run is a product: Process x Grid x Solver x Scale. Each factor is a small frozen value; a recipe multiplies them.

recipe = Recipe(vp_schedule(), Power("t", 2.0), Multistep(2, of="data"))
plan = recipe.plan(8)
x = sample(plan, network, noise)      # a loop of one's own: no Diffusers, no scheduler
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass

import numpy as np
from torch import Tensor

from diffusers_deis_sn.core.coefficients import starts_from_noise
from diffusers_deis_sn.core.grids import Ends, Grid, Trailing
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.plan import Plan, make_plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.solvers import Multistep, RungeKutta, Solver
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError


@dataclass(frozen=True)
class Recipe:
    """How runs go, whatever their number of steps.

    Args:
        process: The noise schedule.
        grid: Where the steps begin.
        solver: What is combined in a step, and how.
        scale: r(t), by which outputs are divided; flat for plain DEIS.
        ends: Where runs start and end.
        prediction: What the network predicts, one of `process.predictions`.
    """

    process: NoiseSchedule
    grid: Grid = field(default_factory=Trailing)
    solver: Solver = field(default_factory=Multistep)
    scale: Normaliser = field(default_factory=Normaliser.flat)
    ends: Ends = field(default_factory=Ends)
    prediction: str = "epsilon"

    def plan(self, steps: int) -> Plan:
        """A run of N steps.

        Raises:
            TimestepsError: N out of range, or levels that cannot be walked.
            ConfigurationError: Factors that do not go together.
        """
        return self.over(self.grid.levels(self.process, steps, self.ends))

    def over(self, levels: Array) -> Plan:
        """A run over given levels rho_0 > ... > rho_N; (N + 1,). Raises as `plan`."""
        self._check_start(levels)
        return make_plan(
            self.process, self.solver.table(self.process, self.scale, levels), self.prediction, self.solver.of
        )

    def _check_start(self, levels: Array) -> None:
        """Refuse runs of a flow that start from noise alone with what has nothing to say about it."""
        if self.process.path != "flow" or not starts_from_noise(self.process, levels):
            return
        first = self.process.as_sigma(levels[0])
        if isinstance(self.solver, RungeKutta):
            raise ConfigurationError(
                f"solver={self.solver.name!r} takes Runge-Kutta steps in sigma / (1 - sigma), and none is possible "
                f"from noise alone, sigma = 1, got a first sigma of {first:g}. Use solver='multistep', "
                "or start below: timestep_spacing='power_t' with start_time=0.99, or sigmas=."
            )
        if self.prediction == "epsilon":
            raise TimestepsError(
                "The noise that a network predicts in noise alone does not tell the data, and prediction_type="
                f"'epsilon' has a run start at sigma = 1, got {first:.6g}. Start below it, or use "
                "prediction_type='flow_prediction' if that is what the model predicts."
            )

    def __str__(self) -> str:
        scale = "" if self.scale.is_flat else ", outputs divided by r(t)"
        solver, grid, ends = map(described, (self.solver, self.grid, self.ends))
        return f"{solver} on {grid}, {ends}, of {self.prediction}, {self.process}{scale}"


def described(value: object) -> str:
    """A value in words: its name, and the fields that are not at their defaults."""
    if isinstance(value, np.ndarray):
        return f"{len(value)} numbers"
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    said = [
        f"{one.name}={described(getattr(value, one.name))}"
        for one in fields(value)
        if one.default is MISSING or getattr(value, one.name) != one.default
    ]
    return f"{type(value).__name__}({', '.join(said)})"


def sample(plan: Plan, network: Callable[[Tensor, float], Tensor], x: Tensor) -> Tensor:
    """A run: the result, of the shape of x.

    Args:
        plan: Of `Recipe.plan`.
        network: Its output for a scaled sample and a time.
        x: The noise that the run starts from, times `plan.sigma[0]`; (B, *event).
    """
    history: list[Tensor] = []
    for n, time in enumerate(plan.times):
        output, raw = plan.convert(n, network(x * plan.input_scale[n], time), x)
        history = [output, *history][: plan.table.order]
        x = plan.advance(n, x, history, raw)
    return x
