"""Tokens that are at times of their own, as LTX's and Sana-WM's are where pictures are given for some of the frames."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.errors import StepError

SAME_SIGMA = 1e-6  # Diffusers' own tolerance


class OwnTimes:
    """The times of the tokens in one step: most are at that of the run, the others are cleaner.

    Diffusers moves a token from its own level sigma to the next lower one sigma' of the run, by Euler's method and with
    what it calls the model's output, minus the velocity v: x - (sigma - sigma') v. Where sigma is that of the run this
    is the step of any solver of order one, so that the run's own solver takes it.

    Args:
        process: A flow.
        plan: The run.
        n: Number of the call.
        times: T sigma of each token; (B, tokens), or (B, 1) where all are alike.

    Raises:
        StepError: A model that is no flow, or is called with T (1 - sigma); a solver of several calls a step; or
            predictions that are no velocity.
    """

    def __init__(self, process: NoiseSchedule, plan: Plan, n: int, times: Tensor, prediction: str) -> None:
        whole_steps = all(plan.starts)
        if process.path != "flow" or getattr(process, "inverted", False) or prediction != "flow_prediction":
            raise StepError(
                "`per_token_timesteps` are sigmas of flow-matching models that predict a velocity, got them for "
                f"{prediction!r} of {process}. Leave them out."
            )
        if not whole_steps:
            raise StepError(
                "`per_token_timesteps` move tokens by whole steps, and this solver calls the network within them. Use "
                "solver='multistep'."
            )
        scale = float(process.time(process.top))
        self._sigma = (times.float() / scale)[..., None]
        self._plan, self._at = plan, plan.sigmas[n]

    def corrected(self, converted: Tensor, velocity: Tensor, sample: Tensor) -> Tensor:
        """What a solver has to remember of an output: eps = x + (1 - sigma) v or x_0 = x - sigma v, at own levels."""
        own = (
            sample - self._sigma * velocity if self._plan.integrand == "data" else sample + (1 - self._sigma) * velocity
        )
        return torch.where(self._others, own.to(converted.dtype), converted)

    def moved(self, result: Tensor, velocity: Tensor, sample: Tensor) -> Tensor:
        """The result of a step, where the cleaner tokens have gone down to the next level of the run."""
        lower = torch.zeros_like(self._sigma)
        for sigma in reversed(self._plan.sigmas):  # numbers of the host, so that none is copied
            lower = torch.where(self._sigma - SAME_SIGMA > sigma, sigma, lower)
        own = sample - (self._sigma - lower) * velocity
        return torch.where(self._others, own.to(result.dtype), result)

    @property
    def _others(self) -> Tensor:
        return (self._sigma - self._at).abs() > 2 * SAME_SIGMA
