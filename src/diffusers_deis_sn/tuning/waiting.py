"""The scheduler of a pipeline that is asked: it waits in `step` for the next question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.schedulers._planner import shift_of
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler

QUESTIONS = 100_000  # that a pipeline can be asked in one call
TOLERANCE = 1e-3  # of a time, which some pipelines copy in another precision


class Stopped(BaseException):
    """Raised in `step` to leave the pipeline; no `except Exception` of a pipeline stops it."""


@dataclass
class Answer:
    """What one call of `step` told, or why there is none."""

    output: Tensor | None = None
    sample: Tensor | None = None
    error: BaseException | None = None


class AskedScheduler(DEISSNScheduler):
    """The scheduler of one batch: each `step` gives an answer and waits for the next question."""

    _silent = True

    @classmethod
    def waiting(cls, config: Mapping[str, Any], told: Callable[[Answer], tuple[Tensor, float] | None]) -> Any:
        """One that hands answers to `told`, which returns the next sample and its level, or None to stop."""
        scheduler = cls.from_config(dict(config), stats=False)
        scheduler._told, scheduler._given, scheduler._at, scheduler.asked = told, None, 0, 0
        return scheduler

    _told: Callable[[Answer], tuple[Tensor, float] | None]
    _given: Tensor | None
    _level: float
    _at: int
    asked: int
    shift_in_use: float

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Any = None,
        timesteps: Any = None,
    ) -> None:
        """A long list of times, of which only the first is known. Raises CalibrationError of inverted sigmas."""
        if self._planner.options.invert_sigmas:
            raise CalibrationError(
                "Plans are not fitted to models of inverted sigmas (OmniGen, Mochi). Run them untuned."
            )
        self.shift_in_use = shift_of(self._planner.options, self.noise, mu)
        self._level, self._at, self._given = self.noise.top, 0, None
        dtype = torch.int64 if self.noise.numbered else torch.float32
        self.timesteps = torch.full((QUESTIONS,), self._time, dtype=dtype, device=device)
        self.sigmas = torch.full((QUESTIONS + 1,), float(self.noise.as_sigma(self._level)))
        self.num_inference_steps = QUESTIONS
        self.init_noise_sigma = self.noise.start_scale(self._level)

    @property
    def _time(self) -> float:
        return float(self.noise.call_times(torch.tensor([self._level]).double().numpy())[0])

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """What the network is to be given."""
        sigma = self.noise.sigma([self._level])
        scale = float(self.noise.input_scale(sigma)[0])
        return sample if scale == 1.0 else sample * scale

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Refused by CalibrationError: a run that starts from an image is another run."""
        raise CalibrationError(
            "This pipeline starts from an image or keeps one while it samples, and plans are for runs from noise. Tune "
            "the model's text-to-image pipeline."
        )

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Any = None,
        return_dict: bool = True,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        per_token_timesteps: Tensor | None = None,
        prev_timestep: float | Tensor | None = None,
        **others: Any,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Tell what the network said, and return what it is to be asked next.

        Raises:
            CalibrationError: The pipeline has times of its own, of each token or of its own list.
        """
        if per_token_timesteps is not None:
            raise CalibrationError(
                "This pipeline gives each token a time of its own, and plans are for samples at one. Tune the model's "
                "plain text-to-video pipeline."
            )
        time = float(torch.as_tensor(timestep).flatten()[0])
        if abs(time - self._time) > TOLERANCE * max(1.0, abs(self._time)):
            raise CalibrationError(
                f"The pipeline keeps its own list of times: it called the network at {time:g} where the scheduler says "
                f"{self._time:g}. It cannot be tuned through its scheduler."
            )
        if self._given is not None and not torch.equal(sample, self._given):
            raise CalibrationError(
                "The pipeline changes its samples between steps, as those do that paint within a mask, so no plan can "
                "be fitted through it. Tune the model's plain text-to-image pipeline."
            )
        if model_output.ndim > 1 and model_output.shape[1] == 2 * sample.shape[1]:
            model_output = model_output[:, : sample.shape[1]]
        self.asked += 1
        question = self._told(Answer(model_output.detach(), sample.detach()))
        self._at += 1
        if question is None or self._at == QUESTIONS:
            raise Stopped
        self._given, self._level = question[0].to(sample), question[1]
        self.timesteps[self._at] = self._time
        return SchedulerOutput(prev_sample=self._given) if return_dict else (self._given,)
