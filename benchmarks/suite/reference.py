"""Where a converged run ends: by a solver of Diffusers, checked by another solver on another grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

from diffusers import EDMDPMSolverMultistepScheduler
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.suite.measures import disagreement
from benchmarks.suite.problems import Problem, slug
from benchmarks.suite.samplers import KARRAS, fair
from benchmarks.suite.upstream import FineDPMSolver, FineUniPC
from diffusers_deis_sn import DEISSNScheduler, Multistep, Power

STEPS = (200, 400)  # of the solvers, tried in turn until both agree; of flows only the last
CHECKED = 4  # one in so many samples is also run by the other solver
MOST, NEAR = 20, 0.03  # they agree where they are apart by so little of the yardstick's own error in so many calls
ALLOWED = 0.05  # largest disagreement in terms of the smallest error in a cell: more, and the cell says so
LEVELS = 1000  # training times


@dataclass(frozen=True)
class Reference:
    """Where a converged run ends.

    Args:
        end: (B, *shape) float32.
        disagreement: Geometric mean over some samples of the distance to where the other solver ends.
        calls: Network calls of the first.
    """

    end: Tensor
    disagreement: float
    calls: int


def solvers(problem: Problem, steps: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Makers of the yardstick and of its check.

    DPM++ 3M on Karras' levels for models of betas, the same of EDM, UniPC 3 on a grid shifted to the clean end for
    flows. The check is plain DEIS of order 3 on another grid, not normalised and not corrected. Both make their last
    call at the cleanest training time: a network that was never asked below it may say anything there.

    Args:
        problem: Whose process it is.
        steps: How many there will be, by which grids are bent to end there.
    """
    # Betas have levels below the cleanest, down to t = -1, which are clean data and where t is no good measure.
    cleanest = LEVELS if problem.family == "flow" else 4 * LEVELS
    grid = Power("t", max(1.0, log(cleanest) / log(steps)))
    if problem.family == "edm":
        grid = Power("sigma", 6.0)
        yardstick = fair(EDMDPMSolverMultistepScheduler, problem.config, "edm", solver_order=3)
    elif problem.family == "flow":
        shift = (steps - 1) / (LEVELS - 1)  # s (1 / N) / (1 + (s - 1) / N) = 1 / 1000
        yardstick = fair(FineUniPC, problem.config, "flow", solver_order=3, flow_shift=shift)
    else:
        yardstick = fair(FineDPMSolver, problem.config, problem.family, solver_order=3, **KARRAS)
    return yardstick, lambda: DEISSNScheduler.from_config(problem.config, stats=False, solver=Multistep(3), grid=grid)


def converged(problem: Problem, samples: int, seed: int) -> Reference:
    """A converged run of a problem, with more steps where two solvers do not agree."""
    few = -(-samples // CHECKED)
    coarse = problem.end(solvers(problem, LEVELS)[0](), MOST, few, seed)
    for steps in STEPS[problem.family == "flow" :]:
        yardstick, check = solvers(problem, steps)
        end = problem.end(yardstick(), steps, samples, seed)
        calls = problem.calls
        other = problem.end(check(), steps, few, seed)
        reference = Reference(end, disagreement(end[:few], other), calls)
        if reference.disagreement <= NEAR * disagreement(end[:few], coarse):
            break
    return reference


def kept(problem: Problem, samples: int, seed: int, folder: Path) -> Reference:
    """The same, from `folder` where it was found before."""
    path = folder / f"{slug(problem.name)}-{problem.fingerprint}-{samples}-{seed}.safetensors"
    if path.is_file():
        with safe_open(path, "pt") as file:
            notes: Mapping[str, str] = file.metadata()
            return Reference(file.get_tensor("end"), float(notes["disagreement"]), int(notes["calls"]))
    found = converged(problem, samples, seed)
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    notes = {"disagreement": repr(found.disagreement), "calls": str(found.calls)}
    save_file({"end": found.end.contiguous()}, draft, metadata=notes)
    draft.replace(path)
    return found
