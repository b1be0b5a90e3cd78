"""A scheduler with score statistics: its config's life through other classes and files, loading and saving.

The statistics lie beside the config, one folder deeper: `score_statistics/score_statistics.safetensors`. The config's
private key holds where they came from, see `_shelf`.
"""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from diffusers_deis_sn.errors import DeisSnError
from diffusers_deis_sn.schedulers._contract import PlannedScheduler, logger
from diffusers_deis_sn.schedulers._inheritance import inherited_options
from diffusers_deis_sn.schedulers._own_config import default_options, entries, kept, registered, split, with_entries
from diffusers_deis_sn.schedulers._shelf import IN_MEMORY, SHELF
from diffusers_deis_sn.statistics.index import look_up
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.source import SIDE_FILE, find, side_file

HUB_OPTIONS = ("cache_dir", "force_download", "token", "local_files_only", "revision")
LOOKING_UP = ("base_model", "index")
AUTO = "auto"
NOT_AT_HAND = (
    "This config had score statistics that are not at hand in this process (%s), so this is plain DEIS. Pass stats=, "
    "or load the scheduler with `from_pretrained` from the folder they were saved in."
)

Source = ScoreStatistics | str | PathLike[str]


class StatisticsScheduler(PlannedScheduler):
    """A scheduler with score statistics: sets, saves and restores them."""

    ignore_for_config: ClassVar[list[str]] = ["stats"]
    statistics: ScoreStatistics | None

    @property
    def _private(self) -> dict[str, Any]:
        """What the config's private key holds."""
        return entries(self.config)

    def register_to_config(self, **values: Any) -> None:
        """As `ConfigMixin` has it, but what is ours goes under the private key; also the decorator of `__init__`."""
        super().register_to_config(**values)
        self._internal_dict = registered(self.config, type(self), values)

    def set_stats(
        self,
        source: Source | None,
        *,
        base_model: str | None = None,
        index: str | PathLike[str] | None = None,
        **hub_options: Any,
    ) -> None:
        """Use other score statistics from the next `set_timesteps` on.

        Args:
            source: A `ScoreStatistics`; a file or folder; a Hub name, "user/repo" or "user/repo/folder", either with
                "@revision"; "auto" for those that an index names for the model; or None for plain DEIS.
            base_model: Hub name of the model, or the folder it was loaded from; for "auto".
            index: Where to look the model up; the index of this package, or what DEIS_SN_INDEX says, if None.
            **hub_options: `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`, `force_download` for a
                Hub name.

        Raises:
            StatisticsError: They cannot be read, or are those of another noise schedule or prediction type.
            StatisticsNotFoundError: There is no such file; or the Hub refuses, or cannot be reached (its subclasses).
            ConfigurationError: The config asks for a solver that has no use for statistics.
        """
        statistics, name = None, None
        if source == AUTO:
            statistics, name = self._looked_up(base_model, index, hub_options)
        elif isinstance(source, str) and not _chosen(hub_options) and (known := SHELF.get(source)) is not None:
            statistics, name = known, source
        elif isinstance(source, str) and source.startswith(IN_MEMORY):
            logger.warning(NOT_AT_HAND, source)
        elif isinstance(source, (str, PathLike)):
            located = find(source, **hub_options)
            statistics, name = ScoreStatistics.load(located.path), located.name
        elif source is not None:
            statistics = ScoreStatistics.load(source)
        if statistics is not None and source != AUTO:
            self._check_statistics(statistics)
        said = None if statistics is None else SHELF.remember(statistics, name)
        self.statistics, self._internal_dict = statistics, with_entries(self.config, stats=said)
        self._forget_method()

    def _looked_up(
        self, base_model: str | None, index: str | PathLike[str] | None, hub_options: dict[str, Any]
    ) -> tuple[ScoreStatistics | None, str | None]:
        """Statistics that an index names for a model, if they fit it, and where they are."""
        found = look_up(base_model or self.config.get("_name_or_path"), index=index, **hub_options)
        if found is None:
            return None, None
        try:
            self._check_statistics(found.statistics)
        except DeisSnError as error:
            logger.warning("The index names statistics that do not fit here. %s Sampling as plain DEIS.", error)
            return None, None
        return found.statistics, found.source

    @abstractmethod
    def _check_statistics(self, statistics: ScoreStatistics) -> None:
        """Raise StatisticsError for statistics of another noise schedule or prediction type than the config's."""

    @abstractmethod
    def _forget_method(self) -> None:
        """A method that was tried is that of the former statistics, and is not followed any more."""

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
            stats: Score statistics as in `set_stats`; by default those the config remembers, if any. False for none.
            **kwargs: Options of this class, which win over the config; and the arguments of `set_stats`.

        Raises:
            ConfigurationError: The config is that of a process which is not supported, or an option is at fault.
            StatisticsError: See `set_stats`.
        """
        if isinstance(config, (str, PathLike)):  # as Diffusers had it once
            return cls.from_pretrained(config, return_unused_kwargs=return_unused_kwargs, stats=stats, **kwargs)
        where = {key: kwargs.pop(key) for key in (*HUB_OPTIONS, *LOOKING_UP, "subfolder") if key in kwargs}
        given: dict[str, Any] = config or {}
        arguments, left, private = split(given, cls)
        remembered = private.pop("stats", None)
        if "shift" in kwargs and "shift" not in default_options(cls):  # as flow-matching schedulers call it
            kwargs.setdefault("flow_shift", kwargs.pop("shift"))
        own = inherited_options(cls, given, private, kwargs)
        ours = default_options(cls)
        for key in own.keys() & ours.keys() - kwargs.keys():
            arguments[key] = own[key]
        scheduler, unused = super().from_config(
            arguments if config is not None else None, return_unused_kwargs=True, **kwargs
        )
        if "shift" in left:  # the same under another name, for the way back
            left["shift"] = scheduler.config["flow_shift"]
        others = {key: value for key, value in own.items() if key not in ours}
        scheduler._internal_dict = kept(scheduler.config, left, others)
        source = remembered if stats is None else stats
        if source is not None and source is not False:
            scheduler.set_stats(source, **where)
        elif stats is False:
            scheduler.set_stats(None)
        return (scheduler, unused) if return_unused_kwargs else scheduler

    @classmethod
    def for_pipeline(cls, pipe: Any, stats: Source | bool | None = AUTO, **kwargs: Any) -> Any:
        """A scheduler for a pipeline, with the statistics that an index names for its model unless told others.

            pipe.scheduler = DEISSNScheduler.for_pipeline(pipe)

        Args:
            pipe: Any pipeline with a scheduler; it is not changed.
            stats: As in `from_config`.
            **kwargs: As for `from_config`.

        Raises:
            ConfigurationError: As `from_config`.
            StatisticsError: Likewise.
        """
        name = {"base_model": pipe.config.get("_name_or_path")} if stats == AUTO else {}
        return cls.from_config(pipe.scheduler.config, stats=stats, **(name | kwargs))

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
        where: dict[str, Any] = {key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}
        config, unused, commit = cls.load_config(
            pretrained_model_name_or_path,
            subfolder=subfolder,
            return_unused_kwargs=True,
            return_commit_hash=True,
            **kwargs,
        )
        unused.pop("variant", None)  # Modular Diffusers passes it to every component
        revision = where.pop("revision", None)  # of the scheduler's repository; other statistics have their own
        if stats is None and pretrained_model_name_or_path is not None:
            beside = side_file(pretrained_model_name_or_path, subfolder, revision=commit or revision, **where)
            stats = None if beside is None else beside.name  # which is remembered, and in the cache by now
        if stats == AUTO:
            unused.setdefault("base_model", str(pretrained_model_name_or_path))
        return cls.from_config(config, return_unused_kwargs=return_unused_kwargs, stats=stats, **where, **unused)

    def save_pretrained(self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write the config and, in a folder of their own, the statistics.

        Statistics that were saved in the same folder before are replaced, or removed where there are none now; those
        in a repository on the Hub are replaced only.

        Args:
            save_directory: Made if missing.
            push_to_hub: Upload the folder afterwards.
            **kwargs: For the upload: `repo_id`, `token`, ... as Diffusers has them.
        """
        # A file of this kind directly beside the config would make Diffusers take the folder for one of weights.
        beside = Path(save_directory, SIDE_FILE)
        if self.statistics is None:
            beside.unlink(missing_ok=True)  # what was saved here before would be loaded with this config
        else:
            self.statistics.save(beside)
        super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy or pickle, whose statistics are from now on at hand in this process."""
        self.__dict__.update(state)
        name = self._private.get("stats")
        if self.statistics is not None and name is not None:
            SHELF.put(self.statistics, name)


def _chosen(hub_options: dict[str, Any]) -> bool:
    """Whether anything beside the name chooses which file is meant, or that it be fetched anew."""
    return any(hub_options.get(name) for name in ("subfolder", "revision", "force_download"))
