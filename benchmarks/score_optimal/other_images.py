"""Why `trailing` wins on the mixture: samples that end in another image: benchmarks/score_optimal/other_images.md."""

from __future__ import annotations

import logging

import torch

from benchmarks.family.run import MixtureProblem
from benchmarks.places import results
from benchmarks.score_optimal.learned_grids import LEARNED, NAMED
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler

STEPS = (5, 10, 20, 30)
GRIDS = ("trailing", "rho = 7", *LEARNED)
SAMPLES = 128


def main() -> None:
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    torch.manual_seed(0)
    problem = MixtureProblem(SAMPLES, costs=True)
    nearest = torch.cdist(problem.reference, problem.mixture.centres).argmin(1)
    lines = ["| mixture | " + " | ".join(f"{n} steps" for n in STEPS) + " |", "|---" * (len(STEPS) + 1) + "|"]
    for grid in GRIDS:
        kind, cells = ScoreOptimalScheduler if grid in LEARNED else DEISSNScheduler, []
        for steps in STEPS:
            options = (NAMED | LEARNED)[grid] | {"guidance_scale": 1.0, "stats": problem.statistics}
            end = problem.end(kind.from_config(problem.config, **options), steps)
            other = torch.cdist(end, problem.mixture.centres).argmin(1) != nearest
            rest = (end - problem.reference)[~other].square().mean().sqrt()
            cells.append(f"{int(other.sum())} · {rest:.4f}")
        lines.append(f"| {grid} | " + " | ".join(cells) + " |")
    lines += ["", f"Of {SAMPLES} samples, those that end in another image · RMS distance of the rest."]
    results("score_optimal", "other_images.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
