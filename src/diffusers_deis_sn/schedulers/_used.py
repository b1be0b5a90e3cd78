"""What a scheduler uses at the moment: that of its current run, and what the options say before the first."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.schedulers._options_to_recipe import followed, scale_of
from diffusers_deis_sn.schedulers._planned_run import Run
from diffusers_deis_sn.schedulers._planner import Planner


@dataclass(frozen=True, eq=False)
class Used:
    """A config with the run that was planned from it.

    Args:
        planner: Of the config, at the guidance of the run.
        run: The current one, None before the first.
    """

    planner: Planner
    run: Run | None

    @property
    def options(self) -> Options:
        """Those of the config, with those of the method in their place where one is followed."""
        method = None if self.run is None else self.run.method
        return followed(self.planner.options, method, self.planner.statistics)

    @property
    def by_name(self) -> dict[str, Any]:
        """All of them, those that are the config's alone too."""
        used = self.options
        return self.planner.by_name | {one.name: getattr(used, one.name) for one in fields(used)}

    @property
    def recipe(self) -> Recipe:
        """Process, grid, solver and scale."""
        return self.planner.recipe(self.planner.options) if self.run is None else self.run.recipe

    @property
    def spacing(self) -> str:
        """The grid: its name as an option, or that of its class."""
        options = self.options
        if self.run is not None and self.run.tuned is not None:
            return type(self.run.tuned.run).__name__
        if self.run is not None and self.run.inside:
            return type(self.run.recipe.grid).__name__
        return options.spacing if options.grid is None else type(options.grid).__name__

    @property
    def normaliser(self) -> Normaliser:
        """r(t) of the statistics, or nu(t) for the data form; flat without."""
        return scale_of(self.options, self.planner.statistics)
