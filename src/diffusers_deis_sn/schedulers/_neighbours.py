"""What code for Diffusers' own schedulers asks of a scheduler beside running it: given with its meaning, or refused.

Names that follow from what is here are made when they are first asked for. For what only another method has, the error
says so, and what to do instead; `hasattr` is False for it, as for any name that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.core.flow import check_shift, shift_factor
from diffusers_deis_sn.core.step import threshold
from diffusers_deis_sn.errors import NoiseScheduleError
from diffusers_deis_sn.schedulers._arrays import Watched

_STOCHASTIC = "{} is part of a method that draws noise at every step, and this one draws none; use {} for such code."
_TOKENS = "{} is for models of tokens, which have no noise to integrate; keep the scheduler that the model came with."
_LEDITS = "{} is a part of DPMSolverMultistepScheduler, to which LEDITS++ changes any scheduler; use that class for it."

_GRID = "The levels of a grid are `scheduler.sigmas` after `set_timesteps`; choose it with {}, or give it as `sigmas=`."
_PARTS = {
    "DPMSolverMultistepScheduler": "_convert_to_lu multistep_dpm_solver_second_order_update "
    "multistep_dpm_solver_third_order_update",
    "DPMSolverSinglestepScheduler": "get_order_list order_list sample singlestep_dpm_solver_second_order_update "
    "singlestep_dpm_solver_third_order_update singlestep_dpm_solver_update",
    "DEISMultistepScheduler": "deis_first_order_update multistep_deis_second_order_update "
    "multistep_deis_third_order_update",
    "UniPCMultistepScheduler": "disable_corrector multistep_uni_c_bh_update multistep_uni_p_bh_update predict_x0 "
    "solver_p timestep_list",
    "SASolverScheduler": "get_coefficients_exponential_negative get_coefficients_exponential_positive "
    "get_coefficients_fn lagrange_polynomial_coefficient stochastic_adams_bashforth_update "
    "stochastic_adams_moulton_update tau_func",
    "PNDMScheduler": "_get_prev_sample _timesteps counter cur_model_output cur_sample ets plms_timesteps pndm_order "
    "prk_timesteps step_plms step_prk",
    "LMSDiscreteScheduler": "derivatives get_lms_coefficient",
    "HeunDiscreteScheduler": "dt prev_derivative state_in_first_order",
    "KDPM2DiscreteScheduler": "log_sigmas sigmas_interpol",
    "KDPM2AncestralDiscreteScheduler": "sigmas_down sigmas_up",
    "CogVideoXDPMScheduler": "get_mult get_variables",
    "DDPMScheduler": "_batch_get_variance custom_timesteps one",
    "EDMEulerScheduler": "precondition_inputs precondition_noise precondition_outputs",
    "FlowMatchEulerDiscreteScheduler": "_shift _time_shift_exponential _time_shift_linear",
}
"""Parts of one class's method, which are nothing to another method; code that needs them needs that class."""

ELSEWHERE: dict[str, str] = {
    **{
        name: f"`{name}` is a part of the method of {owner}; use that class for code that needs it."
        for owner, names in _PARTS.items()
        for name in names.split()
    },
    **{f"_convert_to_{kind}": _GRID.format(f"use_{kind}_sigmas=True") for kind in ("karras", "exponential", "beta")},
    **{f"_compute_{kind}_sigmas": _GRID.format(f"use_{kind}_sigmas=True") for kind in ("karras", "exponential")},
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


# ------------------------------------------------------------------------------------------------------- flow matching


def _least(scheduler: Any) -> float:
    """The lowest level of the training times, shifted as they are."""
    options, number = scheduler.options, scheduler.config["num_train_timesteps"]
    shift = 1.0 if options["use_dynamic_shifting"] else options["flow_shift"]
    return float(shift / (shift + number - 1.0))


def _set_shift(scheduler: Any, shift: float) -> None:
    """Another shift, which `set_timesteps` finds. Raises ConfigurationError for what is none."""
    check_shift(shift, scheduler.options["time_shift_type"], None)
    scheduler.register_to_config(flow_shift=shift)


def _time_shift(scheduler: Any, mu: float, sigma: float, t: Any) -> Any:
    """Levels t shifted: s / (s + (1 / t - 1)^sigma), with s of mu as `time_shift_type` says."""
    shift = shift_factor(mu, scheduler.options["time_shift_type"])
    return shift / (shift + (1 / t - 1) ** sigma)


def _stretched(scheduler: Any, t: Tensor) -> Tensor:
    """Levels stretched so that the last is `shift_terminal`."""
    terminal = scheduler.options["shift_terminal"]
    return t if terminal is None else 1 - (1 - t) * (1 - terminal) / (1 - t[-1])


OF_FLOWS: dict[str, Callable[[Any], Any]] = {
    "shift": lambda scheduler: float(scheduler.options["flow_shift"]),
    "set_shift": lambda scheduler: partial(_set_shift, scheduler),
    "time_shift": lambda scheduler: partial(_time_shift, scheduler),
    "stretch_shift_to_terminal": lambda scheduler: partial(_stretched, scheduler),
    "sigma_min": _least,
    "sigma_max": lambda _: 1.0,
}
"""What flow-matching schedulers have besides; `set_shift` holds from the next `set_timesteps` on."""

OF_ALL: dict[str, Callable[[Any], Any]] = {
    "is_scale_input_called": lambda _: True,  # nothing waits for it
    "_threshold_sample": lambda scheduler: (
        lambda sample: threshold(
            sample, scheduler.config["dynamic_thresholding_ratio"], scheduler.config["sample_max_value"]
        )
    ),
}
"""What any of these schedulers is asked for by code of others."""


def refuse_written(scheduler: Any) -> None:
    """Raise NoiseScheduleError where somebody wrote a name of `OF_FLOWS` that nothing is computed from."""
    there = vars(scheduler)
    written = {name: there.pop(name) for name in ("sigma_min", "sigma_max", "shift") if name in there}
    for name, value in written.items():
        if not _is_flow(scheduler):  # where it means nothing to anybody
            there[name] = value
        elif value != OF_FLOWS[name](scheduler) and (name, value) != ("sigma_min", 0.0):  # where runs end by themselves
            raise NoiseScheduleError(
                f"`scheduler.{name}` was written, {value!r}, and nothing is computed from it. Call "
                "`scheduler.set_shift`, or say where runs start and end by `sigmas=`, start_time and end_time."
            )


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


def _is_flow(scheduler: Any) -> bool:
    return bool(scheduler.noise.kind == "flow")


def on_demand(scheduler: Any, name: str) -> Any:
    """What a scheduler does not have yet of `DERIVED`, `OF_ALL` and `OF_FLOWS`; None for any other name.

    Raises:
        AttributeError: A process without betas or without a shift, or a name of `ELSEWHERE`.
    """
    why = ELSEWHERE.get(name)
    if name in OF_ALL:
        return OF_ALL[name](scheduler)
    if name in OF_FLOWS:
        if _is_flow(scheduler):
            return OF_FLOWS[name](scheduler)
        if "shift" in name:
            why = "this process has no shift; one of flow matching has, use_flow_sigmas=True."
    if name in DERIVED:
        if "alphas_cumprod" in vars(scheduler):
            derived: DerivedArrays = scheduler._derived
            return derived.make(scheduler, name)
        why = "this process has no betas, but levels; see `sigmas`."
    if why is not None:
        raise AttributeError(f"'{type(scheduler).__name__}' object has no attribute '{name}': {why}")
    return None
