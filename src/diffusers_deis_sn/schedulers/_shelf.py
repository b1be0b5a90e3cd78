"""Score statistics that are in use in this process, by name.

The config's private key holds where statistics came from: a Hub name, or, since a path of this machine is nobody else's
business, a hash under which they are kept here, so that a swap to another class and back finds them again. They lie
beside a saved config, one folder deeper: `score_statistics/score_statistics.safetensors`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from diffusers_deis_sn.errors import DeisSnError
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.names import SIDE_FILE
from diffusers_deis_sn.hub.source import find
from diffusers_deis_sn.schedulers._stepping import logger
from diffusers_deis_sn.statistics.index import look_up
from diffusers_deis_sn.statistics.record import ScoreStatistics

IN_MEMORY = "sha256:"
AUTO = "auto"
CHOOSING = ("subfolder", "revision", "force_download")  # beside a name, which file is meant and whether fetched anew
NOT_AT_HAND = (
    "The score statistics that this config was saved with are not available here (%s); sampling without them. Pass "
    "stats=, or load the scheduler with `from_pretrained` from the folder they were saved in."
)
Source = ScoreStatistics | str | PathLike[str]
Found = tuple[ScoreStatistics | None, str | None]


class Shelf:
    """The statistics used last in this process, and all that are still in use, by name."""

    def __init__(self, size: int = 64) -> None:
        self._records: OrderedDict[str, ScoreStatistics] = OrderedDict()
        self._in_use: WeakValueDictionary[str, ScoreStatistics] = WeakValueDictionary()
        self._size, self._lock = size, Lock()

    def put(self, statistics: ScoreStatistics, name: str | None = None) -> str:
        """Keep a record; its name, by default one made from its content."""
        name = name or IN_MEMORY + hashlib.sha256(statistics.to_bytes()).hexdigest()[:16]
        with self._lock:
            self._records[name] = self._in_use[name] = statistics
            self._records.move_to_end(name)
            if len(self._records) > self._size:
                self._records.popitem(last=False)
        return name

    def get(self, name: str) -> ScoreStatistics | None:
        """The record of that name, None if it is not kept (any more)."""
        with self._lock:
            return self._records.get(name) or self._in_use.get(name)

    def remember(self, statistics: ScoreStatistics, name: str | None) -> str:
        """Keep a record; what a config says of it: the Hub name, or a hash for what lay on this machine."""
        on_hub = name is not None and not Path(name).exists()
        return self.put(statistics, name if on_hub else None)


SHELF = Shelf()


def shelved(
    source: Source | None,
    check: Callable[[ScoreStatistics], None],
    base_model: str | PathLike[str] | None,
    index: str | PathLike[str] | None,
    hub_options: Mapping[str, Any],
) -> Found:
    """Statistics, kept on the shelf from here on, and what a config says of them; arguments as for `set_stats`.

    Args:
        source: What the caller gave.
        check: Raises for statistics that do not fit; those that an index names are then left out.
        base_model: The model, for "auto".
        index: Where to look it up.
        hub_options: For the Hub.
    """
    statistics, name = _resolved(source, check, base_model, index, hub_options)
    if statistics is None:
        return None, None
    if source != AUTO:
        check(statistics)
    return statistics, SHELF.remember(statistics, name)


def _resolved(
    source: Source | None,
    check: Callable[[ScoreStatistics], None],
    base_model: str | PathLike[str] | None,
    index: str | PathLike[str] | None,
    hub_options: Mapping[str, Any],
) -> Found:
    """Statistics and the name of where they are."""
    if source is None:
        return None, None
    if isinstance(source, str) and source == AUTO:
        return _looked_up(base_model, index, hub_options, check)
    if not isinstance(source, str | PathLike):
        return ScoreStatistics.load(source), None
    if isinstance(source, str):
        # A name in use answers, unless something beside it says which file is meant, or to fetch it anew.
        known = None if any(hub_options.get(one) for one in CHOOSING) else SHELF.get(source)
        if known is not None:
            return known, source
        if source.startswith(IN_MEMORY):
            logger.warning(NOT_AT_HAND, source)
            return None, None
    located = find(source, **hub_options)
    return ScoreStatistics.load(located.path), located.name


def _looked_up(
    base_model: str | PathLike[str] | None,
    index: str | PathLike[str] | None,
    hub_options: Mapping[str, Any],
    check: Callable[[ScoreStatistics], None],
) -> Found:
    """Statistics that an index names for a model, if they fit it, and where they are."""
    found = look_up(base_model, index=index, **hub_options)
    if found is None:
        return None, None
    try:
        check(found.statistics)
    except DeisSnError as error:
        logger.warning("The index names statistics that do not fit this model. %s Sampling without statistics.", error)
        return None, None
    return found.statistics, found.source


def save_beside(statistics: ScoreStatistics | None, folder: str | PathLike[str]) -> None:
    """Write statistics into the folder of a saved config, or remove those that were saved there before.

    Args:
        statistics: Of the scheduler that is saved, or None.
        folder: That its config is written to.
    """
    # A file of this kind directly beside the config would make Diffusers take the folder for one of weights.
    beside = path_of(folder, "`save_directory`") / SIDE_FILE
    if statistics is None:
        beside.unlink(missing_ok=True)  # what was saved here before would be loaded with this config
    else:
        statistics.save(beside)
