"""A tiny pipeline under observation: what its network is called with, whatever the scheduler."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from .registry import BUILDERS, network_of, run_pipeline


class Studio:
    """A tiny pipeline, with the times and samples that its network was called with in the last run.

    Attributes:
        config: That of the scheduler which the pipeline came with.
        times: First time of each call, as the network was told.
        inputs: Sample of each call.
    """

    def __init__(self, name: str):
        self.pipe, self.arguments = BUILDERS[name]()
        self.own = self.pipe.scheduler
        self.config = self.own.config
        self.times: list[float] = []
        self.inputs: list[torch.Tensor] = []
        network_of(self.pipe).register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, _: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        time = options["timestep"] if "timestep" in options else arguments[1]
        sample = next((options[name] for name in ("sample", "hidden_states") if name in options), None)
        self.times.append(float(torch.as_tensor(time).max()))  # a first frame that is given has time zero
        self.inputs.append((arguments[0] if sample is None else sample).clone())

    def run(self, scheduler: Any, steps: int, seed: int = 0, **options: Any) -> torch.Tensor:
        """What the pipeline makes with a scheduler."""
        self.pipe.scheduler = scheduler
        self.times, self.inputs = [], []
        return run_pipeline(self.pipe, self.arguments, steps, seed, **options)


class DDIMAt(DPMSolverMultistepScheduler):
    """DDIM of Diffusers (DPM-Solver++ of order one is that) at times given beforehand; a tuple of whole numbers."""

    at: tuple[int, ...]

    @classmethod
    def of(cls, config: Any, at: list[float]) -> DDIMAt:
        """For the model of a config; pipelines then cut learned variances off themselves."""
        plain = {"algorithm_type": "dpmsolver++", "solver_order": 1, "final_sigmas_type": "zero", "variance_type": None}
        grids = {f"use_{grid}_sigmas": False for grid in ("karras", "exponential", "beta")}
        if scale := config.get("snr_shift_scale"):  # CogVideoX; written as betas, which are rescaled afterwards
            betas = CogVideoXDDIMScheduler.from_config(config).betas
            kept = torch.cumprod(1.0 - betas.double(), dim=0)
            kept = kept / (scale + (1.0 - scale) * kept)
            plain["trained_betas"] = (1.0 - kept / torch.cat([torch.ones(1), kept[:-1]])).tolist()
        scheduler = cls.from_config(config, **plain, **grids)
        scheduler.at = tuple(int(time) for time in at)
        assert list(scheduler.at) == list(at)
        return scheduler

    def set_timesteps(self, num_inference_steps: Any = None, device: Any = None, timesteps: Any = None) -> None:
        super().set_timesteps(device=device, timesteps=list(self.at))

    def step(self, model_output: Any, timestep: Any, sample: Any, **options: Any) -> Any:
        return super().step(model_output, timestep, sample, return_dict=options.get("return_dict", True))


class FlowEulerAt(FlowMatchEulerDiscreteScheduler):
    """Euler's method of Diffusers for flow models, at times given beforehand."""

    at: torch.Tensor
    levels: torch.Tensor
    end: float

    @classmethod
    def of(cls, config: Any, at: list[float], levels: list[float] | None = None, end: float = 0.0) -> FlowEulerAt:
        """For the model of a config; at levels that are not those of the times, where the pipeline gives both.

        Args:
            config: A scheduler's config.
            at: Times of the calls.
            levels: Their sigmas, where these are not the times' share of the training steps.
            end: Sigma of clean data: 1 where sigmas are inverted.
        """
        scheduler = cls(num_train_timesteps=config["num_train_timesteps"])
        scheduler.end = end
        scheduler.at = torch.tensor(at, dtype=torch.float64)
        given = scheduler.at / config["num_train_timesteps"] if levels is None else torch.tensor(levels)
        scheduler.levels = given.to(torch.float64)
        return scheduler

    def set_timesteps(
        self,
        num_inference_steps: Any = None,
        device: Any = None,
        sigmas: Any = None,
        mu: Any = None,
        timesteps: Any = None,
    ) -> None:
        self.timesteps = self.at.float()
        self.sigmas = torch.cat([self.levels, torch.tensor([self.end])]).float()
        self.num_inference_steps = len(self.at)
        self._step_index = self._begin_index = None

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        """The sample, for pipelines that ask all but Diffusers' own class."""
        return sample

    def step(self, model_output: Any, timestep: Any, sample: Any, **options: Any) -> Any:
        """One step; a time may be given back rounded."""
        nearest = self.timesteps[(self.at - float(timestep)).abs().argmin()]
        return super().step(model_output, nearest, sample, **options)


class EulerAt(EulerDiscreteScheduler):
    """Euler's method of Diffusers for preconditioned models, at levels given beforehand, the last of them zero."""

    at: list[float]

    @classmethod
    def of(cls, config: Any, at: list[float]) -> EulerAt:
        """For the model of a config."""
        scheduler = cls.from_config(config, use_karras_sigmas=False)
        scheduler.at = at
        return scheduler

    def set_timesteps(
        self, num_inference_steps: Any = None, device: Any = None, timesteps: Any = None, sigmas: Any = None
    ) -> None:
        super().set_timesteps(device=device, sigmas=self.at)
