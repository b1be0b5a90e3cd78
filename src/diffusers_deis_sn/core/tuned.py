"""A run that was fitted to a model: its times and weights are numbers that no formula gives.

Every method without extra calls is one table. With f_j the outputs, read as noise or as data, a run of N calls is

    x_{n+1} = transfer_n x_n + sum_{j <= n} weights_{n,j} f_{n-j} + low( sum_{j <= n} low_{n,j} f_{n-j} )

where low takes the low band of space (`core.step.low_band`). It is a grid and a solver at once, so that a `Recipe`
makes the same kind of plan of it as of any other. How plans are fitted is ours, see docs/tuning.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusers_deis_sn.core.coefficients import INTEGRANDS
from diffusers_deis_sn.core.grids import Ends
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.table import MOST_TUNED, CoefficientTable
from diffusers_deis_sn.core.value_types import is_list, is_number, shown
from diffusers_deis_sn.errors import StatisticsError, StatisticsMismatchError, TimestepsError

if TYPE_CHECKING:  # both know PyTorch, which who reads a file of statistics may do without
    from diffusers_deis_sn.core.plan import Plan
    from diffusers_deis_sn.core.recipe import Recipe

SAME = 1e-3  # of times: more apart is another schedule
# By how much factors may be larger than those of any sound step. Of the suite's plans none has more than 2.6.
BEYOND_REASON = 1000.0
ARRAYS = ("rho", "times", "told", "transfer", "weights", "low")


@dataclass(frozen=True, eq=False)
class Tuned:
    """Times and weights of N calls; the arrays are copied and made read-only.

    Args:
        rho: Noise levels of the calls and of the end, strictly falling; (N + 1,).
        times: Times of the calls, what the process calls the levels; (N,).
        told: What the network is told instead; falling; (N,).
        transfer: Factor of the sample in each step; (N,).
        weights: `weights[n, j]` of output n - j in step n, zero for j > n; (N, N).
        low: The same, of the low band beside; None where samples have no bands or all have the same weights.
        of: What outputs are read as, "noise" or "data".
        shift: By which the levels of a flow-matching model are shifted.

    Raises:
        StatisticsError: Numbers that are no such run.
    """

    rho: Array
    times: Array
    told: Array
    transfer: Array
    weights: Array
    low: Array | None = None
    of: str = "data"
    shift: float = 1.0

    calls_per_step = 1

    def __post_init__(self) -> None:
        calls = len(self.times) if is_list(self.times) else 0
        if not 1 <= calls <= MOST_TUNED:
            raise StatisticsError(f"A plan has 1 to {MOST_TUNED} calls, got {calls}.")
        shapes = {"rho": (calls + 1,), "weights": (calls, calls), "low": (calls, calls)}
        for name in ARRAYS if self.low is not None else ARRAYS[:-1]:
            object.__setattr__(self, name, _frozen(name, getattr(self, name), shapes.get(name, (calls,))))
        if np.any(np.diff(self.rho) >= 0.0) or self.rho[-1] < 0.0:
            raise StatisticsError(f"`rho` of a plan must fall to zero or above, got {self.rho.tolist()}.")
        for name in ("times", "told"):
            if np.any(np.diff(getattr(self, name)) >= 0.0):
                raise StatisticsError(f"`{name}` of a plan must fall, got {getattr(self, name).tolist()}.")
        for weights in (self.weights, self.low):
            if weights is not None and np.any(np.triu(weights, 1) != 0.0):
                raise StatisticsError("A plan has weights on outputs that are not there: `weights[n, j]`, j > n.")
        self._check_sizes()
        if not isinstance(self.of, str) or self.of not in INTEGRANDS:
            raise StatisticsError(f"`of` of a plan must be one of {', '.join(INTEGRANDS)}, got {shown(self.of)}.")
        if not (is_number(self.shift) and 0.0 < self.shift < np.inf):
            raise StatisticsError(f"`shift` of a plan must be a positive number, got {shown(self.shift)}.")

    def _check_sizes(self) -> None:
        """Raise StatisticsError for a factor that no step has, as one damaged number makes it.

        A step from rho to rho' takes at most (1 + rho) / (1 + rho') of the sample, alpha'/alpha of flow-matching, and
        rho times as much of noise; extrapolation multiplies that by some small number, and in a whole run by no more:
        what is small in one step would grow with their number.
        """
        sample = BEYOND_REASON * (1.0 + self.rho[:-1]) / (1.0 + self.rho[1:])
        output = sample * np.maximum(1.0, self.rho[:-1])
        bounds = {"transfer": sample, "weights": output[:, None], "low": output[:, None]}
        for name, bound in bounds.items():
            values = getattr(self, name)
            if values is not None and np.any(np.abs(values) > bound):
                step = int(np.argmax(np.any(np.reshape(np.abs(values) > bound, (len(self), -1)), axis=1)))
                raise StatisticsError(
                    f"`{name}` of a plan has {np.max(np.abs(values[step])):.3g} in step {step}, and no sound step has "
                    f"more than {bound.flat[step]:.3g} there."
                )
        grown = np.cumprod(np.abs(self.transfer)) * (1.0 + self.rho[1:]) / (1.0 + self.rho[0])
        if np.any(grown > BEYOND_REASON):
            raise StatisticsError(
                f"`transfer` of a plan makes samples {np.max(grown):.3g} times as large in all its steps as a sound "
                f"run does, and more than {BEYOND_REASON:g} is beyond reason."
            )

    @classmethod
    def of_plan(cls, plan: Plan, shift: float = 1.0) -> Tuned:
        """The numbers of any run of one call a step.

        Raises:
            StatisticsError: Steps of several calls, or too many of them.
        """
        calls, order = len(plan), plan.table.order
        if plan.steps != calls or calls > MOST_TUNED:
            raise StatisticsError(f"A plan has 1 to {MOST_TUNED} steps of one call, got {plan.steps} of {calls} calls.")
        weights, low = np.zeros((calls, calls)), None if plan.table.low is None else np.zeros((calls, calls))
        for n in range(calls):
            most = min(n + 1, order)
            weights[n, :most] = plan.table.weights[most - 1, n, :most]
            if low is not None and plan.table.low is not None:
                low[n, :most] = plan.table.low[most - 1, n, :most]
        rho, times = np.array(plan.levels), np.array(plan.times)
        return cls(rho, times, times, plan.table.transfer, weights, low, plan.integrand, shift)

    @classmethod
    def of_recipe(cls, recipe: Recipe, levels: Array) -> Tuned:
        """The weights of a recipe over given levels, as weights of predicted data. Raises as `Recipe.over`."""
        return cls.of_plan(recipe.over(levels)).of_data(recipe.process)

    def of_data(self, process: NoiseSchedule) -> Tuned:
        """The same run with outputs read as data; of one band.

        With eps_i = (x_i - alpha_i f_i) / sigma_i every sample is x_i = a_i x_0 + sum_j c_{i,j} f_j, and the step from
        x_n is what remains of x_{n+1} - (a_{n+1} / a_n) x_n.

        Raises:
            StatisticsError: A run in two bands.
        """
        if self.of == "data":
            return self
        if self.low is not None:
            raise StatisticsError(
                "A plan of noise in two bands cannot be rewritten for predicted data. Fit it to data."
            )
        calls = len(self)
        alpha, sigma = process.alpha(self.rho), process.sigma(self.rho)
        start, outputs = np.zeros(calls + 1), np.zeros((calls + 1, calls))
        start[0] = 1.0
        transfer, weights = np.zeros(calls), np.zeros((calls, calls))
        for n in range(calls):
            newest_first = np.arange(n, -1, -1)
            by_sample = self.weights[n, : n + 1] / sigma[newest_first]
            start[n + 1] = self.transfer[n] * start[n] + by_sample @ start[newest_first]
            outputs[n + 1] = self.transfer[n] * outputs[n] + by_sample @ outputs[newest_first]
            outputs[n + 1, newest_first] -= by_sample * alpha[newest_first]
            transfer[n] = start[n + 1] / start[n]
            weights[n, : n + 1] = (outputs[n + 1] - transfer[n] * outputs[n])[newest_first]
        return replace(self, transfer=transfer, weights=weights, of="data")

    def towards(self, other: Tuned, share: float, process: NoiseSchedule) -> Tuned:
        """What lies between this run, share 0, and another of as many calls, share 1.

        The first time, the logarithms of the gaps between times and the weights are linear, times being tau of the
        process; calls are then brought to whole times where it numbers them.

        Raises:
            StatisticsError: Runs that have no between: of other numbers of calls, integrands, shifts or ends.
            TimestepsError: Times that are too near to one another for whole ones.
        """
        ends = (len(self), self.of, self.shift, float(self.rho[-1]))
        if ends != (len(other), other.of, other.shift, float(other.rho[-1])):
            raise StatisticsError(
                "Only plans with equal numbers of calls, integrands, shifts and ends are interpolated."
            )
        one, two = (process.progress(each.rho[:-1]) for each in (self, other))
        gaps = np.exp(_linear(np.log(one - np.append(one[1:], 0.0)), np.log(two - np.append(two[1:], 0.0)), share))
        falling = np.cumsum(gaps[::-1])[::-1]
        falling *= _linear(one[:1], two[:1], share) / falling[0]
        rho = process.whole(np.append(process.level(falling), self.rho[-1]))
        times = process.call_times(rho[:-1])
        none = np.zeros_like(self.weights)
        low, high = (none if each.low is None else each.low for each in (self, other))
        return Tuned(
            rho,
            times,
            times + _linear(self.told - self.times, other.told - other.times, share),
            _linear(self.transfer, other.transfer, share),
            _linear(self.weights, other.weights, share),
            None if self.low is None and other.low is None else _linear(low, high, share),
            self.of,
            self.shift,
        )

    # ------------------------------------------------------------------------------------------------- as a value

    def __len__(self) -> int:
        """Number of network calls, N."""
        return len(self.times)

    @property
    def bands(self) -> int:
        """How many bands of space have weights of their own."""
        return 1 if self.low is None else 2

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tuned):
            return NotImplemented
        same = (self.of, self.shift, self.bands) == (other.of, other.shift, other.bands)
        arrays = [name for name in ARRAYS if getattr(self, name) is not None]
        return same and all(getattr(self, name).tobytes() == getattr(other, name).tobytes() for name in arrays)

    def __hash__(self) -> int:
        return hash((self.rho.tobytes(), self.weights.tobytes()))

    def __reduce__(self) -> tuple[Callable[..., Tuned], tuple[Any, ...]]:
        """Copies and pickles are built anew: NumPy's own would be writeable."""
        return type(self), tuple(getattr(self, one.name) for one in fields(self))

    # --------------------------------------------------------------------------------------- as a grid and a solver

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`.

        Raises:
            TimestepsError: Another number of steps.
            StatisticsMismatchError: Another noise schedule.
        """
        if steps != len(self):
            raise TimestepsError(f"This plan was fitted for {len(self)} steps, got {steps}. Use as many.")
        self.check(process)
        return self.rho.copy()

    def check(self, process: NoiseSchedule) -> None:
        """Raise StatisticsMismatchError where the process calls the levels otherwise."""
        apart = np.abs(process.call_times(self.rho[:-1]) - self.times)
        if np.any(apart > max(SAME, 1e-6 * float(np.max(np.abs(self.times))))):
            worst = int(np.argmax(apart))
            raise StatisticsMismatchError(
                f"A plan of another noise schedule: its call {worst} is at t = {self.times[worst]:g}, and {process} "
                f"has that level at {float(process.time(self.rho[worst])):g}. Tune this model, or use tuned=False."
            )

    def table(self, process: NoiseSchedule, scale: Normaliser, levels: Array) -> CoefficientTable:
        """See `Solver`; the scale is in the weights already.

        A run that begins half-way finds fewer outputs, and takes the newest for all that it lacks.

        Raises:
            StatisticsError: Other levels than those that the weights were fitted for.
        """
        if not np.array_equal(levels, self.rho):
            raise StatisticsError(
                "The weights of a plan hold only at its own noise levels. Use it as the grid as well."
            )
        calls = len(self)
        row_sum = np.array([row[: n + 1].sum() for n, row in enumerate(self.weights)])
        return CoefficientTable(
            levels=levels,
            transfer=self.transfer,
            weights=_for_fewer(self.weights),
            node_scale=np.ones(calls),
            row_sum=row_sum,
            needs=np.ones(calls, dtype=int),
            low=None if self.low is None else _for_fewer(self.low),
        )

    def plan(self, process: NoiseSchedule, prediction: str) -> Plan:
        """The run.

        Raises:
            StatisticsMismatchError: Another noise schedule.
            ConfigurationError: A prediction that the process does not have.
        """
        from diffusers_deis_sn.core.recipe import Recipe

        plan = Recipe(process, self, self, prediction=prediction).plan(len(self))
        return plan if np.array_equal(self.told, self.times) else plan.called_at(self.told)


def _linear(one: Array, other: Array, share: float) -> Array:
    return (1.0 - share) * one + share * other


def _for_fewer(weights: Array) -> Array:
    """Weights with m outputs at hand, m = 1, ..., N: what would be on others is on the newest; (N, N, N)."""
    calls = len(weights)
    table = np.zeros((calls, calls, calls))
    for m in range(1, calls + 1):
        table[m - 1, :m, :m] = weights[:m, :m]
        table[m - 1, m:, 0] = weights[m:].sum(axis=1)
    return table


def _frozen(name: str, values: object, shape: tuple[int, ...]) -> Array:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise StatisticsError(f"`{name}` of a plan must hold numbers: {error}.") from error
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise StatisticsError(f"`{name}` of a plan must be {shape} finite numbers, got the shape {array.shape}.")
    array.flags.writeable = False
    return array
