"""Score statistics that are in use in this process, by name.

The config's private key holds where statistics came from: a Hub name, or, since a path of this machine is nobody else's
business, a hash under which they are kept here, so that a swap to another class and back finds them again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from diffusers_deis_sn.statistics.record import ScoreStatistics

IN_MEMORY = "sha256:"


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
