"""The options of a scheduler as one typed value: read once from a config and checked. Recipes: `_options_to_recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from diffusers_deis_sn.core.codec import decode
from diffusers_deis_sn.core.coefficients import INTEGRANDS
from diffusers_deis_sn.core.flow import FlowSchedule, check_shift
from diffusers_deis_sn.core.grids import CONTINUUM, Ends, Grid, Power
from diffusers_deis_sn.core.named_grids import FLAGGED_SPACINGS, INTEGER_SPACINGS, check_spacing
from diffusers_deis_sn.core.prediction import check_prediction_type
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.sigma import EDMSchedule, SigmaSchedule
from diffusers_deis_sn.core.solvers import Solver, named_solver
from diffusers_deis_sn.core.value_types import is_number, is_real
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.learn.grid import EqualCost

SIGMA_OPTIONS = ("sigma_min", "sigma_max", "sigma_data")
OTHERS = "Karras', exponential and beta grids are use_karras_sigmas=True and so on; others grid=Power('t', 2)."
PROCESSES = ("vp", "ve", "edm")
RECIPES = ("measured", "fixed")
EDM_SIGMA_DATA = 0.5  # Diffusers' default


@dataclass(frozen=True, eq=False)
class Options:
    """What the arguments of a scheduler say, under their names; see there for what they mean."""

    num_train_timesteps: int
    beta_start: float
    beta_end: float
    beta_schedule: str
    trained_betas: Any
    rescale_betas_zero_snr: bool
    snr_shift_scale: float
    prediction_type: str
    solver: str | Solver
    solver_order: int
    guidance_scale: float | None
    lower_order_final: bool
    start_time: float
    end_time: float | None
    final_sigmas_type: str
    clip_normalizer_steps: float
    thresholding: bool
    dynamic_thresholding_ratio: float
    sample_max_value: float
    process: str
    sigma_min: float | None
    sigma_max: float | None
    sigma_data: float | None
    use_flow_sigmas: bool
    flow_shift: float
    invert_sigmas: bool
    use_dynamic_shifting: bool
    time_shift_type: str
    shift_terminal: float | None
    recipe: str | None
    tuned: bool
    timestep_spacing: str
    grid: Grid | None
    steps_offset: int
    use_karras_sigmas: bool
    use_exponential_sigmas: bool
    use_beta_sigmas: bool
    normalise: bool
    whole_timesteps: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """From options by name; `grid` and `solver` may be as a file has them.

        Raises:
            ConfigurationError: A grid or solver under a name that nobody registered.
        """
        known = {one.name: values[one.name] for one in fields(cls)}
        if isinstance(known["solver_order"], np.integer):
            known["solver_order"] = int(known["solver_order"])
        return cls(**known | {name: decode(known[name]) for name in ("grid", "solver")})

    # ------------------------------------------------------------------------------------------------------ factors

    @cached_property
    def spacing(self) -> str:
        """Name of the grid: one of the flags, or `timestep_spacing`."""
        return next(iter(self.flagged), self.timestep_spacing)

    @cached_property
    def flagged(self) -> list[str]:
        """The grids whose flags are set."""
        return [grid for grid in FLAGGED_SPACINGS if getattr(self, f"use_{grid}_sigmas")]

    @cached_property
    def ends(self) -> Ends:
        """Where runs start and end."""
        return Ends(self.final_sigmas_type, self.start_time, self.end_time)

    @property
    def integrand(self) -> str:
        """What the solver integrates, "noise" or "data"."""
        return "noise" if isinstance(self.solver, str) else self.solver.of

    @property
    def learns(self) -> bool:
        """Whether the grid is learned from the statistics."""
        return isinstance(self.grid, EqualCost)

    def noise(self) -> NoiseSchedule:
        """The process."""
        if self.use_flow_sigmas:
            return FlowSchedule(self.num_train_timesteps, bool(self.invert_sigmas))
        if self.process == "vp":
            return vp_schedule(
                self.num_train_timesteps,
                self.beta_start,
                self.beta_end,
                self.beta_schedule,
                self.trained_betas,
                self.rescale_betas_zero_snr,
                self.snr_shift_scale,
            )
        self._check_process()  # a config may have been edited since
        given: dict[str, Any] = {"num_train_timesteps": self.num_train_timesteps}
        given |= {name: getattr(self, name) for name in SIGMA_OPTIONS if getattr(self, name) is not None}
        if self.process == "edm":
            return EDMSchedule(**{"sigma_data": EDM_SIGMA_DATA} | given)
        given.pop("sigma_data", None)
        return SigmaSchedule(**given, label="sigma")

    def process_key(self) -> tuple[object, ...]:
        """Equal for equal processes."""
        betas = self.trained_betas
        written = None if betas is None else np.asarray(betas, dtype=np.float64).tobytes()
        names = (
            "process",
            "use_flow_sigmas",
            "invert_sigmas",
            "snr_shift_scale",
            "num_train_timesteps",
            "beta_start",
            "beta_end",
            "beta_schedule",
        )
        return (written, self.rescale_betas_zero_snr, *(getattr(self, name) for name in (*names, *SIGMA_OPTIONS)))

    # ------------------------------------------------------------------------------------------------------- checks

    def check(self) -> None:
        """Raise ConfigurationError for an option that is unknown, out of range or at odds with another."""
        self._check_solver()
        if not (self.recipe is None or (isinstance(self.recipe, str) and self.recipe in RECIPES)):
            raise ConfigurationError(f"`recipe` must be one of {', '.join(RECIPES)} or None, got {self.recipe!r}.")
        stranger = self.grid is not None and not isinstance(self.grid, Power | EqualCost)
        if self.recipe == "measured" and (stranger or not isinstance(self.solver, str)):
            raise ConfigurationError(
                "recipe='measured' follows methods that were tried, got it with a grid or solver of your own, which it "
                "would not use. Leave it out."
            )
        self._check_process()
        if not self.clip_normalizer_steps >= 0:
            raise ConfigurationError(
                f"`clip_normalizer_steps` is a training time, zero or more, got {self.clip_normalizer_steps!r}."
            )
        guidance = self.guidance_scale
        if guidance is not None and not (is_real(guidance) and 0 <= guidance < float("inf")):
            raise ConfigurationError(f"`guidance_scale` must be a finite number, zero or more, got {guidance!r}.")
        self._check_grid()
        self._check_whole()

    def _check_solver(self) -> None:
        if isinstance(self.solver, str):
            named_solver(self.solver, self.solver_order)
            return
        solver = self.solver
        if isinstance(solver, type) or not isinstance(solver, Solver):
            raise ConfigurationError(
                f"`solver` is a name or a value with `table`, `of` and `calls_per_step`, got {solver!r}. Of a "
                "class give a value, such as MySolver()."
            )
        if solver.of not in INTEGRANDS or type(solver.calls_per_step) is not int or solver.calls_per_step < 1:
            raise ConfigurationError(
                f"A solver integrates {' or '.join(INTEGRANDS)} in one or more calls a step, got of={solver.of!r} and "
                f"calls_per_step={solver.calls_per_step!r} of {type(solver).__name__}."
            )

    def _check_process(self) -> None:
        """Refuse options of one process given to another."""
        process = self.process
        if process not in PROCESSES:
            raise ConfigurationError(f"`process` must be one of {', '.join(PROCESSES)}, got {process!r}.")
        foreign = {"vp": SIGMA_OPTIONS, "ve": ("sigma_data",), "edm": ()}[process]
        for name in foreign:
            if process == "ve" and self.sigma_data == 1.0:  # Cosmos 2 writes it into every scheduler; nothing scales
                continue
            if getattr(self, name) is not None:
                raise ConfigurationError(
                    f"`{name}` belongs to process={'edm' if name == 'sigma_data' else 've'!r}, got "
                    f"{getattr(self, name)!r} for process={process!r}. Leave it out, or name the process of the model."
                )
        scale = self.sigma_data
        if scale is not None and not (is_number(scale) and scale > 0.0):
            raise ConfigurationError(
                f"`sigma_data` is the standard deviation of the data, a positive number, got {scale!r}. Copy it from "
                "the model's own scheduler config."
            )
        if process != "vp" and self.clip_normalizer_steps:
            raise ConfigurationError(
                f"`clip_normalizer_steps` counts training steps, and process={process!r} has a continuum, got "
                f"{self.clip_normalizer_steps!r}. Use 0."
            )
        if self.snr_shift_scale != 1.0 and (process != "vp" or self.use_flow_sigmas):
            raise ConfigurationError(
                f"`snr_shift_scale` belongs to a process of betas, got {self.snr_shift_scale!r} for another. Leave it "
                "out."
            )
        self._check_flow()
        path = "flow" if self.use_flow_sigmas else "ve" if process == "ve" else "vp"
        data = (EDM_SIGMA_DATA if scale is None else float(scale)) if process == "edm" else None
        check_prediction_type(self.prediction_type, data, path)

    def _check_flow(self) -> None:
        """Refuse options of flow-matching models that are at fault, or given to others."""
        check_shift(self.flow_shift, self.time_shift_type, self.shift_terminal)
        if self.use_flow_sigmas and self.process != "vp":
            raise ConfigurationError(
                f"use_flow_sigmas=True is a process of its own, got process={self.process!r} too. Leave one out."
            )
        if not isinstance(self.invert_sigmas, bool):
            raise ConfigurationError(f"`invert_sigmas` must be True or False, got {self.invert_sigmas!r}.")
        for name in ("use_dynamic_shifting", "shift_terminal", "invert_sigmas"):
            if getattr(self, name) and not self.use_flow_sigmas:
                raise ConfigurationError(
                    f"`{name}` belongs to flow-matching models, got {getattr(self, name)!r} without "
                    "use_flow_sigmas=True. Leave it out, or say use_flow_sigmas=True."
                )

    def _check_grid(self) -> None:
        if self.grid is not None:
            if isinstance(self.grid, type) or not isinstance(self.grid, Grid):
                raise ConfigurationError(
                    f"`grid` is a value with a method `levels`, or None, got {self.grid!r}. Of a class give a value, "
                    "such as MyGrid()."
                )
            return  # no other option for grids is used
        ends, spacing = self.ends, self.timestep_spacing
        if spacing not in INTEGER_SPACINGS:
            raise ConfigurationError(
                f"`timestep_spacing` must be one of {', '.join(INTEGER_SPACINGS)}, got {spacing!r}. {OTHERS}"
            )
        check_spacing(self.spacing, None, ends)
        if len(self.flagged) > 1:
            raise ConfigurationError(
                f"At most one grid of sigmas can be used, got use_{'_sigmas and use_'.join(self.flagged)}_sigmas. Set "
                "the others to False."
            )
        if (self.use_flow_sigmas or self.process != "vp") and self.spacing in ("linspace", "leading"):
            process = "use_flow_sigmas=True" if self.use_flow_sigmas else f"process={self.process!r}"
            raise ConfigurationError(
                f"timestep_spacing={self.spacing!r} has whole training times, and {process} a continuum. Use "
                f"{CONTINUUM}."
            )

    def _check_whole(self) -> None:
        for name in ("normalise", "whole_timesteps", "tuned"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"`{name}` must be True or False, got {getattr(self, name)!r}.")
        if not self.whole_timesteps:
            return
        if self.process != "vp" or self.use_flow_sigmas:
            process = "use_flow_sigmas=True" if self.use_flow_sigmas else f"process={self.process!r}"
            raise ConfigurationError(
                f"`whole_timesteps` is for networks of numbered training times, got {process}, whose time is a "
                "continuum. Leave it out."
            )
        tableau = TABLEAUX.get(self.solver) if isinstance(self.solver, str) else None
        if tableau is not None and not {0.0, 1.0}.issuperset(tableau.nodes):
            raise ConfigurationError(
                f"solver={self.solver!r} calls the network between the times of a run, got it with "
                "whole_timesteps=True. Use solver='multistep', 'ipndm', 'euler' or 'heun'."
            )
