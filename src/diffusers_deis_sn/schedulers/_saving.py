"""Loading and saving a scheduler together with its score statistics.

The statistics lie beside the config, one folder deeper: `score_statistics/score_statistics.safetensors`. In the config
there is one private key, `_deis_sn`, which survives swaps to other schedulers and back in silence. It holds where the
statistics came from, and the scheduler's own time grid where the config carries another class's.
"""

from __future__ import annotations

import inspect
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.maths.spacing import INTEGER_SPACINGS, SPACINGS
from diffusers_deis_sn.schedulers._contract import PlannedScheduler, logger
from diffusers_deis_sn.statistics.format import FILE_NAME
from diffusers_deis_sn.statistics.record import ScoreStatistics

PRIVATE = "_deis_sn"
FOLDER = "score_statistics"
HUB_OPTIONS = ("cache_dir", "force_download", "token", "local_files_only", "revision")
OWN_OPTIONS = ("interpolation", "clip_normalizer_steps")  # no scheduler of Diffusers has arguments of these names
OWN_SPACINGS = tuple(name for name in SPACINGS if name not in INTEGER_SPACINGS)
FLOW_OPTIONS = ("shift", "base_shift", "sigma_data", "snr_shift_scale", "scaler")
FOREIGN_CLASSES = ("FlowMatch", "EDM", "CosineDPM", "CogVideoX", "DDPMWuerstchen", "IPNDM", "KarrasVe", "ScoreSdeVe")


class StatisticsHolder(PlannedScheduler):
    """A scheduler with score statistics: sets, saves and restores them."""

    statistics: ScoreStatistics | None
    _silent = False  # a recorder is plain DEIS by intent

    def set_stats(self, source: ScoreStatistics | str | PathLike[str] | None, **hub_options: Any) -> None:
        """Use other score statistics from the next `set_timesteps` on.

        Args:
            source: A `ScoreStatistics`, a file, a folder, a Hub name, or None for plain DEIS.
            **hub_options: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download` for a Hub name.

        Raises:
            StatisticsError: They cannot be read, or are those of another noise schedule or prediction type.
            StatisticsNotFoundError: There is no such file.
        """
        statistics = None if source is None else ScoreStatistics.load(source, **hub_options)
        if statistics is not None:
            statistics.check(self.noise, self.config["prediction_type"])
        self.statistics = statistics
        if isinstance(source, (str, PathLike)):
            local = Path(source)
            self._set_private(stats=str(local.resolve()) if local.exists() else str(source))
        else:
            self._set_private(stats=None)

    @property
    def _private(self) -> dict[str, Any]:
        """What the config's private key holds."""
        return dict(self.config.get(PRIVATE) or {})

    def _set_private(self, **values: Any) -> None:
        """Change entries of the private key; None removes one, and the key goes with its last entry."""
        entries = {key: value for key, value in (self._private | values).items() if value is not None}
        if entries or PRIVATE in self.config:
            self.register_to_config(**{PRIVATE: entries})

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any] | None = None,
        return_unused_kwargs: bool = False,
        stats: ScoreStatistics | str | PathLike[str] | bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """A scheduler from the config of any Diffusers scheduler for variance-preserving models.

        Args:
            config: `pipe.scheduler.config`.
            return_unused_kwargs: Whether to return the options that were not used as well.
            stats: Score statistics; by default those the config remembers, if any. False for none.
            **kwargs: Options of this class, which win over the config; and Hub options for `stats`.

        Raises:
            ConfigurationError: The config is that of a flow-matching or EDM model.
            StatisticsError: See `set_stats`.
        """
        hub = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
        if isinstance(config, dict):
            _refuse_foreign_process(config)
        # A grid unknown to Diffusers stays private: in the public config it would break a swap to another class.
        spacing = kwargs.get("timestep_spacing")
        if spacing in OWN_SPACINGS:
            del kwargs["timestep_spacing"]
        if spacing is not None:  # chosen here, so no flag of another scheduler's config may override it
            kwargs = {f"use_{grid}_sigmas": False for grid in ("karras", "exponential", "beta")} | kwargs
        scheduler, unused = super().from_config(config, return_unused_kwargs=True, **kwargs)
        if isinstance(config, dict):
            scheduler._choose_spacing(config, spacing)
        source = scheduler._private.get("stats") if stats is None else stats
        if source is not None and source is not False:
            scheduler.set_stats(source, **hub)
        elif stats is False:
            scheduler.set_stats(None)
        return (scheduler, unused) if return_unused_kwargs else scheduler

    def _choose_spacing(self, config: dict[str, Any], chosen: str | None) -> None:
        """Keep another scheduler's time grid in the config, for the way back, but use this class's own."""
        own = all(key in config for key in OWN_OPTIONS)
        if "_class_name" in config:
            own = config["_class_name"] == type(self).__name__
        if chosen is not None:
            self._set_private(timestep_spacing=chosen)
        elif not own and "timestep_spacing" not in self._private:
            default = inspect.signature(type(self).__init__).parameters["timestep_spacing"].default
            if self.config["timestep_spacing"] != default:
                self._set_private(timestep_spacing=default)
                logger.info(
                    "timestep_spacing=%r is that of %s and kept for it; %s uses %r. Pass timestep_spacing= to choose.",
                    self.config["timestep_spacing"],
                    config.get("_class_name", "another scheduler"),
                    type(self).__name__,
                    default,
                )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None = None,
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        stats: ScoreStatistics | str | PathLike[str] | bool | None = None,
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
            if source is not None and Path(source).exists():
                self._set_private(stats=None)  # a path of this machine is nobody else's business
        try:
            super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)
        finally:
            self._set_private(stats=source)


def _refuse_foreign_process(config: dict[str, Any]) -> None:
    """Raise ConfigurationError for a model that is not variance-preserving: its images would be noise."""
    name = str(config.get("_class_name", ""))
    signs = [key for key in FLOW_OPTIONS if key in config]
    signs += [f"{key}=True" for key in ("use_flow_sigmas", "use_dynamic_shifting") if config.get(key)]
    for key, value in (("prediction_type", "flow_prediction"), ("timestep_type", "continuous")):
        if config.get(key) == value:
            signs.append(f"{key}={value!r}")
    if name.startswith(FOREIGN_CLASSES) or signs:
        raise ConfigurationError(
            f"This config{f' of {name}' if name else ''} is that of a flow-matching or EDM model or the like"
            f"{f' ({signs[0]})' if signs else ''}; this version supports variance-preserving models only (Stable "
            "Diffusion 1, 2, XL and the like). Keep the pipeline's own scheduler."
        )
