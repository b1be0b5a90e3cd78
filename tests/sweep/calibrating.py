"""Measures a tiny pipeline as its users do, and runs it with what was measured."""

from __future__ import annotations

from typing import Any

import torch

from diffusers_deis_sn import DEISSNScheduler, calibrate
from diffusers_deis_sn.errors import CalibrationError

from .building import patched
from .measuring import STEPS, Room

FEW: dict[str, Any] = {"num_samples": 2, "num_inference_steps": STEPS, "batch_size": 2, "trials": 0, "progress": False}
OURS = ("prompt", "num_inference_steps", "generator", "batch_size")


def fault(room: Room) -> str:
    """Why a pipeline cannot be measured, or what is wrong with a run on what was; nothing if all is right."""
    room.pipe.scheduler = own = room.own["scheduler"]
    if room.options:  # which its users choose for the scheduler that is measured through as well
        room.pipe.scheduler = DEISSNScheduler.from_config(own.config, stats=False, **room.options)
    given = {name: value for name, value in room.arguments.items() if name not in OURS}
    torch.manual_seed(0)
    try:
        with patched(type(room.pipe)):
            statistics = calibrate(room.pipe, room.arguments.get("prompt"), **FEW, **given)
    except CalibrationError as error:
        return str(error)
    finite = all(bool(part.isfinite().all()) for part in room.run(room.ours(DEISSNScheduler, stats=statistics)))
    return "" if finite else "a run with what was measured is not finite"
