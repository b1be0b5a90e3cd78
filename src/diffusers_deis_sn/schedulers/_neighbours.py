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


class DerivedArrays:
    """The arrays of `DERIVED` that a scheduler was asked for, each a plain attribute of it from then on."""

    def __init__(self) -> None:
        self._made: dict[str, Watched] = {}
        self._of: tuple[object, object] = (None, None)  # the noise schedule and config that they were looked at with

    def make(self, scheduler: Any, name: str) -> Tensor:
        """One of them, which can be moved to a device as any attribute."""
        value = DERIVED[name](scheduler)
        setattr(scheduler, name, value)
        self._made[name] = Watched(value)
        return value

    def take(self, scheduler: Any, edited: object, config: object) -> None:
        """See that they are what the noise schedule says, whoever wrote into them.

        The end of runs is `final_sigmas_type`, so that what DDIM reads, `final_alpha_cumprod`, can be written.

        Args:
            scheduler: Whose they are.
            edited: What `alphas_cumprod` were made into, if they were: it tells what the others should be.
            config: Of the scheduler, another object after every edit.

        Raises:
            NoiseScheduleError: Somebody wrote what has no effect.
        """
        there, made = vars(scheduler), self._made
        same = self._of[0] is edited and self._of[1] is config
        self._of = edited, config
        for name in DERIVED.keys() & there.keys():
            value = there[name]
            ours = name in made and not made[name].touched(value)
            if same and ours:
                continue
            if _alike(value, DERIVED[name](scheduler)) or (name == "alphas" and edited is not None):
                made[name] = Watched(value)
                continue
            del there[name]  # it is made anew when it is next asked for
            made.pop(name, None)
            if not ours:
                scheduler.register_to_config(final_sigmas_type=_end_written(name, value, scheduler.alphas_cumprod[0]))


def _end_written(name: str, value: Any, cleanest: Tensor) -> str:
    """The end of runs that an array says. Raises NoiseScheduleError where it says none."""
    for end, level in {"zero": torch.tensor(1.0), "sigma_min": cleanest}.items():
        if name == "final_alpha_cumprod" and _alike(value, level):
            return end
    raise NoiseScheduleError(
        f"`scheduler.{name}` was written, and nothing is computed from it. Write the levels into "
        "`scheduler.alphas_cumprod`; where runs end is final_sigmas_type, 'zero' or 'sigma_min'."
    )


def on_demand(scheduler: Any, name: str) -> Tensor | None:
    """An array of `DERIVED` that a scheduler does not have yet; None for any other name.

    Raises:
        AttributeError: A process without betas, or a name of `ELSEWHERE`.
    """
    why = ELSEWHERE.get(name)
    if name in DERIVED:
        if "alphas_cumprod" in vars(scheduler):
            derived: DerivedArrays = scheduler._derived
            return derived.make(scheduler, name)
        why = "this process has no betas, but levels; see `sigmas`."
    if why is not None:
        raise AttributeError(f"'{type(scheduler).__name__}' object has no attribute '{name}': {why}")
    return None
