"""Local costs of going from one noise level to the next, as Score-Optimal Diffusion Schedules define them.

arXiv 2412.07877, section 3. Between neighbouring measured levels rho > rho', in the coordinate y = x / alpha in which
every process is variance exploding with sigma = rho, with velocity v(rho') = rho' and per component of the sample:

    "corrector"  L_c = rho'^2 E_{y ~ p} | s'(y) - s(y) |^2 / d            the scores of both levels at the same y
    "predictor"  L_p = rho'^2 E_{y ~ p} | s'(F y) - score of F#p |^2 / d   what is left after an Euler step F

where s = -eps / rho is the score. Both are at least zero, and L ~ delta(rho) |rho' - rho|^p for small steps, with the
local order p = 2 for L_c and 4 for L_p. The length of a step is therefore L^(1/p), and lengths add up along a path.

These two ask what a step does to the distribution, and know nothing of the solver. The third asks what a solver that
extrapolates x_0 through two outputs gets wrong, and how much of that is left at the end:

    "solver"     L_s = c^2 / (c^2 + rho'^2) (1 - rho' / rho)^2 (tau - tau')^4 E | d^2 x_0 / d tau^2 |^2 / d

of order p = 6. In the data form (`core.coefficients`) an error of x_0 over a step moves y by rho' int d(1 / rho) =
1 - rho' / rho of it; and a displacement of y at the level rho' shrinks by c / (c^2 + rho'^2)^(1/2) on the way to clean
data of standard deviation c, exactly so on Gaussian data. Errors of a run add up, so that equal lengths L^(1/6), each
the cube root of an error, leave the least of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffusers_deis_sn.core.value_types import shown
from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.statistics.rules import demand, demand_even

COST_ORDERS = {"corrector": 2, "predictor": 4, "solver": 6}
"""The costs that can be measured, and their local order p."""
MOST_ORDER = 100  # beyond it lengths L^(1/p) are all alike
PROBED = ("corrector", "predictor")
"""Those that take network calls of their own; the solver's is seen along any trajectory."""


def preferred_cost(costs: Iterable[str], velocity: str = "sigma") -> str:
    """The cost that a grid is learned from where nobody chose one: the solver's, if it is there.

    Another velocity than sigma is a wish about the paper's costs.
    """
    names = ("solver", *PROBED) if velocity == "sigma" else PROBED
    return next((name for name in names if name in set(costs)), names[0])


