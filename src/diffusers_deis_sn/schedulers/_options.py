"""What the config of a scheduler means: checked against itself, and turned into the values of `maths`.

Pipelines replace parts of a config after `__init__`, so nothing here is kept but what can be recognised as still valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.maths.coefficients import MAX_ORDER
from diffusers_deis_sn.maths.flow import FlowSchedule, check_shift
from diffusers_deis_sn.maths.noise import NoiseSchedule, vp_schedule
from diffusers_deis_sn.maths.normaliser import Normaliser
from diffusers_deis_sn.maths.prediction import check_prediction_type
from diffusers_deis_sn.maths.sigma import SigmaSchedule
from diffusers_deis_sn.maths.solver import check_solver
from diffusers_deis_sn.maths.spacing import is_number
from diffusers_deis_sn.schedulers._inheritance import SIGMA_OPTIONS
from diffusers_deis_sn.schedulers._own_config import RECIPE_OPTIONS, default_options
from diffusers_deis_sn.schedulers._saving import Source, StatisticsHolder
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Recipe, unmeasured

BETA_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
PROCESSES = ("vp", "ve", "edm")
RECIPES = ("measured", "fixed")
UNKNOWN_GUIDANCE = 7.5  # what Stable Diffusion is called with, and on the safe side for others
LEAST_GUIDANCE = 2.0  # that a correction's gain is divided by
EDM_SIGMA_DATA = 0.5  # Diffusers' default
TRUSTED = 1.25  # how much more guidance than a recipe was tried with it may be used at


class SolverOptions(StatisticsHolder):
    """A scheduler with the options that all solvers share, whatever their time grid."""

    _recipe: Recipe | None = None  # of the current run
    _learns_grid = False

    @property
    def options(self) -> dict[str, Any]:
        """All options in use by name; those of the recipe are in the place of the config's where one is followed."""
        chosen = self._configured
        if self._recipe is None:
            return chosen
        return chosen | {name: value for name, value in self._recipe.options().items() if name in chosen}

    @property
    def recipe(self) -> Recipe | None:
        """The recipe that the current run follows, None where it follows the options."""
        return self._recipe

    def set_stats(self, source: Source | None, **where: Any) -> None:
        """As `StatisticsHolder` has it; a recipe is that of the former statistics, and is not followed any more."""
        recipe, self._recipe = self._recipe, None
        try:
            super().set_stats(source, **where)
        except Exception:
            self._recipe = recipe
            raise

    def _recipe_for(self, steps: int | None) -> Recipe | None:
        """The recipe that was best with so many steps, if recipes are to be followed and were tried on the model."""
        statistics = self.statistics
        if not is_number(steps) or not np.isfinite(steps):  # type: ignore[arg-type]
            return None  # none are planned, or `check_steps` will say so
        if not self._follows_recipes:
            return None
        if statistics is None:
            return unmeasured(int(steps))  # type: ignore[arg-type]
        if statistics.trials is None:
            return None
        if (self._configured["guidance_scale"] or 0.0) > TRUSTED * (statistics.origin.guidance_scale or 1.0):
            return None
        learned = True if self._learns_grid else None if self._can_learn(statistics) else False
        return statistics.trials.best(max(int(steps), 1), learned)  # type: ignore[arg-type]

    def _can_learn(self, statistics: ScoreStatistics) -> bool:
        """Whether these statistics tell a grid for whole runs."""
        return False

    @property
    def _follows_recipes(self) -> bool:
        """As the option says; by default where no option that recipes decide was chosen."""
        chosen, defaults = self._configured, default_options(type(self))
        if chosen["recipe"] is not None:
            return bool(chosen["recipe"] == "measured")
        return all(chosen[name] == defaults[name] for name in RECIPE_OPTIONS if name in defaults)

    def _validate(self) -> None:
        """Raise ConfigurationError for an option that is unknown, out of range or at odds with another."""
        config = self.options
        check_solver(
            config["solver"],
            config["solver_order"],
            config["interpolation"],
            config["integrand"],
            self.corrector_order,
        )
        if config["recipe"] not in (None, *RECIPES):
            raise ConfigurationError(f"`recipe` must be one of {', '.join(RECIPES)} or None, got {config['recipe']!r}.")
        self._validate_process()
        if not config["clip_normalizer_steps"] >= 0:
            raise ConfigurationError(
                f"`clip_normalizer_steps` is a training time, zero or more, got {config['clip_normalizer_steps']!r}."
            )
        for name in ("corrector_gain", "guidance_scale"):
            value = config[name]
            if value is None and name == "guidance_scale":
                continue
            if not is_number(value) or not 0 <= value < float("inf"):
                raise ConfigurationError(f"`{name}` must be a finite number, zero or more, got {value!r}.")
        if not 0.0 < config["dynamic_thresholding_ratio"] <= 1.0:
            raise ConfigurationError(
                "`dynamic_thresholding_ratio` is a quantile between 0 and 1, got "
                f"{config['dynamic_thresholding_ratio']!r}."
            )

    def _validate_process(self) -> None:
        """Raise ConfigurationError for options of one process given to another."""
        config = self.options
        process = config["process"]
        if process not in PROCESSES:
            raise ConfigurationError(f"`process` must be one of {', '.join(PROCESSES)}, got {process!r}.")
        foreign = {"vp": SIGMA_OPTIONS, "ve": ("sigma_data",), "edm": ()}[process]
        for name in foreign:
            if config[name] is not None:
                raise ConfigurationError(
                    f"`{name}` belongs to process={'edm' if name == 'sigma_data' else 've'!r}, got "
                    f"{config[name]!r} for process={process!r}. Leave it out, or name the process of the model."
                )
        scale = config["sigma_data"]
        if scale is not None and not (is_number(scale) and scale > 0.0):
            raise ConfigurationError(
                f"`sigma_data` is the standard deviation of the data, a positive number, got {scale!r}. Copy it from "
                "the model's own scheduler config."
            )
        if process != "vp" and config["clip_normalizer_steps"]:
            raise ConfigurationError(
                f"`clip_normalizer_steps` counts training steps, and process={process!r} has a continuum, got "
                f"{config['clip_normalizer_steps']!r}. Use 0."
            )
        self._validate_flow()
        path = "flow" if config["use_flow_sigmas"] else "ve" if process == "ve" else "vp"
        check_prediction_type(config["prediction_type"], self._sigma_data, path)

    def _validate_flow(self) -> None:
        """Raise ConfigurationError for options of flow-matching models that are at fault, or given to others."""
        config = self.options
        check_shift(config["flow_shift"], config["time_shift_type"], config["shift_terminal"])
        if config["use_flow_sigmas"] and config["process"] != "vp":
            raise ConfigurationError(
                f"use_flow_sigmas=True is a process of its own, got process={config['process']!r} too. Leave one out."
            )
        for name in ("use_dynamic_shifting", "shift_terminal"):
            if config[name] and not config["use_flow_sigmas"]:
                raise ConfigurationError(
                    f"`{name}` belongs to flow-matching models, got {config[name]!r} without use_flow_sigmas=True. "
                    "Leave it out, or say use_flow_sigmas=True."
                )

    @property
    def _sigma_data(self) -> float | None:
        if self.options["process"] != "edm":
            return None
        given = self.options["sigma_data"]
        return EDM_SIGMA_DATA if given is None else float(given)

    @property
    def noise(self) -> NoiseSchedule:
        """The noise schedule of the current config, which pipelines may have edited since `__init__`."""
        if self.config["use_flow_sigmas"]:
            return FlowSchedule(self.config["num_train_timesteps"])
        if self.options["process"] != "vp":
            bounds = {name: self.options[name] for name in ("sigma_min", "sigma_max")}
            given = {name: value for name, value in bounds.items() if value is not None}
            label = "log" if self.options["process"] == "edm" else "sigma"
            return SigmaSchedule(**given, num_train_timesteps=self.config["num_train_timesteps"], label=label)
        betas = self.config["trained_betas"]
        key = tuple(self.config[name] for name in BETA_KEYS if name != "trained_betas")
        key += (None if betas is None else np.asarray(betas, dtype=np.float64).tobytes(),)
        if getattr(self, "_noise", (None, None))[0] != key:
            self._noise = (key, vp_schedule(**{name: self.config[name] for name in BETA_KEYS}))
        return self._noise[1]

    @property
    def normalised(self) -> bool:
        """Whether outputs are divided by r(t)."""
        return self.statistics is not None and self._normalises

    @property
    def _normalises(self) -> bool:
        """Whether statistics, where there are any, are used to normalise."""
        return True

    @property
    def normaliser(self) -> Normaliser:
        """r(t) of the statistics, or nu(t) for the data form; flat without."""
        if self.statistics is None or not self._normalises:
            return Normaliser.flat()
        return self._normaliser_of(self.statistics)

    def _normaliser_of(self, statistics: ScoreStatistics) -> Normaliser:
        cutoff = float(self.options["clip_normalizer_steps"]) or None
        if self.options["integrand"] == "noise":
            return Normaliser(statistics.timesteps, statistics.mean_abs, cutoff)
        if statistics.mean_abs_data is None:
            raise ConfigurationError(
                "integrand='data' is normalised by the mean magnitude of predicted data, and these statistics do not "
                "hold it (`mean_abs_data`). Measure them again with `deis-sn calibrate`, or use integrand='noise' or "
                "no statistics (stats=False)."
            )
        return Normaliser(statistics.timesteps, statistics.mean_abs_data, cutoff)

    def _check_statistics(self, statistics: ScoreStatistics) -> None:
        """Also raise ConfigurationError where they do not tell the scale of what the config's solver integrates."""
        super()._check_statistics(statistics)
        if self._normalises:
            self._normaliser_of(statistics)

    @property
    def corrector_order(self) -> int:
        """Order of the corrector in use."""
        given = self.options["corrector_order"]
        if given is not None:
            return given
        normalised = self.normalised and self.options["integrand"] == "noise"
        return MAX_ORDER if normalised and self.options["solver"] == "multistep" else 0

    @property
    def gain_limit(self) -> float:
        """`corrector_gain` divided by the guidance, which multiplies how far an output moves with its sample.

        Never by less than two: in directions of pure noise, where d eps / d y = 1 / rho in any network, a chain of
        large steps passes errors on, the correction with one sign and the next extrapolation with the other.
        """
        # A recipe is followed with the limit that it was tried with, also where there is less guidance now.
        guidance = self.options["guidance_scale"] if self._recipe is None else None
        if guidance is None and self.statistics is not None:
            guidance = self.statistics.origin.guidance_scale
        guidance = UNKNOWN_GUIDANCE if guidance is None else guidance
        return float(self.options["corrector_gain"]) / max(LEAST_GUIDANCE, guidance)
