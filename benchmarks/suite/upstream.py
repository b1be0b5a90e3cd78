"""Diffusers' own samplers, made fair: what keeps one of them from its best is mended, and nothing else.

Each class says in one sentence what is mended, and in `changed` what of it whoever sets Diffusers' own class must know.
All start from unit noise and, where they can, end at clean data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    SASolverScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from diffusers_deis_sn import DEISSNScheduler

NEXT_TO_NOTHING = 1e-4  # exactly zero gives NaN in DEIS and SA-Solver
ADAMS = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class _FromUnitNoise:
    """Euler and Heun leave the data's share out of the starting noise where spacing is trailing or linspace."""

    changed = "starts from noise of variance 1"
    sigmas: Any

    @property
    def init_noise_sigma(self) -> float:
        return float((self.sigmas.max() ** 2 + 1.0) ** 0.5)


class Euler(_FromUnitNoise, EulerDiscreteScheduler):
    """Euler from unit noise."""


class Heun(_FromUnitNoise, HeunDiscreteScheduler):
    """Heun from unit noise; N steps are 2 N - 1 calls."""


class _FromTheStart:
    """A run begins with its first step: where rounded times repeat, these look for the second and run off the end."""

    def _init_step_index(self, timestep: Any) -> None:
        self._step_index = 0


class DPMSolver(_FromTheStart, DPMSolverMultistepScheduler):
    """DPM-Solver++, multistep."""


class UniPC(_FromTheStart, UniPCMultistepScheduler):
    """UniPC."""


class Deis(_FromTheStart, DEISMultistepScheduler):
    """DEIS to t = 0, where it ends by itself."""


class _ExactTimes:
    """The network is told the times of the levels themselves; these round them, which a converged run cannot bear."""

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)  # type: ignore[misc]
        levels = self.sigmas[:-1].double().numpy()  # type: ignore[attr-defined]
        if self.config.use_flow_sigmas:  # type: ignore[attr-defined]
            times = levels * self.config.num_train_timesteps  # type: ignore[attr-defined]
        else:
            known = np.log(((1 - self.alphas_cumprod) / self.alphas_cumprod).double().sqrt().numpy())  # type: ignore[attr-defined]
            times = np.array([self._sigma_to_t(level, known) for level in levels])  # type: ignore[attr-defined]
        self.timesteps = torch.from_numpy(times.astype(np.float32))


class FineDPMSolver(_ExactTimes, DPMSolver):
    """For converged runs of models of betas."""


class FineUniPC(_ExactTimes, UniPC):
    """For converged runs of flows."""


class _ToZero:
    """The last sigma is next to nothing, where DEIS and SA-Solver stop at t = 0 or waste their last call.

    With Karras, exponential, beta and flow sigmas they repeat the last one, so that the last step does not move.
    """

    changed = "its last sigma is nearly zero"
    sigmas: Any

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)  # type: ignore[misc]
        self.sigmas[-1] = NEXT_TO_NOTHING * self.sigmas[-2]


class DeisToZero(_ToZero, Deis):
    """DEIS to clean data, of order 1 in the last step, however many there are: in log rho it is an endless one."""

    lower_order_nums: int

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> Any:
        if self.step_index == len(self.timesteps) - 1:
            self.lower_order_nums = 0
        return super().step(model_output, timestep, sample, return_dict=return_dict)


class SASolver(_FromTheStart, SASolverScheduler):
    """SA-Solver with tau = 0, where it is a solver of the ODE."""

    changed = "`tau_func=lambda t: 0.0`"

    @classmethod
    def from_config(cls, config: Any, **options: Any) -> Any:
        return super().from_config(config, tau_func=lambda t: 0.0, **options)


class SASolverToZero(_ToZero, SASolver):
    """The same to clean data."""


