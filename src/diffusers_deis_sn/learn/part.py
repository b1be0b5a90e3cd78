"""Which part of the process a run goes through: its ends as shares, and the last share of a longer run."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers_deis_sn.core.value_types import is_number, is_whole, shown
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError

MOST = 100_000  # steps of a whole schedule of which a share is taken


def check_steps(steps: object) -> None:
    """Raise TimestepsError for what is no number of steps of a schedule."""
    if not is_whole(steps, 1, MOST):
        raise TimestepsError(f"`steps` must be a whole number of at least 1, and at most {MOST}, got {shown(steps)}.")


@dataclass(frozen=True)
class Part:
    """A part of the process; the whole by default.

    Args:
        start: tau where the run starts, a share of the process: 1 is the noisiest measured level. Like `start_time` of
            the schedulers.
        end: tau where it ends, 0 for clean data; where `final` says if None. Like `end_time`.
        denoise: The last share D of a longer schedule, as ComfyUI's schedulers have it (`BasicScheduler` of its
            comfy_extras/nodes_custom_sampler.py): of int(N / D) steps the last N.

    Raises:
        ConfigurationError: A number out of range.
    """

    start: float = 1.0
    end: float | None = None
    denoise: float = 1.0

    def __post_init__(self) -> None:
        if not (is_number(self.start) and 0.0 < self.start <= 1.0):
            raise ConfigurationError(
                f"`start` is a share of the process, above 0 and up to 1 (noise), got {self.start!r}."
            )
        if self.end is not None and not (is_number(self.end) and 0.0 <= self.end < self.start):
            raise ConfigurationError(
                f"`end` is a share of the process, from 0 (clean data) to below that of the start, {self.start:g}, got "
                f"{self.end!r}."
            )
        if not (is_number(self.denoise) and 0.0 < self.denoise <= 1.0):
            raise ConfigurationError(
                "`denoise` is the last share of a schedule that is run, above 0 and up to 1 (all of it), got "
                f"{self.denoise!r}."
            )

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self == Part()

    def total(self, steps: int) -> int:
        """Number of steps of the schedule that the run is the last part of.

        Raises:
            ConfigurationError: More than `MOST`.
        """
        total = steps if self.denoise == 1.0 else int(steps / self.denoise)
        if total > MOST and self.denoise != 1.0:
            raise ConfigurationError(
                f"`denoise` makes {steps} steps the last of int(steps / denoise) = {total}, more than {MOST}, got "
                f"{self.denoise!r}. Use a larger share, or fewer steps."
            )
        return total

    def __str__(self) -> str:
        """In words, for a summary; empty for the whole."""
        ends = [f"from {self.start:g}"] if self.start != 1.0 else []
        ends += [] if self.end is None else [f"to {self.end:g}"]
        told = [f"{' '.join(ends)} of the process"] if ends else []
        return ", ".join([*told, *([f"the last {self.denoise:g} of it"] if self.denoise != 1.0 else [])])
