"""Loading and saving a scheduler together with its score statistics.

The statistics lie beside the config, one folder deeper: `score_statistics/score_statistics.safetensors`. The config's
private key holds where they came from: a Hub name, or, since a path of this machine is nobody else's business, a hash
under which they are kept in memory, so that a swap to another class and back finds them again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

from diffusers_deis_sn.schedulers._contract import PlannedScheduler, logger
from diffusers_deis_sn.schedulers._inheritance import inherited_options
from diffusers_deis_sn.schedulers._own_config import PRIVATE, OwnConfig, default_options, split
from diffusers_deis_sn.statistics.format import FILE_NAME
from diffusers_deis_sn.statistics.record import ScoreStatistics

FOLDER = "score_statistics"
HUB_OPTIONS = ("cache_dir", "force_download", "token", "local_files_only", "revision")
IN_MEMORY = "sha256:"

Source = ScoreStatistics | str | PathLike[str]


class Shelf:
    """The statistics used last in this process, by content."""

    def __init__(self, size: int = 64) -> None:
        self._records: OrderedDict[str, ScoreStatistics] = OrderedDict()
        self._size, self._lock = size, Lock()

    def put(self, statistics: ScoreStatistics) -> str:
        """Keep a record; its name."""
        name = IN_MEMORY + hashlib.sha256(statistics.to_bytes()).hexdigest()[:16]
        with self._lock:
            self._records[name] = statistics
            self._records.move_to_end(name)
            if len(self._records) > self._size:
                self._records.popitem(last=False)
        return name

    def get(self, name: str) -> ScoreStatistics | None:
        """The record of that name, None if it is not kept (any more)."""
        with self._lock:
            return self._records.get(name)


SHELF = Shelf()


class StatisticsHolder(OwnConfig, PlannedScheduler):
    """A scheduler with score statistics: sets, saves and restores them."""

    statistics: ScoreStatistics | None
    _silent = False  # a recorder is plain DEIS by intent

    def set_stats(self, source: Source | None, **hub_options: Any) -> None:
        """Use other score statistics from the next `set_timesteps` on.

        Args:
            source: A `ScoreStatistics`, a file, a folder, a Hub name, or None for plain DEIS.
            **hub_options: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download` for a Hub name.

        Raises:
            StatisticsError: They cannot be read, or are those of another noise schedule or prediction type.
            StatisticsNotFoundError: There is no such file.
            ConfigurationError: The config asks for a solver that has no use for statistics.
        """
        if isinstance(source, str) and source.startswith(IN_MEMORY):
            source = self._from_shelf(source)
        statistics = None if source is None else ScoreStatistics.load(source, **hub_options)
        if statistics is not None:
            self._check_statistics(statistics)
        self.statistics = statistics
        on_hub = isinstance(source, str) and not Path(source).expanduser().exists()
        if statistics is None:
            self._set_private(stats=None)
        else:
            self._set_private(stats=source if on_hub else SHELF.put(statistics))

    def _from_shelf(self, name: str) -> ScoreStatistics | None:
        kept = SHELF.get(name)
        if kept is None:
            logger.warning(
                "This config had score statistics that are not at hand in this process (%s), so this is plain DEIS. "
                "Pass stats=, or load the scheduler with `from_pretrained` from the folder they were saved in.",
                name,
            )
        return kept

    def _check_statistics(self, statistics: ScoreStatistics) -> None:
        """Raise StatisticsError for statistics of another noise schedule or prediction type than the config's."""
        statistics.check(self.noise, self.config["prediction_type"])

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any] | str | PathLike[str] | None = None,
        return_unused_kwargs: bool = False,
        stats: Source | bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """A scheduler from the config of any Diffusers scheduler for variance-preserving, EDM or flow models.

        Args:
            config: `pipe.scheduler.config`; what is another class's stays in it for the way back.
            return_unused_kwargs: Whether to return the options that were not used as well.
            stats: Score statistics; by default those the config remembers, if any. False for none.
            **kwargs: Options of this class, which win over the config; and Hub options for `stats`.

        Raises:
            ConfigurationError: The config is that of a process which is not supported, or an option is at fault.
            StatisticsError: See `set_stats`.
        """
        hub = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
        if isinstance(config, (str, PathLike)):
            config, kwargs = cls.load_config(config, return_unused_kwargs=True, **kwargs)
        arguments, left, private = split(config or {}, cls)
        remembered = private.pop("stats", None)
        own = inherited_options(cls, config or {}, private, kwargs)
        ours = default_options(cls)
        for key in own.keys() & ours.keys() - kwargs.keys():
            arguments[key] = own[key]
        scheduler, unused = super().from_config(
            arguments if config is not None else None, return_unused_kwargs=True, **kwargs
        )
        scheduler._keep(left, {key: value for key, value in own.items() if key not in ours})
        source = remembered if stats is None else stats
        if source is not None and source is not False:
            scheduler.set_stats(source, **hub)
        elif stats is False:
            scheduler.set_stats(None)
        return (scheduler, unused) if return_unused_kwargs else scheduler

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None = None,
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        stats: Source | bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """A scheduler from a folder or Hub repository, with the statistics that were saved beside its config.

        Raises:
            OSError: No config there.
            StatisticsError: See `set_stats`.
        """
        hub = {key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}
        config, unused = cls.load_config(
            pretrained_model_name_or_path, subfolder=subfolder, return_unused_kwargs=True, **kwargs
        )
        unused.pop("variant", None)  # Modular Diffusers passes it to every component
        hub.pop("revision", None)  # that of the scheduler's repository, not of the statistics'
        if stats is None and pretrained_model_name_or_path is not None:
            beside = Path(pretrained_model_name_or_path, subfolder or "", FOLDER, FILE_NAME)
            stats = beside if beside.is_file() else None
        return cls.from_config(config, return_unused_kwargs=return_unused_kwargs, stats=stats, **hub, **unused)

    def save_pretrained(self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write the config and, in a folder of their own, the statistics.

        Statistics that were saved in the same folder before are replaced, or removed where there are none now.

        Args:
            save_directory: Made if missing.
            push_to_hub: Upload the folder afterwards.
            **kwargs: For the upload: `repo_id`, `token`, ... as Diffusers has them.
        """
        source = self._private.get("stats")
        # A file of this kind directly beside the config would make Diffusers take the folder for one of weights.
        beside = Path(save_directory, FOLDER, FILE_NAME)
        if self.statistics is None:
            beside.unlink(missing_ok=True)  # what was saved here before would be loaded with this config
        else:
            self.statistics.save(beside)
            if source is not None and source.startswith(IN_MEMORY):
                self._set_private(stats=None)  # the file lies beside, and the name means nothing elsewhere
        try:
            super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)
        finally:
            self._set_private(stats=source)


__all__ = ["FOLDER", "HUB_OPTIONS", "PRIVATE", "StatisticsHolder"]
