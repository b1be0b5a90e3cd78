"""Where in its run a scheduler is, and whether a timestep is one of that run."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.errors import StepError

FORMER = 8  # runs before the present one whose times are still known as theirs


class Cursor:
    """The place in a plan.

    Pipelines walk through views of the scheduler's list of times. So even on an accelerator it is seen, without reading
    from it, which of them a tensor is, and whether two runs take turns on one scheduler.

    Attributes:
        plan: The current run, None before the first.
        grid: Its times as pipelines see them; (C,).
        begin: Number of the first step of an image-to-image run, as a pipeline has set it.
        step: Number of the next step, None before the first.
    """

    def __init__(self, grid: Tensor) -> None:
        self.plan: Plan | None = None
        self.grid = grid
        self.begin: int | None = None
        self.step: int | None = None
        self._former: tuple[tuple[Tensor, tuple[float, ...]], ...] = ()

    def start(self, plan: Plan, grid: Tensor) -> None:
        """Another run, from its beginning."""
        if self.plan is not None:
            # Kept, so that no other tensor comes to lie where the times of a run lay that this one takes the place of.
            self._former = ((self.grid, self.plan.times), *self._former[: FORMER - 1])
        self.plan, self.grid, self.begin, self.step = plan, grid, None, None

    def replace(self, plan: Plan) -> None:
        """The same run planned anew, in the same list of times."""
        self.plan = plan

    def begin_at(self, begin: int) -> None:
        """Start at a later step."""
        self.begin, self.step = begin, None

    def place(self, timestep: float | Tensor) -> int | None:
        """Which of this run's times a tensor is, by where it lies in memory; None if it is not one of them."""
        return None if self.plan is None else _place_in(self.grid, timestep)

    def first(self, timestep: float | Tensor, nearest: Callable[[float | Tensor], int]) -> int:
        """Number of the call that a run begins with; `nearest` finds that of a time."""
        if self.begin is not None:
            return self.begin
        place = self.place(timestep)
        return nearest(timestep) if place is None else place

    def enter(self, timestep: float | Tensor, nearest: Callable[[float | Tensor], int]) -> tuple[Plan, int]:
        """The plan, and the number of the step that `step` is called for; arguments as for `first`.

        Raises:
            StepError: Before a plan, or where the time does not fit it.
        """
        plan = self.plan
        if plan is None:
            raise StepError("`step` was called before `set_timesteps`. Call `set_timesteps(number_of_steps)` first.")
        self._check_turn(plan, timestep)
        if self.step is None:
            self.step = self.first(timestep, nearest)
            plan.check_begin(self.step)
            known = None
        else:
            known = self._known_time(plan, timestep)
        plan.check(self.step, known)
        return plan, self.step

    def _check_turn(self, plan: Plan, timestep: float | Tensor) -> None:
        """Raise StepError for a timestep of a run that another call of `set_timesteps` has ended.

        A list of times that is walked through from its beginning once more, after the same run was planned anew, is
        taken for that of the present run.
        """
        for former in self._former:
            grid, times = former
            place = _place_in(grid, timestep)
            if place is None:
                continue
            if self.step is not None or place != (self.begin or 0) or times != plan.times:
                raise StepError(
                    "This timestep is one of a run that another call of `set_timesteps` has ended: two pipelines or "
                    "threads share one scheduler. Give each its own (copy.deepcopy), or take `timesteps` anew."
                )
            self._former = (*(one for one in self._former if one is not former), (self.grid, plan.times))
            self.grid = grid
            return

    def _known_time(self, plan: Plan, timestep: float | Tensor) -> float | None:
        """A time as far as the host knows it; None of one on an accelerator that was copied or computed.

        It is not read from there: that would make the host wait in every step.
        """
        place = self.place(timestep)
        if place is not None:
            return plan.times[place]
        on_device = isinstance(timestep, Tensor) and timestep.device.type != "cpu"
        return None if on_device else first_of(timestep)


def first_of(timestep: float | Tensor) -> float:
    """A timestep as a number; of one for each sample the first, as all are the same."""
    return float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else float(timestep)


def _place_in(grid: Tensor, timestep: float | Tensor) -> int | None:
    """Which number of `grid` a view of it is, None of any other tensor."""
    if not isinstance(timestep, Tensor) or timestep.device != grid.device or timestep.numel() == 0:
        return None
    offset, odd = divmod(timestep.data_ptr() - grid.data_ptr(), grid.element_size())
    return offset if not odd and 0 <= offset < len(grid) else None
