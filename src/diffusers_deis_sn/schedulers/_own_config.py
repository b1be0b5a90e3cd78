"""What is ours in a config, apart from what every scheduler of Diffusers knows.

A config wanders: pipelines hand it from scheduler class to scheduler class, and each warns about keys it does not know,
or breaks over values it does not know. So the public config holds only names and values that Diffusers' own schedulers
have, and everything else lies under one private key, `_deis_sn`, which all of them carry along in silence. What another
class left in the config stays there for the way back.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from diffusers.configuration_utils import FrozenDict

from diffusers_deis_sn.core.codec import PRIVATE, encode
from diffusers_deis_sn.core.named_grids import FLAGGED_SPACINGS
from diffusers_deis_sn.errors import ConfigurationError

DEFAULTED = "_use_default_values"  # Diffusers' list of arguments that nobody gave; another class has its own defaults
BOOKKEEPING = (PRIVATE, DEFAULTED, "_class_name", "_diffusers_version")

# Arguments that no scheduler for these models has in Diffusers, or has with another meaning.
OWN_OPTIONS = frozenset(
    "solver grid guidance_scale start_time end_time clip_normalizer_steps process sigma_min sigma_max sigma_data "
    "shift_terminal invert_sigmas snr_shift_scale normalise whole_timesteps recipe tuned".split()
)
# Options of grids that have names; and what a solver of one's own is laid aside for, where it is chosen afterwards.
OF_GRIDS = frozenset("timestep_spacing steps_offset use_karras_sigmas use_exponential_sigmas use_beta_sigmas".split())
OF_SOLVERS = frozenset(("solver_order", "lower_order_final"))
# What a model is, and nobody chooses.
OF_MODELS = frozenset(
    "num_train_timesteps beta_start beta_end beta_schedule trained_betas rescale_betas_zero_snr prediction_type".split()
)
# What recipes decide, where nobody else does.
RECIPE_OPTIONS = (
    "solver",
    "grid",
    "solver_order",
    "lower_order_final",
    "timestep_spacing",
    "start_time",
    "end_time",
    "final_sigmas_type",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "normalise",
)
# Diffusers' DEIS writes these into its files, its only choice, and DPM++ then breaks over them.
DEIS_ALONE = (("algorithm_type", "deis"), ("solver_type", "logrho"))
LARGEST_PUBLIC_ORDER = 3  # DPM++ and DEIS of Diffusers know no solver_order=4
LEARNED_GRID = "learned_grid"  # entry of the grid of a class that learns it: the other class has one of its own


def entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the private key of a config holds; nothing where somebody put something else there."""
    found = config.get(PRIVATE)
    return dict(found) if isinstance(found, dict) else {}


def defaulted(config: Mapping[str, Any]) -> set[str]:
    """The arguments that nobody gave, as Diffusers lists them."""
    names = config.get(DEFAULTED)
    return {name for name in names if isinstance(name, str)} if isinstance(names, (list, tuple, set)) else set()


def configured(config: Mapping[str, Any], cls: Any) -> dict[str, Any]:
    """All options of a class by name, as a config of it has them: of the public config, and its own.

    The public `timestep_spacing` may be another class's, for the way back to it.
    """
    defaults = default_options(cls)
    aside = OWN_OPTIONS | _not_ours(cls)
    known = {name: config[name] for name in defaults if name in config and name not in aside}
    return (
        defaults
        | known
        | {name: value for name, value in by_class(cls, entries(config))[0].items() if name in defaults}
    )