@dataclass(frozen=True, eq=False)
class LocalCost:
    """A cost measured on every interval between neighbouring times of a record of K times.

    The costs of arXiv 2412.07877, eq. 13 (corrector) and 14 (predictor), and the solver's, which is ours.

    Args:
        values: L of the step from time k + 1 to the cleaner time k, per component, not negative; (K - 1,).
        error: Standard error of `values` over the samples, not negative; (K - 1,).
        order: Local order p, a whole number above zero.
        num_samples: Number of samples behind each interval, at least 1.

    Raises:
        StatisticsError: A value that breaks a rule above, or is not finite.

    Examples:
        >>> cost = LocalCost(np.array([4.0, 1.0]), error=np.array([0.0, 0.0]), order=2, num_samples=8)
        >>> cost.uncertainty  # relative standard error of the path's length
        0.0
    """

    values: NDArray[np.float64]
    error: NDArray[np.float64]
    order: int
    num_samples: int

    def __post_init__(self) -> None:
        for name in ("values", "error"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
        if self.values.shape != self.error.shape:
            raise StatisticsError(
                f"A cost needs one `error` for each of its `values`, got shapes {self.error.shape} and "
                f"{self.values.shape}."
            )
        for name in ("order", "num_samples"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise StatisticsError(f"`{name}` of a cost must be a whole number above zero, got {shown(value)}.")
        if self.order > MOST_ORDER:
            raise StatisticsError(f"`order` of a cost must be at most {MOST_ORDER}, got {shown(self.order)}.")

    def __len__(self) -> int:
        """Number of intervals, K - 1."""
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LocalCost):
            return NotImplemented
        same = (self.order, self.num_samples) == (other.order, other.num_samples)
        return same and all(
            getattr(self, name).tobytes() == getattr(other, name).tobytes() for name in ("values", "error")
        )

    def __hash__(self) -> int:
        return hash((self.values.tobytes(), self.order))

    def __reduce__(self) -> tuple[type[LocalCost], tuple[Any, ...]]:
        """Copies and pickles are built anew: NumPy's own would be writeable."""
        return type(self), (self.values, self.error, self.order, self.num_samples)

    @property
    def uncertainty(self) -> float:
        """Bound on the relative standard error of the path's length, sum L^(1/p); infinite for a path of no length.

        As if the errors of all intervals pointed the same way: their samples are the same.
        """
        return path_uncertainty(self.values, self.error, self.order)

    def towards(self, other: LocalCost, share: float) -> LocalCost:
        """A cost between this one, share 0, and another of the same intervals, share 1: lengths L^(1/p) are linear.

        Raises StatisticsError for another order.
        """
        if other.order != self.order:
            raise StatisticsError(f"Costs of the orders {self.order} and {other.order} cannot be interpolated.")
        lengths = [cost.values ** (1.0 / self.order) for cost in (self, other)]
        return LocalCost(
            values=((1.0 - share) * lengths[0] + share * lengths[1]) ** self.order,
            error=(1.0 - share) * self.error + share * other.error,
            order=self.order,
            num_samples=min(self.num_samples, other.num_samples),
        )


def check_costs(costs: object, log_rho: NDArray[np.float64]) -> None:
    """Raise StatisticsError for what are no costs of the intervals between measured times, by name.

    Args:
        costs: Of a record.
        log_rho: log(sigma / alpha) at its times, rising; (K,).
    """
    if not isinstance(costs, Mapping):
        raise StatisticsError(f"`costs` must map names to LocalCost, got {costs!r}. Give {{}} for none.")
    intervals = len(log_rho) - 1
    for name, cost in costs.items():
        if name not in COST_ORDERS or not isinstance(cost, LocalCost):
            raise StatisticsError(
                f"`costs` maps {' and '.join(COST_ORDERS)} to a LocalCost, got {name!r}: {type(cost).__name__}."
            )
        demand(len(cost) == intervals, f"costs[{name!r}]", f"needs {intervals} intervals", len(cost))
        demand_even(f"lengths of costs[{name!r}]", cost.values ** (1.0 / cost.order), log_rho)


def path_uncertainty(values: NDArray[np.float64], error: NDArray[np.float64], order: int) -> float:
    """sum ((L + dL)^(1/p) - L^(1/p)) / sum L^(1/p): a bound on the relative standard error of a path's length.

    To first order dL L^(1/p - 1) / p for each interval, and finite where L is zero, or lost in its error.
    """
    lengths = values ** (1.0 / order)
    if not np.any(lengths > 0.0):
        return float("inf")
    return float(np.sum((values + error) ** (1.0 / order) - lengths) / np.sum(lengths))


def _checked(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """A read-only copy in one row. Raises StatisticsError for values that are negative or not finite."""
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise StatisticsError(f"`{name}` of a cost must be one row of numbers: {error}.") from error
    if array.ndim != 1 or len(array) == 0:
        raise StatisticsError(f"`{name}` of a cost must be one row of numbers, got shape {array.shape}.")
    sound = np.isfinite(array) & (array >= 0.0)
    if not np.all(sound):
        place = int(np.argmin(sound))
        raise StatisticsError(
            f"`{name}` of a cost must be finite and not negative, got {array[place]} at position {place}. Measure "
            "again with `deis-sn calibrate --cost ...`."
        )
    array.flags.writeable = False
    return array
