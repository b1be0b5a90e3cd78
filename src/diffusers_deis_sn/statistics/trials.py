"""Recipes that were tried on a model: how far the samples of each end from those of a fine run, by network calls.

No solver, limit and grid is the best of every network: a correction that is safe on one leaves grain on another, and a
grid that suits ten calls wastes five. So `calibrate` lets a handful of recipes draw the same few samples, which costs
less than the rest of the measurement, and a scheduler takes the recipe that came nearest for its number of calls.

For sample s with end x_s, and x*_s that of the fine run, d components each and e_s = (|x_s - x*_s|^2 / d)^(1/2):

    error = exp(mean_s log e_s)        geometric mean, which a few samples that end elsewhere do not decide
    rms   = (mean_s e_s^2)^(1/2)
    grain = energy of the finest band of all ends, over that of the fine run's

All three are ours, see docs/explanation/normalisation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.core.grids import Ends
from diffusers_deis_sn.core.named_grids import SPACINGS, check_spacing
from diffusers_deis_sn.core.value_types import NUMBERS, checked, demand, shown
from diffusers_deis_sn.errors import ConfigurationError, StatisticsError
from diffusers_deis_sn.statistics.rules import listed

LEARNED = "learned"  # the grid of equal cost, which has no name of Diffusers
TABLES = ("error", "rms", "grain")
TINIEST = float(np.finfo(np.float64).tiny)  # whose logarithm stands for that of zero
MOST_GRAIN = 1.03  # of the fine run's finest band: from a little more on it is seen as grain
GRAIN_WEIGHT = 10.0  # how many times the logarithm of grain beyond that counts, against that of the error
FREE_MARGIN = 1.05  # by which corrections without limit have to be better: a few samples do not show all they may do
RMS_WEIGHT = 0.15  # likewise of the RMS, which of a few samples tells little but whether one of them was lost


@dataclass(frozen=True)
class Method:
    """Solver, grid and ends that were tried, as numbers and names for a file.

    Args:
        integrand: What is interpolated, "noise" or "data".
        solver_order: Number of outputs combined in a step, 1 to 4.
        corrector_order: Number of outputs with which each step is redone, 0 to 4.
        corrector_gain: Limit of the corrections' gain at guidance one, see
            `schedulers._options_to_recipe`; None for no limit.
        timestep_spacing: Name of the grid, or "learned".
        grid_exponent: Its exponent, where it has one.
        start_time: Where the run starts, as a fraction of the process.
        final_sigmas_type: Where it ends, "zero" or "sigma_min".
        spread: Of the learned grid, the share of its length that is spread evenly in tau^(1/2), 0 to 1.
        share: How much of what a step adds to order one is taken, 0 to 1.

    Raises:
        StatisticsError: A value of another type, out of range or at odds with another.
    """

    integrand: str = "noise"
    solver_order: int = 2
    corrector_order: int = 0
    corrector_gain: float | None = None
    timestep_spacing: str = "trailing"
    grid_exponent: float | None = None
    start_time: float = 1.0
    final_sigmas_type: str = "zero"
    spread: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        for name, sound in _RULES.items():
            if not sound(getattr(self, name)):
                raise StatisticsError(f"`{name}` of a recipe cannot be {getattr(self, name)!r}.")
        if self.spread and not self.learned:
            raise StatisticsError(f"`spread` belongs to the learned grid, got {self.spread!r} of another.")
        # Equal recipes are equal bytes of a file.
        for name in ("corrector_gain", "grid_exponent", "start_time", "spread", "share"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else float(value))
        try:
            ends = Ends(self.final_sigmas_type, self.start_time)
            if not self.learned:
                check_spacing(self.timestep_spacing, self.grid_exponent, ends)
        except ConfigurationError as error:
            raise StatisticsError(f"A recipe that no run can follow: {error}") from error

    @property
    def learned(self) -> bool:
        """Whether the grid is that of `ScoreOptimalScheduler`."""
        return self.timestep_spacing == LEARNED

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Method:
        """The recipe of `as_dict`. Raises StatisticsError for names it does not have, or values that are none."""
        unknown = sorted(set(facts) - {one.name for one in fields(cls)})
        if unknown:
            raise StatisticsError(f"A recipe has no {', '.join(unknown)}.")
        return cls(**facts)

    def as_dict(self) -> dict[str, Any]:
        """What differs from the defaults, for a file."""
        return {name: value for name, value in asdict(self).items() if value != getattr(type(self), name)}

    def __str__(self) -> str:
        grid = self.timestep_spacing + (f" {self.grid_exponent:g}" if self.grid_exponent else "")
        limit = "" if self.corrector_gain is None or not self.corrector_order else f", gain {self.corrector_gain:g}"
        start = "" if self.start_time == 1.0 else f" from {self.start_time:g}"
        end = "" if self.final_sigmas_type == "zero" else f" to {self.final_sigmas_type}"
        spread = f", {100 * self.spread:.0f} % spread" if self.spread else ""
        order = f"{self.solver_order}+{self.corrector_order}" + ("" if self.share == 1.0 else f", share {self.share:g}")
        return f"{self.integrand} {order}{limit}, {grid}{spread}{start}{end}"


LARGEST = 1e9  # of the numbers of a recipe, and of calls


def _number(value: object) -> bool:
    # By comparison, for whole numbers of files may be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


_RULES: dict[str, Callable[[Any], bool]] = {
    "integrand": lambda value: isinstance(value, str) and value in ("noise", "data"),
    "solver_order": lambda value: type(value) is int and 1 <= value <= 4,
    "corrector_order": lambda value: type(value) is int and 0 <= value <= 4,
    "corrector_gain": lambda value: value is None or (_number(value) and value >= 0.0),
    "timestep_spacing": lambda value: isinstance(value, str) and value in (LEARNED, *SPACINGS),
    "grid_exponent": lambda value: value is None or (_number(value) and 0.1 <= value <= 100.0),
    "start_time": lambda value: _number(value) and 0.0 < value <= 1.0,
    "final_sigmas_type": lambda value: isinstance(value, str) and value in ("zero", "sigma_min"),
    "spread": lambda value: _number(value) and 0.0 <= value <= 1.0,
    "share": lambda value: _number(value) and 0.0 <= value <= 1.0,
}


@dataclass(frozen=True, eq=False)
class Trials:
    """What each recipe left of the distance to the fine run, for some numbers of network calls.

    Args:
        recipes: The R recipes.
        calls: Numbers of calls, rising; C of them.
        error: Geometric mean over the samples of their RMS distance to the fine run, positive; (R, C).
        rms: Root of the mean square distance, at least `error`; (R, C).
        grain: Energy of the finest band over the fine run's; one where samples have no such band; (R, C).
        num_samples: Number of samples.

    Raises:
        StatisticsError: No recipe, calls that do not rise, or arrays that break a rule above.
    """

    recipes: tuple[Method, ...]
    calls: tuple[int, ...]
    error: NDArray[np.float64]
    rms: NDArray[np.float64]
    grain: NDArray[np.float64]
    num_samples: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipes", tuple(listed(self.recipes)))
        object.__setattr__(self, "calls", tuple(listed(self.calls)))
        if not self.recipes or not all(isinstance(one, Method) for one in self.recipes):
            raise StatisticsError("Trials need at least one Method.")
        whole = all(type(n) is int and 1 <= n < LARGEST for n in self.calls)
        if not self.calls or not whole or list(self.calls) != sorted(set(self.calls)):
            raise StatisticsError(f"`calls` of trials must be rising whole numbers above zero, got {self.calls}.")
        if type(self.num_samples) is not int or self.num_samples < 1:
            raise StatisticsError(f"`num_samples` of trials must be a whole number above zero, got {self.num_samples}.")
        for name in TABLES:
            object.__setattr__(self, name, self._checked(name))

    def _checked(self, name: str) -> NDArray[np.float64]:
        """A read-only copy of a table."""
        demand(StatisticsError, name, NUMBERS, getattr(self, name))
        table = np.array(getattr(self, name), dtype=np.float64)
        shape = (len(self.recipes), len(self.calls))
        if table.shape != shape:
            raise StatisticsError(
                f"`{name}` of trials needs a number for each recipe and number of calls, {shape}, got {table.shape}."
            )
        if not np.all(np.isfinite(table) & (table >= 0.0)):
            raise StatisticsError(f"`{name}` of trials must be finite and not negative.")
        if name == "error" and not np.all(table > 0.0):
            raise StatisticsError("`error` of trials must be positive: no run of few steps ends where a fine one does.")
        if name == "rms" and not np.all(table >= self.error * (1.0 - 1e-6)):  # but for rounding
            raise StatisticsError("`rms` of trials must be at least `error`, the geometric mean of the same distances.")
        table.flags.writeable = False
        return table

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trials):
            return NotImplemented
        same = (self.recipes, self.calls, self.num_samples) == (other.recipes, other.calls, other.num_samples)
        return same and all(getattr(self, name).tobytes() == getattr(other, name).tobytes() for name in TABLES)

    def __hash__(self) -> int:
        return hash((self.recipes, self.calls, self.error.tobytes()))

    def __reduce__(self) -> tuple[type[Trials], tuple[Any, ...]]:
        """Copies and pickles are built anew: NumPy's own would be writeable."""
        return type(self), tuple(getattr(self, one.name) for one in fields(self))

    @checked(StatisticsError)
    def best(self, calls: int, learned: bool | None = None) -> Method | None:
        """The recipe for a number of calls: least error, with a share of the RMS, and no grain.

        Between numbers that were tried the tables are interpolated as powers of the number of calls; beyond, the
        nearest number decides.

        Args:
            calls: How many network calls the run makes.
            learned: Whether the recipe is to have the learned grid, or one with a name; None for either.

        Returns:
            None if no such was tried.

        Raises:
            StatisticsError: No number of calls.
        """
        return next((recipe for recipe, _ in self.ranking(calls, learned)), None)

    @checked(StatisticsError)
    def ranking(self, calls: int, learned: bool | None = None) -> list[tuple[Method, float]]:
        """All recipes of a kind with their errors, the best first; arguments, and StatisticsError, as for `best`."""
        if not 1 <= calls < LARGEST:
            raise StatisticsError(f"`calls` must be from 1 to {LARGEST:g}, got {shown(calls)}. Give those of the run.")
        error, rms, grain = (np.log(self._at(getattr(self, name), calls)) for name in TABLES)
        score = error + RMS_WEIGHT * (rms - error) + GRAIN_WEIGHT * np.maximum(grain - np.log(MOST_GRAIN), 0.0)
        free = [one.integrand == "noise" and one.corrector_order and one.corrector_gain is None for one in self.recipes]
        order = np.argsort(score + np.where(free, np.log(FREE_MARGIN), 0.0), kind="stable").tolist()
        wanted = [i for i in order if learned in (None, self.recipes[i].learned)]
        return [(self.recipes[i], float(np.exp(error[i]))) for i in wanted]

    def towards(self, other: Trials, share: float) -> Trials:
        """Trials between these, share 0, and others of the same recipes and calls, share 1: logarithms are linear."""
        tables = {name: [np.log(np.maximum(getattr(one, name), TINIEST)) for one in (self, other)] for name in TABLES}
        return replace(
            self,
            num_samples=min(self.num_samples, other.num_samples),
            **{name: np.exp((1.0 - share) * low + share * high) for name, (low, high) in tables.items()},
        )

    def only(self, recipes: Collection[Method]) -> Trials | None:
        """The trials of these recipes; None if there are none among them."""
        kept = [place for place, recipe in enumerate(self.recipes) if recipe in recipes]
        if not kept:
            return None
        chosen = tuple(self.recipes[place] for place in kept)
        return replace(self, recipes=chosen, **{name: getattr(self, name)[kept] for name in TABLES})

    def _at(self, table: NDArray[np.float64], calls: int) -> NDArray[np.float64]:
        """A table at any number of calls; (R,)."""
        logs = np.log(np.maximum(table, TINIEST))
        return np.exp([np.interp(np.log(calls), np.log(self.calls), row) for row in logs])