def by_class(cls: Any, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of the private key as options of a class, and those that are the other class's."""
    if cls.default_grid is None:
        aside = {LEARNED_GRID}
    else:
        aside = {"grid", *OF_GRIDS}
    own = {name: value for name, value in options.items() if name not in aside and name != LEARNED_GRID}
    if cls.default_grid is not None and LEARNED_GRID in options:
        own["grid"] = options[LEARNED_GRID]
    return own, {name: value for name, value in options.items() if name in aside}


def _not_ours(cls: Any) -> frozenset[str]:
    """Options that are in the public config for other classes: how they space times is none of ours."""
    return frozenset(("timestep_spacing",)) if cls.default_grid is None else OF_GRIDS


def in_file(written: dict[str, Any], config: Mapping[str, Any], cls: Any) -> dict[str, Any]:
    """A config as a file has it: without what is there for other classes and nobody said, for each has its default."""
    unsaid = _not_ours(cls) & defaulted(config)
    return {key: value for key, value in written.items() if key not in unsaid}


def with_entries(config: Mapping[str, Any], **values: Any) -> FrozenDict:
    """The config with other entries of the private key; None removes one, and the key goes with its last entry."""
    private = {key: value for key, value in (entries(config) | values).items() if value is not None}
    return _joined(_public(config), defaulted(config), private)


def names_grid(values: Mapping[str, Any]) -> bool:
    """Whether one of the options that name a grid is chosen among these, and not only said to be off."""
    flagged = any(values.get(f"use_{one}_sigmas") for one in FLAGGED_SPACINGS)
    return flagged or values.get("timestep_spacing") is not None


def refuse_named_grids(cls: Any, values: Mapping[str, Any]) -> None:
    """Raise ConfigurationError where a class that learns its grid is given options of named ones."""
    if cls.default_grid is None or PRIVATE in values:
        return
    for name in OF_GRIDS & values.keys() - defaulted(values):
        if values[name]:
            raise ConfigurationError(
                f"{cls.__name__} learns its time grid, got {name}={values[name]!r}. Use DEISSNScheduler for named "
                "grids, or give `timesteps=` or `sigmas=` to the pipeline."
            )


def registered(config: Mapping[str, Any], cls: Any, values: dict[str, Any]) -> FrozenDict:
    """The config that Diffusers has made of `values`, with what is ours under the private key."""
    defaults, grid = default_options(cls), "grid" if cls.default_grid is None else LEARNED_GRID
    public, private = _public(config), entries(config)
    if grid != "grid":
        if PRIVATE not in values:  # else they are there for the way back to another class
            public = {name: value for name, value in public.items() if name not in OF_GRIDS & values.keys()}
        values = {name: value for name, value in values.items() if name not in OF_GRIDS}
    unsaid = defaulted(config) - OWN_OPTIONS
    if DEFAULTED not in values:  # options changed later are said
        unsaid -= values.keys()
    later = not defaults.keys() <= values.keys()  # options changed later, and not those of a constructor
    if later and private.get("recipe") == "measured" and "recipe" not in values:
        if not values.keys().isdisjoint(RECIPE_OPTIONS):  # an option chosen later holds, as one chosen at first
            del private["recipe"]
    if later:
        if "grid" not in values and names_grid(values):
            private.pop("grid", None)
        if "solver" not in values and isinstance(private.get("solver"), dict) and not OF_SOLVERS.isdisjoint(values):
            del private["solver"]
    if "use_flow_sigmas" in values and "use_flow_sigmas" not in values.get(DEFAULTED, ()):
        private.pop("use_flow_sigmas", None)
    own = {name: public.pop(name) for name in OWN_OPTIONS & values.keys()}
    if PRIVATE in values:  # made from a whole config, Scheduler(**config): defaults of `__init__` say nothing
        own = {name: value for name, value in own.items() if name not in defaulted(values)}
        values = {name: value for name, value in values.items() if name not in ("solver_order", "timestep_spacing")}
    if "solver_order" in values:
        order = values["solver_order"]
        large = isinstance(order, int) and order > LARGEST_PUBLIC_ORDER
        public["solver_order"], own["solver_order"] = (LARGEST_PUBLIC_ORDER, order) if large else (order, None)
    if "timestep_spacing" in values:
        default, own["timestep_spacing"] = defaults["timestep_spacing"], values["timestep_spacing"]
        if own["timestep_spacing"] == default:
            unsaid.add("timestep_spacing")
    for name, value in own.items():
        entry = grid if name == "grid" else name
        private[entry] = encode(value)
        # The process stays, default or not: a config that says it needs no guessing when it comes back.
        if name != "process" and _same(private[entry], None if name == "solver_order" else defaults.get(name)):
            del private[entry]
    return _joined(public, unsaid, private)


def kept(config: Mapping[str, Any], left: dict[str, Any], others: dict[str, Any]) -> FrozenDict:
    """The config with what another holds for other classes: public keys, and options of this package's other class."""
    unsaid = defaulted(config) - left.keys()
    private = {key: encode(value) for key, value in others.items() if value is not None}
    return _joined(_public(config) | left, unsaid, private | entries(config))


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without the private key, and without the list of what nobody gave."""
    return {key: value for key, value in config.items() if key not in (PRIVATE, DEFAULTED)}


def _joined(public: dict[str, Any], unsaid: set[str], private: dict[str, Any]) -> FrozenDict:
    """One config. An absent key is left out, for configs are compared with those of other runs."""
    extra: dict[str, Any] = {DEFAULTED: sorted(unsaid)} if unsaid else {}
    return FrozenDict(public | extra | ({PRIVATE: private} if private else {}))


@cache
def _signature_defaults(cls: type) -> tuple[tuple[str, Any], ...]:
    # A subclass may have a constructor of its own that hands everything on.
    signatures = [inspect.signature(one).parameters for one in cls.__mro__ if one is not object]
    named = [parameters for parameters in signatures if "num_train_timesteps" in parameters]
    return tuple((one.name, one.default) for one in named[0].values() if one.name != "stats")


def default_options(cls: type) -> dict[str, Any]:
    """The options of a scheduler class, all at their defaults."""
    return dict(_signature_defaults(cls))


def split(config: dict[str, Any], cls: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A config as arguments of `cls`, what is left in it of other classes, and entries of the private key.

    The time grid of another class is none of ours: `timestep_spacing` counts as left, and so do its bounds of sigmas.
    """
    private = entries(config)
    # What the model is does not depend on whether somebody said it: the other class's defaults may not be ours.
    defaults = default_options(cls)
    model = {name for name in OF_MODELS if name in config and not _same(config[name], defaults.get(name))}
    unsaid = defaulted(config) - model
    given = {key: value for key, value in config.items() if key not in BOOKKEEPING and key not in unsaid}
    ours = set(default_options(cls)) - OWN_OPTIONS - _not_ours(cls)
    arguments = {key: value for key, value in given.items() if key in ours}
    left = {key: value for key, value in given.items() if key not in ours and (key, value) not in DEIS_ALONE}
    if "_class_name" in config:  # it was read from a file, and is what Diffusers writes and reads in files
        left["_class_name"] = cls.__name__
    if "_diffusers_version" in config:
        left["_diffusers_version"] = config["_diffusers_version"]
    if "solver_order" in private and arguments.get("solver_order") == LARGEST_PUBLIC_ORDER:
        arguments["solver_order"] = private["solver_order"]
    private.pop("solver_order", None)
    return arguments, left, private


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default, and not only equal to it as 1 is to True."""
    return type(value) is type(default) and bool(value == default)
