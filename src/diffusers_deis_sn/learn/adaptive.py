"""Algorithm 2 of arXiv 2412.07877: a schedule that moves to equal costs while the network that it serves is trained.

With costs L_i estimated from the batches of training themselves, and T* = UpdateSchedule(T, L) (Algorithm 1),

    log t_i <- gamma log t_i* + (1 - gamma) log t_i,        0 < gamma <= 1,

whenever every interval was visited often enough. Where the network no longer changes, costs become equal.

That is the best schedule for short steps only. A long step down to a level far below the detail of the data looks
cheap, for its cost is weighted by the level entered, and becomes longer than it should be: with 100 levels the cleanest
one may be a fifth of that detail, with 40 it had better be half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import checked, shown
from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.path import check_order
from diffusers_deis_sn.learn.search import update_schedule

Reduce = Callable[[Tensor], Tensor]
"""A tensor of this process to the sum of those of all processes."""

MOST_BATCH = 10**7
NEGATIVE = 6.0  # standard errors by which the mean of all costs may be below zero: those of the predictor scatter


class AdaptiveSchedule:
    """Noise levels of a training run, in y = x / alpha, that adapt to the costs of their steps (Algorithm 2).

        log t_i <- gamma log t_i* + (1 - gamma) log t_i,    t* = update_schedule(t, costs)

    In every batch, draw levels, train there, and measure the costs of the steps from there with the current network:

        intervals, sigma, entered = schedule.draw(len(x), generator)
        sigma, entered = sigma.to(x)[:, None], entered.to(x)[:, None]
        ...                                                               # train at x + sigma * noise
        with torch.no_grad():
            schedule.update(intervals, corrector_cost(network, x + sigma * noise, sigma, entered))
        schedule.resample(lambda sums: accelerator.reduce(sums.to(accelerator.device), "sum"))

    Sums are float64 on the CPU. Each process draws with its own seed and calls `resample` equally often; the levels are
    then the same in all of them. Save after `resample`: the state of one process is then that of all, as
    `Accelerator.register_for_checkpointing` expects.

    Args:
        levels: sigma_0 > ... > sigma_T > 0; (T + 1,). The ends stay.
        order: Local order p of the cost: 2 of the corrector's, 4 of the predictor's.
        gamma: How far the levels move towards the updated schedule, in log sigma: above 0 (not at all), at most 1 (all
            the way). The paper has 0.05 to 0.1.
        min_visits: Number of samples that every interval needs, in all processes together, before the levels move.

    Attributes:
        order, gamma, min_visits: See Args; the latter two may be changed at any time.
        moves: How often the levels moved.

    Raises:
        ScheduleError: A value that breaks a rule above.

    Examples:
        >>> schedule = AdaptiveSchedule([10.0, 1.0, 0.1], gamma=1.0, min_visits=1)
        >>> intervals, sigma, entered = schedule.draw(4)
        >>> schedule.update(intervals, 10.0 ** -intervals.double())  # the second step costs a tenth of the first
        >>> schedule.resample()
        True
        >>> schedule.levels[1] > 1.0  # so the first step becomes shorter
        np.True_

    References:
        Williams et al., Score-Optimal Diffusion Schedules, https://arxiv.org/abs/2412.07877, Algorithm 2.
    """

    @checked(ScheduleError)
    def __init__(self, levels: ArrayLike, order: int = 2, gamma: float = 0.05, min_visits: int = 24) -> None:
        """Nothing visited yet."""
        check_order(order)
        if min_visits < 1:
            raise ScheduleError(f"`min_visits` must be a whole number above zero, got {min_visits!r}. Leave it out.")
        if not 0.0 < gamma <= 1.0:
            raise ScheduleError(f"`gamma` must be above 0 and at most 1, got {gamma!r}. Try 0.05.")
        self.order, self.gamma, self.min_visits, self.moves = order, gamma, min_visits, 0
        self._levels = _checked_levels(levels)
        self._estimate = np.full((2, len(self)), np.nan)  # mean costs and their standard errors
        # Visits, sums and sums of squares: of this process since the last `resample`, and of all processes before it.
        self._own, self._all = np.zeros((3, len(self))), np.zeros((3, len(self)))

    def __len__(self) -> int:
        """Number of intervals T."""
        return len(self._levels) - 1

    # --------------------------------------------------------------------------------------------- in every batch

    @checked(ScheduleError)
    def draw(self, batch: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Intervals for the samples of a batch: each as likely as any other, and visited as evenly as a batch allows.

        Args:
            batch: Number of samples B.
            generator: On the CPU; seeded differently in each process.

        Returns:
            Interval, 0 (noisiest) to T - 1; the level sigma that its step comes from; the level that it enters. Each
            (B,) on the CPU, int64 and float64. The last level is only ever entered: train there too, 1 time in T + 1.

        Raises:
            ScheduleError: No number of samples.
        """
        if not 0 <= batch <= MOST_BATCH:
            raise ScheduleError(f"`batch` must be a number of samples from 0 to {MOST_BATCH}, got {shown(batch)}.")
        start = torch.rand((), generator=generator, dtype=torch.float64, device="cpu")
        spread = (torch.arange(batch, dtype=torch.float64) + start) * (len(self) / max(batch, 1))
        intervals = spread.long().clamp(max=len(self) - 1)[torch.randperm(batch, generator=generator, device="cpu")]
        levels = torch.from_numpy(self.levels)
        return intervals, levels[intervals], levels[intervals + 1]

    @checked(ScheduleError)
    def update(self, intervals: Tensor | ArrayLike, costs: Tensor | ArrayLike) -> None:
        """Take in the costs of samples.

        Args:
            intervals: Where each belongs, whole numbers from 0 to T - 1; (B,).
            costs: L of each sample; (B,), any device and dtype. Single ones may be negative, as the predictor's are.

        Raises:
            ScheduleError: Shapes that differ, an interval that is none, a cost that is not finite; nothing was taken.
        """
        where, values = (torch.as_tensor(row).detach().cpu() for row in (intervals, costs))
        if values.is_complex():
            raise ScheduleError("`costs` must be real numbers, got complex ones. Give what `corrector_cost` returns.")
        values = values.double()
        if where.ndim != 1 or where.shape != values.shape:
            raise ScheduleError(
                f"`update` takes one interval and one cost for each sample, both (B,), got shapes {tuple(where.shape)} "
                f"and {tuple(values.shape)}. Give it what `draw` and `corrector_cost` return."
            )
        whole = not (where.is_floating_point() or where.is_complex() or where.dtype == torch.bool)
        unknown = where[(where < 0) | (where >= len(self))] if whole else where
        if len(unknown) or not whole:
            raise ScheduleError(
                f"`intervals` must be whole numbers from 0 to {len(self) - 1}, got {unknown[:1].tolist()} of "
                f"{where.dtype}. Give what `draw` of this schedule returned."
            )
        broken = values[~torch.isfinite(values)]
        if len(broken):
            raise ScheduleError(
                f"Costs must be finite, got {float(broken[0])} in {len(broken)} of {len(values)} samples. Measure them "
                "in float32 or bfloat16, or leave this batch out."
            )
        rows = (torch.ones_like(values), values, values.square())
        sums = [torch.bincount(where.long(), weights=row, minlength=len(self)).numpy() for row in rows]
        self._own = self._own + np.stack(sums)

    @checked(ScheduleError)
    def resample(self, reduce: Reduce | None = None) -> bool:
        """Move the levels, if every interval was visited `min_visits` times since the last estimate.

        Args:
            reduce: Sums a (3, T) float64 tensor over all processes; None where there is one. All of them have to call.

        Returns:
            Whether the levels moved. With visits enough they stay only if all costs are zero, as those of a network are
            whose output still is.

        Raises:
            ScheduleError: `reduce` returns no sum, or the mean of all costs is negative beyond chance. A single mean
                below zero counts as zero.
        """
        self._all = self._all + self._summed(reduce)
        self._own = np.zeros_like(self._own)
        visits, sums, squares = self._all
        if np.min(visits) < self.min_visits:
            return False
        mean = sums / visits
        spread = np.sqrt(np.maximum(squares / visits - mean**2, 0.0))
        error = np.where(visits > 1.0, spread / np.sqrt(np.maximum(visits - 1.0, 1.0)), np.inf)
        if np.sum(mean) < -NEGATIVE * np.linalg.norm(error):
            raise ScheduleError(
                f"Costs must not be negative on average, got {np.mean(mean):.6g} over all intervals, with a standard "
                f"error of {np.linalg.norm(error) / len(self):.2g}. Give `update` what `corrector_cost` returns."
            )
        self._estimate = np.stack([np.maximum(mean, 0.0), error])
        self._all = np.zeros_like(self._all)
        if not np.any(self._estimate[0] > 0.0):
            return False
        wanted = update_schedule(self._levels, self._estimate[0], self.order)
        inner = np.exp(self.gamma * np.log(wanted) + (1.0 - self.gamma) * np.log(self._levels))[1:-1]
        self._levels = np.concatenate([self._levels[:1], inner, self._levels[-1:]])
        self.moves += 1
        return True

    def _summed(self, reduce: Reduce | None) -> Array:
        """Visits and sums of all processes since the last `resample`."""
        if reduce is None:
            return self._own
        summed = torch.as_tensor(reduce(torch.from_numpy(self._own.copy()))).detach().cpu().double().numpy()
        if summed.shape != self._own.shape or not np.all(summed[0] >= self._own[0]):
            raise ScheduleError(
                f"`reduce` must return the sum of a {self._own.shape} tensor over all processes, got shape "
                f"{summed.shape} and {np.sum(summed[:1]):g} visits where this process alone made "
                f"{np.sum(self._own[0]):g}. With accelerate: `accelerator.reduce(sums.to(accelerator.device), 'sum')`."
            )
        return summed

    # ------------------------------------------------------------------------------------------------ what it saw

    @property
    def levels(self) -> Array:
        """sigma_0 > ... > sigma_T as of now; (T + 1,), a copy."""
        return self._levels.copy()

    @property
    def visits(self) -> Array:
        """Samples of each interval since the last estimate, as far as this process knows; (T,)."""
        return self._all[0] + self._own[0]

    @property
    def costs(self) -> Array | None:
        """Mean cost of each step, on the levels before they last moved; (T,), or None before the first estimate."""
        return self._estimate[0].copy() if np.isfinite(self._estimate[0, 0]) else None

    @property
    def errors(self) -> Array | None:
        """Standard errors of `costs` over samples, infinite for a single one; (T,), or None."""
        return self._estimate[1].copy() if np.isfinite(self._estimate[0, 0]) else None

    @property
    def path_length(self) -> float:
        """sum_i L_i^(1/p) of `costs`; nan before the first estimate."""
        return float(np.sum(self._estimate[0] ** (1.0 / self.order)))

    @property
    def energy(self) -> float:
        """T^(p-1) sum_i L_i of `costs`: path_length^p if they are equal, else more; nan before the first estimate."""
        return float(len(self) ** (self.order - 1) * np.sum(self._estimate[0]))

    # ---------------------------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What was learned, as tensors and whole numbers; `gamma` and `min_visits` are the script's to choose."""
        rows = {"levels": self._levels, "estimate": self._estimate, "own": self._own, "all": self._all}
        tensors = {name: torch.from_numpy(row.copy()) for name, row in rows.items()}
        return {**tensors, "order": self.order, "moves": self.moves}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: Of a schedule of the same ends, number of levels and order.

        Raises:
            ScheduleError: No such state; nothing was loaded.
        """
        problem = _difference(self.state_dict(), state)
        if problem:
            raise ScheduleError(
                f"`state` is not that of this schedule: {problem}. Load what `state_dict` returned for one that was "
                "built with the same levels and order."
            )
        rows = [state[name].detach().cpu().numpy().copy() for name in ("levels", "estimate", "own", "all")]
        self._levels, self._estimate, self._own, self._all = rows
        self.moves = state["moves"]


def _difference(own: Mapping[str, Any], state: Any) -> str:
    """What makes a state another schedule's, or nobody's; empty where nothing does."""
    if not isinstance(state, Mapping) or set(state) != set(own):
        names = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        return f"it must have {', '.join(own)}, got {names}"
    for name, value in own.items():
        mine, theirs = _kind(value), _kind(state[name])
        if mine != theirs:
            return f"its `{name}` must be {mine}, got {theirs}"
    if state["order"] != own["order"] or state["moves"] < 0:
        return f"it must be of order {own['order']}, got {state['order']} after {state['moves']} moves"
    levels, ends = state["levels"], own["levels"][[0, -1]]
    if not torch.all(levels[:-1] > levels[1:]) or not torch.allclose(levels[[0, -1]], ends, 1e-9, 0.0):
        return f"its levels must fall from {float(ends[0]):.6g} to {float(ends[1]):.6g}, got {levels.tolist()}"
    rows = torch.cat([state["own"], state["all"], *([state["estimate"]] if state["moves"] else [])])
    if torch.any(rows.isnan()) or torch.any(rows[[0, 2, 3, 5]] < 0.0):
        return "its sums must be numbers and its visits not negative"
    return ""


def _kind(value: Any) -> str:
    """Type, or dtype and shape, in words."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _checked_levels(levels: ArrayLike) -> Array:
    """A copy. Raises ScheduleError for levels that do not fall, or down to zero."""
    row = np.array(levels, dtype=np.float64)
    if row.ndim != 1 or len(row) < 2 or not np.all(np.isfinite(row)) or row[-1] <= 0.0 or np.any(np.diff(row) >= 0.0):
        values = row.ravel().tolist()
        told = ", ".join(f"{level:.6g}" for level in (values if len(values) < 8 else values[:3] + values[-3:]))
        raise ScheduleError(
            "`levels` must be one row of noise levels that fall, noisiest first, and stay above zero, got shape "
            f"{row.shape}: {told}. Turn them round, or leave out the zero at the end: no score is known there."
        )
    return row
