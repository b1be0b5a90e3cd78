"""What some options may be, as the command line shows it; the library's own lists of names are the law."""

from __future__ import annotations

from enum import Enum


class Precision(str, Enum):
    """Precision a network can be run in."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class Offload(str, Enum):
    """What waits in the memory of the CPU while it is not at work: whole networks, or single layers."""

    model = "model"
    sequential = "sequential"


class Cost(str, Enum):
    """Costs that time grids are learned from."""

    corrector = "corrector"
    predictor = "predictor"
    solver = "solver"


class Probed(str, Enum):
    """Costs that take network calls of their own to measure."""

    corrector = "corrector"
    predictor = "predictor"


class Velocity(str, Enum):
    """v(sigma) of the costs."""

    sigma = "sigma"
    vp_sigma = "vp_sigma"
    unit = "unit"


class Form(str, Enum):
    """Programs that take a list of sigmas or times."""

    diffusers = "diffusers"
    comfyui = "comfyui"
    a1111 = "a1111"
    json = "json"
    csv = "csv"


class Picture(str, Enum):
    """Figures that can be drawn."""

    normaliser = "normaliser"
    schedule = "schedule"
