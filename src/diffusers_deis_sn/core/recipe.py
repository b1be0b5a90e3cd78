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
from diffusers_deis_sn.core.grids import Ends, Grid, Shifted, Trailing, Whole, check_steps
from diffusers_deis_sn.core.markup import Curve, chart, table
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.plan import Plan, make_plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule, check_levels
from diffusers_deis_sn.core.solvers import Multistep, Solver
from diffusers_deis_sn.core.step import check_samples
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import CoefficientError, ConfigurationError, DeisSnError, StepError, TimestepsError


@checked(ConfigurationError)
@dataclass(frozen=True)
class Recipe:
    """How runs go, whatever their number of steps: a noise schedule, a time grid, a solver and a scale.

    Args:
        process: The noise schedule.
        grid: Where the steps begin.
        solver: What is combined in a step, and how.
        scale: r(t), by which outputs are divided; flat for plain DEIS.
        ends: Where runs start and end.
        prediction: What the network predicts, one of `process.predictions`.

    Examples:
        >>> from diffusers_deis_sn.core.vp import vp_schedule
        >>> recipe = Recipe(vp_schedule(), solver=Multistep(3))
        >>> len(recipe.plan(8))  # network calls
        8
    """

    process: NoiseSchedule
    grid: Grid = field(default_factory=Trailing)
    solver: Solver = field(default_factory=Multistep)
    scale: Normaliser = field(default_factory=Normaliser.flat)
    ends: Ends = field(default_factory=Ends)
    prediction: str = "epsilon"

    def plan(self, steps: int) -> Plan:
        """A run of N steps, ready to be walked through.

        Args:
            steps: N, at least 1.

        Returns:
            Times, levels and coefficients.

        Raises:
            TimestepsError: N out of range, or levels that cannot be walked.
            ConfigurationError: Factors that do not go together.
            CoefficientError: The solver gave no table for these levels.
        """
        return self.over(self.levels(steps))

    def levels(self, steps: int) -> Array:
        """Noise levels of a run of N steps, checked, whoever wrote the grid.

        Args:
            steps: N, at least 1.

        Returns:
            rho_0 > ... > rho_N >= 0; float64, (N + 1,).

        Raises:
            TimestepsError: N out of range; or levels that are not N + 1 finite falling numbers, the last zero or more.
            ConfigurationError: A grid, or ends, that the process does not have.
        """
        number = check_steps(self.process, steps)
        name = f"`{type(_innermost(self.grid)).__name__}.levels`"
        try:
            levels = np.array(self.grid.levels(self.process, number, self.ends), dtype=np.float64)
        except DeisSnError:
            raise
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            why = f"{type(error).__name__}: {error}"
            raise TimestepsError(
                f"{name} gave no levels for {number} steps ({why}). They are rho = sigma / alpha, noisiest first."
            ) from error
        if levels.shape != (number + 1,):
            raise TimestepsError(
                f"{name} gave levels of shape {levels.shape} for {number} steps. {number + 1} in one row are needed: "
                "one for each network call, and the end of the run."
            )
        self._check_walkable(levels, f"{name} gave levels that")
        return levels

    def _check_walkable(self, levels: Array, which: str) -> None:
        """Raise TimestepsError unless levels are finite, fall by more than rounding, and end at zero or above."""
        try:
            check_levels(levels, which)
        except TimestepsError as error:
            shifted = isinstance(self.grid, Shifted) and (self.grid.shift != 1.0 or self.grid.terminal is not None)
            if not shifted or not np.all(np.isfinite(levels)):
                raise
            sigmas = ", ".join(f"{one:.4g}" for one in self.process.as_sigma(levels))
            raise TimestepsError(
                f"{which} do not fall to where the run ends, once they are shifted: sigma {sigmas}. The end is not "
                "shifted. Use a smaller `end_time`, final_sigmas_type='zero', or another `flow_shift` or "
                "`shift_terminal`."
            ) from error

    @checked(TimestepsError)
    def over(self, levels: Array) -> Plan:
        """A run over given levels, whatever made them.

        Args:
            levels: rho_0 > ... > rho_N >= 0; (N + 1,).

        Returns:
            Times, levels and coefficients.

        Raises:
            TimestepsError: Levels that cannot be walked.
            ConfigurationError: Factors that do not go together.
            CoefficientError: The solver gave no table for these levels.
        """
        self._check_walkable(levels, "Levels that")
        return make_plan(self.process, self.table(levels), self.prediction, self.solver.of)

    @checked(TimestepsError)
    def table(self, levels: Array) -> CoefficientTable:
        """The solver's coefficients over given levels, checked, whoever wrote the solver.

        Args:
            levels: rho_0 > ... > rho_N >= 0; (N + 1,).

        Returns:
            One row for each network call.

        Raises:
            TimestepsError: Levels that cannot be walked, or noise predictions in a run of a flow that starts from noise
                alone.
            ConfigurationError: Factors that do not go together.
            CoefficientError: No table, or one of other levels or with another number of calls a step.
        """
        check_levels(levels)
        self._check_start(levels)
        name, steps = type(self.solver).__name__, len(levels) - 1
        table = self.solver.table(self.process, self.scale, levels.copy())
        if not isinstance(table, CoefficientTable):
            raise CoefficientError(f"`{name}.table` must give a CoefficientTable, got {type(table).__name__}.")
        begun = np.flatnonzero(table.needs == 1)
        if len(begun) != steps or not np.array_equal(table.levels[:-1][begun], levels[:-1]):
            raise CoefficientError(
                f"`{name}.table` gave a table of {len(begun)} steps at other levels than its {steps} steps have. Use "
                "the levels as they are; `needs` is 1 for the first call of each step."
            )
        return table

    def _check_start(self, levels: Array) -> None:
        """Refuse runs of a flow that start from noise alone with a network that has nothing to say about it."""
        if self.process.path != "flow" or not starts_from_noise(self.process, levels):
            return
        first = self.process.as_sigma(levels[0])
        if self.prediction == "epsilon":
            raise TimestepsError(
                "With prediction_type='epsilon' a run cannot start at sigma = 1, pure noise: predicted noise says "
                f"nothing of the data there. It starts at {first:.6g}. Start below, or use prediction_type="
                "'flow_prediction' if that is what the model predicts."
            )

    @property
    def divides(self) -> bool:
        """Whether the solver divides outputs by the scale: not if that is flat, nor if the solver has no use for it."""
        if self.scale.is_flat:
            return False
        levels = self.process.level(np.array([0.75, 0.5, 0.25]))
        try:
            return bool(np.any(self.solver.table(self.process, self.scale, levels).node_scale != 1.0))
        except Exception:  # of a solver of whoever wrote it; a plan has no table for levels other than its own
            return False

    @property
    def _symbol(self) -> str:
        return "r(t)" if self.solver.of == "noise" else "nu(t)"

    def __str__(self) -> str:
        scale = f", outputs divided by {self._symbol}" if self.divides else ""
        solver, grid, ends = map(described, (self.solver, self.grid, self.ends))
        return f"{solver} on {grid}, {ends}, of {self.prediction}, {self.process}{scale}"

    def __repr__(self) -> str:
        return f"Recipe({self})"

    def _repr_html_(self) -> str:
        """For notebooks: the factors, and the scale over the network's times."""
        factors = {
            "process": str(self.process),
            "grid": described(self.grid),
            "solver": described(self.solver),
            "ends": described(self.ends),
            "network predicts": self.prediction,
            "outputs divided by": f"a mean magnitude of {self.solver.of}, below" if self.divides else "nothing",
        }
        drawn = ""
        if self.divides:
            curve = Curve(self.scale.timesteps, self.scale(self.scale.timesteps))
            drawn = chart([curve], "time t of the network", self._symbol)
        return f"<div><strong>Recipe</strong>{table(factors.items())}{drawn}</div>"


