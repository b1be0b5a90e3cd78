"""Predictor, corrector and data form on a pretrained network: a class-conditional MNIST transformer, guidance 1.

python -m benchmarks.mnist_vit [SHARED]            # writes benchmarks/mnist_vit.md

SHARED is the folder with the network and the tool that loads it, by default ../shared; it is not part of this project.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from benchmarks.mnist_network import SHARED, mnist_tool
from benchmarks.places import results
from diffusers_deis_sn import Corrector, DEISSNScheduler, Multistep, Power
from diffusers_deis_sn.learn.following import GAIN

ROOT = Path(__file__).resolve().parent.parent

CALLS, SEEDS, BATCH, REFERENCE_STEPS = (5, 8, 10), (1, 2, 3), 64, 300
SQUARES = Power("t", 2.0)


def samplers() -> dict[str, Any]:
    """Name -> scheduler; DDPM's betas are the default of all."""
    return {
        "DPM++ 2M, trailing": DPMSolverMultistepScheduler(timestep_spacing="trailing"),
        "DPM++ 2M, Karras": DPMSolverMultistepScheduler(use_karras_sigmas=True),
        "UniPC, trailing": UniPCMultistepScheduler(timestep_spacing="trailing"),
        "UniPC, Karras": UniPCMultistepScheduler(use_karras_sigmas=True),
        "tAB 2, trailing": DEISSNScheduler(recipe="fixed"),
        "tAB 3, t^2 grid": DEISSNScheduler(solver_order=3, lower_order_final=False, grid=SQUARES),
        "tAB 2 + 4, trailing": DEISSNScheduler(solver=Multistep(2, corrector=Corrector(4, GAIN / 2))),
        "tAB 2 + 4, t^1.5 grid": DEISSNScheduler(solver=Multistep(2, corrector=Corrector(4)), grid=Power("t", 1.5)),
        "tAB 2 + 4, t^2.5 grid": DEISSNScheduler(solver=Multistep(2, corrector=Corrector(4)), grid=Power("t", 2.5)),
        "tAB 3 of x0, t^2 grid": DEISSNScheduler(solver=Multistep(3, of="data", lower_order_final=False), grid=SQUARES),
        "tAB 3 + 3 of x0, t^2 grid": DEISSNScheduler(
            solver=Multistep(3, of="data", corrector=Corrector(3), lower_order_final=False), grid=SQUARES
        ),
    }


def run(scheduler: Any, model: Any, noise: Tensor, calls: int) -> Tensor:
    """The loop of a pipeline, in float64 but for the network."""
    scheduler.set_timesteps(calls)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, float(t)), t, x, return_dict=False)[0]
    return x


def main() -> None:
    tool = mnist_tool(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)

    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    alphas_cumprod = torch.cumprod(1.0 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    model = tool.EpsilonView(tool.load_mnist_vit(), alphas_cumprod, torch.arange(BATCH) % 10)
    square = {(name, n): 0.0 for name in samplers() for n in CALLS}
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(BATCH, 1, 28, 28, generator=generator, dtype=torch.float64)
        reference = run(DEISSNScheduler(grid=SQUARES), model, noise, REFERENCE_STEPS)
        for name, n in square:
            square[name, n] += (run(samplers()[name], model, noise, n) - reference).square().mean().item() / len(SEEDS)
    error = {key: value**0.5 for key, value in square.items()}
    best = {n: min(error[name, n] for name in samplers()) for n in CALLS}
    lines = ["| sampler | " + " | ".join(f"{n} calls" for n in CALLS) + " |", "|---" * (len(CALLS) + 1) + "|"]
    for name in samplers():
        cells = [f"**{error[name, n]:.4f}**" if error[name, n] == best[n] else f"{error[name, n]:.4f}" for n in CALLS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"RMS distance to a {REFERENCE_STEPS}-step run, {BATCH * len(SEEDS)} samples; no statistics; to sigma zero.",
    ]
    results("mnist_vit.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