class Ipndm(IPNDMScheduler):
    """iPNDM on the process of a model: its own has another one, times in [0, 1] and a v network.

    It is given the levels of a grid as its `trained_betas`, the model's times, and v of what the network predicts.
    """

    changed = "no options: Diffusers' own knows neither this grid nor the model's noise schedule"
    grid: Any = None

    @classmethod
    def on(cls, config: Any, **spacing: Any) -> Ipndm:
        scheduler = cls()
        scheduler.grid = DEISSNScheduler.from_config(config, stats=False, **spacing)
        if scheduler.grid.config.prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(f"iPNDM takes epsilon or v, got {scheduler.grid.config.prediction_type!r}.")
        return scheduler

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        if self.grid is None:  # called by `__init__`
            super().set_timesteps(num_inference_steps, device=device)
            return
        self.grid.set_timesteps(num_inference_steps)
        sigmas = self.grid.sigmas.double()
        self.register_to_config(trained_betas=(sigmas / (1.0 + sigmas**2).sqrt()).tolist())
        super().set_timesteps(num_inference_steps, device=device)
        self.timesteps = self.grid.timesteps

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **kwargs: Any) -> Any:
        n = self.index_for_timestep(timestep) if self.step_index is None else self.step_index
        if self.grid.config.prediction_type == "epsilon":
            alpha, sigma = float(self.alphas[n]), float(self.betas[n])
            model_output = (model_output - sigma * sample) / alpha
        return super().step(model_output, timestep, sample, **kwargs)


# ---------------------------------------------------------------------------------------------- flow-matching models


def _trailing(steps: int) -> np.ndarray:
    return np.linspace(1.0, 1.0 / steps, steps)


class FlowEuler(FlowMatchEulerDiscreteScheduler):
    """Euler on the grid that Flux's pipeline passes: by itself it spends its last call at sigma = 1 / 1000."""

    changed = "on the sigmas that Flux's pipeline passes, 1 to 1 / N"

    def set_timesteps(self, num_inference_steps: int | None = None, device: Any = None, **kwargs: Any) -> None:
        if num_inference_steps is not None and "sigmas" not in kwargs:
            kwargs["sigmas"] = _trailing(num_inference_steps).tolist()
        super().set_timesteps(num_inference_steps, device=device, **kwargs)


class FlowHeun(FlowMatchHeunDiscreteScheduler):
    """Heun on the same grid, shifted once and not twice; N steps are 2 N - 1 calls."""

    changed = "on the sigmas that Flux's pipeline passes, shifted once"

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        super().set_timesteps(num_inference_steps, device=device)
        sigmas, shift = torch.from_numpy(_trailing(num_inference_steps)).float(), self.config.shift
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
        self.timesteps = 1000.0 * torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2)]).to(device)
        self.timesteps *= self.config.num_train_timesteps / 1000.0
        self.sigmas = torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2), torch.zeros(1)])


# --------------------------------------------------------------------------------------------------------- EDM models


class _EdmSlopes(EDMEulerScheduler):
    """What Diffusers has no scheduler for: other solvers of dx/dsigma = (x - x_0) / sigma on EDM's own grid."""

    changed = "not in Diffusers: its authors' solver on the sigmas of this class"

    def _next(self, slope: Tensor, sample: Tensor) -> Tensor:
        raise NotImplementedError

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        sigma = self.sigmas[self.step_index]
        slope = (sample - self.precondition_outputs(sample, model_output, sigma)) / sigma
        sample = self._next(slope, sample)
        self._step_index += 1
        return (sample,) if not return_dict else {"prev_sample": sample}


class EdmIpndm(_EdmSlopes):
    """iPNDM of order 4 on EDM's grid, as in its authors' later code."""

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        self.slopes: list[Tensor] = []

    def _next(self, slope: Tensor, sample: Tensor) -> Tensor:
        self.slopes = [slope, *self.slopes][:4]
        n = self.step_index
        weights = ADAMS[len(self.slopes) - 1]
        return sample + (self.sigmas[n + 1] - self.sigmas[n]) * sum(
            w * d for w, d in zip(weights, self.slopes, strict=True)
        )


class EdmHeun(_EdmSlopes):
    """EDM's own sampler without churn (arXiv 2206.00364, algorithm 1); N steps are 2 N - 1 calls."""

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        self.sigmas = torch.cat([self.sigmas[:1], self.sigmas[1:-1].repeat_interleave(2), self.sigmas[-1:]])
        self.timesteps = torch.cat([self.timesteps[:1], self.timesteps[1:].repeat_interleave(2)])
        self.held: tuple[Tensor, Tensor] | None = None

    def _init_step_index(self, timestep: Any) -> None:
        self._step_index = 0

    def _next(self, slope: Tensor, sample: Tensor) -> Tensor:
        n = self.step_index
        if self.held is None:
            self.held = (slope, sample)
            sample = sample + (self.sigmas[n + 1] - self.sigmas[n]) * slope
        else:
            first, start = self.held
            self.held = None
            sample = start + (self.sigmas[n] - self.sigmas[n - 1]) * 0.5 * (first + slope)
        return sample
