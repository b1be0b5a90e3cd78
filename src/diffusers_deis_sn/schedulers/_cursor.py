"""Where in its run a scheduler is, the outputs it still needs, and whether a timestep is one of that run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any

from torch import Tensor
from torch.compiler import is_compiling

from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.rounding import BITS
from diffusers_deis_sn.core.value_types import is_flag, shown
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.schedulers._arrays import Watched, edited_plan
from diffusers_deis_sn.schedulers._turns import SHARED, Turn, caller

Nearest = Callable[[float | Tensor], int]


class Cursor:
    """One run of a scheduler: its plan, the place in it, and the outputs at hand.

    `set_timesteps` makes a new one, so that a step which another thread is taking meanwhile ends as it began.

    Pipelines walk through views of the scheduler's list of times. So even on an accelerator it is seen, without reading
    from it, which of them a tensor is, and whether two runs take turns on one scheduler (`_turns`).

    Args:
        grid: Its times as pipelines see them; (C,).
        plan: The run, None before the first.
        before: The cursor of the run before, by which that one is known.
        run: What it was planned from, the planner's `Run`, or None.
        guidance: Reads the guidance of the pipeline that planned it, or None.
        sigmas: Its levels as pipelines see them, None before the first run; (C + 1,).

    Attributes:
        begin: Number of the first step of an image-to-image run, as a pipeline has set it.
        step: Number of the next step, None before the first.
        outputs: The last outputs, converted, oldest first as in Diffusers; None for those that there are not.
        at_hand: How many of them the next step may use.
    """

    def __init__(
        self,
        grid: Tensor,
        plan: Plan | None = None,
        before: Cursor | None = None,
        run: Any = None,
        guidance: Any = None,
        sigmas: Tensor | None = None,
    ) -> None:
        self.plan, self.grid, self.run, self.guidance, self.sigmas = plan, grid, run, guidance, sigmas
        self.begin: int | None = None
        self.step: int | None = None
        self._known: list[Turn] = [] if before is None else before._known
        self._turn = None if plan is None else Turn(grid, plan.times, self._known, caller(), sigmas)
        self.watch(grid, sigmas)
        self.forget()

    def forget(self) -> None:
        """No output is at hand."""
        plan = self.plan
        self.outputs: list[Any] = [None] * (1 if plan is None else plan.table.order)
        self.at_hand = 0
        if plan is not None:
            plan.prepare()

    def replace(self, plan: Plan, run: Any) -> None:
        """The same run planned anew, in the same list of times. Raises StepError where it is another thread's."""
        if self._turn is not None:
            self._turn.check_mine()
        self.plan, self.run = plan, run
        self.forget()

    def take_lists(self, timesteps: Any, sigmas: Any) -> None:
        """Go through what somebody has written into a scheduler's lists, as in Diffusers; what is at hand stays.

        Args:
            timesteps: As they are now.
            sigmas: Likewise.

        Raises:
            StepError: Lists of other lengths in mid-run, or levels between which a solver calls the network.
            TimestepsError: Levels or times that do not fall.
        """
        run, plan = self.run, self.plan
        if run is None or plan is None or not self._touched(timesteps, sigmas):
            return
        if not isinstance(timesteps, Tensor) or not isinstance(sigmas, Tensor):
            kinds = f"{type(timesteps).__name__} and {type(sigmas).__name__}"
            raise StepError(f"`scheduler.timesteps` and `sigmas` are tensors, got {kinds}. Use torch.as_tensor.")
        edited = edited_plan(run.recipe, plan, sigmas, timesteps, self.step is not None)
        if edited is not plan:
            self.plan, self.run = edited.prepare(), replace(run, plan=edited, own_grid=False)
        if len(edited) == len(timesteps):
            self._see(timesteps)
        self.watch(timesteps, sigmas)

    def take_guidance(self, run: Any) -> None:
        """Use no output of another guidance, where the pipeline's has changed since the run was planned."""
        guidance = self.guidance.read()
        if guidance != run.guidance:  # a callback has changed it: outputs from here on are of another function
            self.at_hand, self.run = 0, replace(run, guidance=guidance)

    def _see(self, grid: Tensor) -> None:
        """Know the run by another list of its times."""
        if (
            self._turn is not None
            and self.plan is not None
            and (grid is not self.grid or self._turn.times != self.plan.times)
        ):
            self._turn = self._turn.seen(grid, self.plan.times)
        self.grid = grid

    def watch(self, grid: Tensor, sigmas: Tensor | None) -> None:
        """From here on see what is written into the lists of the run."""
        self._watched = Watched(grid), Watched(sigmas)

    def _touched(self, grid: Any, sigmas: Any) -> bool:
        """Whether the lists of a scheduler may hold other numbers than the run has, and are no other run's."""
        closely = self.step is None
        if not any(seen.touched(now, closely) for seen, now in zip(self._watched, (grid, sigmas), strict=True)):
            return False
        return not any(isinstance(one, Tensor) and self.is_anothers(one) for one in (grid, sigmas))

    def begin_at(self, begin: int | None) -> None:
        """Start at a later step. Raises StepError where the run is another thread's."""
        if self._turn is not None and not is_compiling():
            self._turn.check_mine()
        self.begin, self.step = begin, None

    def alone(self, grid: Tensor) -> Cursor:
        """The same for a copy of the scheduler, whose list of times is `grid`: it goes on by itself, in any thread."""
        copied = Cursor(grid)
        copied.__dict__.update(self.__getstate__(), grid=grid, outputs=list(self.outputs))
        if self.plan is not None:
            copied._turn = Turn(grid, self.plan.times, copied._known, None)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """All but whose turn it is, which is of threads and places in memory; a copy is for another pipeline too."""
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_known", "_turn", "_watched", "guidance")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """That of a copy; see `alone`."""
        self.__dict__.update(state, _known=[], _turn=None, guidance=None)
        self.watch(self.grid, self.sigmas)

    # ------------------------------------------------------------------------------------------------------- places

    def is_anothers(self, shown: Tensor) -> bool:
        """Whether a list of times or levels is that of another run."""
        return self._turn is not None and shown is not self.grid and self._turn.shows_anothers(shown)

    def place(self, timestep: float | Tensor) -> int | None:
        """Which of this run's times a tensor is, by where it lies in memory; None if it is not one of them."""
        if self._turn is None or is_compiling() or not _is_one(timestep):
            return None
        return self._turn.place(timestep)

    def first(self, timestep: float | Tensor, nearest: Nearest) -> int:
        """Number of the call that a run begins with; `nearest` finds that of a time.

        Raises:
            StepError: Within `torch.compile`, which cannot read it from a tensor.
        """
        if self.begin is not None:
            return self.begin
        place = self.place(timestep)
        if place is not None:
            return place
        if is_compiling() and isinstance(timestep, Tensor):
            raise StepError(
                "Within torch.compile the first step is not found by its time, which would be read from a tensor. Call "
                "`set_begin_index(0)` before the loop, or the number of the step that it begins with."
            )
        return nearest(timestep)

    def enter(
        self, timestep: float | Tensor, sample: Tensor, nearest: Callable[[float | Tensor], int]
    ) -> tuple[Plan, int]:
        """The plan, and the number of the step that `step` is called for; arguments as for `step` and `first`.

        Raises:
            StepError: Before a plan, where the time does not fit it, or where another takes the steps of this run.
        """
        plan = self.plan
        if plan is None:
            raise StepError("`step` was called before `set_timesteps`. Call `set_timesteps(number_of_steps)` first.")
        place = None
        if not is_compiling():
            place = self._check_turn(plan, timestep, sample)
        if self.step is None:
            self.at_hand = 0
            self.step = self.first(timestep, nearest)
            plan.check_begin(self.step)
            plan.check(self.step, None)
        else:
            time = plan.times[place] if place is not None else known_time(timestep)
            plan.check(self.step, time, bits_of(timestep) if place is None else None)
        return plan, self.step

    def _check_turn(self, plan: Plan, timestep: float | Tensor, sample: Tensor) -> int | None:
        """`place` of the timestep of a step that may be taken.

        A list of times that is walked through from its beginning once more, after the same run was planned anew, is
        taken for that of the present run.
        """
        turn = self._turn
        if turn is None:  # of a copy before it was its own
            return None
        turn.enter(sample, self.step is not None)
        place = turn.place(timestep)
        if place is not None:
            return place if _is_one(timestep) else None
        found = turn.former(timestep) if isinstance(timestep, Tensor) else None
        if found is not None:
            former, place = found
            again = place == (self.begin or 0) and former.times == plan.times and former.planner == turn.planner
            if self.step is not None or not again:
                raise StepError(f"This timestep belongs to a run that another `set_timesteps` has ended. {SHARED}")
            self.grid = former.grid
            self._turn = turn.seen(former.grid, plan.times)
            return place
        if self.step is not None and turn.takes_anothers(sample):
            raise StepError(f"This sample belongs to a run that another `set_timesteps` has ended. {SHARED}")
        return None

    # ------------------------------------------------------------------------------------------------------ outputs

    def push(self, output: Tensor) -> list[Tensor]:
        """The outputs that a step may use, newest first, with `output` the first."""
        self.outputs = [*self.outputs[1:], output]
        self.at_hand = min(self.at_hand + 1, len(self.outputs))
        return self.outputs[: -self.at_hand - 1 : -1]

    def leave(self, n: int, result: Tensor) -> None:
        """Step n has given its result."""
        self.step = n + 1
        if self._turn is not None and not is_compiling():
            self._turn.leave(result, self.plan is None or n + 1 >= len(self.plan))


