"""Who takes part: the samplers of Diffusers, each at its own published ends and grids, and ours.

for name, sampler in rivals(config, family).items():
scheduler = sampler()                      # made anew, from the model's own process
end = problem.end(scheduler, sampler.steps(calls), samples, seed)
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

from benchmarks.suite.upstream import (
    Deis,
    DeisToZero,
    DPMSolver,
    EdmHeun,
    EdmIpndm,
    Euler,
    FlowEuler,
    FlowHeun,
    Heun,
    Ipndm,
    SASolver,
    SASolverToZero,
    UniPC,
)
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics

FAMILIES = ("vp", "v", "flow", "edm")
BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
OUTPUT = ("prediction_type", "thresholding", "dynamic_thresholding_ratio", "sample_max_value")
EDM = ("sigma_min", "sigma_max", "sigma_data")

TRAILING = {"timestep_spacing": "trailing"}
ZERO = TRAILING | {"final_sigmas_type": "zero"}
SHORT = TRAILING | {"final_sigmas_type": "sigma_min"}
KARRAS = {"use_karras_sigmas": True, "final_sigmas_type": "zero"}
LU = {"use_lu_lambdas": True, "final_sigmas_type": "zero"}
EXPONENTIAL = {"use_exponential_sigmas": True, "final_sigmas_type": "zero"}
BETA = {"use_beta_sigmas": True, "final_sigmas_type": "zero"}

OURS, PLAIN, LEARNED, FIXED = "DEIS-SN", "DEIS", "ScoreOptimal", "DEIS-SN, trailing"
TUNED = "DEIS-SN, tuned"  # run by `benchmarks.tuning`

Recipe = tuple[str, type, dict[str, Any]]


@dataclass(frozen=True)
class Sampler:
    """A name, and how to make the scheduler.

    Args:
        name: As in tables.
        make: A new scheduler.
        stages: Network calls of a step; of two stages the last step takes one.
        recipe: What the scheduler is made of, in words: rows of another recipe are measured again.
    """

    name: str
    make: Callable[[], Any] = field(compare=False)
    stages: int = 1
    recipe: str = ""

    def __call__(self) -> Any:
        return self.make()

    def steps(self, calls: int) -> int:
        """The largest number of steps that takes no more than so many calls."""
        return calls if self.stages == 1 else (calls + 1) // 2

    def calls(self, calls: int) -> int:
        """How many network calls those steps take: one fewer than asked for where two stages do not fit."""
        return calls if self.stages == 1 else 2 * self.steps(calls) - 1


def family_of(scheduler: Any) -> str:
    """Which of `FAMILIES` the model belongs to whose own scheduler this is."""
    name, config = type(scheduler).__name__, scheduler.config
    if (
        name.startswith("FlowMatch")
        or config.get("use_flow_sigmas")
        or config.get("prediction_type") == "flow_prediction"
    ):
        return "flow"
    if name.startswith("EDM") or config.get("sigma_data") is not None:
        return "edm"
    return "v" if config.get("prediction_type") == "v_prediction" else "vp"


def rivals(config: Mapping[str, Any], family: str, guided: bool = False) -> dict[str, Sampler]:
    """The samplers of Diffusers for a model, by name.

    Args:
        config: Of the model's own scheduler; its process and what its network predicts are taken over, nothing else.
        family: One of `FAMILIES`.
        guided: UniPC's authors advise order 3 without guidance only.
    """
    process = _process(config, family)
    return {recipe[0]: _sampler(recipe, process) for recipe in recipes_of(config, family, guided)}


def recipes_of(config: Mapping[str, Any], family: str, guided: bool = False) -> Iterator[Recipe]:
    """Their names, classes and options; arguments are those of `rivals`."""
    return {"vp": _betas, "v": _betas, "flow": _flows, "edm": _edm}[family](config, guided)


def ours(config: Any, statistics: ScoreStatistics | None, **options: Any) -> dict[str, Sampler]:
    """Ours by name: with what was measured, without, and on learned times where the statistics have costs.

    Args:
        config: Of the model's own scheduler.
        statistics: Of `calibrate`.
        **options: For research: options of our schedulers, given to each of the three.
    """
    entrants: dict[str, Callable[[], Any]] = {
        PLAIN: partial(DEISSNScheduler.from_config, config, stats=False, **options)
    }
    if statistics is not None:
        entrants[OURS] = partial(DEISSNScheduler.from_config, config, stats=statistics, **options)
        fixed = {"recipe": "fixed", "timestep_spacing": "trailing", **options}
        entrants[FIXED] = partial(DEISSNScheduler.from_config, config, stats=statistics, **fixed)
        if statistics.costs:
            entrants[LEARNED] = partial(ScoreOptimalScheduler.from_config, config, stats=statistics, **options)
    return {name: Sampler(name, make, recipe=repr(sorted(options.items()))) for name, make in entrants.items()}


def fair(kind: Any, config: Mapping[str, Any], family: str, **options: Any) -> Callable[[], Any]:
    """Makes a scheduler of one of Diffusers' classes, or of `upstream`, for a model's process."""
    return partial(_make, kind, _process(config, family), options)


# ------------------------------------------------------------------------------------------------------------ recipes


def _betas(config: Mapping[str, Any], guided: bool) -> Iterator[Recipe]:
    """For models of betas, whatever they predict."""
    # DPM++ of order 1 is DDIM. `DDIMScheduler` itself steps by T // N: at 15 steps it leaves its own grid.
    yield "DDIM", DPMSolver, {"solver_order": 1} | ZERO
    yield "DDIM, to t = 0", DPMSolver, {"solver_order": 1} | SHORT
    # On trailing times Euler is DDIM. What "linspace" does is within a hundredth of trailing for every solver.
    yield "Euler, Karras", Euler, {"use_karras_sigmas": True}
    yield "Heun", Heun, TRAILING
    yield "Heun, Karras", Heun, {"use_karras_sigmas": True}
    yield "DEIS 2", DeisToZero, {"solver_order": 2} | TRAILING
    yield "DEIS 2, Karras", DeisToZero, {"solver_order": 2, "use_karras_sigmas": True}
    for order in (2, 3):
        yield f"DEIS {order}, to t = 0", Deis, {"solver_order": order} | TRAILING
    yield "iPNDM", Ipndm, TRAILING
    yield "iPNDM, Karras", Ipndm, {"use_karras_sigmas": True}
    grids = {"": ZERO, ", to t = 0": SHORT, ", Karras": KARRAS}
    for grid, options in (grids | {", Lu": LU, ", exponential": EXPONENTIAL, ", beta": BETA}).items():
        yield f"DPM++ 2M{grid}", DPMSolver, {"solver_order": 2} | options
    yield "DPM++ 3M, to t = 0", DPMSolver, {"solver_order": 3} | SHORT
    yield "DPM++ 3M, Karras", DPMSolver, {"solver_order": 3} | KARRAS
    for order in (2,) if guided else (2, 3):
        for grid, options in grids.items():
            yield f"UniPC {order}{grid}", UniPC, {"solver_order": order} | options
    yield "SA-Solver, to t = 0", SASolver, TRAILING
    yield "SA-Solver, Karras", SASolverToZero, {"use_karras_sigmas": True}


def _flows(config: Mapping[str, Any], guided: bool) -> Iterator[Recipe]:
    """For flow-matching models: shifts 1, 3 and the model's own."""
    own = float(config.get("shift", config.get("flow_shift", 1.0)) or 1.0)
    yield "FlowEuler, own grid", FlowMatchEulerDiscreteScheduler, {"shift": own}
    yield "FlowEuler, beta", FlowMatchEulerDiscreteScheduler, {"shift": own, "use_beta_sigmas": True}
    for shift in dict.fromkeys((1.0, 3.0, own)):
        by = f", shift {shift:g}"
        yield f"FlowEuler{by}", FlowEuler, {"shift": shift}
        yield f"FlowHeun{by}", FlowHeun, {"shift": shift}
        flow = {"flow_shift": shift}
        yield f"DPM++ 2M{by}", DPMSolver, {"solver_order": 2, "final_sigmas_type": "zero"} | flow
        yield f"DPM++ 3M{by}", DPMSolver, {"solver_order": 3, "final_sigmas_type": "zero"} | flow
        for order in (2,) if guided else (2, 3):
            yield f"UniPC {order}{by}", UniPC, {"solver_order": order, "final_sigmas_type": "zero"} | flow
        yield f"DEIS 2{by}", DeisToZero, {"solver_order": 2} | flow
        yield f"SA-Solver{by}", SASolverToZero, flow
    yield "DEIS 3, shift 1", DeisToZero, {"solver_order": 3, "flow_shift": 1.0}
    yield "UniPC 2, Karras", UniPC, {"solver_order": 2} | KARRAS


