"""From the config of any scheduler to one of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from os import PathLike
from typing import Any

from diffusers_deis_sn.core.value_types import FLAG, demand
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.hub.source import side_file
from diffusers_deis_sn.schedulers._callers import refuse_caller
from diffusers_deis_sn.schedulers._current import take_config
from diffusers_deis_sn.schedulers._inheritance import SEEN, inherited_options, seen
from diffusers_deis_sn.schedulers._own_config import default_options, kept, refuse_named_grids, split
from diffusers_deis_sn.schedulers._shelf import AUTO
from diffusers_deis_sn.schedulers._value_types import check_kinds

HUB_OPTIONS = ("cache_dir", "force_download", "token", "local_files_only", "revision")
LOOKING_UP = ("base_model", "index")

SHIFTS = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
"""What pipelines compute `mu` from, and read from the config though nobody said it."""


def make(
    cls: Any,
    construct: Callable[..., Any],
    config: Mapping[str, Any] | str | PathLike[str] | None,
    stats: Any,
    kwargs: dict[str, Any],
    return_unused: bool = False,
) -> Any:
    """A scheduler from whatever config; with the options that were not used, if they are asked for.

    Args:
        cls: Its class.
        construct: `ConfigMixin.from_config` of that class.
        config: Of whatever scheduler; what is another class's stays in it for the way back.
        stats: As in `from_config`.
        kwargs: Options chosen by the caller, and arguments of `set_stats`.
        return_unused: Whether to return the options that were not used as well, as Diffusers has it.

    Raises:
        ConfigurationError: A process that is not supported, or an option that is at fault or that nobody used.
        StatisticsError: See `set_stats`.
    """
    demand(ConfigurationError, "return_unused_kwargs", FLAG, return_unused)
    if isinstance(config, (str, PathLike)):  # as Diffusers had it once
        scheduler, unused = cls.from_pretrained(config, return_unused_kwargs=True, stats=stats, **kwargs)
    else:
        scheduler, unused = _made(cls, construct, config, stats, kwargs)
    if unused and not return_unused:
        _refuse_unknown(cls, unused)
    return (scheduler, unused) if return_unused else scheduler


def _made(
    cls: Any, construct: Callable[..., Any], config: Mapping[str, Any] | None, stats: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    _check_config(cls, config)
    check_kinds(kwargs)
    refuse_named_grids(cls, kwargs)
    where = {key: kwargs.pop(key) for key in (*HUB_OPTIONS, *LOOKING_UP, "subfolder") if key in kwargs}
    given = dict(config or {}) | {name: kwargs.pop(name) for name in SHIFTS if name in kwargs}
    arguments, left, private = split(given, cls)
    left |= {name: given[name] for name in (*SHIFTS, "shift") if name in given}
    remembered = private.pop("stats", None)
    check_kinds(private)
    if "shift" in kwargs and "shift" not in default_options(cls):  # as flow-matching schedulers call it
        kwargs.setdefault("flow_shift", kwargs.pop("shift"))
    own, others = inherited_options(cls, given, private, kwargs)
    ours = default_options(cls)
    for key in own.keys() & ours.keys() - kwargs.keys():
        arguments[key] = own[key]
    scheduler, unused = construct(arguments if config is not None else None, return_unused_kwargs=True, **kwargs)
    if "shift" in left:  # the same under another name, for the way back
        left["shift"] = scheduler.config["flow_shift"]
    others |= {key: value for key, value in own.items() if key not in ours} | {SEEN: seen(given, left)}
    take_config(scheduler, kept(scheduler.config, left, others))
    source = remembered if stats is None else stats
    if source is not None and source is not False:
        scheduler.set_stats(source, **where)
    elif stats is False:
        scheduler.set_stats(None)
    return scheduler, unused


def found_by_name(
    cls: Any, name: str | PathLike[str] | None, subfolder: str | None, stats: Any, kwargs: dict[str, Any]
) -> tuple[Mapping[str, Any], dict[str, Any], dict[str, Any], Any]:
    """What `from_pretrained` makes a scheduler of.

    Args:
        cls: Its class.
        name: Of a folder or repository.
        subfolder: Within it.
        stats: As the user gave them.
        kwargs: Further arguments, some for the Hub.

    Returns:
        The config, arguments for the Hub where statistics are looked for, arguments that were not used, and the
        statistics: those that lie beside the config where nobody names others.

    Raises:
        ConfigurationError: No name.
        OSError: No config there.
    """
    if name is None:
        raise ConfigurationError("`pretrained_model_name_or_path` must be a folder or a Hub name, got None. Give one.")
    where: dict[str, Any] = {key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}
    config, unused, commit = cls.load_config(
        name, subfolder=subfolder, return_unused_kwargs=True, return_commit_hash=True, **kwargs
    )
    unused.pop("variant", None)  # Modular Diffusers passes it to every component
    revision = where.pop("revision", None)  # of the scheduler's repository; other statistics have their own
    if stats is None:
        beside = side_file(name, subfolder, revision=commit or revision, **where)
        stats = None if beside is None else beside.name  # which is remembered, and in the cache by now
    if stats == AUTO:
        unused.setdefault("base_model", str(name))
    return config, where, unused, stats


def _check_config(cls: Any, config: Any) -> None:
    """Raise ConfigurationError for what is often given in the place of a config."""
    if isinstance(config, Mapping):
        return
    what = f"the class {config.__name__}" if isinstance(config, type) else f"an object of class {type(config).__name__}"
    if isinstance(config, type):
        remedy = "Load a pipeline, and pass pipe.scheduler.config"
    elif hasattr(config, "scheduler"):
        remedy = "Pass pipe.scheduler.config"
    elif hasattr(config, "config"):
        remedy = "Pass its `config`"
    else:
        remedy = "Pass pipe.scheduler.config, or a folder"
    raise ConfigurationError(f"{cls.__name__}.from_config needs the config of a scheduler, got {what}. {remedy}.")


def scheduler_config(cls: Any, pipe: Any) -> Mapping[str, Any]:
    """The config of a pipeline's scheduler.

    Raises:
        ConfigurationError: It has none, or a loop that cannot be walked.
    """
    scheduler = None if isinstance(pipe, type) else getattr(pipe, "scheduler", None)
    config = getattr(scheduler, "config", None)
    if config is None:
        what = f"the class {pipe.__name__}" if isinstance(pipe, type) else f"an object of class {type(pipe).__name__}"
        raise ConfigurationError(
            f"{cls.__name__}.for_pipeline needs a pipeline with a scheduler, got {what}. Load one."
        )
    refuse_caller(pipe)
    own = type(scheduler)
    known = "_class_name" in config or not own.__module__.startswith("diffusers.")
    return config if known else {**config, "_class_name": own.__name__}  # of one that was made here, not loaded


def _refuse_unknown(cls: Any, names: Iterable[str]) -> None:
    """Raise ConfigurationError for arguments of `from_config` that nobody used: a misspelt option changes nothing."""
    known = sorted({*default_options(cls), *HUB_OPTIONS, *LOOKING_UP, *SHIFTS, "stats", "subfolder", "shift"})
    told = [
        f"{name} (did you mean {near[0]}?)" if (near := get_close_matches(name, known, 1)) else name for name in names
    ]
    raise ConfigurationError(
        f"{cls.__name__}.from_config has no option {', '.join(told)}. Leave it out, or correct it."
    )
