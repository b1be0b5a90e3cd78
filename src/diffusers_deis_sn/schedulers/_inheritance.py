"""What the config of another scheduler class, or of another choice, means for this package's options."""

from __future__ import annotations

from typing import Any

from diffusers_deis_sn.core.codec import KIND, PRIVATE
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.named_grids import FLAGGED_SPACINGS, INTEGER_SPACINGS
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.solvers import DEFAULT_ORDER
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.schedulers._options import SIGMA_OPTIONS
from diffusers_deis_sn.schedulers._own_config import (
    OF_GRIDS,
    OF_SOLVERS,
    RECIPE_OPTIONS,
    by_class,
    default_options,
    defaulted,
    entries,
    names_grid,
)
from diffusers_deis_sn.schedulers._refused_models import refuse_other_networks
from diffusers_deis_sn.schedulers._stepping import logger

FOREIGN_CLASSES = (
    "CosineDPM",
    "DDPMWuerstchen",
    "Helios",
    "IPNDM",
    "KarrasVe",
    "LTXEulerAncestral",
    "ScoreSdeVe",
)
FOREIGN_OPTIONS = ("scaler", "s_churn", "s_noise", "sampling_eps", "stages")
FLOW_OPTIONS = ("use_flow_sigmas", "prediction_type", "flow_shift", "shift_terminal", "invert_sigmas")
OF_BETAS = ("epsilon", "sample", "v_prediction")  # which schedulers of flows do not have among their options
SEEN = "seen"  # private entry: what other classes' keys said when options were made of them
OF_EDM_GRIDS = ("rho", "sigma_schedule")
READ = ("shift", "shift_terminal", "invert_sigmas", "snr_shift_scale", *SIGMA_OPTIONS, *OF_EDM_GRIDS)
"""Keys of other classes that options of ours are made of."""