def first_of(timestep: float | Tensor, name: str = "timestep") -> float:
    """A timestep as a number, called `name` in messages; one for each sample will do where all are the same.

    Raises:
        StepError: It is none, or several that differ.
    """
    try:
        given: object = timestep
        if isinstance(given, str | bytes) or is_flag(given) or (isinstance(given, Tensor) and given.is_complex()):
            raise TypeError("a word is no time")
        time = float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else float(timestep)
    except (TypeError, ValueError, OverflowError, IndexError, RuntimeError) as error:
        raise StepError(f"`{name}` must be one of `scheduler.timesteps`, got {shown(timestep)}.") from error
    if not isfinite(time):
        raise StepError(f"`{name}` must be one of `scheduler.timesteps`, got {time}.")
    if isinstance(timestep, Tensor) and timestep.numel() > 1 and bool((timestep != time).any()):
        raise StepError(
            f"`{name}` must be one time, the same for all samples, got {timestep.numel()} that differ. Ask or step "
            "for one after another."
        )
    return time


def _is_one(timestep: float | Tensor) -> bool:
    """Whether a timestep is one number, or the same one for each sample, as far as that can be told without a look."""
    return not isinstance(timestep, Tensor) or timestep.numel() == 1 or not any(timestep.stride())


def known_time(timestep: float | Tensor, name: str = "timestep") -> float | None:
    """A time as far as the host knows it; None of one on an accelerator that was copied or computed.

    It is not read from there: that would make the host wait in every step. Nor can it be within transforms of torch.
    """
    if not isinstance(timestep, Tensor):
        return first_of(timestep, name)
    if timestep.device.type != "cpu" or is_compiling():
        return None
    try:
        return first_of(timestep.flatten()[0].item() if timestep.numel() == 1 else timestep, name)
    except RuntimeError:  # within `torch.func.vmap`
        return None


def bits_of(timestep: object) -> int | None:
    """Significant binary digits of a tensor's dtype, where these are too few for times; else None."""
    return BITS.get(str(timestep.dtype).removeprefix("torch.")) if isinstance(timestep, Tensor) else None
