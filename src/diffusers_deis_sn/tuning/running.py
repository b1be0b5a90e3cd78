"""Whole runs of a pipeline with whatever scheduler, and the schedulers of Diffusers that plans are held against."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import diffusers
import torch
from torch import Tensor

from diffusers_deis_sn.collect.calls import called
from diffusers_deis_sn.collect.lending import lent
from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.dealing import gathered, own
from diffusers_deis_sn.tuning.samples import Arguments

Make = Callable[[], Any]


@dataclass
class Running:
    """Draws the same samples through a pipeline again and again.

    Args:
        pipe: The pipeline; it has its own scheduler again after each run.
        calls: Arguments of a call for each batch.
        report: Told the number of samples that the network was called on, after each step.
        asked: That number, so far, in this process.
        shards: The processes that share it; each draws batches of its own, and all know where all end.
    """

    pipe: Any
    calls: Sequence[Arguments]
    report: Callable[[int], None] = lambda _: None
    asked: int = 0
    shards: Shards = ALONE

    def ends(self, make: Make, steps: int) -> Tensor:
        """Where all samples end with a new scheduler in so many steps; (S, *event), float32 on the CPU.

        Raises:
            CalibrationError: The pipeline never calls its scheduler, or draws one sample a call.
        """
        with lent(self.pipe):
            return torch.cat(gathered(self.shards, lambda: self._own_ends(make, steps)))

    def _own_ends(self, make: Make, steps: int) -> dict[int, Tensor]:
        ends = {}
        for number in own(self.shards, len(self.calls)):
            self.pipe.scheduler = scheduler = make()
            with self._watched(scheduler) as last:
                called(self.pipe, {**self.calls[number](), "num_inference_steps": steps})
            if not last:
                raise CalibrationError(f"{type(self.pipe).__name__} never called `step` of its scheduler.")
            ends[number] = last[0].to("cpu", torch.float32)
        return ends

    @contextmanager
    def _watched(self, scheduler: Any) -> Iterator[list[Tensor]]:
        """What the scheduler's last step has given, in a list."""
        step, last = scheduler.step, list[Tensor]()

        @wraps(step)  # pipelines look at its signature
        def watching(*arguments: Any, **named: Any) -> Any:
            result = step(*arguments, **named)
            last[:] = [(result[0] if isinstance(result, tuple) else result.prev_sample).detach()]
            self.asked += len(last[0])
            self.report(len(last[0]))
            return result

        scheduler.step = watching
        try:
            yield last
        finally:
            del scheduler.step


_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
_OUTPUT = ("prediction_type", "thresholding", "dynamic_thresholding_ratio", "sample_max_value")
_EDM = ("sigma_min", "sigma_max", "sigma_data", "num_train_timesteps")
_TRAILING: dict[str, Any] = {"timestep_spacing": "trailing", "final_sigmas_type": "zero"}
_KARRAS: dict[str, Any] = {"use_karras_sigmas": True, "final_sigmas_type": "zero"}


def rivals(config: Mapping[str, Any], kind: str) -> dict[str, Make]:
    """Makers of the schedulers of Diffusers that people would use otherwise, by name.

    Args:
        config: Of the model's own scheduler.
        kind: Of its process, "vp", "flow", "edm" or "ve".
    """
    if kind == "flow":
        return _flow_rivals(config)
    if kind == "edm":
        process = {name: config[name] for name in (*_EDM, *_OUTPUT) if config.get(name) is not None}
        named: dict[str, tuple[str, dict[str, Any]]] = {
            "DPM++ 2M": ("EDMDPMSolverMultistepScheduler", {"solver_order": 2}),
            "Euler": ("EDMEulerScheduler", {}),
        }
    elif kind == "vp":
        process = {name: config[name] for name in (*_BETAS, *_OUTPUT) if config.get(name) is not None}
        named = {
            "DPM++ 2M": ("DPMSolverMultistepScheduler", _TRAILING),
            "DPM++ 2M, Karras": ("DPMSolverMultistepScheduler", _KARRAS),
            "UniPC": ("UniPCMultistepScheduler", _TRAILING),
            "UniPC, Karras": ("UniPCMultistepScheduler", _KARRAS),
            "DDIM": ("DDIMScheduler", {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}),
        }
    else:
        return {}
    return {name: partial(_made, make, process | options) for name, (make, options) in named.items()}


def _flow_rivals(config: Mapping[str, Any]) -> dict[str, Make]:
    """With the model's own shift, be it that of its resolution."""
    shifts = ("use_dynamic_shifting", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len")
    same = {name: config[name] for name in (*shifts, "shift_terminal", "time_shift_type") if name in config}
    train, shift = config.get("num_train_timesteps", 1000), float(config.get("shift", config.get("flow_shift")) or 1.0)
    solver = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}
    solver |= {"num_train_timesteps": train, "final_sigmas_type": "zero"}
    return {
        "FlowEuler": partial(
            _made, "FlowMatchEulerDiscreteScheduler", {"shift": shift, "num_train_timesteps": train, **same}
        ),
        "DPM++ 2M": partial(_made, "DPMSolverMultistepScheduler", solver | same),
        "UniPC": partial(_made, "UniPCMultistepScheduler", solver | same),
    }


def _made(name: str, config: dict[str, Any]) -> Any:
    """A scheduler of Diffusers, imported when it is asked for: some take SciPy along, which takes a second."""
    kind = getattr(diffusers, name)
    known = inspect.signature(kind.__init__).parameters
    return kind.from_config({name: value for name, value in config.items() if name in known})
