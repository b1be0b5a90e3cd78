"""The exponential integrator as a scheduler: config in, a `Run` from a `Planner`, Diffusers' names out.

Score statistics lie beside a saved config, one folder deeper: `score_statistics/score_statistics.safetensors`. The
config's private key holds where they came from, see `_shelf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.configuration_utils import FrozenDict
from torch import Tensor
from torch.compiler import is_compiling
from typing_extensions import Self, Unpack

from diffusers_deis_sn.core.grids import Grid
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Solver
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.hub.names import SIDE_FILE
from diffusers_deis_sn.learn.path import SchedulePath
from diffusers_deis_sn.schedulers._arrays import NoiseTable
from diffusers_deis_sn.schedulers._callers import refuse_caller
from diffusers_deis_sn.schedulers._contract import PlannedScheduler
from diffusers_deis_sn.schedulers._cursor import Cursor, bits_of, first_of
from diffusers_deis_sn.schedulers._edits import Glance, carried, refuse_other_table, rewrite
from diffusers_deis_sn.schedulers._factors import contradictions, followed, other_size, scale_of
from diffusers_deis_sn.schedulers._given import Request, Times
from diffusers_deis_sn.schedulers._guidance import PipelineGuidance
from diffusers_deis_sn.schedulers._kinds import check_asked, check_kinds
from diffusers_deis_sn.schedulers._life import found_by_name, made, refuse_unknown, scheduler_config
from diffusers_deis_sn.schedulers._neighbours import DERIVED
from diffusers_deis_sn.schedulers._noising import only_time
from diffusers_deis_sn.schedulers._options import SIGMA_OPTIONS, Options
from diffusers_deis_sn.schedulers._own_config import entries, refuse_named_grids, registered, with_entries
from diffusers_deis_sn.schedulers._planner import Planner, Run
from diffusers_deis_sn.schedulers._shelf import AUTO, SHELF, resolved
from diffusers_deis_sn.schedulers._typed import FromConfig, register_to_config
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method

Source = ScoreStatistics | str | PathLike[str]

UNMEASURED = "No score statistics given: a cautious recipe is used. Measure the model with `calibrate`."


class ExponentialIntegrator(PlannedScheduler):
    """A scheduler with every solver of the DEIS family; subclasses say which grid is theirs by default."""

    ignore_for_config: ClassVar[list[str]] = ["stats"]
    default_grid: ClassVar[Grid | None] = None  # None for the one that the options name
    statistics: ScoreStatistics | None
    _planning: ClassVar[type[Planner]] = Planner
    _silent: ClassVar[bool] = False  # a recorder is plain DEIS by intent
    _last_planner: Planner | None = None
    _planned: Glance | None = None  # the config that it plans for
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
        options = self._planner.options
        options.check()
        self._start(self.noise, self._all_planner.training_levels())
        self._scale_start(self.noise.top)
        self.order = self.recipe.solver.calls_per_step
        self.model_outputs = [None] * options.solver_order
        remembered = self._private.get("stats")  # of a whole config, Scheduler(**config)
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
        self._take_edits()
        table, last = self._table, self._last_planner
        edited = None if table is None else table.edited(self.alphas_cumprod, self.betas)
        if table is not None and not DERIVED.keys().isdisjoint(vars(self)):
            self._derived.take(self, edited, self._glance)
            last = self._last_planner
        same = last is not None and last.statistics is self.statistics and last.edited is edited
        if last is None or not same or self._planned is not self._glance:
            new = self._planning(self.config, type(self), self.statistics, last, edited)
            if last is not None and not new.of_same_process(last) and "_cursor" in vars(self):
                new = self._planning(self.config, type(self), self.statistics, last)
                self._hand_out(new.process)
            self._last_planner, self._planned = new, self._glance
            return new
        return last

    @property
    def options(self) -> dict[str, Any]:
        """All options in use by name; those of the method in the place of the config's where one is followed."""
        planner = self._planner
        used = self._followed
        return planner.by_name | {one.name: getattr(used, one.name) for one in fields(used)}

    @property
    def _followed(self) -> Options:
        planner = self._planner
        return followed(planner.options, self.method, planner.statistics)

    @property
    def method(self) -> Method | None:
        """The tried method that the current run follows, None where it follows the options."""
        run = self._run
        return None if run is None else run.method

    @property
    def plan(self) -> TunedPlan | None:
        """The plan that was fitted to the model for such runs, where the current run is one."""
        run = self._run
        return None if run is None else run.tuned

    @property
    def recipe(self) -> Recipe:
        """What the current run really uses: process, grid, solver, scale; before a run, what the options say."""
        run, planner = self._run, self._planner
        return planner.recipe(planner.options) if run is None else run.recipe

    @property
    def spacing(self) -> str:
        """The grid that is used: its name as an option, or that of its class."""
        options = self._followed
        if self.plan is not None:
            return type(self.plan.run).__name__
        return options.spacing if options.grid is None else type(options.grid).__name__

    @property
    def noise(self) -> NoiseSchedule:
        """The noise schedule of the current config."""
        return self._planner.process

    @property
    def normalised(self) -> bool:
        """Whether outputs are divided by r(t)."""
        return self.statistics is not None and self._followed.normalise

    @property
    def normaliser(self) -> Normaliser:
        """r(t) of the statistics, or nu(t) for the data form; flat without."""
        return scale_of(self._followed, self._planner.statistics)

    @property
    def path(self) -> SchedulePath:
        """The path that learned grids are partitions of. Raises ConfigurationError without statistics."""
        return self._planner.learned(self._followed).path

    @property
    def _private(self) -> dict[str, Any]:
        """What the config's private key holds."""
        return entries(self.config)

    def register_to_config(self, **values: Any) -> None:
        """As `ConfigMixin` has it, but what is ours goes under the private key; also the decorator of `__init__`."""
        self._take_edits()
        # Cosmos 2 writes bounds of sigma into the config of its scheduler, and reads them there.
        shown = {} if self._glance is None else carried(self.config, values, SIGMA_OPTIONS)
        self._register(values)
        if shown:
            self._take_config(FrozenDict({**self.config, **shown}))

    def _register(self, values: dict[str, Any]) -> None:
        check_kinds(values)
        refuse_named_grids(type(self), values)
        if self._last_planner is not None and self._glance is not None:
            process = self._last_planner.process
            length = len(process) if process.numbered else None
            refuse_other_table(values, self._glance.item("num_train_timesteps"), length)
        super().register_to_config(**values)
        self._take_config(registered(self.config, type(self), values))

    def _take_config(self, config: FrozenDict) -> None:
        """Have another config, which nobody has edited."""
        self._internal_dict, self._glance = config, Glance(config)

    def _take_edits(self) -> None:
        """Register what was written into the config by hand since it was last looked at, see `_edits`."""
        edits = None if self._glance is None else self._glance.edited(self.config, type(self))
        if edits is None:
            return
        config = self.config
        if edits:
            hidden = carried(config, edits)
            self._register(edits)
            # Whoever edits a config may hold it, and edit it once more.
            rewrite(config, {**self.config, **hidden})
        self._take_config(config)

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
                or not and is no call. Of flow-matching models sigma itself, which is then shifted, as in Diffusers;
                equal steps from noise alone, which many of their pipelines always pass (`core.default_lists`), choose
                nothing but how many.
            timesteps: Training times of the calls, falling, used exactly as given. Of flow-matching models together
                with `sigmas` they are what the network is called with (CogView4).

        Raises:
            TimestepsError: None or several of the three ways to choose times, or times that cannot be walked.
            ConfigurationError: `mu` given to a model that is no flow, or missing where it is needed; or a pipeline
                whose loop asks for what no deterministic method has.
        """
        check_asked(device, sigmas, timesteps)
        seen = PipelineGuidance.of_caller(self) or self._made_for
        if seen is not None:
            refuse_caller(seen.holder)
        guidance = None if seen is None else seen.read()
        run = self._all_planner.at(guidance).run(Request(num_inference_steps, mu, sigmas, timesteps, guidance))
        # Times that are whole are integers, but not where a run that is planned anew would not fit in.
        fractions = (
            run.method is not None or run.tuned is not None or self._learns_grid
        ) and not run.options.whole_timesteps
        self._adopt(run.plan, device, self.noise.numbered and not fractions, run, seen)
        self.order = run.recipe.solver.calls_per_step
        self._scale_start(run.plan.levels[0])
        if run.overridden is not None:
            self._warn_once("given", run.overridden)
        if self.statistics is None and not self._silent:
            self._warn_once("plain", UNMEASURED)
        if seen is not None or run.options.guidance_scale is not None:
            for words in contradictions(self._planner.options.guidance_scale, guidance, self.statistics):
                self._warn_once(words, words)

    def _scale_start(self, level: float) -> None:
        scale = self.noise.start_scale(level)
        if scale != 1.0:  # else a pipeline's own is left alone
            self.init_noise_sigma = scale

    @property
    def _learns_grid(self) -> bool:
        """Whether the learned grid is that of the config."""
        return self._planner.options.learns

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t x_0 + sigma_t eps; see `PlannedScheduler.add_noise`.

        Called before the first step of a run that begins later, as image-to-image pipelines do, it plans the run anew:
        `strength` is a share of the process, and the times of a tried method, or learned ones, are not spaced like
        shares. The times are changed in place, for the pipeline holds a view of them.
        """
        cursor = self._cursor
        cursor.take_lists(self.timesteps, self.sigmas)
        run = cursor.run
        if run is not None and cursor.step is None:
            begin = self._later_begin(cursor, run, timesteps)
            again = None if begin is None else self._planner.again(run, begin)
            if again is not None and len(again.plan) == len(cursor.grid) == len(self.timesteps):
                if run.tuned is not None:
                    self._warn_once("tuned", "Plans are for whole runs: this one, from an image, follows the options.")
                self._adopt_in_place(cursor, again.plan, again)
                run = again
            if run.begin is not None and only_time(timesteps) == run.begun_at:
                asked = torch.as_tensor(timesteps)
                timesteps = torch.full(asked.shape, run.plan.times[run.begin], dtype=torch.float64)
        return super().add_noise(original_samples, noise, timesteps)

    def _later_begin(self, cursor: Cursor, run: Run, timesteps: Tensor) -> int | None:
        """The call that a run with a grid of its own begins with; None if that is the first."""
        begin, plan = cursor.begin, run.plan
        if begin is None and not self._learns_grid:  # some pipelines cut the list of times and say nothing
            time = only_time(timesteps)
            begin = None if time is None or time == run.begun_at else plan.index(time)
        if not run.own_grid or begin is None or not 0 < begin < len(plan) or not plan.starts[begin]:
            return None  # at the first, or nowhere, as `step` will say
        return begin if begin != run.begin else None

    def _begin_step(self, cursor: Cursor, timestep: float | Tensor, sample: Tensor) -> tuple[Plan, int]:
        """As ever; of a run planned anew the first time is read, once, for the pipeline may hold a copy of the old."""
        if not is_compiling():
            cursor.take_lists(self.timesteps, self.sigmas)
        first, run = cursor.step is None, cursor.run
        plan, n = super()._begin_step(cursor, timestep, sample)
        if run is None:
            return plan, n
        if cursor.guidance is not None and self.order == 1 and not is_compiling():
            guidance = cursor.guidance.read()
            if guidance != run.guidance:  # a callback has changed it: outputs from here on are of another function
                cursor.at_hand, cursor.run = 0, replace(run, guidance=guidance)
        if first and run.begin is not None and not is_compiling():
            time = first_of(timestep)
            if plan.index(time, bits_of(timestep)) != n:
                raise StepError(
                    f"The run was planned anew from step {n} when its noise was added, and is there at timestep "
                    f"{plan.times[n]:g}, but `step` was called with {time:g}: of a copy of `scheduler.timesteps`. "
                    "Walk through the scheduler's own tensor or a slice of it, or use recipe='fixed' (DEISSNScheduler)."
                )
        if cursor.at_hand == 0 and run.tuned is not None and not is_compiling():
            words = other_size(self.statistics, tuple(sample.shape[1:]))  # not known when the run was planned
            if words is not None:
                self._warn_once("size", words)
        return plan, n

    # ----------------------------------------------------------------------------------------------- statistics

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
        statistics, name = resolved(
            source, self._planner.check, base_model or self.config.get("_name_or_path"), index, hub_options
        )
        if statistics is not None and source != AUTO:
            self._planner.check(statistics)
        said = None if statistics is None else SHELF.remember(statistics, name)
        self._take_edits()
        self.statistics = statistics
        self._take_config(with_entries(self.config, stats=said))
        cursor, run = self._cursor, self._run
        if run is not None and (run.method or run.tuned):  # which is that of the former statistics
            cursor.run = replace(run, method=None, tuned=None, own_grid=False)

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
        scheduler, unused = made(cls, super().from_config, config, stats, dict(kwargs))
        if unused and not return_unused_kwargs:
            refuse_unknown(cls, unused)
        result: Any = (scheduler, unused) if return_unused_kwargs else scheduler  # as Diffusers has it
        return result

    @classmethod
    def for_pipeline(cls, pipe: Any, stats: Source | bool | None = AUTO, **kwargs: Unpack[FromConfig]) -> Self:
        """A scheduler for a pipeline, with the statistics that an index names for its model unless told others.

        Where the calls of the pipeline cannot be seen, its guidance is read from it all the same.

            pipe.scheduler = DEISSNScheduler.for_pipeline(pipe)

        Args:
            pipe: Any pipeline with a scheduler; it is not changed.
            stats: As in `from_config`.
            **kwargs: As for `from_config`.

        Raises:
            ConfigurationError: As `from_config`.
            StatisticsError: Likewise.
        """
        config = scheduler_config(cls, pipe)
        refuse_caller(pipe)
        if stats == AUTO:
            kwargs.setdefault("base_model", pipe.config.get("_name_or_path"))
        scheduler = cls.from_config(config, stats=stats, **kwargs)
        scheduler._made_for = PipelineGuidance(pipe)
        return scheduler

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
        config, where, unused, stats = found_by_name(cls, pretrained_model_name_or_path, subfolder, stats, kwargs)
        # Loaders of pipelines pass on what is for other components, so nothing is refused here.
        made = cls.from_config(config, return_unused_kwargs=True, stats=stats, **where, **unused)
        return made if return_unused_kwargs else made[0]

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
        self._take_edits()
        super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """All but the pipelines that call it: a copy is for another one."""
        return {name: value for name, value in self.__dict__.items() if name != "_made_for"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy or pickle, whose statistics are from now on at hand in this process."""
        self.__dict__.update(state)
        timesteps = self.timesteps.clone()  # a copy goes on alone
        self._cursor = self._cursor.alone(timesteps if self._cursor.grid is self.timesteps else self._cursor.grid)
        self.timesteps = timesteps
        self._cursor.watch(self.timesteps, self.sigmas)
        name = self._private.get("stats")
        if self.statistics is not None and name is not None:
            SHELF.put(self.statistics, name)
