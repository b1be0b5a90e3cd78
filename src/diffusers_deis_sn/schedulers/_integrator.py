"""The exponential integrator as a scheduler: config in, a `Run` from a `Planner`, Diffusers' names out."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling
from typing_extensions import Self, Unpack

from diffusers_deis_sn.core.grids import Grid
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Solver
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ConfigurationError, StatisticsError
from diffusers_deis_sn.learn.path import SchedulePath
from diffusers_deis_sn.schedulers._arrays import NoiseTable
from diffusers_deis_sn.schedulers._callers import refuse_caller
from diffusers_deis_sn.schedulers._current import check_unedited, current_planner, register, take_config, take_edits
from diffusers_deis_sn.schedulers._cursor import Cursor
from diffusers_deis_sn.schedulers._edits import Glance
from diffusers_deis_sn.schedulers._from_config import found_by_name, make, scheduler_config
from diffusers_deis_sn.schedulers._given import Request, Times
from diffusers_deis_sn.schedulers._guidance import PipelineGuidance
from diffusers_deis_sn.schedulers._later import FROM_AN_IMAGE, check_first, planned_anew, time_of_begin
from diffusers_deis_sn.schedulers._own_config import entries, with_entries
from diffusers_deis_sn.schedulers._planned_run import Run
from diffusers_deis_sn.schedulers._planner import Planner
from diffusers_deis_sn.schedulers._remarks import other_size, remarks
from diffusers_deis_sn.schedulers._shelf import AUTO, SHELF, Source, save_beside, shelved
from diffusers_deis_sn.schedulers._stepping import PlannedScheduler
from diffusers_deis_sn.schedulers._typed import FromConfig, register_to_config
from diffusers_deis_sn.schedulers._used import Used
from diffusers_deis_sn.schedulers._value_types import check_asked
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method


class ExponentialIntegrator(PlannedScheduler):
    """A scheduler with every solver of the DEIS family; subclasses say which grid is theirs by default."""

    ignore_for_config: ClassVar[list[str]] = ["stats"]
    default_grid: ClassVar[Grid | None] = None  # None for the one that the options name
    statistics: ScoreStatistics | None
    _planning: ClassVar[type[Planner]] = Planner
    _silent: ClassVar[bool] = False  # a recorder is plain DEIS by intent
    _last_planner: Planner | None = None
    _planned: Glance | None = None  # the config that this one plans for, see `_current`
    _glance: Glance | None = None
    _table: NoiseTable | None = None
    _made_for: PipelineGuidance | None = None

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: np.ndarray | list[float] | None = None,
        solver_order: int = 2,
        prediction_type: str = "epsilon",
        solver: str | Solver = "multistep",
        guidance_scale: float | None = None,
        timestep_spacing: str = "trailing",
        start_time: float = 1.0,
        end_time: float | None = None,
        steps_offset: int = 0,
        grid: Grid | None = None,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        final_sigmas_type: str = "zero",
        lower_order_final: bool = True,
        clip_normalizer_steps: float = 0,
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        rescale_betas_zero_snr: bool = False,
        snr_shift_scale: float = 1.0,
        process: str = "vp",
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        sigma_data: float | None = None,
        variance_type: str | None = None,
        use_flow_sigmas: bool = False,
        flow_shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        time_shift_type: str = "exponential",
        shift_terminal: float | None = None,
        invert_sigmas: bool = False,
        normalise: bool = True,
        whole_timesteps: bool = False,
        recipe: str | None = None,
        tuned: bool = True,
        stats: ScoreStatistics | str | PathLike[str] | bool | None = None,
    ) -> None:
        """See `DEISSNScheduler`."""
        self.statistics = None
        self._planner.options.check()
        self._start(self.noise, self._all_planner.training_levels())
        self._scale_start(self.noise, self.noise.top)
        self.order = self.recipe.solver.calls_per_step
        self.model_outputs = [None] * getattr(self.recipe.solver, "order", 1)
        remembered = entries(self.config).get("stats")  # of a whole config, Scheduler(**config)
        if stats is not None or remembered is not None:
            self.set_stats(remembered if stats is None else None if isinstance(stats, bool) else stats)

    # -------------------------------------------------------------------------------------------------- options

    @property
    def _run(self) -> Run | None:
        """What the current run was planned from, None before the first."""
        cursor: Cursor | None = self.__dict__.get("_cursor")
        return None if cursor is None else cursor.run

    @property
    def _planner(self) -> Planner:
        """That of the current run's guidance."""
        run = self._run
        return self._all_planner.at(None if run is None else run.guidance)

    @property
    def _all_planner(self) -> Planner:
        """That of the config as it is, for pipelines and users may edit it: a config that was edited is another."""
        return current_planner(self)

    @property
    def _used(self) -> Used:
        return Used(self._planner, self._run)

    @property
    def options(self) -> dict[str, Any]:
        """The options in use, by name: those of the recipe that the run follows, else those of the config."""
        return self._used.by_name

    @property
    def method(self) -> Method | None:
        """The recipe that the current run follows, measured or safe on other models; None if it follows the options."""
        return None if self._run is None else self._run.method

    @property
    def plan(self) -> TunedPlan | None:
        """The plan of `tune` that the current run follows; None if it follows none."""
        return None if self._run is None else self._run.tuned

    @property
    def recipe(self) -> Recipe:
        """What the current run uses: process, grid, solver and scale; before the first run, what the options say."""
        return self._used.recipe

    @property
    def spacing(self) -> str:
        """The grid that is used: its name as an option, or that of its class."""
        return self._used.spacing

    @property
    def noise(self) -> NoiseSchedule:
        """The noise schedule of the current config."""
        return self._planner.process

    @property
    def normalised(self) -> bool:
        """Whether outputs are divided by r(t)."""
        return self.statistics is not None and self._used.options.normalise

    @property
    def normaliser(self) -> Normaliser:
        """r(t) of the statistics, or nu(t) for the data form; flat without."""
        return self._used.normaliser

    @property
    def path(self) -> SchedulePath:
        """The path that learned grids are partitions of. Raises ConfigurationError without statistics."""
        return self._planner.learned(self._used.options).path

    def register_to_config(self, **values: Any) -> None:
        """As `ConfigMixin` has it, but what is ours goes under the private key; also the decorator of `__init__`."""
        register(self, values)

    # ----------------------------------------------------------------------------------------------------- runs

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Times = None,
        timesteps: Times = None,
    ) -> None:
        """Plan a run: choose the times and compute all coefficients, in float64 on the host.

        Args:
            num_inference_steps: Number of steps N; of network calls too, unless the solver takes several a step.
            device: Where `timesteps` are to lie.
            mu: Shift of flow-matching schedules by resolution, where the config says `use_dynamic_shifting`.
            sigmas: Noise levels sigma / alpha of the calls, falling, used exactly as given; a final zero may be there
                or not and is no call. Of flow-matching models sigma itself, then shifted as in Diffusers; equal steps
                from noise alone, which many pipelines always pass (`core.default_lists`), say nothing but how many.
            timesteps: Training times of the calls, falling, used exactly as given. Of flow-matching models together
                with `sigmas` they are what the network is called with (CogView4).

        Raises:
            TimestepsError: None or several of the three ways to choose times, or times that cannot be walked.
            ConfigurationError: `mu` missing, or of no flow; or a pipeline whose loop no deterministic method can walk.
        """
        if is_compiling():  # float64 of NumPy on the host: nothing to compile, and Dynamo breaks over some of it
            disable: Any = torch.compiler.disable
            return disable(self.set_timesteps)(num_inference_steps, device, mu, sigmas, timesteps)
        sigmas, timesteps = check_asked(device, sigmas, timesteps)
        seen = PipelineGuidance.of_caller(self) or self._made_for
        if seen is not None:
            refuse_caller(seen.holder)
        guidance = None if seen is None else seen.read()
        planner = self._all_planner.at(guidance)
        run = planner.run(Request(num_inference_steps, mu, sigmas, timesteps, guidance))
        self._adopt(run.plan, device, planner.has_numbers(run), run, seen)
        self.order = run.recipe.solver.calls_per_step
        self._scale_start(planner.process, run.plan.levels[0])
        for said in remarks(run, planner, self.statistics, seen=seen is not None, silent=self._silent):
            self._warn_once(*said)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noised samples alpha_t x_0 + sigma_t eps.

        Before the first step of an image-to-image run it plans that run anew, in place (`_later.planned_anew`).

        Args:
            original_samples: x_0; (B, *event).
            noise: eps; of the same shape.
            timesteps: t, one or B of them.

        Returns:
            (B, *event), with the dtype of `original_samples`.
        """
        cursor = self._cursor
        cursor.take_lists(self.timesteps, self.sigmas)
        run = cursor.run
        if run is not None and cursor.step is None:
            again = planned_anew(self._planner, cursor, run, timesteps) if run.own_grid else None
            if again is not None and len(again.plan) == len(self.timesteps):
                if run.tuned is not None and not again.inside:
                    self._warn_once("tuned", FROM_AN_IMAGE)
                self._adopt_in_place(cursor, again.plan, run := again)
            timesteps = time_of_begin(run, timesteps)
        return super().add_noise(original_samples, noise, timesteps)

    def _begin_step(self, cursor: Cursor, timestep: float | Tensor, sample: Tensor) -> tuple[Plan, int]:
        """As ever; of a run planned anew the first time is read, once, for the pipeline may hold a copy of the old."""
        if is_compiling():
            return super()._begin_step(cursor, timestep, sample)
        cursor.take_lists(self.timesteps, self.sigmas)
        first, run = cursor.step is None, cursor.run
        plan, n = super()._begin_step(cursor, timestep, sample)
        if run is None:
            return plan, n
        check_unedited(self, run.recipe)
        if cursor.guidance is not None and self.order == 1:
            cursor.take_guidance(run)
        if first and run.begin is not None:
            check_first(plan, n, timestep)
        if cursor.at_hand == 0 and run.tuned is not None:
            words = other_size(self.statistics, tuple(sample.shape[1:]))  # not known when the run was planned
            if words is not None:
                self._warn_once("size", words)
        return plan, n

    # ----------------------------------------------------------------------------------------------- statistics

    @checked(StatisticsError)
    def set_stats(
        self,
        source: Source | None,
        *,
        base_model: str | PathLike[str] | None = None,
        index: str | PathLike[str] | None = None,
        **hub_options: Any,
    ) -> None:
        """Use other score statistics from the next `set_timesteps` on.

        Args:
            source: A `ScoreStatistics`; a file or folder; a Hub name, "user/repo" or "user/repo/folder", either with
                "@revision"; "auto" for those that an index names for the model; or None for plain DEIS.
            base_model: Hub name of the model, or the folder it was loaded from; for "auto".
            index: Where to look the model up; the index of this package, or what DEIS_SN_INDEX says, if None.
            **hub_options: `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`, `force_download` (Hub).

        Raises:
            StatisticsError: They cannot be read, or are those of another noise schedule or prediction type.
            StatisticsNotFoundError: There is no such file; or the Hub refuses, or cannot be reached (its subclasses).
            ConfigurationError: The config asks for a solver that has no use for statistics.
        """
        base_model = base_model or self.config.get("_name_or_path")
        statistics, said = shelved(source, self._planner.check, base_model, index, hub_options)
        take_edits(self)
        self.statistics = statistics
        take_config(self, with_entries(self.config, stats=said))
        if self._run is not None:
            self._cursor.run = self._run.of_other_statistics()

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | PathLike[str] | None = None,
        return_unused_kwargs: bool = False,
        stats: Source | bool | None = None,
        **kwargs: Unpack[FromConfig],
    ) -> Self:
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
        made: Any = make(cls, super().from_config, config, stats, dict(kwargs), return_unused_kwargs)
        return made

    @classmethod
    def for_pipeline(cls, pipe: Any, stats: Source | bool | None = AUTO, **kwargs: Unpack[FromConfig]) -> Self:
        """A scheduler for a pipeline, with the statistics that an index names for its model unless told others.

        Args:
            pipe: Any pipeline with a scheduler; it is not changed, and read where its calls cannot be seen.
            stats: As in `from_config`.
            **kwargs: As for `from_config`, and so are the errors.
        """
        config = scheduler_config(cls, pipe)
        if isinstance(stats, str) and stats == AUTO:
            kwargs.setdefault("base_model", getattr(pipe, "config", {}).get("_name_or_path"))
        scheduler = cls.from_config(config, stats=stats, **kwargs)
        scheduler._made_for = PipelineGuidance(pipe)
        return scheduler

    @classmethod
    @checked(ConfigurationError, stats=StatisticsError)
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None = None,
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        stats: Source | bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """A scheduler from a folder or Hub repository, with the statistics that were saved beside its config.

        Args:
            pretrained_model_name_or_path: The folder, or "user/repo".
            subfolder: Where in it the config lies.
            return_unused_kwargs: Whether to return the options that were not used as well, in a pair.
            stats: Other statistics, as in `set_stats`; False for none.
            **kwargs: As for `from_config`; and for the download, as Diffusers has them.

        Raises:
            OSError: No config there.
            StatisticsError: See `set_stats`.
        """
        config, where, unused, stats = found_by_name(cls, pretrained_model_name_or_path, subfolder, stats, kwargs)
        # Loaders of pipelines pass on what is for other components, so nothing is refused here.
        made = cls.from_config(config, return_unused_kwargs=True, stats=stats, **where, **unused)
        return made if return_unused_kwargs else made[0]

    @checked(ConfigurationError)
    def save_pretrained(self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write the config and, in a folder of their own, the statistics.

        Older statistics in the folder are replaced, or removed where there are none now; on the Hub only replaced.

        Args:
            save_directory: Made if missing.
            push_to_hub: Upload the folder afterwards.
            **kwargs: For the upload: `repo_id`, `token`, ... as Diffusers has them.
        """
        save_beside(self.statistics, save_directory)
        take_edits(self)
        super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """All but the pipelines that call it: a copy is for another one."""
        return {name: value for name, value in self.__dict__.items() if name != "_made_for"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy or pickle, whose statistics are from now on at hand in this process."""
        super().__setstate__(state)
        name = entries(self.config).get("stats")
        if self.statistics is not None and name is not None:
            SHELF.put(self.statistics, name)
