"""What Diffusers pipelines expect of any scheduler, once: `step`, indices, noising. The mathematics is in `core`."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin, SchedulerOutput
from torch import Tensor

from diffusers_deis_sn.core.plan import Plan, Raw, Thresholding, nearest, off_grid
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.rounding import is_rounding
from diffusers_deis_sn.core.step import check_samples
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.hub.atomic_write import write_together
from diffusers_deis_sn.schedulers._arrays import NoiseTable, lasting
from diffusers_deis_sn.schedulers._callers import check_options
from diffusers_deis_sn.schedulers._cursor import Cursor, bits_of, first_of, known_time
from diffusers_deis_sn.schedulers._indices import BeginIndex, StepIndex
from diffusers_deis_sn.schedulers._neighbours import DERIVED, DerivedArrays, on_demand
from diffusers_deis_sn.schedulers._noising import check_noising, factors, velocity
from diffusers_deis_sn.schedulers._own_config import in_file
from diffusers_deis_sn.schedulers._tokens import OwnTimes
from diffusers_deis_sn.schedulers._value_types import step_number, times_of

logger = logging.getLogger("diffusers_deis_sn")


class PlannedScheduler(SchedulerMixin, ConfigMixin):
    """A scheduler whose runs are planned in `set_timesteps`; subclasses make the plan and take the steps.

    Attributes:
        timesteps: Times of the network calls in their order, noisiest first, on the device asked for: int64 where all
            are whole numbers, else float32; (C,). A solver of several calls a step has all of them here, so that a
            time may occur twice.
        sigmas: Noise levels of the calls and of the end, sigma / alpha, or sigma of flow-matching models, as in
            Diffusers; on the CPU, float32; (C + 1,). Before a run both are those of all training times, noisiest first,
            so that `sigmas[i]` is the level of `timesteps[i]`.
        alphas_cumprod, betas: Of models of betas; what is written into the first counts from the next `set_timesteps`
            on; (T,).
        init_noise_sigma: Standard deviation of the noise that a run starts from.
        order: Network calls per step, as pipelines count them.
        num_inference_steps: Number of steps N, or None before `set_timesteps`.
        last_sample: None. Predictor-corrector classes keep the sample before here; ours keep outputs alone, so code
            that changes the shape of all that a scheduler keeps finds them in `model_outputs`.
    """

    _compatibles: ClassVar[list[str]] = [e.name for e in KarrasDiffusionSchedulers]
    order = 1
    init_noise_sigma = 1.0
    last_sample: Tensor | None = None
    _step_index, _begin_index = StepIndex(), BeginIndex()

    def _start(self, noise: NoiseSchedule, levels: Array) -> None:
        """State before the first plan: all training levels, noisiest first, as training code looks them up.

        Args:
            noise: The process.
            levels: rho of the T training times, falling; (T,).
        """
        self.timesteps = lasting(noise.time(levels), torch.float32)
        if noise.numbered:
            self.timesteps = torch.arange(len(noise) - 1, -1, -1)
        sigmas = noise.as_sigma(levels)
        # Of flows without the end, as in Diffusers.
        self.sigmas = lasting(sigmas if noise.path == "flow" else np.append(sigmas, 0.0), torch.float32)
        self._hand_out(noise)
        self.num_inference_steps: int | None = None
        self._cursor = Cursor(self.timesteps)
        self._warned: set[str] = set()

    def _scale_start(self, noise: NoiseSchedule, level: float) -> None:
        """Say how large the noise is that a run starts from at a level."""
        scale = noise.start_scale(level)
        if scale != 1.0:  # else a pipeline's own is left alone
            self.init_noise_sigma = scale

    def _hand_out(self, noise: NoiseSchedule) -> None:
        """The arrays of a noise table, which other processes do not have."""
        self._table = NoiseTable(noise) if noise.numbered else None
        self._derived = DerivedArrays()
        for name in ("alphas_cumprod", "betas", *DERIVED):
            self.__dict__.pop(name, None)
        if self._table is not None:
            self.alphas_cumprod, self.betas = self._table.alphas_cumprod, self._table.betas

    @property
    def model_outputs(self) -> list[Any]:
        """The last outputs, as the solver integrates them, oldest first as in Diffusers; None before the first."""
        return self._cursor.outputs

    @model_outputs.setter
    def model_outputs(self, outputs: list[Any]) -> None:
        self._cursor.outputs = outputs

    def _adopt(
        self,
        plan: Plan,
        device: str | torch.device | None,
        numbered: bool = True,
        run: Any = None,
        guidance: Any = None,
    ) -> None:
        """Make `plan` the current run; `numbered` times are integers where all are whole. The rest as in `Cursor`."""
        numbered = numbered and plan.whole
        # First of all: where there is no such device, nothing has changed.
        timesteps = lasting(plan.times, torch.int64 if numbered else torch.float32, device)
        sigmas = lasting(plan.sigmas, torch.float32)
        self._cursor = Cursor(timesteps, plan, self._cursor, run, guidance, sigmas)
        self.num_inference_steps = plan.steps
        self.timesteps, self.sigmas = timesteps, sigmas  # pipelines may put others in their place

    def _adopt_in_place(self, cursor: Cursor, plan: Plan, run: Any) -> None:
        """Make `plan` that of a run, in the tensors that the pipeline holds views of."""
        cursor.replace(plan, run)
        self.num_inference_steps = plan.steps
        shown = [cursor.grid, cursor.sigmas, self.timesteps, self.sigmas]
        for tensor, values in zip(shown, (plan.times, plan.sigmas) * 2, strict=True):
            if tensor is not None and len(tensor) == len(values) and not cursor.is_anothers(tensor):
                tensor.copy_(torch.tensor(values, dtype=torch.float64))
        cursor.watch(self.timesteps, self.sigmas)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy or pickle: another scheduler has the list of times, and the run goes on here by itself."""
        self.__dict__.update(state)
        timesteps = self.timesteps.clone()
        self._cursor = self._cursor.alone(timesteps if self._cursor.grid is self.timesteps else self._cursor.grid)
        self.timesteps = timesteps
        self._cursor.watch(self.timesteps, self.sigmas)

    def to_json_file(self, json_file_path: str | PathLike[str]) -> None:
        """Write the config, without default spacings, which other classes would take for choices."""
        text = json.dumps(in_file(json.loads(self.to_json_string()), self.config, type(self)), indent=2, sort_keys=True)
        write_together({Path(json_file_path): f"{text}\n".encode()})

    @property
    def _plan(self) -> Plan | None:
        return self._cursor.plan

    @property
    @abstractmethod
    def noise(self) -> NoiseSchedule:
        """The noise schedule of the current config."""

    def __getattr__(self, name: str) -> Any:
        """Arrays made on demand, advice for names of other methods, and what Diffusers makes of all others."""
        value = on_demand(self, name)
        return super().__getattr__(name) if value is None else value

    # ------------------------------------------------------------------------------------------------- indices

    @property
    def step_index(self) -> int | None:
        """Number of the next step, None before the first."""
        return self._cursor.step

    @property
    def begin_index(self) -> int | None:
        """Number of the first step of an image-to-image run, as a pipeline has set it."""
        return self._cursor.begin

    def set_begin_index(self, begin_index: int | None = 0) -> None:
        """Start the run at a later step, as image-to-image pipelines do; the solver starts up afresh there.

        Raises:
            StepError: No whole number.
        """
        self._cursor.begin_at(None if begin_index is None else step_number(begin_index))

    def previous_timestep(self, timestep: int | float | Tensor) -> int | float | Tensor:
        """The time that a step from `timestep` leads to: the next of a run, or t - 1 before any.

        After the last it is -1, as of DDPMScheduler.
        """
        times: Tensor = self.timesteps
        if self.num_inference_steps is None:
            return timestep - 1
        n = self.index_for_timestep(timestep)
        return times[n + 1] if n + 1 < len(times) else torch.tensor(-1)

    def index_for_timestep(self, timestep: float | Tensor, schedule_timesteps: Tensor | None = None) -> int:
        """Number of the step called at `timestep`; the nearest, with one warning, where there is none.

        Reads the timestep from its device, so `step` asks at most once in a run.

        Raises:
            StepError: Several timesteps that are not the same.
            TimestepsError: No list of times.
        """
        time, plan = first_of(timestep), self._cursor.plan
        if schedule_timesteps is None and plan is not None:
            at = plan.index(time, bits_of(timestep), rounded=True)
            if at is not None:
                return at
            times: Sequence[float] = plan.times  # the same values, already on the host
            n = plan.nearest(time)
        else:
            times = times_of(self.timesteps if schedule_timesteps is None else schedule_timesteps, "schedule_timesteps")
            n = nearest(times, time)
            if is_rounding(times[n], time, off_grid(times)):
                return n
        self._warn_once(
            "off-grid", f"Timestep {time:g} is not in the plan; the nearest, {times[n]:g}, is taken for it."
        )
        return n

    def _begin_step(self, cursor: Cursor, timestep: float | Tensor, sample: Tensor) -> tuple[Plan, int]:
        """Plan and number of the step that `step` is called for; raises StepError if it does not fit."""
        return cursor.enter(timestep, sample, self.index_for_timestep)

    def _warn_once(self, topic: str, message: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning(message)

    # -------------------------------------------------------------------------------------------------- samples

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """What the network is to be given: the sample, of EDM models times c_in (arXiv 2206.00364, table 1).

        Before a run the level is that of `timestep` itself, as training code asks for it.

        Args:
            sample: x_t; (B, *event).
            timestep: t; of EDM models it cannot be left out.

        Returns:
            (B, *event); the sample itself where it is not scaled.

        Raises:
            StepError: No sample of floating-point numbers; or `timestep` is missing, or all steps of the run are done.
        """
        check_samples(sample=sample)
        cursor, plan = self._cursor, self._cursor.plan
        if self.noise.kind != "edm" if plan is None else not plan.scales_input:
            return sample
        if timestep is None:
            raise StepError("`scale_model_input` needs `timestep`: it scales by level.")
        if plan is None:
            level = self.noise.sigma(self.noise.rho([first_of(timestep)]))
            return sample * float(self.noise.input_scale(level)[0])
        n = cursor.first(timestep, self.index_for_timestep) if cursor.step is None else cursor.step
        plan.check(n, None)
        return sample * plan.input_scale[n]

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t x_0 + sigma_t eps.

        Args:
            original_samples: x_0; (B, *event).
            noise: eps, of the same shape.
            timesteps: t, fractional or whole, one or B of them; or N of them for one sample. Times of the run may come
                rounded.

        Returns:
            Noised samples with the dtype of `original_samples`; of one sample at N times N of them.

        Raises:
            StepError: No samples, or noise of another shape.
            TimestepsError: No times, or another number of them.
        """
        check_noising(noise, original_samples=original_samples)
        cursor, plan = self._cursor, self._cursor.plan
        call = cursor.begin if cursor.step is None else cursor.step
        beyond = plan is not None and call is not None and not 0 <= call < len(plan)
        if plan is not None and beyond and torch.as_tensor(timesteps).numel() == 0:  # `strength` leaves no step
            return original_samples * plan.alpha[-1] + noise.to(original_samples.dtype) * plan.sigma[-1]
        a, s = factors(self.noise, plan, timesteps, original_samples, None if beyond else call)
        return original_samples * a + noise.to(original_samples.dtype) * s

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What networks of "v_prediction" are trained to say, alpha_t eps - sigma_t x_0; of flows eps - x_0.

        Args:
            sample: x_0; (B, *event).
            noise: eps, of the same shape.
            timesteps: t, fractional or whole, one or B of them.

        Raises:
            ConfigurationError: A process that has no such target.
        """
        check_noising(noise, sample=sample)
        return velocity(self.noise, self._cursor.plan, sample, noise, timesteps)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor | None = None) -> Tensor:
        """`add_noise` under the name and argument order of flow pipelines. Raises StepError without `noise`."""
        if noise is None:
            raise StepError("`scale_noise` needs `noise`, a tensor like the sample.")
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        """Number of training times, T."""
        return len(self.noise)

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
        per_token_timesteps: Tensor | None = None,
        prev_timestep: float | Tensor | None = None,
        **others: Any,
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
            per_token_timesteps: Times of the tokens of (B, tokens, channels), where these have their own (LTX); they
                come with minus the velocity as `model_output`, as in Diffusers. (B, tokens) or (B, 1).
            prev_timestep: The time to go to, which some pipelines pass always (Kandinsky's priors); that of the plan.
            **others: What other schedulers take (`s_churn`, `variance_noise`), where it asks for no noise.

        Returns:
            x_{n+1}, shape and dtype of the sample.

        Raises:
            StepError: Before `set_timesteps`, after the last step, out of order, shapes that do not match, or arguments
                that ask for noise, or for nothing.
        """
        check_options(return_dict, eta, others)
        check_samples(model_output=model_output, sample=sample)
        cursor = self._cursor  # to the end of this step, whatever another thread plans meanwhile
        plan, n = self._begin_step(cursor, timestep, sample)
        if model_output.ndim > 1 and sample.ndim > 1 and model_output.shape[1] == 2 * sample.shape[1]:
            model_output = model_output[:, : sample.shape[1]]
        if model_output.shape != sample.shape:
            raise StepError(
                f"`model_output` has shape {tuple(model_output.shape)}, `sample` {tuple(sample.shape)}. They must "
                "agree, except that a predicted variance may double the channels."
            )
        if cursor.at_hand and cursor.outputs[-1].shape != sample.shape:
            self._resized(cursor, plan, n, sample)
        if prev_timestep is not None:
            plan.check_next(n, known_time(prev_timestep, "prev_timestep"))
        own_times = None
        if per_token_timesteps is not None:
            own_times = OwnTimes(self.noise, plan, n, per_token_timesteps, self.config["prediction_type"])
            model_output = -model_output
        output, raw = self._convert(plan, n, model_output, sample)
        previous = self._advance(cursor, plan, n, output, sample, raw)
        if own_times is not None:
            cursor.outputs[-1] = own_times.corrected(output, model_output, sample)
            previous = own_times.moved(previous, model_output, sample)
        cursor.leave(n, previous)
        return SchedulerOutput(prev_sample=previous) if return_dict else (previous,)

    def _resized(self, cursor: Cursor, plan: Plan, n: int, sample: Tensor) -> None:
        """Go on with samples of another shape: as a run that begins here, where the step would use outputs before.

        Raises:
            StepError: Within a step of several calls.
        """
        before = tuple(cursor.outputs[-1].shape)
        if not plan.starts[n]:
            raise StepError(
                f"`sample` has shape {tuple(sample.shape)}, but the calls of this step before had {before}. Change the "
                f"size after a whole step, of {self.order} calls, or use solver='multistep'."
            )
        if plan.combines(n, cursor.at_hand + 1) > 1:
            self._warn_once(
                "resized",
                f"Samples of shape {tuple(sample.shape)} after those of {before}: the outputs before are of no use for "
                "them, and the solver starts up afresh here.",
            )
        cursor.forget()

    def _advance(
        self, cursor: Cursor, plan: Plan, row: int, output: Tensor, sample: Tensor, raw: Raw | None = None
    ) -> Tensor:
        """The next sample, by one row of the table, from `output` and those before."""
        return plan.advance(row, sample, cursor.push(output), raw)

    def _convert(self, plan: Plan, n: int, model_output: Tensor, sample: Tensor) -> tuple[Tensor, Raw | None]:
        """What the solver integrates, and what it was converted from if it was."""
        config, clamp = self.config, None
        if config.thresholding:  # the attributes, which public code edits
            clamp = Thresholding(config.dynamic_thresholding_ratio, config.sample_max_value)
        return plan.convert(n, model_output, sample, clamp)
