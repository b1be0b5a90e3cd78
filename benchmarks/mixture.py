"""Plain DEIS and DEIS-SN, order 3, on an exact mixture around scikit-learn's 1797 digits: benchmarks/mixture.md."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.maths.normaliser import Normaliser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from oracles import SD_BETAS, digits_mixture, rms, sample, start_noise  # noqa: E402  (the tests' closed forms)

STEPS = (5, 10, 20)


class Measured(DEISSNScheduler):
    """The scheduler with a normaliser given directly."""

    table = Normaliser.flat()

    @property
    def normaliser(self) -> Normaliser:
        return self.table


def main() -> None:
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    epsilon, times, values = digits_mixture().epsilon, [], []
    scheduler, x = DEISSNScheduler(**SD_BETAS), start_noise(48, seed=5)
    scheduler.set_timesteps(200)
    for t in scheduler.timesteps:
        output = epsilon(x, float(t))
        times.append(float(t))
        values.append(output.abs().mean().item())
        x = scheduler.step(output, t, x, return_dict=False)[0]
    noise = start_noise(48)
    exact = sample(DEISSNScheduler(**SD_BETAS), epsilon, noise, 400)
    lines = ["| order 3, trailing | " + " | ".join(f"{n} steps" for n in STEPS) + " |", "|---" * (len(STEPS) + 1) + "|"]
    for name, table in {
        "plain DEIS": Normaliser.flat(),
        "DEIS-SN": Normaliser(np.array(times[::-1]), np.array(values[::-1])),
    }.items():
        cells = []
        for number in STEPS:
            run = Measured(**SD_BETAS, solver_order=3, lower_order_final=False)
            run.table = table
            cells.append(f"{rms(sample(run, epsilon, noise, number), exact):.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "RMS distance of 48 samples to a 400-step run; full order to the end, as in the papers."]
    (ROOT / "benchmarks/mixture.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
