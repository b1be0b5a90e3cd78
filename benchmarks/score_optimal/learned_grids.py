"""Learned time grids against Karras' rho = 3, 7, 100 and log-linear: an exact mixture, and the shipped pipeline.

    python -m benchmarks.score_optimal.learned_grids        # both problems, an hour or more: benchmarks/score_optimal

Same solver (DEIS-SN's defaults, one call a step), start noise and end; only the times differ. Measured are the RMS
distance to a fine run, and the Frechet distance of Gaussians fitted to features: of the shipped classifier's last layer
for the pipeline, of the samples themselves for the mixture, both against the fine run's.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch

from benchmarks.exact.runs import rms
from benchmarks.family.run import MixtureProblem, PipelineProblem
from benchmarks.places import results
from benchmarks.score_optimal.learned_grids_figure import draw, table
from diffusers_deis_sn import DEISSNScheduler, EqualCost, Power, ScoreOptimalScheduler

STEPS = (5, 10, 20, 30, 50, 100)
NAMED = {"trailing": {"timestep_spacing": "trailing"}, "log-linear": {"use_exponential_sigmas": True}} | {
    f"rho = {k}": {"grid": Power("sigma", float(k))} for k in (3, 7, 100)
}
LEARNED = {f"learned, {cost}": {"grid": EqualCost(cost)} for cost in ("corrector", "predictor")}


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features; (B, D) each."""
    (m, c), (n, d) = ((x.double().mean(0).numpy(), np.cov(x.double().numpy().T)) for x in (a, b))
    shared = np.sqrt(np.linalg.eigvals(c @ d).real.clip(0.0)).sum()
    return max(float(np.sum((m - n) ** 2) + np.trace(c + d) - 2.0 * shared), 0.0)


def measure(name: str, problem: object) -> list[dict]:
    """RMS and Frechet distance of every grid at every number of steps."""
    rows, reference = [], problem.features(problem.reference)
    for grid, options in (NAMED | LEARNED).items():
        kind = ScoreOptimalScheduler if grid in LEARNED else DEISSNScheduler
        for steps in STEPS:
            scheduler = kind.from_config(
                problem.config, stats=problem.statistics, guidance_scale=problem.guidance, **options
            )
            end = problem.end(scheduler, steps)
            row = {"problem": name, "grid": grid, "steps": steps, "rms": rms(end, problem.reference)}
            rows.append(
                row | {"frechet": frechet(problem.features(end), reference), "times": scheduler.timesteps.tolist()}
            )
            print(f"{name}, {grid}, {steps} steps: RMS {row['rms']:.4f}, Frechet {rows[-1]['frechet']:.4g}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["mixture", "pipeline"])
    parser.add_argument("--draw-only", action="store_true", help="draw what was measured before")
    parser.add_argument("--output", type=Path, default=results("score_optimal"))
    arguments = parser.parse_args()
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    arguments.output.mkdir(parents=True, exist_ok=True)
    make = {"mixture": lambda: MixtureProblem(256, costs=True), "pipeline": lambda: PipelineProblem(3.0, 128)}
    for name in [] if arguments.draw_only else arguments.problems:
        rows = measure(name, make[name]())
        (arguments.output / f"{name}.json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    files = [arguments.output / f"{name}.json" for name in make]
    rows = [row for file in files if file.exists() for row in json.loads(file.read_text())]
    draw(rows, arguments.output / "learned_grids.png")
    (arguments.output / "learned_grids.md").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