def _innermost(grid: Grid) -> Grid:
    """The grid itself, of one that is shifted or rounded."""
    while isinstance(grid, Shifted | Whole):
        grid = grid.base
    return grid


def described(value: object) -> str:
    """A value in words: its name, and the fields that are not at their defaults."""
    if isinstance(value, np.ndarray):
        return f"{len(value)} numbers"
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    said = [
        f"{one.name}={described(getattr(value, one.name))}"
        for one in fields(value)
        if one.default is MISSING or not _equal(getattr(value, one.name), one.default)
    ]
    return f"{type(value).__name__}({', '.join(said)})"


def _equal(value: object, other: object) -> bool:
    """Whether two values are the same, of which either may be an array."""
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return isinstance(value, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(value, other)
    return bool(value == other)


@checked(StepError)
def sample(plan: Plan, network: Callable[[Tensor, float], Tensor], x: Tensor) -> Tensor:
    """Draw samples: call the network at each time of a plan and take its steps.

    Args:
        plan: Of `Recipe.plan`.
        network: Its output for a scaled sample, (B, *event), and a time.
        x: The noise that the run starts from, times `plan.sigma[0]`; (B, *event).

    Returns:
        The result, where the plan's levels end; (B, *event).

    Raises:
        StepError: No sample of floating-point numbers; or the plan was fitted for two bands of space, and these samples
            have none.
    """
    check_samples(x=x)
    history: list[Tensor] = []
    for n, time in enumerate(plan.times):
        output, raw = plan.convert(n, network(x * plan.input_scale[n], time), x)
        history = [output, *history][: plan.table.order]
        x = plan.advance(n, x, history, raw)
    return x
