"""Every scheduler class of the installed Diffusers, read from its source, and what is judged of it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import diffusers

# The process of their networks, which is ours.
TAKEN = {
    "DDIMParallelScheduler": "vp",
    "DDIMScheduler": "vp",
    "DDPMParallelScheduler": "vp",
    "DDPMScheduler": "vp",
    "DEISMultistepScheduler": "vp",
    "DPMSolverMultistepScheduler": "vp",
    "DPMSolverSDEScheduler": "vp",
    "DPMSolverSinglestepScheduler": "vp",
    "EDMDPMSolverMultistepScheduler": "edm",
    "EDMEulerScheduler": "edm",
    "EulerAncestralDiscreteScheduler": "vp",
    "EulerDiscreteScheduler": "vp",
    "FlowMatchEulerDiscreteScheduler": "flow",
    "FlowMatchHeunDiscreteScheduler": "flow",
    "HeunDiscreteScheduler": "vp",
    "KDPM2AncestralDiscreteScheduler": "vp",
    "KDPM2DiscreteScheduler": "vp",
    "LMSDiscreteScheduler": "vp",
    "PNDMScheduler": "vp",
    "RePaintScheduler": "vp",
    "SASolverScheduler": "vp",
    "UnCLIPScheduler": "vp",
    "UniPCMultistepScheduler": "vp",
}
# What stands in the message; with a star where a config in memory, without a name, says nothing of its class.
REFUSED = {
    "AmusedScheduler": "tokens",
    "BlockRefinementScheduler": "tokens",
    "CMStochasticIterativeScheduler": "consistency",
    "ConsistencyDecoderScheduler": "consistency*",  # has no options but its own levels
    "CosineDPMSolverMultistepScheduler": "not supported",
    "DDIMInverseScheduler": "from data to noise",
    "DDPMWuerstchenScheduler": "not supported",
    "DPMSolverMultistepInverseScheduler": "from data to noise",
    "DiscreteDDIMScheduler": "tokens",
    "EntropyBoundScheduler": "tokens",
    "FlowMapEulerDiscreteScheduler": "leap*",  # the options of Heun's for flow matching
    "FlowMatchLCMScheduler": "consistency",
    "HeliosDMDScheduler": "not supported",
    "HeliosScheduler": "not supported",
    "IPNDMScheduler": "not supported",
    "KarrasVeScheduler": "not supported",
    "LCMScheduler": "consistency",
    "LTXEulerAncestralRFScheduler": "not supported",
    "MiniMaxH3Scheduler": "velocity towards the data*",  # has a shift alone
    "PiflowScheduler": "leap",
    "RFD4ProteinaScheduler": "velocity towards the data",
    "SCMScheduler": "consistency",
    "ScoreSdeVeScheduler": "not supported",
    "ScoreSdeVpScheduler": "not supported",
    "TCDScheduler": "consistency",
    "VQDiffusionScheduler": "tokens",
}
# Judged by tests of their own.
ELSEWHERE = {"CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"}


@functools.cache
def classes() -> dict[str, dict[str, Any]]:
    """The scheduler classes in Diffusers' source, whatever they need to be imported, and configs of their defaults."""
    found = {}
    for path in sorted((Path(diffusers.__file__).parent / "schedulers").rglob("*.py")):
        for one in ast.walk(ast.parse(path.read_text())):
            if isinstance(one, ast.ClassDef) and "SchedulerMixin" in {ast.unparse(base) for base in one.bases}:
                found[one.name] = default_config(one)
    return found


def default_config(one: ast.ClassDef) -> dict[str, Any]:
    for function in one.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            names = [argument.arg for argument in function.args.args[1:]]
            values = [eval(ast.unparse(value), {"math": __import__("math")}) for value in function.args.defaults]
            return dict(zip(names, [*[None] * (len(names) - len(values)), *values], strict=True))
    return {}
