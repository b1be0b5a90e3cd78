"""The exponential integrator as a scheduler: plan a run's coefficients once, then take one combination a call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar, NamedTuple

import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from diffusers_deis_sn.errors import ConfigurationError, StepError, TimestepsError
from diffusers_deis_sn.maths.coefficients import starts_from_noise
from diffusers_deis_sn.maths.flow import FlowSchedule, equal_sigmas, shift_factor, shifted
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule, TableSchedule
from diffusers_deis_sn.maths.prediction import threshold
from diffusers_deis_sn.maths.runge_kutta import TABLEAUX
from diffusers_deis_sn.maths.sigma import start_scale
from diffusers_deis_sn.maths.solver import calls_per_step, solver_table
from diffusers_deis_sn.maths.spacing import levels_from_sigmas, levels_from_times, whole_levels
from diffusers_deis_sn.maths.table import CoefficientTable
from diffusers_deis_sn.maths.update import combine
from diffusers_deis_sn.schedulers._contract import logger, only_time
from diffusers_deis_sn.schedulers._options import SolverOptions
from diffusers_deis_sn.schedulers._plan import RunPlan, make_plan
from diffusers_deis_sn.statistics.record import ScoreStatistics


class Raw(NamedTuple):
    """An output before it was converted to a output + b x; (B, *event) and two numbers."""

    output: Tensor
    a: float
    b: float


class ExponentialIntegrator(SolverOptions):
    """A scheduler with every solver of the DEIS family; subclasses choose the noise levels of a run."""

    ignore_for_config: ClassVar[list[str]] = ["stats"]
    _shift = 1.0
    _rounds = False  # to whole training times, as runs do that follow a recipe
    _learned = False  # whether the times of the current run were learned from the model
    _replanned: int | None = None  # the call that the run was last planned anew from
    _former_time: float | None = None  # and when that call was before

    def _set_up(self, stats: ScoreStatistics | str | PathLike[str] | bool | None) -> None:
        """What is left of `__init__` once the config is registered.

        Raises:
            ConfigurationError: An option is unknown, out of range or at odds with another.
            StatisticsError: See `set_stats`.
        """
        self.statistics: ScoreStatistics | None = None
        self._validate()
        self._start(self.noise)
        self.order = calls_per_step(self.options["solver"])
        if self.noise.path == "ve":
            self.init_noise_sigma = start_scale(self.noise.top)
        # Oldest first, as in Diffusers; None before the first.
        self.model_outputs: list[Any] = [None] * self.options["solver_order"]
        self._at_hand = 0
        remembered = self._private.get("stats")  # of a whole config, Scheduler(**config)
        if stats is not None or remembered is not None:
            self.set_stats(remembered if stats is None else None if isinstance(stats, bool) else stats)

    @abstractmethod
    def _spaced_levels(self, noise: NoiseSchedule, steps: int) -> Array:
        """Noise levels of a run of so many steps; (steps + 1,)."""

    # ----------------------------------------------------------------------------------------------------- plan

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Sequence[float] | Array | None = None,
        timesteps: Sequence[float] | Array | None = None,
    ) -> None:
        """Plan a run: choose the times and compute all coefficients, in float64 on the host.

        Args:
            num_inference_steps: Number of steps N; of network calls too, unless the solver takes several a step.
            device: Where `timesteps` are to lie.
            mu: Shift of flow-matching schedules by resolution, where the config says `use_dynamic_shifting`.
            sigmas: Noise levels sigma / alpha of the calls, falling, used exactly as given; a final zero may be there
                or not and is no call. Of flow-matching models sigma itself, which is then shifted, as in Diffusers;
                1, ..., 1 / N in equal steps, which many of their pipelines always pass, chooses nothing but N.
            timesteps: Training times of the calls, falling, used exactly as given. Of flow-matching models together
                with `sigmas` they are what the network is called with (CogView4).

        Raises:
            TimestepsError: None or several of the three ways to choose times, or times that cannot be walked.
            ConfigurationError: `mu` given to a model that is no flow, or missing where it is needed.
        """
        noise = self.noise
        if timesteps is None and noise.path == "flow" and (number := equal_sigmas(sigmas)):
            num_inference_steps, sigmas = number, None
        before = {name: getattr(self, name) for name in ("_recipe", "_shift", "_learned")}
        try:
            self._recipe = self._recipe_for(num_inference_steps if sigmas is None and timesteps is None else None)
            self._shift = self._shift_of(noise, mu)
            plan = self._checked_plan(noise, num_inference_steps, sigmas, timesteps)
            self._adopt(plan, device)
        except BaseException:
            self.__dict__.update(before)
            raise
        self.order = self._calls_per_step
        if noise.path == "ve":
            self.init_noise_sigma = start_scale(plan.levels[0])

    def _checked_plan(
        self,
        noise: NoiseSchedule,
        steps: int | None,
        sigmas: Sequence[float] | Array | None,
        timesteps: Sequence[float] | Array | None,
    ) -> RunPlan:
        """The run that `set_timesteps` was asked for, with the options as pipelines and users may have edited them."""
        self._validate()
        if self.statistics is not None:
            self._check_statistics(self.statistics)
        levels = self._levels(noise, steps, sigmas, timesteps)
        if (self._rounds or self._recipe is not None) and isinstance(noise, TableSchedule):
            levels = whole_levels(noise, levels)  # some networks, and some pipelines, know no others
        if self.statistics is None and not self._silent:
            self._warn_once("plain", "No score statistics given: plain DEIS is used. Measure them with `calibrate`.")
        self._check_start(noise, levels)
        plan = self._planned(noise, levels)
        return plan.called_at(timesteps) if sigmas is not None and timesteps is not None else plan

    def _adopt(self, plan: RunPlan, device: str | torch.device | None) -> None:
        super()._adopt(plan, device)
        self.model_outputs = [None] * plan.table.order
        self._at_hand = 0
        self._replanned = self._former_time = None
        if self._shows_fractions:
            self.timesteps = self.timesteps.float()
            self._grid = self.timesteps

    @property
    def _shows_fractions(self) -> bool:
        """Whether `timesteps` hold fractions even if all are whole, so that a run planned anew fits in."""
        return self._recipe is not None

    # ----------------------------------------------------------------------------------------- image to image

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t x_0 + sigma_t eps; see `PlannedScheduler.add_noise`.

        Called before the first step of a run that begins later, as image-to-image pipelines do, it plans the run anew:
        `strength` is a share of the process, and the times of a recipe, or learned ones, are not spaced like shares.
        The times are changed in place, for the pipeline holds a view of them.
        """
        begin = self._later_begin(timesteps)
        if begin is not None:
            self._replan(begin)
        if self._step_index is None and self._replanned is not None and only_time(timesteps) == self._former_time:
            timesteps = torch.as_tensor(self._plan.times[self._replanned])  # type: ignore[union-attr]
        return super().add_noise(original_samples, noise, timesteps)

    def _later_begin(self, timesteps: Tensor) -> int | None:
        """The call that a run planned by grids of its own begins with; None if at the first, or if it runs already."""
        if self._plan is None or self._step_index is not None or not self._replans:
            return None
        begin, plan = self._begin_index, self._plan
        if begin is None:  # some pipelines cut the list of times and say nothing
            time = only_time(timesteps)
            begin = None if time is None or time == self._former_time else plan.index(time)
        if begin is None or not 0 < begin < len(plan) or not plan.starts[begin]:
            return None  # at the first, or nowhere, as `step` will say
        return begin if begin != self._replanned else None

    @property
    def _replans(self) -> bool:
        """Whether runs that begin later are planned anew."""
        return self._recipe is not None

    def _replan(self, begin: int) -> None:
        """Plan the present run anew, without a recipe, as one that begins at a later call."""
        recipe, self._recipe = self._recipe, None
        plan: RunPlan = self._plan  # type: ignore[assignment]
        try:
            again = self._plan_from(begin)
            fits = again is not None and len(again) == len(plan) == len(self.timesteps)
            if fits:
                self._adopt_in_place(again, begin)  # type: ignore[arg-type]
                self._former_time = plan.times[begin]
                return
        except BaseException:
            self._recipe = recipe
            raise
        self._recipe = recipe

    def _plan_from(self, begin: int) -> RunPlan | None:
        """The present run as it is to be when it begins at a later call; None to leave it."""
        return self._planned(self.noise, self._spaced_levels(self.noise, self._plan.steps))  # type: ignore[union-attr]

    def _adopt_in_place(self, plan: RunPlan, begin: int) -> None:
        """Make `plan` the current run, in the tensors that the pipeline holds."""
        shown, former, said = (self.timesteps, self.sigmas), self._former, self._begin_index
        self._adopt(plan, self.timesteps.device)
        shown[0].copy_(self.timesteps)
        shown[1].copy_(self.sigmas)
        self.timesteps, self.sigmas = shown
        self._grid, self._former = self.timesteps, former
        self._begin_index, self._replanned = said, begin

    def _begin_step(self, timestep: float | Tensor) -> int:
        """As ever; of a run planned anew the first time is read, once, for the pipeline may hold a copy of the old."""
        first = self._step_index is None
        n = super()._begin_step(timestep)
        plan: RunPlan = self._plan  # type: ignore[assignment]
        if first and self._replanned is not None and n < len(plan):
            time = float(torch.as_tensor(timestep).flatten()[0])
            if abs(plan.times[n] - time) > plan.tolerance:
                raise StepError(
                    f"The run was planned anew from step {n} when its noise was added, and is there at timestep "
                    f"{plan.times[n]:g}, but `step` was called with {time:g}: of a copy of `scheduler.timesteps`. Walk "
                    "through the scheduler's own tensor or a slice of it, or use recipe='fixed' (DEISSNScheduler)."
                )
        return n

    # ----------------------------------------------------------------------------------------------------- table

    @property
    def _calls_per_step(self) -> int:
        """Network calls of a step, which Diffusers calls `order`."""
        return calls_per_step(self.options["solver"])

    def _planned(self, noise: NoiseSchedule, levels: Array) -> RunPlan:
        """The run through these levels."""
        config = self.options
        return make_plan(
            noise, self._table(noise, levels), config["prediction_type"], config["integrand"], self._sigma_data
        )

    def _table(self, noise: NoiseSchedule, levels: Array) -> CoefficientTable:
        config = self.options
        return solver_table(
            noise,
            self.normaliser,
            levels,
            solver=config["solver"],
            order=config["solver_order"],
            interpolation=config["interpolation"],
            integrand=config["integrand"],
            corrector_order=self.corrector_order,
            lower_order_final=config["lower_order_final"],
            gain_limit=self.gain_limit,
        )

    def _levels(
        self,
        noise: NoiseSchedule,
        steps: int | None,
        sigmas: Sequence[float] | Array | None,
        timesteps: Sequence[float] | Array | None,
    ) -> Array:
        """Noise levels of the run, from whichever of the three the caller gave; (N + 1,)."""
        config = self.options
        final, end = config["final_sigmas_type"], config["end_time"]
        if sigmas is not None and timesteps is not None and noise.path != "flow":
            raise TimestepsError("Give `timesteps` or `sigmas`, not both: each fixes the run.")
        if sigmas is not None:
            levels = self._shifted(noise, levels_from_sigmas(noise, sigmas, final, end))
        elif timesteps is not None:
            levels = levels_from_times(noise, timesteps, final, end)
        elif steps is not None:
            return self._spaced_levels(noise, steps)
        else:
            raise TimestepsError("Give `num_inference_steps`, `timesteps` or `sigmas`.")
        if steps is not None and steps != len(levels) - 1:
            logger.info("The %d given times override num_inference_steps=%d.", len(levels) - 1, steps)
        return levels

    def _check_start(self, noise: NoiseSchedule, levels: Array) -> None:
        """Refuse runs of a flow that start from noise alone with what has nothing to say about it."""
        if noise.path != "flow" or not starts_from_noise(noise, levels):
            return
        solver = self.options["solver"]
        if solver in TABLEAUX:
            raise ConfigurationError(
                f"solver={solver!r} takes Runge-Kutta steps in sigma / (1 - sigma), and none is possible from "
                f"noise alone, sigma = 1, got a first sigma of {noise.as_sigma(levels[0]):g}. Use solver='multistep', "
                "or start below: timestep_spacing='power_t' with start_time=0.99, or sigmas=."
            )
        if self.config["prediction_type"] == "epsilon":
            raise TimestepsError(
                "The noise that a network predicts in noise alone does not tell the data, and prediction_type="
                f"'epsilon' has a run start at sigma = 1, got {noise.as_sigma(levels[0]):.6g}. Start below it, or use "
                "prediction_type='flow_prediction' if that is what the model predicts."
            )

    def _shift_of(self, noise: NoiseSchedule, mu: float | None) -> float:
        """Shift of a run: of its resolution, or that of the config."""
        config, flow = self.options, isinstance(noise, FlowSchedule)
        if mu is not None and not flow:
            raise ConfigurationError(
                f"`mu` shifts the schedule of flow-matching models, got {mu!r} for a {noise.path} schedule. Leave it "
                "out, or say use_flow_sigmas=True if this is such a model."
            )
        if not config["use_dynamic_shifting"]:
            return float(config["flow_shift"])  # some pipelines pass `mu` always
        if mu is None:
            raise ConfigurationError(
                "This model's shift depends on the resolution (use_dynamic_shifting=True), and `mu` is missing. Pass "
                "set_timesteps(..., mu=...), as its pipeline does, or use_dynamic_shifting=False and flow_shift."
            )
        return shift_factor(mu, config["time_shift_type"])

    def _shifted(self, noise: NoiseSchedule, levels: Array) -> Array:
        """The levels of a run with its shift, which only flow-matching models have."""
        if not isinstance(noise, FlowSchedule):
            return levels
        return shifted(noise, levels, self._shift, self.options["shift_terminal"])

    # ----------------------------------------------------------------------------------------------------- step

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Go from one planned time to the next: one linear combination of the sample and the last outputs.

        Args:
            model_output: What the network (or guidance) returned; (B, *event), or with twice the channels where it
                also predicts a variance, which is dropped.
            timestep: The planned time; it is checked where it can be without waiting for an accelerator.
            sample: x_n; (B, *event).
            generator: Unused, the method draws no noise; some pipelines pass it always.
            return_dict: Whether to return a `SchedulerOutput` or a tuple.
            eta: Amount of noise of DDIM; only 0. Some pipelines pass it always.
            use_clipped_model_output: Unused; `DDIMPipeline` passes it always.

        Returns:
            x_{n+1}, shape and dtype of the sample.

        Raises:
            StepError: Before `set_timesteps`, after the last step, out of order, or shapes that do not match.
        """
        if eta:
            raise StepError(f"DEIS draws no noise: `eta` must be 0, got {eta!r}. Use DDIMScheduler for eta > 0.")
        if self._step_index is None:
            self._at_hand = 0
        n = self._begin_step(timestep)
        if model_output.ndim > 1 and model_output.shape[1] == 2 * sample.shape[1]:
            model_output = model_output[:, : sample.shape[1]]
        if model_output.shape != sample.shape:
            raise StepError(
                f"`model_output` has shape {tuple(model_output.shape)}, `sample` {tuple(sample.shape)}. They must "
                "agree, except that a predicted variance may double the channels."
            )
        if self._at_hand and self.model_outputs[-1].shape != sample.shape:
            raise StepError(
                f"`sample` has shape {tuple(sample.shape)}, but the steps before had "
                f"{tuple(self.model_outputs[-1].shape)}. Call `set_timesteps` before a run with other samples."
            )
        output, raw = self._convert(model_output, sample, n)
        previous = self._advance(n, output, sample, raw)
        self._step_index = n + 1
        return SchedulerOutput(prev_sample=previous) if return_dict else (previous,)

    def _advance(self, row: int, output: Tensor, sample: Tensor, raw: Raw | None = None) -> Tensor:
        """The next sample, by one row of the table, from `output` and those before."""
        self.model_outputs = [*self.model_outputs[1:], output]
        self._at_hand = min(self._at_hand + 1, len(self.model_outputs))
        table = self._plan.table  # type: ignore[union-attr]
        transfer, weights = table.transfers[row], table.rows[self._at_hand - 1][row]
        history = self.model_outputs[::-1]
        if raw is not None:
            # Where there is next to no signal, transfer and weight are huge and cancel: here, not in the tensors.
            transfer += weights[0] * raw.b
            history, weights = [raw.output, *history[1:]], (weights[0] * raw.a, *weights[1:])
        return combine(sample, transfer, history, weights)

    def _convert(self, model_output: Tensor, sample: Tensor, index: int) -> tuple[Tensor, Raw | None]:
        """What the solver integrates, and what it was converted from if it was.

        It is a tensor of its own: compiled networks reuse the memory of their outputs.
        """
        a, b = self._plan.output[index]  # type: ignore[union-attr]
        if (a, b) == (1.0, 0.0) and not self.config["thresholding"]:
            return model_output.clone(), None
        # Under autocast the output is narrower than the sample: what cancels must not be rounded before it does.
        wide = torch.promote_types(torch.promote_types(model_output.dtype, sample.dtype), torch.float32)
        output, x = model_output.to(wide), sample.to(wide)
        converted = output * a if b == 0.0 else (output * a).add_(x, alpha=b)
        if not self.config["thresholding"]:
            return converted, Raw(model_output, a, b)
        plan: RunPlan = self._plan  # type: ignore[assignment]
        data, alpha, sigma = plan.integrand == "data", plan.alpha[index], plan.sigma[index]
        if data:
            x0 = converted
        else:
            # From the output itself: where there is next to no signal, eps no longer tells x_0.
            c, d = plan.clean[index]
            x0 = (output * c).add_(x, alpha=d)
        x0 = threshold(x0, self.config["dynamic_thresholding_ratio"], self.config["sample_max_value"])
        return (x0, None) if data else ((x - alpha * x0) / sigma, Raw(x0, -alpha / sigma, 1.0 / sigma))
