"""A pretrained flow-matching network with few calls: a class-conditional MNIST transformer, guidance 2, from sigma = 1.

python -m benchmarks.mnist_flow [SHARED]            # writes benchmarks/mnist_flow.md

SHARED is the folder with the network and the tool that loads it, by default ../shared; it is not part of this project.
Statistics are measured first, by `calibrate` on a pipeline around the network, with other noise than is compared.
"""

from __future__ import annotations

import itertools
import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from benchmarks.mnist_network import SHARED, mnist_tool
from benchmarks.places import results
from diffusers_deis_sn import (
    Corrector,
    DEISSNScheduler,
    EqualCost,
    Multistep,
    ScoreOptimalScheduler,
    ScoreStatistics,
    calibrate,
)
from diffusers_deis_sn.learn.following import GAIN, gain_limit

ROOT = Path(__file__).resolve().parent.parent

CALLS, SHIFTS, BATCH, REFERENCE_STEPS, GUIDANCE = (4, 6, 10, 20), (1.0, 3.0), 128, 400, 2.0
FLOW: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


class Digits:
    """A pipeline of the network: labels in turn, classifier-free guidance, velocity from predicted clean pictures."""

    def __init__(self, net: Any, null: int) -> None:
        self.net, self.null = net, null
        self.scheduler: Any = FlowMatchEulerDiscreteScheduler()
        self.config = SimpleNamespace(get=lambda name: "mnist-vit")

    def velocity(self, x: Tensor, t: Any) -> Tensor:
        sigma, labels = float(t) / 1000.0, torch.arange(len(x)) % 10
        time = torch.full((len(x),), 1.0 - sigma)
        one, free = (self.net(x.float(), time, kind) for kind in (labels, torch.full_like(labels, self.null)))
        return (x - (free + GUIDANCE * (one - free)).to(x.dtype)) / sigma

    def run(self, x: Tensor, **plan: Any) -> Tensor:
        self.scheduler.set_timesteps(**plan)
        for t in self.scheduler.timesteps:
            x = self.scheduler.step(self.velocity(x, t), t, x, return_dict=False)[0]
        return x

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: Any = None,
        num_inference_steps: int = 50,
        guidance_scale: float = GUIDANCE,
    ) -> Tensor:
        x = torch.stack([torch.randn(1, 28, 28, generator=one) for one in generator])
        return self.run(x, num_inference_steps=num_inference_steps)


def samplers(shift: float, stats: ScoreStatistics) -> dict[str, Any]:
    """Name -> scheduler and how it is planned for so many calls."""
    flow = FLOW | {"flow_shift": shift}
    corrected = Multistep(2, corrector=Corrector(4, gain_limit(GAIN, GUIDANCE, None)))
    unit = EqualCost(velocity="vp_sigma")
    return {
        "Euler": FlowMatchEulerDiscreteScheduler(shift=shift),
        "Heun (Diffusers)": FlowMatchHeunDiscreteScheduler(shift=shift),
        "DPM++ 2M": DPMSolverMultistepScheduler(**flow),
        "UniPC": UniPCMultistepScheduler(**flow),
        "plain DEIS": DEISSNScheduler(**flow, recipe="fixed"),
        "plain DEIS, corrected": DEISSNScheduler(**flow, solver=corrected),
        "DEIS-SN": DEISSNScheduler(**flow, stats=stats),
        "DEIS-SN, learned times": ScoreOptimalScheduler(**flow, stats=stats),
        "DEIS-SN, learned times, v = vp_sigma": ScoreOptimalScheduler(**flow, stats=stats, grid=unit),
    }


def plan(scheduler: Any, calls: int) -> dict[str, Any]:
    """The grid that flow pipelines pass; learned times make their own, and Diffusers' DPM++ and Heun take none."""
    if isinstance(scheduler, ScoreOptimalScheduler | DPMSolverMultistepScheduler):
        return {"num_inference_steps": calls}
    if isinstance(scheduler, FlowMatchHeunDiscreteScheduler):
        return {"num_inference_steps": calls // 2 + 1}  # its last step is one call
    return {"sigmas": np.linspace(1.0, 1.0 / calls, calls)}


def fine(pipe: Digits, x: Tensor, start: float, end: float, steps: int = 60) -> Tensor:
    """The flow from one sigma to another, to zero by one last step from 1 / 300: Heun's method on the velocity."""
    last = max(end, 1.0 / 300.0)
    grid = np.linspace(start, last, steps + 1)
    for a, b in itertools.pairwise(grid):
        v = pipe.velocity(x, 1000.0 * a)
        x = x + 0.5 * (b - a) * (v + pipe.velocity(x + (b - a) * v, 1000.0 * b))
    return x if end else x - last * pipe.velocity(x, 1000.0 * last)


def made_in_each_step(pipe: Digits, noise: Tensor, calls: int) -> list[float]:
    """RMS error of a run that is exact but for one Euler step, for each of them."""
    grid = np.append(np.linspace(1.0, 1.0 / calls, calls), 0.0)
    path = [noise]
    for a, b in itertools.pairwise(grid):
        path.append(fine(pipe, path[-1], a, b))
    errors = []
    for k, (a, b) in enumerate(itertools.pairwise(grid)):
        x = path[k] + (b - a) * pipe.velocity(path[k], 1000.0 * a)
        for c, d in zip(grid[k + 1 : -1], grid[k + 2 :], strict=True):
            x = fine(pipe, x, c, d)
        errors.append((x - path[-1]).square().mean().sqrt().item())
    return errors


def main() -> None:
    tool = mnist_tool(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_grad_enabled(False)
    pipe = Digits(tool.load_mnist_vit(), tool.NULL_CLASS)
    stats = calibrate(pipe, num_samples=64, batch_size=64, seed=10_000, costs=("corrector",), progress=False)
    noise = torch.randn(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pipe.scheduler = DEISSNScheduler(**FLOW, solver_order=3)
    truth = pipe.run(noise, num_inference_steps=REFERENCE_STEPS)
    head = [f"shift {shift:g}, {calls} calls" for shift in SHIFTS for calls in CALLS]
    lines = ["| solver | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    rows: dict[str, list[float]] = {}
    for shift in SHIFTS:
        for name, scheduler in samplers(shift, stats).items():
            for calls in CALLS:
                pipe.scheduler = scheduler
                error = (pipe.run(noise, **plan(scheduler, calls)) - truth).square().mean().sqrt()
                rows.setdefault(name, []).append(error.item())
    best = np.min(list(rows.values()), axis=0)
    for name, errors in rows.items():
        cells = [f"**{e:.3f}**" if e == b else f"{e:.3f}" for e, b in zip(errors, best, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    note = (
        f"RMS distance of {BATCH} pictures of deviation {truth.std():.2f} to the converged run ({REFERENCE_STEPS} "
        f"steps), guidance {GUIDANCE:g}. Heun makes one call more. Statistics of 64 other samples."
    )
    parts = ", ".join(f"{error:.3f}" for error in made_in_each_step(pipe, noise[:64], 6))
    budget = (
        f"Where Euler's error comes from: runs of 6 calls that are exact but for one of their steps, in order: {parts}."
    )
    text = "\n".join([*lines, "", note, budget, ""])
    results("mnist_flow.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