def _edm(config: Mapping[str, Any], guided: bool) -> Iterator[Recipe]:
    """For models conditioned on sigma as in EDM: rho = 7 and exponential grids, both to zero."""
    for schedule in ("karras", "exponential"):
        grid = {"sigma_schedule": schedule, "rho": 7.0}
        by = "" if schedule == "karras" else ", exponential"
        yield f"EDMEuler{by}", EDMEulerScheduler, grid
        yield f"EDM Heun{by}", EdmHeun, grid
        yield f"EDM iPNDM{by}", EdmIpndm, grid
        for order in (2, 3):
            yield f"EDM DPM++ {order}M{by}", EDMDPMSolverMultistepScheduler, {"solver_order": order} | grid


def _sampler(recipe: Recipe, process: dict[str, Any]) -> Sampler:
    name, kind, options = recipe
    stages = 2 if "Heun" in name else 1
    words = f"{kind.__name__} {sorted(options.items())} {hashlib.sha256(repr(process).encode()).hexdigest()[:8]}"
    return Sampler(name, partial(_make, kind, process, options), stages, words)


def _make(kind: Any, process: dict[str, Any], options: dict[str, Any]) -> Any:
    if kind is Ipndm:
        return Ipndm.on(process, **options)
    known = inspect.signature(kind.__init__).parameters
    if process.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in known:
        process = process | {"trained_betas": _zero_terminal(process)}
    return kind.from_config({name: value for name, value in process.items() if name in known}, **options)


def _process(config: Mapping[str, Any], family: str) -> dict[str, Any]:
    """What a rival is told of the model: the process and the prediction, none of another scheduler's habits."""
    if family == "flow":
        train = config.get("num_train_timesteps", 1000)
        return {"num_train_timesteps": train, "use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    keys = EDM + OUTPUT if family == "edm" else BETAS + OUTPUT
    return {key: config[key] for key in keys if config.get(key) is not None}


def _zero_terminal(process: dict[str, Any]) -> list[float]:
    """Betas of zero terminal signal, as Diffusers rescales them, for the classes that do not."""
    kept = DPMSolver.from_config(process).alphas_cumprod.double()
    before = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
    return (1.0 - kept / before).tolist()
