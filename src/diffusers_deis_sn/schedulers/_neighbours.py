"""What code for Diffusers' own schedulers asks of a scheduler beside running it: given with its meaning, or refused.

Names that follow from what is here are made when they are first asked for. For what only another method has, the error
says so, and what to do instead; `hasattr` is False for it, as for any name that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.errors import NoiseScheduleError
from diffusers_deis_sn.schedulers._arrays import Watched

_STOCHASTIC = "{} is part of a method that draws noise at every step, and this one draws none; use {} for such code."
_TOKENS = "{} is for models of tokens, which have no noise to integrate; keep the scheduler that the model came with."
_LEDITS = "{} is a part of DPMSolverMultistepScheduler, to which LEDITS++ changes any scheduler; use that class for it."

ELSEWHERE: dict[str, str] = {
    **{
        name: _STOCHASTIC.format(f"`{name}`", owner)
        for name, owner in {
            "_get_variance": "DDIMScheduler or DDPMScheduler",
            "_is_ode_scheduler": "DDPMParallelScheduler",
            "batch_step_no_noise": "DDIMParallelScheduler or DDPMParallelScheduler",
            "undo_step": "RePaintScheduler",
            "eta": "RePaintScheduler",
            "step_pred": "ScoreSdeVeScheduler",
            "step_correct": "ScoreSdeVeScheduler or KarrasVeScheduler",
            "set_sigmas": "ScoreSdeVeScheduler",
            "add_noise_to_input": "KarrasVeScheduler",
            "schedule": "KarrasVeScheduler",
        }.items()
    },
    **{name: _TOKENS.format(f"`{name}`") for name in ("check_eos_finished", "check_block_should_continue")},
    **{
        name: _LEDITS.format(f"`{name}`")
        for name in (
            "convert_model_output",
            "dpm_solver_first_order_update",
            "lower_order_nums",
            "_init_step_index",
            "_sigma_to_alpha_sigma_t",
        )
    },
    "_sigma_to_t": "A level's time is `scheduler.noise.time(scheduler.noise.from_sigma(sigma))` here.",
    "_get_conditioning_c_in": "The factor of the network's input is `scheduler.noise.input_scale(sigma)` here.",
    "ori_start_sigmas": "The stages of a pyramid are HeliosScheduler's; keep it for Helios.",
}
"""Names that other classes have, and what to do where they are asked for here."""


def _signal(scheduler: Any) -> Tensor:
    return scheduler.alphas_cumprod.double()


def _end(scheduler: Any) -> Tensor:
    """The share of the signal where runs end, as DDIM keeps it."""
    to_the_cleanest = scheduler.config["final_sigmas_type"] == "sigma_min"
    return scheduler.alphas_cumprod[0].clone() if to_the_cleanest else torch.tensor(1.0)


DERIVED: dict[str, Callable[[Any], Tensor]] = {
    "alphas": lambda scheduler: 1.0 - scheduler.betas,
    "alpha_t": lambda scheduler: _signal(scheduler).sqrt().float(),
    "sigma_t": lambda scheduler: (1.0 - _signal(scheduler)).sqrt().float(),
    "lambda_t": lambda scheduler: (0.5 * torch.logit(_signal(scheduler))).float(),
    "final_alpha_cumprod": lambda scheduler: _end(scheduler),
}
"""Arrays of the noise schedule over the training times, as other classes keep them; where the process has betas."""


def _alike(one: Any, other: Tensor) -> bool:
    """Whether two arrays have the same numbers, perhaps in fewer digits or elsewhere."""
    tensor = torch.as_tensor(one).detach().cpu()
    rounded = other.to(tensor.dtype).double()
    return tensor.shape == other.shape and torch.allclose(tensor.double(), rounded, rtol=1e-5, atol=1e-7)


class Neighbours:
    """Names of Diffusers' own schedulers; what they mean there.

    Attributes:
        last_sample: None. Predictor-corrector classes keep the sample before here; ours keep outputs alone, so code
            that changes the shape of all that a scheduler keeps finds them in `model_outputs`.
    """

    last_sample: Tensor | None = None

    def __getattr__(self: Any, name: str) -> Any:
        """Names made on demand, advice for those of other methods, and what Diffusers makes of all others."""
        if name in DERIVED:
            if "alphas_cumprod" not in self.__dict__:
                raise AttributeError(
                    f"'{type(self).__name__}' object has no attribute '{name}': this process has no betas, but levels; "
                    "see `sigmas`."
                )
            value = DERIVED[name](self)
            setattr(self, name, value)  # a plain attribute from now on, that can be moved to a device
            self.__dict__.setdefault("_made", {})[name] = Watched(value)
            return value
        if name in ELSEWHERE:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}': {ELSEWHERE[name]}")
        return super().__getattr__(name)  # type: ignore[misc]

    def _take_derived(self: Any, edited: object) -> None:
        """See that arrays made on demand are what the noise schedule says, whoever wrote into them.

        The end of runs is `final_sigmas_type`, so that what DDIM reads, `final_alpha_cumprod`, can be written.

        Args:
            edited: What `alphas_cumprod` were made into, if they were: it tells what the others should be.

        Raises:
            NoiseScheduleError: Somebody wrote what has no effect.
        """
        made, of = self.__dict__.setdefault("_made", {}), (edited, self._glance)
        same = all(one is other for one, other in zip(of, self.__dict__.get("_made_of", (None, None)), strict=True))
        self._made_of = of
        for name in DERIVED.keys() & self.__dict__.keys():
            value = self.__dict__[name]
            ours = name in made and not made[name].touched(value)
            if same and ours:
                continue
            if _alike(value, DERIVED[name](self)) or (name == "alphas" and edited is not None):
                made[name] = Watched(value)
                continue
            del self.__dict__[name]  # it is made anew when it is next asked for
            made.pop(name, None)
            if ours:
                continue
            ends = {"zero": torch.tensor(1.0), "sigma_min": self.alphas_cumprod[0]}
            end = [one for one, level in ends.items() if name == "final_alpha_cumprod" and _alike(value, level)]
            if not end:
                raise NoiseScheduleError(
                    f"`scheduler.{name}` was written, and nothing is computed from it. Write the levels into "
                    "`scheduler.alphas_cumprod`; where runs end is final_sigmas_type, 'zero' or 'sigma_min'."
                )
            self.register_to_config(final_sigmas_type=end[0])

    @property
    def _step_index(self: Any) -> int | None:
        """`step_index`, for code that looks at or resets Diffusers' private name."""
        return self.step_index

    @_step_index.setter
    def _step_index(self: Any, value: int | None) -> None:
        if value is None and self.step_index is not None:
            self.set_begin_index(self.begin_index)
        elif value != self.step_index:
            raise AttributeError(
                f"A run of {type(self).__name__} cannot be moved to step {value}, for the outputs that it goes on from "
                "would be those of other steps. Call `set_timesteps` and `set_begin_index`."
            )

    @property
    def _begin_index(self: Any) -> int | None:
        """`begin_index`, likewise."""
        return self.begin_index

    @_begin_index.setter
    def _begin_index(self: Any, value: int | None) -> None:
        if value != self.begin_index:
            self.set_begin_index(value)

    def previous_timestep(self: Any, timestep: int | float | Tensor) -> int | float | Tensor:
        """The time that a step from `timestep` leads to: the next of a run, or t - 1 before any.

        After the last it is -1, as of DDPMScheduler.
        """
        times: Tensor = self.timesteps
        if self.num_inference_steps is None:
            return timestep - 1
        n = self.index_for_timestep(timestep)
        return times[n + 1] if n + 1 < len(times) else torch.tensor(-1)
