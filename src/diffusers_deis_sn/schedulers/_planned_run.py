"""What a run was planned from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned_later import Inside
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.statistics.trials import Method


@dataclass(frozen=True, eq=False)
class Run:
    """What a run was planned from.

    Args:
        options: Those in use.
        recipe: Made of them.
        plan: The run.
        method: The tried method that it follows, or None.
        shift: Of its grid.
        begin: The call that it was planned anew from, or None.
        begun_at: The time of that call before.
        own_grid: Whether a run from an image has other times than these, and nobody gave them by hand.
        guidance: That the pipeline said it runs with, or None.
        tuned: The plan that was fitted to the model for such runs, where this is one.
        given: Whether its times were given by hand, in a list that no pipeline has of itself.
        unshifted: See `Request`.
        overridden: What a given list won over, in words.
    """

    options: Options
    recipe: Recipe
    plan: Plan
    method: Method | None = None
    shift: float = 1.0
    begin: int | None = None
    begun_at: float | None = None
    own_grid: bool = False
    guidance: float | None = None
    tuned: TunedPlan | None = None
    given: bool = False
    unshifted: bool = False
    overridden: str | None = None

    @property
    def inside(self) -> bool:
        """Whether it begins later, inside the times of plans."""
        return isinstance(self.recipe.grid, Inside)

    @property
    def follows(self) -> bool:
        """Whether it follows a method that was tried, or a plan that was fitted."""
        return self.method is not None or self.tuned is not None

    def of_other_statistics(self) -> Run:
        """The same where the statistics that it followed are in use no more."""
        return replace(self, method=None, tuned=None, own_grid=False) if self.follows else self
