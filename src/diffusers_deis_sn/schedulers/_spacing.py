"""Time grids that have a name: which one is used, and what of a config chooses it.

A grid of another scheduler's config stays in the config, for the way back, and is not used. One that Diffusers does not
know is remembered in the private key: in the public config it would break a swap to another class.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import Any

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.maths.spacing import FREE_EXPONENT, INTEGER_SPACINGS, SPACINGS, check_spacing, spaced_levels
from diffusers_deis_sn.schedulers._contract import logger
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator
from diffusers_deis_sn.schedulers._saving import PRIVATE, differing, is_edm

OWN_OPTIONS = ("interpolation", "clip_normalizer_steps")  # no scheduler of Diffusers has arguments of these names
OWN_SPACINGS = tuple(name for name in SPACINGS if name not in INTEGER_SPACINGS)
FLAGGED_SPACINGS = ("karras", "exponential", "beta")  # the grids that Diffusers chooses by `use_..._sigmas`

# The grid of the scheduler that `from_config` is making: its `__init__` checks options against it, and Diffusers
# registers private keys only afterwards.
_SPACING_TO_BE: ContextVar[str | None] = ContextVar("_SPACING_TO_BE", default=None)


class NamedSpacing(ExponentialIntegrator):
    """An exponential integrator whose time grids have names."""

    @property
    def spacing(self) -> str:
        """The grid that is used: one of the flags, or this scheduler's own `timestep_spacing`."""
        return next(iter(flagged(self.config)), self._own_spacing)

    @property
    def _own_spacing(self) -> str:
        """The grid of this scheduler, which the public config may not hold."""
        private = self._private.get("timestep_spacing")
        return str(_SPACING_TO_BE.get() or private or self.config["timestep_spacing"])

    def _validate(self) -> None:
        super()._validate()
        config = self.config
        check_spacing(
            self.spacing,
            config["final_sigmas_type"],
            config["grid_exponent"],
            config["start_time"],
            config["end_time"],
        )
        flags = flagged(config)
        if len(flags) > 1:
            raise ConfigurationError(
                f"At most one grid of sigmas can be used, got use_{'_sigmas and use_'.join(flags)}_sigmas. Set the "
                "others to False."
            )
        if config["process"] != "vp" and self.spacing in ("linspace", "leading"):
            raise ConfigurationError(
                f"timestep_spacing={self.spacing!r} has whole training times, and process={config['process']!r} a "
                "continuum. Use 'karras', 'power_rho', 'log_snr', 'quadratic', 'power_t', 'beta' or 'trailing'."
            )

    def _spaced_levels(self, noise: NoiseSchedule, steps: int) -> Array:
        config = self.config
        return spaced_levels(
            noise,
            steps,
            self.spacing,
            config["final_sigmas_type"],
            config["steps_offset"],
            exponent=config["grid_exponent"],
            start=config["start_time"],
            end=config["end_time"],
        )

    @classmethod
    def _from_options(cls, config: dict[str, Any] | None, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if isinstance(config, dict):
            options = _edm_spacing(config, options) | options
            options = _spacing_not_inherited(config, options) | options
        spacing = options.get("timestep_spacing")
        if spacing in OWN_SPACINGS:
            del options["timestep_spacing"]
        if spacing is not None:  # chosen here, so no flag of another scheduler's config may override it
            options = {f"use_{grid}_sigmas": False for grid in FLAGGED_SPACINGS} | options
        used = spacing if config is None else cls._spacing_to_use(config, spacing)
        token = _SPACING_TO_BE.set(used)
        try:
            scheduler, unused = super()._from_options(config, options)
        finally:
            _SPACING_TO_BE.reset(token)
        if spacing is not None or (used is not None and used != scheduler.config["timestep_spacing"]):
            scheduler._set_private(timestep_spacing=used)
        return scheduler, unused

    @classmethod
    def _spacing_to_use(cls, config: dict[str, Any], chosen: str | None) -> str | None:
        """The grid where it is not the public config's: another scheduler's stays there, for the way back, unused."""
        remembered = (config.get(PRIVATE) or {}).get("timestep_spacing")
        if chosen is not None or remembered is not None:
            return chosen or remembered
        if config.get("timestep_spacing") in OWN_SPACINGS:  # came with us through another class
            return None
        own = all(key in config for key in OWN_OPTIONS)
        if "_class_name" in config:
            own = config["_class_name"] == cls.__name__
        if own:
            return None
        default: str = inspect.signature(cls.__init__).parameters["timestep_spacing"].default
        if config.get("timestep_spacing", default) != default:
            logger.info(
                "timestep_spacing=%r is that of %s and kept for it; %s uses %r. Pass timestep_spacing= to choose.",
                config["timestep_spacing"],
                config.get("_class_name", "another scheduler"),
                cls.__name__,
                default,
            )
        return default


def flagged(config: dict[str, Any]) -> list[str]:
    """The grids whose flags are set."""
    return [grid for grid in FLAGGED_SPACINGS if config.get(f"use_{grid}_sigmas")]


def _grid_chosen(chosen: dict[str, Any]) -> str | None:
    """The grid that the caller of `from_config` asks for, by flag or by name."""
    return next(iter(flagged(chosen)), chosen.get("timestep_spacing"))


def _edm_spacing(config: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """The grid of one of Diffusers' EDM schedulers, nothing for other configs or where one is chosen."""
    if not is_edm(config) or _grid_chosen(chosen):
        return {}
    if config.get("sigma_schedule") == "exponential":
        return {"timestep_spacing": "exponential"}
    if config.get("rho", 7.0) == 7.0:
        return {"timestep_spacing": "karras"}
    return {"timestep_spacing": "power_rho", "grid_exponent": config["rho"]}


def _spacing_not_inherited(config: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Options of the config's grid that one which is chosen leaves behind."""
    left: dict[str, Any] = {}
    grid = _grid_chosen(chosen)
    if grid is not None and grid not in FREE_EXPONENT:
        left["grid_exponent"] = None
    if grid in INTEGER_SPACINGS:
        left |= {"start_time": 1.0, "end_time": None}
    return differing(config, left)


def grid_to_remember(config: dict[str, Any], named: type[NamedSpacing]) -> tuple[str | None, dict[str, Any]]:
    """The grid that a scheduler of the class `named` has with a config, and options of it, for the way back to it.

    None where it needs no telling: it is remembered already, or the default.
    """
    if "timestep_spacing" in (config.get(PRIVATE) or {}):
        return None, {}
    if is_edm(config):
        options = _edm_spacing(config, {})
        return options.pop("timestep_spacing"), options
    spacing = config.get("timestep_spacing")
    if spacing is None or "timestep_spacing" in config.get("_use_default_values", ()):
        return None, {}
    name = config.get("_class_name")
    own = name == named.__name__ if name else all(key in config for key in OWN_OPTIONS)
    default = inspect.signature(named.__init__).parameters["timestep_spacing"].default
    return spacing if own or spacing in OWN_SPACINGS else default, {}
