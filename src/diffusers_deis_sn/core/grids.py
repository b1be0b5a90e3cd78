"""Time grids: where the steps begin and where the run ends, as noise levels rho_0 > ... > rho_N.

Steps begin at rho_0, ..., rho_{N-1}, with a network call each; rho_N is the end: 0, the cleanest training level
("sigma_min"), or a level between. No level occurs twice, so no call is wasted and every step moves the sample.

A grid is a small frozen value with one method, `levels`. Anybody may write another one; see docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.value_types import checked, is_number
from diffusers_deis_sn.core.vp import distinct_times
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError

FINAL_SIGMAS = ("zero", "sigma_min")
CONTINUUM = "'trailing', use_karras_sigmas=True or grid=Power('t', 2)"


@dataclass(frozen=True)
class Ends:
    """Where runs start and end.

    Args:
        final: "zero", clean data, or "sigma_min", the cleanest training level, where `end` does not say.
        start: tau of the first step, a fraction of the process.
        end: tau where the run ends, such as DEIS's 1e-3 and 1e-4.

    Raises:
        ConfigurationError: An unknown name, or a number out of range.
    """

    final: str = "zero"
    start: float = 1.0
    end: float | None = None

    def __post_init__(self) -> None:
        final, start, end = self.final, self.start, self.end
        if not isinstance(final, str) or final not in FINAL_SIGMAS:
            raise ConfigurationError(f"`final_sigmas_type` must be one of {', '.join(FINAL_SIGMAS)}, got {final!r}.")
        if not (is_number(start) and 0.0 < start <= 1.0):
            raise ConfigurationError(f"`start_time` is a fraction of the process, above 0 and up to 1, got {start!r}.")
        if end is not None and not (is_number(end) and 0.0 <= end < start):
            raise ConfigurationError(
                f"`end_time` is a fraction of the process, from 0 (clean data) to below start_time={start!r}, got "
                f"{end!r}."
            )

    @property
    def moved(self) -> bool:
        """Whether they are others than those that Diffusers has."""
        return self.start != 1.0 or self.end is not None

    def first(self, process: NoiseSchedule, share: float = 1.0) -> float:
        """rho where a run starts that goes through the last `share` of what lies below `start`."""
        tau = share * float(self.start)
        return process.top if tau == 1.0 else float(process.level(tau))

    def last(self, process: NoiseSchedule) -> float:
        """rho where a run ends."""
        if self.end is None:
            return 0.0 if self.final == "zero" else process.bottom
        level = float(process.level(self.end))
        # No step of the width of rounding.
        return process.bottom if abs(level / process.bottom - 1.0) < 1e-9 else level

    @property
    def told(self) -> tuple[str, str]:
        """What decides where a run above zero ends, as an option is written, and what ends it lower."""
        if self.end is None:
            return f"final_sigmas_type={self.final!r}", "final_sigmas_type='zero'"
        return f"end_time={self.end!r}", "a smaller end_time"

    def bounds(self, process: NoiseSchedule, steps: int) -> tuple[int, float, float]:
        """The number of steps as an int, rho of the first and of the end.

        Raises:
            TimestepsError: No number of steps that can end there.
            ConfigurationError: A start at or below the end.
        """
        last = self.last(process)
        number, first = check_steps(process, steps), self.first(process)
        if first <= max(last, process.bottom):
            raise ConfigurationError(
                "`start_time` must lie above the cleanest training level, tau = "
                f"{process.progress(process.bottom):.3g}, and the end of the run, got {self.start!r}."
            )
        return number, first, last


@runtime_checkable
class Grid(Protocol):
    """A time grid: any frozen value with this method is one, see docs/extending.md.

    Examples:
        >>> isinstance(Power("t", 2.0), Grid)
        True
    """

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """Noise levels of a run of N steps.

        Args:
            process: The noise schedule.
            steps: N, at least 1.
            ends: Where runs start and end.

        Returns:
            rho_0 > ... > rho_N with rho = sigma / alpha, strictly falling; float64, (N + 1,).

        Raises:
            TimestepsError: `steps` out of range.
            ConfigurationError: A grid, or ends, that the process does not have.
        """
        ...


@dataclass(frozen=True)
class Trailing:
    """Diffusers' whole training times T, T - T / N, ..., rounded, less one; of a continuum of times uniform in tau."""

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        if not process.numbered:
            return Power("t", 1.0).levels(process, steps, ends)
        number, _, last = _unmoved(self, ends).bounds(process, steps)
        # Rounded before one is taken off, as Diffusers does: 937.5 becomes 937, and 936.5 would become 936.
        times = np.arange(len(process), 0.0, -len(process) / number)[:number].round() - 1.0
        return _at_whole_times(process, times, last, ends)


