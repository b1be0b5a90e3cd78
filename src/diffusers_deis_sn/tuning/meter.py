"""How far tuning is, what it takes, and when the time for it is spent."""

from __future__ import annotations

import time
from typing import Any

from diffusers_deis_sn.collect.progress import JSON, Progress, tell
from diffusers_deis_sn.errors import CalibrationError

FINE_CALLS, CHECK_CALLS = 80, 40  # of the fine run, and of the coarser one that says how fine it is
FINEST_CALLS = 320  # of the fine run of a model that needs more, as strong guidance does
MOST_FOR_GOALS = 0.3  # of what is left of a budget, for finer runs
MENU, HELD_OUT = 7, 4  # grids that a search starts on at most, and plans that are tried on samples held out


def search_calls(calls: int) -> float:
    """About how many calls of the network on a sample a whole search makes."""
    return (MENU + 3) * calls + 5.25 * calls**2


class Meter:
    """Counts samples that the network was called on.

    Args:
        progress: True for a bar, False for nothing, "json" for lines, or a function of what is done and of all.
        samples: Number of samples to fit on.
        held_out: Number of samples held out.
        steps: Numbers of calls to be tuned.
        others: Number of runs besides plans that are made on samples held out.
        budget: Seconds for everything; None for as long as it takes.
        left: Those of them that are still to be fitted; None for all.
    """

    def __init__(
        self,
        progress: bool | str | Progress,
        samples: int,
        held_out: int,
        steps: tuple[int, ...],
        others: int,
        budget: float | None = None,
        left: tuple[int, ...] | None = None,
    ) -> None:
        self.samples, self.held_out, self.steps, self.others, self.budget = samples, held_out, steps, others, budget
        self.left = steps if left is None else left
        fits = FINE_CALLS + CHECK_CALLS + sum(map(search_calls, self.left)) if self.left else 0.0
        self.total = round(held_out * (FINE_CALLS + sum(steps) * (others + HELD_OUT)) + samples * fits)
        self.done, self._started = 0, time.monotonic()
        self._progress = progress
        self._bar: Any = None
        if progress is True:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self.total, desc="Tuning", unit="calls")

    def __call__(self, samples: int) -> None:
        """Take in that the network was called on so many samples."""
        self.done += samples
        if self._bar is not None:
            self._bar.update(min(samples, self._bar.total - self._bar.n))
        elif callable(self._progress):
            self._progress(min(self.done, self.total), self.total)

    def affords(self, calls: int) -> bool:
        """Whether so many calls more on each sample, fitted or held out, leave most of the time to searches."""
        if self.budget is None or not self.done:
            return True
        wanted = calls * (self.samples + self.held_out) * self.seconds / self.done
        return wanted <= MOST_FOR_GOALS * (self.budget - self.seconds)

    def more(self, samples: int) -> None:
        """There are more calls to come than it seemed."""
        self.total += samples
        if self._bar is not None:
            self._bar.total = self.total

    def say(self, text: str, **facts: Any) -> None:
        """Show what is known by now."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif self._progress == JSON:
            tell("tuning", done=self.done, total=self.total, seconds=round(self.seconds, 3), **facts)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self._started

    @property
    def least(self) -> int:
        """Calls of the network without which nothing can be said: fine runs, weights on one grid, samples held out."""
        held_out = self.held_out * (FINE_CALLS + sum(self.steps) * (self.others + 1))
        fits = FINE_CALLS + CHECK_CALLS + sum(self.left) if self.left else 0
        return held_out + self.samples * fits

    def check(self) -> None:
        """Raise CalibrationError where the budget is too small for anything, by the time that calls took so far."""
        if self.budget is None or not self.done:
            return
        each = self.seconds / self.done
        if self.least * each > self.budget:
            raise CalibrationError(
                f"`budget` is {self.budget:g} s, and tuning takes {self.least * each:.3g} s at least: {self.least} "
                f"calls of {each:.3g} s, for {self.samples} samples to fit on and {self.held_out} to test on. Give a "
                "larger budget, fewer `steps` or fewer samples."
            )

    def deadline(self, place: int) -> float:
        """When, in `seconds`, search number `place` of those that are left has to end; infinite without a budget."""
        if self.budget is None:
            return float("inf")
        each = self.seconds / max(self.done, 1)
        reserved = each * self.held_out * sum(self.steps) * HELD_OUT
        left = max(self.budget - self.seconds - reserved, 0.0)
        costs = list(map(search_calls, self.left[place:]))
        return self.seconds + left * costs[0] / sum(costs)
