"""Loading and saving a scheduler together with its score statistics.

The statistics lie beside the config, one folder deeper: `score_statistics/score_statistics.safetensors`. In the config
there is one private key, `_deis_sn`, which survives swaps to other schedulers and back in silence. It holds where the
statistics came from, and the time grid of `DEISSNScheduler` where the config carries another class's.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.maths.runge_kutta import TABLEAUX
from diffusers_deis_sn.maths.solver import DEFAULT_ORDER
from diffusers_deis_sn.schedulers._contract import PlannedScheduler
from diffusers_deis_sn.statistics.format import FILE_NAME
from diffusers_deis_sn.statistics.record import ScoreStatistics

PRIVATE = "_deis_sn"
FOLDER = "score_statistics"
HUB_OPTIONS = ("cache_dir", "force_download", "token", "local_files_only", "revision")
SIGMA_OPTIONS = ("sigma_min", "sigma_max", "sigma_data")
FLOW_OPTIONS = ("shift", "base_shift", "snr_shift_scale", "scaler")
FOREIGN_CLASSES = ("FlowMatch", "CosineDPM", "CogVideoX", "DDPMWuerstchen", "IPNDM", "KarrasVe", "ScoreSdeVe")


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
            ConfigurationError: The config asks for a solver that has no use for statistics.
        """
        statistics = None if source is None else ScoreStatistics.load(source, **hub_options)
        if statistics is not None:
            self._check_statistics(statistics)
        self.statistics = statistics
        if isinstance(source, (str, PathLike)):
            local = Path(source)
            self._set_private(stats=str(local.resolve()) if local.exists() else str(source))
        else:
            self._set_private(stats=None)

    def _check_statistics(self, statistics: ScoreStatistics) -> None:
        """Raise StatisticsError for statistics of another noise schedule or prediction type than the config's."""
        statistics.check(self.noise, self.config["prediction_type"])

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
        """A scheduler from the config of any Diffusers scheduler for variance-preserving or EDM models.

        Args:
            config: `pipe.scheduler.config`; its own time grid stays there for the way back.
            return_unused_kwargs: Whether to return the options that were not used as well.
            stats: Score statistics; by default those the config remembers, if any. False for none.
            **kwargs: Options of this class, which win over the config; and Hub options for `stats`.

        Raises:
            ConfigurationError: The config is that of a flow-matching model or the like, or an option is at fault.
            StatisticsError: See `set_stats`.
        """
        hub = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
        if isinstance(config, dict):
            _refuse_foreign_process(config)
            kwargs = _edm_options(config, kwargs) | kwargs
            kwargs = _not_inherited(config, kwargs) | kwargs
        scheduler, unused = cls._from_options(config, kwargs)
        source = scheduler._private.get("stats") if stats is None else stats
        if source is not None and source is not False:
            scheduler.set_stats(source, **hub)
        elif stats is False:
            scheduler.set_stats(None)
        return (scheduler, unused) if return_unused_kwargs else scheduler

    @classmethod
    def _from_options(cls, config: dict[str, Any] | None, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """A scheduler without statistics, and the options it did not use; subclasses see to its time grid."""
        return super().from_config(config, return_unused_kwargs=True, **options)

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


def is_edm(config: dict[str, Any]) -> bool:
    """Whether the config is one of Diffusers' EDM schedulers; in memory it does not carry the name of its class."""
    name = config.get("_class_name")
    if name:
        return name.startswith("EDM")
    # CosineDPMSolverMultistepScheduler labels its levels otherwise; it has EDM's options but this one.
    cosine = "solver_order" in config and "algorithm_type" not in config
    return "sigma_schedule" in config and "process" not in config and not cosine


def _edm_options(config: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Options of this class for the config of one of Diffusers' EDM schedulers, none for other configs."""
    if not is_edm(config):
        return {}
    names = ("sigma_min", "sigma_max") if chosen.get("process") == "ve" else SIGMA_OPTIONS
    options = {name: config[name] for name in names if name in config}
    options |= {name: None for name in SIGMA_OPTIONS if name not in names}
    return {"process": "edm"} | options


def _not_inherited(config: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Options that a config holds for another class, or another choice, and that `chosen` leaves behind."""
    left: dict[str, Any] = {}
    if "predictor_order" in config:  # SASolver's corrector is another one
        left["corrector_order"] = None
    solver = chosen.get("solver", config.get("solver"))
    if solver in TABLEAUX and config.get("solver_order") not in (None, TABLEAUX[solver].order):
        left["solver_order"] = DEFAULT_ORDER
    if chosen.get("solver") in TABLEAUX:
        left["corrector_order"] = None
    if chosen.get("process", config.get("process", "vp")) == "vp":
        # In a variance-preserving scheduler these bound a grid of sigmas; here they would name another process.
        left |= {name: None for name in SIGMA_OPTIONS if config.get(name) is not None}
    return differing(config, left)


def differing(config: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that the config holds with another value."""
    return {name: value for name, value in options.items() if name in config and config[name] != value}


def _refuse_foreign_process(config: dict[str, Any]) -> None:
    """Raise ConfigurationError for a model of a process that is not supported: its images would be noise."""
    name = str(config.get("_class_name", ""))
    signs = [key for key in FLOW_OPTIONS if key in config]
    if "sigma_data" in config and "process" not in config and not is_edm(config):
        signs.append("sigma_data")
    signs += [f"{key}=True" for key in ("use_flow_sigmas", "use_dynamic_shifting") if config.get(key)]
    for key, value in (("prediction_type", "flow_prediction"), ("timestep_type", "continuous")):
        if config.get(key) == value:
            signs.append(f"{key}={value!r}")
    if name.startswith(FOREIGN_CLASSES) or signs:
        raise ConfigurationError(
            f"This config{f' of {name}' if name else ''} is that of a flow-matching model or the like"
            f"{f' ({signs[0]})' if signs else ''}; this version supports variance-preserving models (Stable Diffusion "
            "1, 2, XL and the like) and those of Diffusers' EDM schedulers. Keep the pipeline's own scheduler."
        )