@dataclass(frozen=True)
class Linspace:
    """Diffusers' whole training times, N + 1 evenly from T - 1 to 0 without the last."""

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        number, _, last = _unmoved(self, ends).bounds(process, steps)
        times = np.linspace(0.0, _table(self, process) - 1.0, number + 1)[:0:-1]
        return _at_whole_times(process, times, last, ends)


@dataclass(frozen=True)
class Leading:
    """Diffusers' whole training times N d, ..., d with d = T // (N + 1), plus `offset`."""

    offset: int = 0

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        number, _, last = _unmoved(self, ends).bounds(process, steps)
        times = np.arange(number, 0, -1.0) * (_table(self, process) // (number + 1)) + self.offset
        return _at_whole_times(process, times, last, ends)


@checked(ConfigurationError)
@dataclass(frozen=True)
class Power:
    """Uniform in tau^(1/k), or in rho^(1/k), or sigma^(1/k) of flows, whose rho has no upper end.

    Exponent 2 in "t" is both papers' grid; 7 in "sigma" Karras' (arXiv 2206.00364, eq. 5), infinity there uniform in
    log rho.

    Args:
        variable: "t" or "sigma".
        exponent: k.

    Raises:
        ConfigurationError: Another variable, or an exponent that is not positive.

    Examples:
        >>> from diffusers_deis_sn import DEISSNScheduler
        >>> scheduler = DEISSNScheduler(grid=Power("t", 2.0))
        >>> scheduler.set_timesteps(4)
        >>> [round(t) for t in scheduler.timesteps.tolist()]  # dense next to clean data
        [999, 562, 249, 62]
    """

    variable: str = "t"
    exponent: float = 2.0

    def __post_init__(self) -> None:
        if self.variable not in ("t", "sigma"):
            raise ConfigurationError(f"A power grid is one in 't' or 'sigma', got {self.variable!r}.")
        if not (is_number(self.exponent) and self.exponent > 0.0):
            raise ConfigurationError(f"The exponent of a power grid must be a positive number, got {self.exponent!r}.")

    @checked(TimestepsError)
    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        number, first, last = ends.bounds(process, steps)
        if self.variable == "t":
            return np.append(self._in_time(process, number, ends.start, last)[:number], last)
        return _to_the_cleanest(process, number, first, last, self.ramp)

    def _in_time(self, process: NoiseSchedule, steps: int, start: float, last: float) -> Array:
        """From `start` to the end; the last call at the cleanest level where it would lie below."""
        k = self.exponent
        first, bottom = start ** (1.0 / k), float(process.progress(process.bottom))
        end = float(process.progress(last)) ** (1.0 / k)
        tau = (first + np.arange(steps + 1) / steps * (end - first)) ** k
        if tau[-2] < bottom * (1.0 - 1e-9) and last < process.bottom:
            tau = np.linspace(first, bottom ** (1.0 / k), steps) ** k
        return process.level(tau)

    @checked(ConfigurationError)
    def ramp(self, top: float, bottom: float, share: Array) -> Array:
        """From one level to another, uniform in rho^(1/k), or in log rho for infinite k (arXiv 2206.00364, eq. 5).

        Args:
            top: The level at share 0, positive.
            bottom: The level at share 1, positive.
            share: Between 0 and 1; of any shape.

        Returns:
            Levels; the shape of `share`.

        Raises:
            ConfigurationError: Levels that are not positive, or a share beyond 0 to 1.
        """
        if not (0.0 < top < np.inf and 0.0 < bottom < np.inf):
            raise ConfigurationError(f"A ramp goes between two levels above zero, got {top!r} and {bottom!r}.")
        if not np.all((share >= 0.0) & (share <= 1.0)):
            raise ConfigurationError(f"`share` lies between 0 and 1, got {share.tolist()}.")
        k = self.exponent
        if k == np.inf:
            return np.exp(np.log(top) + share * (np.log(bottom) - np.log(top)))
        return (top ** (1 / k) + share * (bottom ** (1 / k) - top ** (1 / k))) ** k


@dataclass(frozen=True)
class Beta:
    """Levels at the quantiles of Beta(0.6, 0.6) (arXiv 2407.12173)."""

    a: float = 0.6
    b: float = 0.6

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        number, first, last = ends.bounds(process, steps)
        return _to_the_cleanest(process, number, first, last, self.ramp)

    def ramp(self, top: float, bottom: float, share: Array) -> Array:
        """From one level to another at the quantiles of Beta(a, b) (arXiv 2407.12173).

        Args:
            top: The level at share 0.
            bottom: The level at share 1.
            share: Between 0 and 1; of any shape.

        Returns:
            Levels; the shape of `share`.
        """
        from scipy.stats import beta  # a second to import, and few use it

        return bottom + (top - bottom) * beta.ppf(1.0 - share, self.a, self.b)


@dataclass(frozen=True)
class Shifted:
    """Another grid, shifted by resolution as flow-matching models have it; of other processes as it is.

    Args:
        base: The grid.
        shift: s; rho of the calls becomes s rho.
        terminal: sigma that the last call is then brought to.
    """

    base: Grid
    shift: float = 1.0
    terminal: float | None = None

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        return process.shifted(self.base.levels(process, steps, ends), self.shift, self.terminal)


@dataclass(frozen=True)
class Whole:
    """Another grid, at the nearest distinct whole training times, for networks and pipelines that know no others."""

    base: Grid

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        return process.whole(self.base.levels(process, steps, ends))


@dataclass(frozen=True, eq=False)
class Given:
    """Levels written by hand, whatever the ends; (N + 1,)."""

    values: Array = field(default_factory=lambda: np.zeros(0))

    def levels(self, process: NoiseSchedule, steps: int, ends: Ends) -> Array:
        """See `Grid`."""
        return np.array(self.values, dtype=np.float64)


Ramp = Callable[[float, float, Array], Array]
"""From the first level to the second as a share goes from zero to one."""


def check_steps(process: NoiseSchedule, steps: int) -> int:
    """`steps` as an int. Raises TimestepsError if it is no number of steps, or more than there are training times."""
    most = len(process)
    number = steps if is_number(steps) else 0
    if not 1 <= number <= most or number != int(number):
        raise TimestepsError(
            f"`num_inference_steps` must be a whole number from 1 to {most}, the number of training times, got "
            f"{steps!r}."
        )
    return int(number)


def check_unmoved(spacing: str, ends: Ends) -> None:
    """Raise ConfigurationError unless the ends are those that whole training times of this name have."""
    if ends.moved:
        raise ConfigurationError(
            f"`start_time` and `end_time` move the ends of continuous grids, and timestep_spacing={spacing!r} has "
            "Diffusers' whole training times. Use grid=Power('t', 1) for uniform times."
        )


def _unmoved(grid: Grid, ends: Ends) -> Ends:
    """The ends, once checked."""
    check_unmoved(type(grid).__name__.lower(), ends)
    return ends


def _table(grid: Grid, process: NoiseSchedule) -> int:
    """Number of whole training times. Raises ConfigurationError where there are none."""
    if not process.numbered:
        raise ConfigurationError(
            f"timestep_spacing={type(grid).__name__.lower()!r} has whole training times, and the time of {process} is "
            f"a continuum. Use {CONTINUUM}."
        )
    return len(process)


def _at_whole_times(process: NoiseSchedule, times: Array, last: float, ends: Ends) -> Array:
    lowest, highest = (0 if ends.final == "zero" else 1), len(process) - 1
    if (
        len(times) > highest - lowest + 1
    ):  # as many as training times, down to the first, which is no call: between them
        return np.append(process.rho(np.linspace(highest, 0.0, len(times) + 1)[:-1]), last)
    return np.append(process.rho(distinct_times(np.round(times), lowest, highest)), last)


def _to_the_cleanest(process: NoiseSchedule, steps: int, first: float, last: float, ramp: Ramp) -> Array:
    """Down to the cleanest training level, which is the last call; or down to an end above it."""
    bottom, points = (last, steps + 1) if last >= process.bottom else (process.bottom, steps)
    high, low = process.as_sigma([first, bottom]).tolist()
    levels = process.from_sigma(ramp(high, low, np.linspace(0.0, 1.0, points)))
    return np.append(levels[:steps], last)