def inherited_options(
    cls: Any, config: dict[str, Any], private: dict[str, Any], chosen: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options for a scheduler of the class `cls` that stand in a config in another form, and those it left behind.

    Args:
        cls: `DEISSNScheduler`, `ScoreOptimalScheduler` or a subclass.
        config: The config, of whatever class.
        private: Entries of its private key; they win over what other classes' keys say.
        chosen: Options given by the caller, which win over everything.

    Returns:
        Options by name, and entries of the private key that are those of the other class.

    Raises:
        ConfigurationError: The config is that of a process that is not supported: images would be noise.
    """
    refuse_other_networks(config)
    refuse_foreign_process(config)
    options = dict(private)
    if "process" not in private:
        options = foreign_options(config) | private | grid_options(config)
    else:
        _take_changed(options, config)
    options, others = by_class(cls, options)
    _choose_process(options, config, chosen)
    aside = chosen.get("recipe") == "measured" or not OF_SOLVERS.isdisjoint(chosen)
    if aside and "solver" not in chosen and isinstance(options.get("solver"), dict):
        del options["solver"]  # one of somebody's own, which has no such options
    solver = chosen.get("solver", private.get("solver"))
    if isinstance(solver, str) and solver in TABLEAUX:
        if config.get("solver_order") not in (None, TABLEAUX[solver].order):
            options["solver_order"] = DEFAULT_ORDER
    _choose_grid(cls, options, config, chosen)
    _choose_recipe(cls, options, config, chosen)
    return options, others


def foreign_options(config: dict[str, Any]) -> dict[str, Any]:
    """What other classes' keys say of the model, as options of ours."""
    of_flow = raw_options(config) or flow_options(config)
    return edm_options(config) | continuous_options(config) | of_flow | beta_options(config)


def seen(config: dict[str, Any], left: dict[str, Any]) -> dict[str, Any] | None:
    """Keys of other classes as they stay in a config, to tell later which of them somebody has changed.

    Args:
        config: That options were made of.
        left: What stays in it of other classes.

    Returns:
        Values by name, None where no option was made of such keys.
    """
    made = SEEN in entries(config) or (PRIVATE not in config and foreign_options(config))
    return {name: left[name] for name in READ if name in left} if made else None


def _take_changed(options: dict[str, Any], config: dict[str, Any]) -> None:
    """Follow keys of other classes that were changed, by those classes or in a file, since options were made of them.

    Ours -> FlowMatchEulerDiscreteScheduler.from_config(ours.config, shift=7.0) -> ours has a shift of 7.
    """
    before, unsaid = options.get(SEEN), defaulted(config)
    if not isinstance(before, dict):
        return
    changed = {name for name in READ if name in config and name not in unsaid and config[name] != before.get(name)}
    options |= {"flow_shift" if name == "shift" else name: config[name] for name in changed.difference(OF_EDM_GRIDS)}
    if not changed.isdisjoint(OF_EDM_GRIDS):
        options |= {"grid": None, "use_exponential_sigmas": False} | edm_grid(config)


def _choose_process(options: dict[str, Any], config: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Leave behind what belongs to a process that the caller of `from_config` has now chosen another for."""
    process = chosen.get("process", options.get("process", "vp"))
    if chosen.get("use_flow_sigmas"):
        process = options["process"] = chosen.get("process", "vp")
    elif chosen.get("use_flow_sigmas") is False or process != "vp":
        for name in FLOW_OPTIONS:
            options.pop(name, None)
        if config.get("use_flow_sigmas"):
            options["use_flow_sigmas"] = False
        if config.get("use_dynamic_shifting"):
            options["use_dynamic_shifting"] = False
        if config.get("prediction_type") == "flow_prediction":
            options["prediction_type"] = "epsilon"
    for name in {"vp": SIGMA_OPTIONS, "ve": ("sigma_data",)}.get(process, ()):
        options.pop(name, None)


def _choose_grid(cls: Any, options: dict[str, Any], config: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Leave behind what belongs to a grid that the caller of `from_config` has now chosen another for."""
    spacing, measured = chosen.get("timestep_spacing"), chosen.get("recipe") == "measured"
    if "grid" not in chosen and names_grid(chosen):
        options.pop("grid", None)
    if "grid" not in chosen and measured and _at_odds(cls, options.get("grid")):
        for name in ("grid", "start_time", "end_time"):  # whose ends may be no other's
            options.pop(name, None)
    grid = next((one for one in FLAGGED_SPACINGS if chosen.get(f"use_{one}_sigmas")), spacing)
    if spacing is not None:  # no flag of another scheduler's config may override it
        options |= {f"use_{one}_sigmas": False for one in FLAGGED_SPACINGS}
    if grid in FLAGGED_SPACINGS:  # of several flags the one that is chosen now
        options |= {f"use_{one}_sigmas": False for one in FLAGGED_SPACINGS if one != grid}
    if grid in INTEGER_SPACINGS:
        options |= {"start_time": 1.0, "end_time": None}
    default = default_options(cls)["timestep_spacing"]
    theirs = config.get("timestep_spacing", default)
    if PRIVATE not in config and cls.default_grid is None and spacing is None and theirs != default:
        logger.info(
            "timestep_spacing=%r is that of %s and kept for it; %s uses %r. Pass timestep_spacing= to choose.",
            theirs,
            config.get("_class_name", "another scheduler"),
            cls.__name__,
            default,
        )


def _at_odds(cls: Any, grid: Any) -> bool:
    """Whether a grid, perhaps as a file has it, is one that keeps a scheduler from following just any tried method."""
    kind = grid.get(KIND) if isinstance(grid, dict) else "power" if isinstance(grid, Power) else None
    return grid is not None and (kind != "power" or cls.default_grid is not None)


def _choose_recipe(cls: Any, options: dict[str, Any], config: dict[str, Any], chosen: dict[str, Any]) -> None:
    """What the caller chooses holds; what was in another scheduler's config was chosen for that scheduler."""
    if "recipe" in chosen:
        return
    defaults = default_options(cls)
    named = [name for name in RECIPE_OPTIONS if name in chosen]
    if named:
        # Another value than the default says by itself that it was chosen.
        if "recipe" in options or all(chosen[name] == defaults.get(name) for name in named):
            options["recipe"] = "fixed"
    elif PRIVATE not in config:
        aside = {"timestep_spacing"} if cls.default_grid is None else OF_GRIDS  # read from no other class's config
        taken = {name: options.get(name, None if name in aside else config.get(name)) for name in RECIPE_OPTIONS}
        if any(value is not None and value != defaults[name] for name, value in taken.items()):
            options["recipe"] = "measured"


def is_edm(config: dict[str, Any]) -> bool:
    """Whether the config is one of Diffusers' EDM schedulers; in memory it does not carry the name of its class."""
    name = config.get("_class_name")
    if name:
        return name.startswith("EDM")
    # CosineDPMSolverMultistepScheduler labels its levels otherwise; it has EDM's options but this one.
    cosine = "solver_order" in config and "algorithm_type" not in config and PRIVATE not in config
    return "sigma_schedule" in config and not cosine


def edm_options(config: dict[str, Any]) -> dict[str, Any]:
    """Process and grid of one of Diffusers' EDM schedulers, nothing for other configs."""
    if not is_edm(config):
        return {}
    return {"process": "edm"} | {name: config[name] for name in SIGMA_OPTIONS if name in config} | edm_grid(config)


def edm_grid(config: dict[str, Any]) -> dict[str, Any]:
    """The grid of such a scheduler."""
    if config.get("sigma_schedule") == "exponential":
        return {"use_exponential_sigmas": True}
    return {"grid": Power("sigma", float(config.get("rho", 7.0)))}


def continuous_options(config: dict[str, Any]) -> dict[str, Any]:
    """Process of an Euler scheduler in continuous time (Stable Video Diffusion): EDM's with sigma_data = 1."""
    if not _is_continuous(config) or config.get("prediction_type") != "v_prediction":
        return {}
    bounds = {name: config[name] for name in ("sigma_min", "sigma_max") if config.get(name) is not None}
    return {"process": "edm", "sigma_data": 1.0} | bounds


def flow_options(config: dict[str, Any]) -> dict[str, Any]:
    """Process and shift of a flow-matching scheduler, nothing for other configs."""
    name, as_flow = str(config.get("_class_name", "")), bool(config.get("use_flow_sigmas"))
    flow_match = name.startswith("FlowMatch") or "shift" in config  # no other scheduler has such a key
    if not (flow_match or as_flow or config.get("prediction_type") == "flow_prediction"):
        return {}
    options: dict[str, Any] = {"use_flow_sigmas": True}
    if not as_flow and flow_match:
        options["prediction_type"] = "flow_prediction"
    if flow_match and ("flow_shift" not in config or "flow_shift" in defaulted(config) or not as_flow):
        options["flow_shift"] = config.get("shift", 1.0)
    if config.get("shift_terminal"):
        options["shift_terminal"] = config["shift_terminal"]
    if config.get("invert_sigmas"):
        options["invert_sigmas"] = True
    return options


def is_raw(config: dict[str, Any]) -> bool:
    """Whether the config is a flow-matching scheduler's that Cosmos 2 uses for x_0 + sigma eps.

    Its pipelines write bounds of sigma and the deviation of the data into it, turn its grid into Karras', and have the
    network predict eps by arithmetic of their own.
    """
    return "shift" in config and config.get("sigma_data") == 1.0 and bool(config.get("use_karras_sigmas"))


def raw_options(config: dict[str, Any]) -> dict[str, Any]:
    """Process of such a scheduler, nothing for other configs."""
    if not is_raw(config):
        return {}
    bounds = {name: config[name] for name in ("sigma_min", "sigma_max") if config.get(name) is not None}
    # Theirs repeats the cleanest level in the end, which changes nothing; ours goes on from there to clean data.
    return {"process": "ve", "prediction_type": "epsilon", "final_sigmas_type": "zero"} | bounds


def grid_options(config: dict[str, Any]) -> dict[str, Any]:
    """The grid of DPM++'s `use_lu_lambdas`, levels even in log rho, under its other name; nothing for other configs."""
    return {"use_exponential_sigmas": True} if config.get("use_lu_lambdas") else {}


def beta_options(config: dict[str, Any]) -> dict[str, Any]:
    """What the schedulers of CogVideoX do to their betas, nothing for other configs."""
    scale = config.get("snr_shift_scale")
    return {} if scale is None else {"snr_shift_scale": scale}


def _is_continuous(config: dict[str, Any]) -> bool:
    return config.get("timestep_type") == "continuous"


def refuse_foreign_process(config: dict[str, Any]) -> None:
    """Raise ConfigurationError for a model of a process that is not supported."""
    name = str(config.get("_class_name", ""))
    signs = [key for key in FOREIGN_OPTIONS if key in config]
    ours = PRIVATE in config
    if "sigma_data" in config and not is_edm(config) and not is_raw(config) and not ours:
        signs.append("sigma_data")
    if _is_continuous(config) and not continuous_options(config) and not ours:
        signs.append("timestep_type='continuous'")
    if config.get("trained_betas", ()) is None and "beta_start" not in config and not ours:
        signs.append("IPNDM's own levels")  # whose config has nothing else
    if name.startswith(FOREIGN_CLASSES) or signs:
        raise ConfigurationError(
            f"This config{f' of {name}' if name else ''} is that of a process which is not supported"
            f"{f' ({signs[0]})' if signs else ''}. Supported are variance-preserving models (Stable Diffusion 1, 2, XL "
            "and the like), flow-matching models (Stable Diffusion 3, Flux and the like), and those of Diffusers' EDM "
            "schedulers. Keep the pipeline's own scheduler."
        )
    predicted = config.get("prediction_type")
    if not ours and "shift" in config and not config.get("use_flow_sigmas") and predicted in OF_BETAS:
        logger.warning(
            "This config has the shift of a flow, and prediction_type=%r of a process of betas: it is taken for a flow."
            " If the model is none, give the config of its own scheduler.",
            predicted,
        )
