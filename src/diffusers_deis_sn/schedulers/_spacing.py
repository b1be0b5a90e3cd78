"""Time grids that have a name: which one is used, and with which numbers."""

from __future__ import annotations

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.maths.spacing import LEVEL_SPACINGS, check_spacing, spaced_levels
from diffusers_deis_sn.schedulers._inheritance import FLAGGED_SPACINGS
from diffusers_deis_sn.schedulers._learned import LearnedGrid
from diffusers_deis_sn.statistics.trials import LEARNED


class NamedSpacing(LearnedGrid):
    """An exponential integrator whose time grids have names; a recipe may have the learned one."""

    @property
    def spacing(self) -> str:
        """The grid that is used: one of the flags, or this scheduler's own `timestep_spacing`.

        The public config may hold another class's `timestep_spacing`, for the way back to it.
        """
        if self._recipe is not None:
            return self._recipe.timestep_spacing
        return next(iter(self._flagged), self._own_spacing)

    @property
    def _own_spacing(self) -> str:
        default: str = type(self)._default_spacing
        return str(self._private.get("timestep_spacing", default))

    _default_spacing = "trailing"

    @property
    def _flagged(self) -> list[str]:
        """The grids whose flags are set."""
        return [grid for grid in FLAGGED_SPACINGS if self.config[f"use_{grid}_sigmas"]]

    def _validate(self) -> None:
        super()._validate()
        config = self.options
        if self.spacing == LEARNED:
            return
        check_spacing(
            self.spacing,
            config["final_sigmas_type"],
            config["grid_exponent"],
            config["start_time"],
            config["end_time"],
        )
        flags = self._flagged
        if len(flags) > 1:
            raise ConfigurationError(
                f"At most one grid of sigmas can be used, got use_{'_sigmas and use_'.join(flags)}_sigmas. Set the "
                "others to False."
            )
        if self.noise.path != "vp" and self.spacing in ("linspace", "leading"):
            process = "use_flow_sigmas=True" if config["use_flow_sigmas"] else f"process={config['process']!r}"
            raise ConfigurationError(
                f"timestep_spacing={self.spacing!r} has whole training times, and {process} a continuum. Use 'karras', "
                "'power_rho', 'log_snr', 'quadratic', 'power_t', 'beta' or 'trailing'."
            )

    def _spaced_levels(self, noise: NoiseSchedule, steps: int) -> Array:
        self._learned = self.spacing == LEARNED
        if self._learned:
            return self._learned_levels(noise, steps)
        config = self.options
        levels = spaced_levels(
            noise,
            steps,
            self.spacing,
            config["final_sigmas_type"],
            config["steps_offset"],
            exponent=config["grid_exponent"],
            start=config["start_time"],
            end=config["end_time"],
        )
        return levels if self.spacing in LEVEL_SPACINGS or self.spacing == "beta" else self._shifted(noise, levels)
