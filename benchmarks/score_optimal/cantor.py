"""A mollified Cantor distribution: linear noise levels merge its eight modes, as many optimised levels do not.

Data: the eight intervals of the Cantor set of depth three, each as a narrow normal distribution about its centre, so
that scores and costs are exact. A mode is a peak of the samples' kernel density that stands out, as its prominence, by
a tenth of the true modes' height. Distances are Wasserstein's, to the true density.

python -m benchmarks.score_optimal.cantor [--output FOLDER]    # FOLDER/cantor.png, FOLDER/cantor.json
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import signal, stats
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from benchmarks.score_optimal.toy_experiment import SAMPLERS, sample, script
from benchmarks.score_optimal.toy_figure import Panel, draw
from diffusers_deis_sn.learn.costs import corrector_cost
from diffusers_deis_sn.learn.search import optimise_schedule

CENTRES = torch.tensor([1, 5, 13, 17, 37, 41, 49, 53], dtype=torch.float64) / 54
WIDTH, KERNEL = 0.005, 0.005
TOP, BOTTOM, STEPS = 1.0, 0.0025, 20
X = torch.linspace(-0.2, 1.2, 1001)


def noised(sigma: float) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(torch.ones(8)), Normal(CENTRES, (WIDTH**2 + sigma**2) ** 0.5))


def epsilon(y: Tensor, sigma: float) -> Tensor:
    variance = WIDTH**2 + sigma**2
    weights = torch.softmax(-((y - CENTRES) ** 2) / (2 * variance), 1)
    return sigma * (y - (weights * CENTRES).sum(1, keepdim=True)) / variance


def costs(levels: np.ndarray) -> np.ndarray:
    """The corrector's cost of each step, its mean over y by quadrature."""
    y = torch.linspace(-7, 8, 8001, dtype=torch.float64)
    means = [noised(a).log_prob(y).softmax(0) @ corrector_cost(epsilon, y[:, None], a, b) for a, b in pairwise(levels)]
    return np.array(means)


def main(output: Path) -> dict[str, Any]:
    log_linear = np.geomspace(TOP, BOTTOM, STEPS + 1)
    optimised = optimise_schedule(costs, log_linear).levels
    grids = {"linear": np.linspace(TOP, BOTTOM, STEPS + 1), "log-linear": log_linear, "optimised": optimised}
    truth = noised((BOTTOM**2 + KERNEL**2) ** 0.5).log_prob(X).exp().numpy()
    prominence = truth.max() / 10
    report: dict[str, Any] = {"steps": STEPS, "true modes": len(signal.find_peaks(truth, prominence=prominence)[0])}
    densities = {sampler: Panel(f"density, {sampler}", "y", truth=(X, truth)) for sampler in SAMPLERS}
    schedules = Panel("noise level σ", "step", {"yscale": "log"})
    steps = Panel("cost of each step", "step", {"yscale": "log"})
    for name, levels in grids.items():
        each = costs(levels)
        report[name] = {
            "path length": sum(each**0.5),
            "path length squared": sum(each**0.5) ** 2,
            "energy": STEPS * sum(each),
            "largest cost / smallest": max(each) / min(each),
        }
        schedules.curves[name] = range(STEPS + 1), levels
        steps.curves[name] = range(1, STEPS + 1), each
        for sampler, langevin in SAMPLERS.items():
            y = sample(epsilon, noised(TOP), levels, langevin)
            density = stats.gaussian_kde(y, KERNEL / y.std(ddof=1))(X)
            modes = len(signal.find_peaks(density, prominence=prominence)[0])
            report[name][sampler] = {"modes": modes, "distance": stats.wasserstein_distance(X, X, density, truth)}
            densities[sampler].curves[name] = X, density
            densities[sampler].notes[name] = f": {modes} modes"
    draw(output / "cantor.png", *densities.values(), schedules, steps)
    return report


if __name__ == "__main__":
    script(main, "cantor", __doc__)
