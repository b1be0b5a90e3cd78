"""Algorithm 1 of arXiv 2412.07877: move a schedule to equal costs, measure again, until it moves no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.path import SchedulePath


@dataclass(frozen=True, eq=False)
class OptimisedSchedule:
    """What `optimise_schedule` ends with (arXiv 2412.07877, Algorithm 1).

    Args:
        levels: sigma_0 > ... > sigma_T; (T + 1,).
        costs: Cost of each of its steps; (T,).
        path_length: Their lengths L^(1/p), added up.
        energy: T^(p-1) sum L_i, at least path_length^p; the ratio of the two is one for equal costs.
        moves: How far each iteration moved the levels, at most, in log sigma.
        converged: Whether the last move was below the tolerance.

    Examples:
        >>> found = optimise_schedule(lambda levels: np.log(levels[:-1] / levels[1:]) ** 2, [10.0, 5.0, 0.1])
        >>> found.levels.round(2).tolist(), found.converged
        ([10.0, 1.0, 0.1], True)
    """

    levels: Array
    costs: Array
    path_length: float
    energy: float
    moves: tuple[float, ...]
    converged: bool


@checked(ScheduleError)
def update_schedule(levels: ArrayLike, costs: ArrayLike, order: int = 2, steps: int | None = None) -> Array:
    """One UpdateSchedule: the schedule whose steps would cost the same, if costs were as measured on `levels`.

    This is Algorithm 1 of arXiv 2412.07877, which has p = 2.

    Args:
        levels: sigma_0 > ... > sigma_T > 0; (T + 1,). Its ends stay.
        costs: L of each step, not negative; (T,).
        order: Local order p of the cost; the length of a step is L^(1/p).
        steps: Number of steps of the result; T if None.

    Returns:
        Falling levels; (steps + 1,).

    Raises:
        ScheduleError: Levels or costs that are no path.

    Examples:
        >>> update_schedule([10.0, 1.0, 0.1], [1.0, 4.0], steps=3).round(2).tolist()
        [10.0, 1.0, 0.23, 0.1]
    """
    path = SchedulePath.from_costs(levels, costs, order)
    return path.partition(len(path.lengths) if steps is None else steps)


@checked(ScheduleError)
def optimise_schedule(
    cost: Callable[[Array], ArrayLike],
    levels: ArrayLike,
    order: int = 2,
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 100,
    damping: float = 1.0,
) -> OptimisedSchedule:
    """Iterate `update_schedule` (arXiv 2412.07877, Algorithm 1) until the schedule moves by less than a tolerance.

    With lengths L^(1/p) the iteration converges without damping for any p; with square roots, as in the paper, it would
    oscillate for a cost of order four. If costs are estimated from few samples, use damping, or accept that it stops at
    their noise.

    Optimise a fine schedule, and take fewer steps of it with `update_schedule(..., steps=...)`. The cost of a long step
    is not the sum of the costs of short ones, and costs can be equal on a useless schedule: one with a single step from
    far above the scale of the data to the end.

    Args:
        cost: Costs of the steps of a schedule: falling levels (T + 1,) to L (T,); such as
            `lambda levels: schedule_costs(epsilon, samples, levels).values`.
        levels: The schedule to begin with, falling or rising; its ends stay.
        order: Local order p of the cost.
        tolerance: Largest move of a level, in log sigma, at which the iteration stops.
        max_iterations: Largest number of iterations.
        damping: How far each iteration moves towards the updated schedule, in log sigma; above 0, at most 1.

    Returns:
        The schedule, its costs, and whether it converged.

    Raises:
        ScheduleError: Levels or costs that are no path, or `tolerance`, `max_iterations` or `damping` out of range.
    """
    if not tolerance >= 0.0 or max_iterations < 0:
        raise ScheduleError(
            f"`tolerance` and `max_iterations` must be zero or more, got {tolerance!r} and "
            f"{max_iterations!r}. Leave them out."
        )
    if not 0.0 < damping <= 1.0:
        raise ScheduleError(
            f"`damping` is the share of each update that is taken, above 0 and at most 1, got {damping}."
        )
    now = np.sort(np.atleast_1d(np.asarray(levels, dtype=np.float64)))[::-1]
    moves: list[float] = []
    while len(moves) < max_iterations and not (moves and moves[-1] < tolerance):
        wanted = update_schedule(now, cost(now), order)
        moved = damping * (np.log(wanted) - np.log(now))
        inner = now[1:-1] * np.exp(moved[1:-1])
        now = np.concatenate([now[:1], inner, now[-1:]])
        moves.append(float(np.max(np.abs(moved), initial=0.0)))
    costs = np.asarray(cost(now), dtype=np.float64)
    SchedulePath.from_costs(now, costs, order)  # raises ScheduleError for what is no cost
    return OptimisedSchedule(
        levels=now,
        costs=costs,
        path_length=float(np.sum(costs ** (1.0 / order))),
        energy=float(len(costs) ** (order - 1) * np.sum(costs)),
        moves=tuple(moves),
        converged=bool(moves) and moves[-1] < tolerance,
    )
