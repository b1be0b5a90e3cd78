"""Whose turn it is: runs that pipelines and threads make on one scheduler are told apart, without a lock.

A run is known by three things, none of which is read from an accelerator: where its list of times lies in memory, which
thread (or asyncio task) planned it and which one takes its steps, and the tensor that its last step returned.
"""

from __future__ import annotations

from asyncio import _get_running_loop, current_task
from threading import get_ident
from weakref import ref

from torch import Tensor

from diffusers_deis_sn.errors import StepError

FORMER = 32  # runs before the present one whose times are still known as theirs
RECENT = 4  # likewise the tensors that their last steps returned
SHARED = "Two pipelines or threads share one scheduler. Give each its own (copy.deepcopy), or take `timesteps` anew."


class Turn:
    """A run as another may meet it, also once that one has taken its place.

    Args:
        grid: Its times as pipelines see them; (C,). Kept, so that no other tensor comes to lie where it lies.
        times: The same numbers on the host.
        known: The runs of the scheduler so far, which this one joins.
        planner: The thread that called `set_timesteps`; None of a copy, which any thread may go on with.
        sigmas: Its levels as pipelines see them, or None; (C + 1,).
    """

    def __init__(
        self,
        grid: Tensor,
        times: tuple[float, ...],
        known: list[Turn],
        planner: int | None,
        sigmas: Tensor | None = None,
    ) -> None:
        self.grid, self.times, self.planner, self.sigmas, self.done = grid, times, planner, sigmas, False
        self._walker: dict[str, int] = {}
        self._last: ref[Tensor] | None = None
        self._start, self._size = address(grid), grid.element_size()
        self._end = None if self._start is None else self._start + len(grid) * self._size
        self._known = known
        # Each is one operation of the interpreter, so that no other thread comes in between.
        known.append(self)
        del known[:-FORMER]

    # -------------------------------------------------------------------------------------------------- by its times

    def place(self, timestep: float | Tensor) -> int | None:
        """Which of this run's times a tensor is, by where it lies in memory; None if it is not one of them."""
        if self._start is None or self._end is None or not isinstance(timestep, Tensor):
            return None
        lies = address(timestep)
        if lies is None or not self._start <= lies < self._end:
            return None
        offset, odd = divmod(lies - self._start, self._size)
        return None if odd or timestep.device != self.grid.device or not timestep.numel() else offset

    def former(self, timestep: Tensor) -> tuple[Turn, int] | None:
        """The other run whose time a tensor is, and which one; None if it is no other run's."""
        for one in self._known.copy():
            place = None if one is self else one.place(timestep)
            if place is not None:
                return one, place
        return None

    def shows_anothers(self, tensor: Tensor) -> bool:
        """Whether a tensor is the list of times of another run, or a part of it, or its list of levels."""
        if self.place(tensor) is not None or tensor is self.sigmas:
            return False
        levels = any(tensor is one.sigmas for one in self._known.copy() if one is not self)
        return levels or self.former(tensor) is not None

    def seen(self, grid: Tensor, times: tuple[float, ...]) -> Turn:
        """The same run, known by another list, or one that was edited."""
        other = Turn(grid, times, self._known, self.planner, self.sigmas)
        other._walker, other._last, self.done = self._walker, self._last, True
        return other

    # ------------------------------------------------------------------------------------------- by thread and result

    def enter(self, sample: Tensor, begun: bool) -> None:
        """Take a step of this run, as the thread that calls.

        The one that takes the first step takes all; another may go on where it has what the last step returned.

        Args:
            sample: That of the step.
            begun: Whether there was a step before.

        Raises:
            StepError: It is another's run.
        """
        me = caller()
        if self._walker.get("thread") == me:
            return
        self._check_planned(me)
        walker = self._walker.setdefault("thread", me)  # of two that come at once, one is told the other
        if walker != me:
            if not begun or not self._returned(sample):
                raise StepError(f"Another thread takes the steps of this run. {SHARED}")
            self._walker["thread"] = me

    def check_mine(self) -> None:
        """Raise StepError where the calling thread may not say where this run begins."""
        me, walker = caller(), self._walker.get("thread")
        if walker == me:
            return
        self._check_planned(me)
        if walker is not None and not self.done:
            raise StepError(f"Another thread takes the steps of this run. {SHARED}")
        self._walker.clear()

    def _check_planned(self, me: int) -> None:
        """Raise StepError where a thread that has a run of its own to finish comes upon one planned by another."""
        if self.planner in (None, me):
            return
        if any(one.planner == me and not one.done for one in self._known.copy()):
            raise StepError(f"Another thread has called `set_timesteps` since this one did. {SHARED}")

    def leave(self, result: Tensor, done: bool) -> None:
        """A step has given its result."""
        self._last, self.done = ref(result), done

    def takes_anothers(self, sample: Tensor) -> bool:
        """Whether a tensor is the result of another run's last step."""
        others = self._known[-RECENT:]
        return not self._returned(sample) and any(one._returned(sample) for one in others if one is not self)

    def _returned(self, sample: Tensor) -> bool:
        return self._last is not None and self._last() is sample


def caller() -> int:
    """Who calls: the task of asyncio, of which a thread has many that take turns, else the thread."""
    task = None if _get_running_loop() is None else current_task()  # which raises where no loop runs
    return get_ident() if task is None else id(task)


def address(tensor: Tensor) -> int | None:
    """Where a tensor lies in memory; None where nobody can know, as within `torch.func.grad`."""
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return None
