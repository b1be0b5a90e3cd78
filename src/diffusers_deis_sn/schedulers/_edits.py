"""Edits of a config by hand: `scheduler.config.flow_shift = 7.0` and all the other ways that public code knows.

Diffusers' configs are frozen in name only. Their own schedulers read attributes of the config in every run, so that an
edit there works; an edit of an item, `scheduler.config["flow_shift"] = 7.0`, works after a save or swap. Pipelines put
whole new dictionaries in the place of a config. Here all of these are the same as `register_to_config(flow_shift=7.0)`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from diffusers.configuration_utils import FrozenDict

from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.schedulers._own_config import BOOKKEEPING, OWN_OPTIONS, default_options, entries

FLOW_MATCH_NAMES = {"shift": "flow_shift"}  # as flow-matching schedulers call it, ours


class Glance:
    """A config as it was when it was last looked at.

    Args:
        config: The config.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self._private = config, entries(config)
        self._items, self._attributes = dict(config), dict(_attributes(config))

    def item(self, name: str) -> Any:
        """An item as it was."""
        return self._items.get(name)

    def edited(self, now: Mapping[str, Any], cls: Any) -> dict[str, Any] | None:
        """What was edited since, by name; None if nothing was.

        An attribute wins over an item, as in Diffusers. Of a config that is another object only that is an edit which
        would not be read from it: our own options, and spacings, which may be those of another class.

        Args:
            now: The config of the scheduler now.
            cls: Its class.
        """
        if now is self.config:
            found = _changed(self._items, now) | _changed(self._attributes, _attributes(now))
            touched = bool(found) or entries(now) != self._private
            known = {*default_options(cls), *FLOW_MATCH_NAMES}
        else:
            found, touched = _changed(self._items, now), True
            known = {*OWN_OPTIONS, *FLOW_MATCH_NAMES, "timestep_spacing", "num_train_timesteps"}
        if not touched:
            return None
        own = {name: value for name, value in found.items() if name in known and name not in BOOKKEEPING}
        for theirs, ours in FLOW_MATCH_NAMES.items():
            if theirs in own and theirs not in default_options(cls):
                own.setdefault(ours, own.pop(theirs))
        return own


def _attributes(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a config, each of which holds an item once more."""
    return getattr(config, "__dict__", {})


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in after.items() if name not in before or before[name] is not value}
    return {name: value for name, value in known.items() if name not in before or not _same(before[name], value)}


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


def rewrite(config: FrozenDict, now: Mapping[str, Any]) -> None:
    """Make a config that somebody may hold say the same as another one, items and attributes."""
    for name in config.keys() - now.keys():
        OrderedDict.__delitem__(config, name)
        vars(config).pop(name, None)
    for name, value in now.items():
        OrderedDict.__setitem__(config, name, value)
        vars(config)[name] = value


def carried(config: Mapping[str, Any], edits: Mapping[str, Any], besides: Collection[str] = ()) -> dict[str, Any]:
    """Items that other classes left in a config under the names of our own options, with their new values.

    Args:
        config: The config.
        edits: The new values, by our names.
        besides: Names that are to be there even where no class has left them.
    """
    names = {theirs: edits[ours] for theirs, ours in FLOW_MATCH_NAMES.items() if ours in edits and theirs in config}
    return names | {name: edits[name] for name in OWN_OPTIONS & edits.keys() & {*config.keys(), *besides} - {PRIVATE}}


def refuse_other_table(values: Mapping[str, Any], before: object, process: NoiseSchedule) -> None:
    """Raise ConfigurationError for another number of training times of a model of betas, which is part of the model.

    Args:
        values: Options that are edited.
        before: The number in the config until now.
        process: Of the model.
    """
    number = values.get("num_train_timesteps", before)
    if process.numbered and number not in (before, len(process)):
        raise ConfigurationError(
            f"`num_train_timesteps` of a model of betas is the length of its noise schedule, {len(process)}, and "
            f"cannot be edited, got {number!r}. To start a run later use `timesteps=`, or grid=Power('t', 1) with "
            "start_time; for another schedule make a scheduler with its betas."
        )
