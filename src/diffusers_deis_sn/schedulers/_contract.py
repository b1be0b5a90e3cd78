"""What Diffusers pipelines expect of any scheduler, once: indices, noising, steps through a plan. No mathematics."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin, SchedulerOutput
from torch import Tensor

from diffusers_deis_sn.core.noise import NoiseSchedule, TableSchedule
from diffusers_deis_sn.core.plan import OFF_GRID, Plan, Raw, Thresholding, nearest, off_grid
from diffusers_deis_sn.errors import StepError, TimestepsError

logger = logging.getLogger("diffusers_deis_sn")

FORMER = 8  # runs before the present one whose times are still known as theirs


class PlannedScheduler(SchedulerMixin, ConfigMixin):
    """A scheduler whose runs are planned in `set_timesteps`; subclasses make the plan and take the steps.

    Attributes:
        timesteps: Times of the network calls in their order, noisiest first, on the device asked for: int64 where all
            are whole numbers, else float32; (C,). A solver of several calls a step has all of them here, so that a
            time may occur twice.
        sigmas: Noise levels of the calls and of the end, sigma / alpha, or sigma of flow-matching models, as in
            Diffusers; on the CPU, float32; (C + 1,).
        init_noise_sigma: Standard deviation of the noise that a run starts from.
        order: Network calls per step, as pipelines count them.
        num_inference_steps: Number of steps N, or None before `set_timesteps`.
    """

    _compatibles: ClassVar[list[str]] = [e.name for e in KarrasDiffusionSchedulers]
    order = 1
    init_noise_sigma = 1.0

    def _start(self, noise: NoiseSchedule) -> None:
        """State before the first plan: the training times, as training code wants them for `add_noise`."""
        levels = noise.training_levels()
        sigmas = torch.from_numpy(noise.as_sigma(levels))
        if isinstance(noise, TableSchedule):
            alphas_cumprod = 1.0 / (1.0 + sigmas**2)
            previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
            self.alphas_cumprod = alphas_cumprod.float()
            self.betas = (1.0 - alphas_cumprod / previous).float()
            self.timesteps = torch.arange(len(noise) - 1, -1, -1)
        else:
            self.timesteps = torch.from_numpy(noise.time(levels[::-1].copy())).float()
        self.sigmas = sigmas.float()
        self.num_inference_steps: int | None = None
        self._plan: Plan | None = None
        self._grid = self.timesteps
        self._former: tuple[tuple[Tensor, tuple[float, ...]], ...] = ()
        self._begin_index: int | None = None
        self._step_index: int | None = None
        self._warned: set[str] = set()
        self._forget()

    def _forget(self) -> None:
        """No output is at hand."""
        # Oldest first, as in Diffusers; None before the first.
        self.model_outputs: list[Any] = [None] * (1 if self._plan is None else self._plan.table.order)
        self._at_hand = 0

    def _adopt(self, plan: Plan, device: str | torch.device | None, numbered: bool = True) -> None:
        """Make `plan` the current run; `numbered` times are integers where all are whole."""
        numbered = numbered and plan.whole
        # First of all: where there is no such device, nothing has changed.
        timesteps = torch.tensor(plan.times, dtype=torch.int64 if numbered else torch.float32, device=device)
        if self._plan is not None:
            # Kept, so that no other tensor comes to lie where the times of a run lay that this one takes the place of.
            self._former = ((self._grid, self._plan.times), *self._former[: FORMER - 1])
        self._plan = plan
        self.num_inference_steps = plan.steps
        self._grid = self.timesteps = timesteps  # pipelines may put others in their place
        self.sigmas = torch.tensor(plan.sigmas, dtype=torch.float32)
        self._begin_index = None
        self._step_index = None
        self._forget()

    @property
    @abstractmethod
    def noise(self) -> NoiseSchedule:
        """The noise schedule of the current config."""

    # ------------------------------------------------------------------------------------------------- indices

    @property
    def step_index(self) -> int | None:
        """Number of the next step, None before the first."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Number of the first step of an image-to-image run, as a pipeline has set it."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start the run at a later step, as image-to-image pipelines do; the solver starts up afresh there."""
        self._begin_index = begin_index
        self._step_index = None

    def index_for_timestep(self, timestep: float | Tensor, schedule_timesteps: Tensor | None = None) -> int:
        """Number of the step called at `timestep`; the nearest, with one warning, where there is none.

        Reads the timestep from its device, so `step` asks at most once in a run.
        """
        time = _first(timestep)
        if schedule_timesteps is None and self._plan is not None:
            times: Sequence[float] = self._plan.times  # the same values, already on the host
            n = self._plan.nearest(time)
        else:
            times = (self.timesteps if schedule_timesteps is None else schedule_timesteps).tolist()
            n = nearest(times, time)
        if abs(times[n] - time) > off_grid(times):
            self._warn_once(
                "off-grid", f"Timestep {time:g} is not in the plan; the nearest, {times[n]:g}, is taken for it."
            )
        return n

    def _begin_step(self, timestep: float | Tensor) -> int:
        """Number of the step that `step` is called for; raises StepError if it does not fit the plan."""
        if self._plan is None:
            raise StepError("`step` was called before `set_timesteps`. Call `set_timesteps(number_of_steps)` first.")
        plan = self._plan
        self._check_turn(plan, timestep)
        if self._step_index is None:
            self._at_hand = 0
            self._step_index = self._first_index(timestep)
            plan.check_begin(self._step_index)
            known = None
        else:
            known = self._known_time(plan, timestep)
        plan.check(self._step_index, known)
        return self._step_index

    def _check_turn(self, plan: Plan, timestep: float | Tensor) -> None:
        """Raise StepError for a timestep of a run that another call of `set_timesteps` has ended.

        A list of times that is walked through from its beginning once more, after the same run was planned anew, is
        taken for that of the present run.
        """
        for former in self._former:
            grid, times = former
            place = _place_in(grid, timestep)
            if place is None:
                continue
            if self._step_index is not None or place != (self._begin_index or 0) or times != plan.times:
                raise StepError(
                    "This timestep is one of a run that another call of `set_timesteps` has ended: two pipelines or "
                    "threads share one scheduler. Give each its own (copy.deepcopy), or take `timesteps` anew."
                )
            self._former = (*(one for one in self._former if one is not former), (self._grid, plan.times))
            self._grid = grid
            return

    def _first_index(self, timestep: float | Tensor) -> int:
        """Number of the call that a run begins with."""
        if self._begin_index is not None:
            return self._begin_index
        place = self._place(timestep)
        return self.index_for_timestep(timestep) if place is None else place

    def _known_time(self, plan: Plan, timestep: float | Tensor) -> float | None:
        """A time as far as the host knows it; None of one on an accelerator that was copied or computed.

        It is not read from there: that would make the host wait in every step.
        """
        place = self._place(timestep)
        if place is not None:
            return plan.times[place]
        on_device = isinstance(timestep, Tensor) and timestep.device.type != "cpu"
        return None if on_device else _first(timestep)

    def _place(self, timestep: float | Tensor) -> int | None:
        """Which of this run's times a tensor is, by where it lies in memory; None if it is not one of them.

        Pipelines walk through views of `timesteps`. So even on an accelerator it is seen, without reading from it, when
        two runs take turns on one scheduler.
        """
        return None if self._plan is None else _place_in(self._grid, timestep)

    def _warn_once(self, topic: str, message: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning(message)

    # -------------------------------------------------------------------------------------------------- samples

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """What the network is to be given: the sample, times c_in of the level where the network is preconditioned."""
        if self.noise.kind != "edm":
            return sample
        if self._plan is None or timestep is None:
            raise StepError("`scale_model_input` needs `timestep`, and `set_timesteps` before it: it scales by level.")
        n = self._first_index(timestep) if self._step_index is None else self._step_index
        self._plan.check(n, None)
        return sample * self._plan.input_scale[n]

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t x_0 + sigma_t eps.

        Args:
            original_samples: x_0; (B, *event).
            noise: eps, of the same shape.
            timesteps: t, fractional or whole, one or B of them. In a run of an image-to-image pipeline the level of
                its first (or, within the loop, its next) step is used, as in Diffusers.

        Returns:
            Noised samples with the dtype of `original_samples`.
        """
        if self._plan is not None and self._begin_index is not None:
            n = self._begin_index if self._step_index is None else self._step_index
            return original_samples * self._plan.alpha[n] + noise.to(original_samples.dtype) * self._plan.sigma[n]
        alpha, sigma = self._scales(torch.as_tensor(timesteps).flatten().tolist())
        shape = (-1, *[1] * (original_samples.ndim - 1))
        a, s = (torch.tensor(v, device=original_samples.device).reshape(shape) for v in (alpha, sigma))
        dtype = original_samples.dtype
        return original_samples * a.to(dtype) + noise.to(dtype) * s.to(dtype)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor | None = None) -> Tensor:
        """`add_noise` under the name and argument order of the flow-matching pipelines."""
        if noise is None:
            raise StepError("`scale_noise` needs `noise`, a tensor like the sample.")
        return self.add_noise(sample, noise, timestep)

    def _scales(self, times: Sequence[float]) -> tuple[list[float], list[float]]:
        """alpha and sigma at given times, exact levels for those of the plan."""
        last = float(self.noise.time(self.noise.top))
        if max(times) > last + OFF_GRID:
            raise TimestepsError(f"Training times end at {last:g}, got {max(times):g}. Noise to a time up to that.")
        levels, plan = self.noise.rho(times), self._plan
        for i, time in enumerate(times if plan is not None else ()):
            n = plan.index(time)  # type: ignore[union-attr]
            if n is not None:
                levels[i] = plan.levels[n]  # type: ignore[union-attr]
        return self.noise.alpha(levels).tolist(), self.noise.sigma(levels).tolist()

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
        plan: Plan = self._plan  # type: ignore[assignment]
        self.model_outputs = [*self.model_outputs[1:], output]
        self._at_hand = min(self._at_hand + 1, len(self.model_outputs))
        return plan.advance(row, sample, self.model_outputs[: -self._at_hand - 1 : -1], raw)

    def _convert(self, model_output: Tensor, sample: Tensor, index: int) -> tuple[Tensor, Raw | None]:
        """What the solver integrates, and what it was converted from if it was."""
        config, clamp = self.config, None
        if config["thresholding"]:
            clamp = Thresholding(config["dynamic_thresholding_ratio"], config["sample_max_value"])
        return self._plan.convert(index, model_output, sample, clamp)  # type: ignore[union-attr]


def _place_in(grid: Tensor, timestep: float | Tensor) -> int | None:
    """Which number of `grid` a view of it is, None of any other tensor."""
    if not isinstance(timestep, Tensor) or timestep.device != grid.device or timestep.numel() == 0:
        return None
    offset, odd = divmod(timestep.data_ptr() - grid.data_ptr(), grid.element_size())
    return offset if not odd and 0 <= offset < len(grid) else None


def _first(timestep: float | Tensor) -> float:
    """A timestep as a number; of one for each sample the first, as all are the same."""
    return float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else float(timestep)


def only_time(timesteps: Tensor | float) -> float | None:
    """The one time that all of these are, None if there are several."""
    times = set(torch.as_tensor(timesteps).flatten().tolist())
    return times.pop() if len(times) == 1 else None
