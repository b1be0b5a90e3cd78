"""Algorithm 2 at work: networks trained on a schedule that adapts to them, and on two that do not.

    python -m benchmarks.adaptive.train            # about eight minutes on one core: benchmarks/adaptive
    python -m benchmarks.adaptive.train --quick    # seconds: that it runs

Data: a bimodal normal distribution on the line, and scikit-learn's 8x8 digits with some noise. Both are mixtures whose
score and density are known. The same small network is trained at 100 noise levels: linear, log-linear, and adaptive,
which begins linear and is moved to equal corrector's costs of the network in training (arXiv 2412.07877).

Score error: int E |eps - exact eps|^2 d log sigma; it bounds the divergence between data and the reverse SDE, in nats.
Likelihood: of the probability-flow ODE of the trained network, a hundred midpoint steps whatever the schedule, with
Hutchinson's divergence by random signs, which is exact on the line. Its gap to the true log density is a divergence.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import places
from benchmarks.adaptive.figure import draw, table
from diffusers_deis_sn import __version__
from diffusers_deis_sn.learn.adaptive import AdaptiveSchedule
from diffusers_deis_sn.learn.costs import Epsilon, corrector_cost, schedule_costs
from diffusers_deis_sn.learn.path import SchedulePath

SCHEDULES: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "linear": np.linspace,
    "log-linear": np.geomspace,
    "adaptive": np.linspace,  # where it begins
}
GAMMA, MIN_VISITS = 0.05, 24
BATCH, MEASURED = 256, 128  # samples to train on, and of these to measure costs on


@dataclass(frozen=True, eq=False)
class Problem:
    """Data: normal bumps of width `bandwidth` around each row of `centres`, (M, d); and how a network is trained on it.

    The network has three layers of `width`, and `gain` times y / sqrt(1 + sigma^2) for input. It is judged by `drawn`
    fresh samples, and some around `held_out` other centres, (K, d), K >= 0.
    """

    name: str
    centres: Tensor
    bandwidth: float
    top: float
    bottom: float
    width: int
    gain: float
    rate: float
    steps: int
    drawn: int
    held_out: Tensor
    intervals: int = 100

    def draw(self, number: int, generator: torch.Generator, centres: Tensor | None = None) -> Tensor:
        """Clean samples, around random centres or the ones given."""
        if centres is None:
            centres = self.centres[torch.randint(len(self.centres), (number,), generator=generator)]
        return centres + self.bandwidth * torch.randn(centres.shape, generator=generator)

    def epsilon(self, y: Tensor, sigma: Any) -> Tensor:
        """Exact: eps = sigma (y - E[centre | y]) / (h^2 + sigma^2)."""
        variance = self.bandwidth**2 + sigma**2
        weights = torch.softmax(-self._distances(y) / (2.0 * variance), 1)
        return (sigma * (y.double() - weights @ self.centres.double()) / variance).to(y)

    def log_density(self, y: Tensor, sigma: float) -> Tensor:
        """Of y at a level; (B,)."""
        variance = self.bandwidth**2 + sigma**2
        bumps = -self._distances(y) / (2.0 * variance) - math.log(len(self.centres))
        return torch.logsumexp(bumps, 1) - 0.5 * y.shape[1] * math.log(2.0 * math.pi * variance)

    def _distances(self, y: Tensor) -> Tensor:
        """Squares of those to all centres, in float64; (B, M)."""
        y, centres = y.double(), self.centres.double()
        return y.square().sum(1, keepdim=True) - 2.0 * y @ centres.T + centres.square().sum(1)


def problems(quick: bool) -> list[Problem]:
    from sklearn.datasets import load_digits

    nothing, two = torch.zeros(0, 1), torch.tensor([[-1.0], [1.0]])
    shuffled = torch.randperm(1797, generator=torch.Generator().manual_seed(5))
    images = torch.from_numpy(load_digits().data).float()[shuffled] / 8.0 - 1.0
    seen, unseen = images[:1500], images[1500:]
    found = [
        Problem("bimodal", two, 0.1, 10.0, 0.02, 64, 4.0, 2e-3, 3000, 4096, nothing),
        Problem("digits", seen, 0.2, 20.0, 0.05, 256, 1.0, 1e-3, 2500, 512, unseen),
    ]
    short = {"width": 32, "steps": 150, "drawn": 48, "intervals": 20}
    return [replace(problem, held_out=problem.held_out[:16], **short) for problem in found] if quick else found


class Network(nn.Module):
    """eps(y, sigma) = sigma y / (1 + sigma^2) - F(y, sigma) / sqrt(1 + sigma^2), with three layers for F."""

    def __init__(self, dimension: int, width: int, gain: float) -> None:
        """F is zero: eps is that of normal data of variance one."""
        super().__init__()
        self.gain = gain
        self.register_buffer("frequencies", torch.linspace(0.2, 2.0, 8))
        sizes = [dimension + 16, width, width, width]
        layers = [layer for k in range(3) for layer in (nn.Linear(sizes[k], sizes[k + 1]), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimension))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, y: Tensor, sigma: Any) -> Tensor:
        """Y: (B, d); sigma: a number, or (B, 1)."""
        level = torch.as_tensor(sigma, dtype=y.dtype).expand(len(y), 1)
        norm = torch.sqrt(1.0 + level**2)
        phase = torch.log(level) * self.frequencies
        f = self.layers(torch.cat([self.gain * y / norm, torch.sin(phase), torch.cos(phase)], 1))
        return level * y / norm**2 - f / norm


# ------------------------------------------------------------------------------------------------------------ training


def train(problem: Problem, name: str, seed: int) -> tuple[Network, AdaptiveSchedule, list[dict[str, Any]]]:
    """A network, its schedule at the end, and each estimate of costs on the way; a fixed schedule is only measured."""
    torch.manual_seed(seed)
    network = Network(problem.centres.shape[1], problem.width, problem.gain)
    generator = torch.Generator().manual_seed(seed)
    start = SCHEDULES[name](problem.top, problem.bottom, problem.intervals + 1)
    schedule = AdaptiveSchedule(start, gamma=GAMMA, min_visits=MIN_VISITS)
    optimiser = torch.optim.Adam(network.parameters(), problem.rate)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, problem.steps)
    estimates: list[dict[str, Any]] = []
    for batch in range(problem.steps):
        intervals, sigma, entered = schedule.draw(BATCH, generator)
        sigma, entered = sigma.float()[:, None], entered.float()[:, None]
        x = problem.draw(BATCH, generator)
        noise = torch.randn(x.shape, generator=generator)
        is_last = torch.rand(BATCH, 1, generator=generator) < 1.0 / (len(schedule) + 1)
        level = torch.where(is_last, problem.bottom, sigma)  # intervals begin at all levels but the last

        loss = (network(x + level * noise, level) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        annealing.step()

        few = slice(0, MEASURED)
        with torch.no_grad():
            costs = corrector_cost(network, (x + sigma * noise)[few], sigma[few], entered[few])
        schedule.update(intervals[few], costs)
        levels = schedule.levels
        if schedule.resample():
            measured = {"energy": schedule.energy, "length": schedule.path_length, "costs": schedule.costs}
            estimates.append({"batch": batch, "levels": levels, **measured})
            if name != "adaptive":
                schedule = AdaptiveSchedule(start, gamma=GAMMA, min_visits=MIN_VISITS)
    return network.eval(), schedule, estimates


# ------------------------------------------------------------------------------------------------------------- judging


@torch.no_grad()
def score_errors(problem: Problem, network: Epsilon, levels: np.ndarray) -> np.ndarray:
    """E |eps - exact eps|^2 at each level, on fresh samples, the same for all networks; (len(levels),)."""
    generator = torch.Generator().manual_seed(101)
    x = problem.draw(problem.drawn, generator)
    errors = []
    for sigma in levels.tolist():
        y = x + sigma * torch.randn(x.shape, generator=generator)
        errors.append((network(y, sigma) - problem.epsilon(y, sigma)).square().sum(1).mean().item())
    return np.array(errors)


@torch.no_grad()
def log_likelihood(network: Epsilon, y: Tensor, top: float, bottom: float, steps: int = 100) -> Tensor:
    """Of samples of the cleanest level: log q(y) = log N(y_top; 0, top^2) + int div eps dsigma along dy/dsigma = eps.

    Midpoint steps in log sigma of z = y / n, n = sqrt(1 + sigma^2), where noise is a fixed point: dz / dlog sigma =
    sigma / n (eps - sigma z / n). Each step has signs of its own for the divergence, the same for all networks; (B,).
    """
    generator = torch.Generator().manual_seed(103)
    h, norms = math.log(top / bottom) / steps, [math.hypot(1.0, sigma) for sigma in (bottom, top)]
    gained = torch.full((len(y),), y.shape[1] * math.log(norms[1] / norms[0]), dtype=torch.float64)

    def slope(z: Tensor, sigma: float) -> Tensor:
        n = math.hypot(1.0, sigma)
        return sigma / n * (network(n * z, sigma) - sigma / n * z)

    z = y / norms[0]
    for k in range(steps):
        first, middle = (bottom * math.exp((k + share) * h) for share in (0.0, 0.5))
        signs = (torch.randint(0, 2, y.shape, generator=generator) * 2 - 1).to(y)
        half = z + 0.5 * h * slope(z, first)
        with torch.enable_grad():
            forward = slope(half.requires_grad_(), middle)
            (along,) = torch.autograd.grad((forward * signs).sum(), half)
        gained += h * (along * signs).sum(1).double()
        z = z + h * forward.detach()
    return gained - 0.5 * ((z.double() * norms[1] / top).square() + math.log(2.0 * math.pi * top**2)).sum(1)


def judge(problem: Problem, network: Epsilon, levels: np.ndarray) -> dict[str, Any]:
    """Score error at each level and over all, likelihood of fresh samples and of those around unseen centres."""
    generator, ends = torch.Generator().manual_seed(107), (problem.top, problem.bottom)
    errors = score_errors(problem, network, levels)
    clean = problem.draw(problem.drawn, generator)
    y = clean + problem.bottom * torch.randn(clean.shape, generator=generator)
    found: dict[str, Any] = {
        "score_errors": errors.tolist(),
        "score_error": float(-np.trapezoid(errors, np.log(levels))),
        "gap": float((problem.log_density(y, problem.bottom) - log_likelihood(network, y, *ends)).mean()),
    }
    if len(problem.held_out):
        clean = problem.draw(0, generator, problem.held_out)
        y = clean + problem.bottom * torch.randn(clean.shape, generator=generator)
        found["held_out"] = float(log_likelihood(network, y, *ends).mean())
    return found


def exact_path(problem: Problem, steps: int) -> SchedulePath:
    """The path of the exact score, on a fine schedule."""
    generator = torch.Generator().manual_seed(109)
    x = problem.draw(problem.drawn, generator).double()
    levels = np.geomspace(problem.top, problem.bottom, steps + 1)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    cost = schedule_costs(problem.epsilon, lambda sigma: x + sigma * noise, levels)
    return SchedulePath.from_costs(levels, cost.values, cost.order)


def study(problem: Problem, seeds: int) -> dict[str, Any]:
    """All schedules and seeds on one problem."""
    path = exact_path(problem, 4 * problem.intervals)
    levels = np.geomspace(problem.top, problem.bottom, 31)
    rows = []
    for seed in range(seeds):
        for name in SCHEDULES:
            begin = time.process_time()
            network, schedule, estimates = train(problem, name, seed)
            found = judge(problem, network, levels)
            seen = {key: np.array([estimate[key] for estimate in estimates]) for key in estimates[0]}
            late, thin = slice(-max(1, len(estimates) // 10), None), slice(None, None, max(1, len(estimates) // 60))
            ratio = seen["energy"] / seen["length"] ** 2
            row: dict[str, Any] = {"schedule": name, "seed": seed, "seconds": time.process_time() - begin, **found}
            row["ratio"] = [ratio[0].item(), ratio[late].mean().item()]
            row["ratio_exact"] = path.energy(schedule.levels) / path.path_length**2
            row["costs"] = {"first": seen["costs"][0].tolist(), "last": seen.pop("costs")[late].mean(0).tolist()}
            kept = seen if name == "adaptive" and seed == 0 else seen.keys() - {"levels"}
            row["history"] = {key: seen[key][thin].tolist() for key in sorted(kept)}
            row["levels"] = schedule.levels.tolist()
            rows.append(row)
            held_out = f", held out {found['held_out']:.3f}" if "held_out" in found else ""
            print(
                f"{problem.name}, {name}, seed {seed}: energy / length^2 {ratio[0]:.3f} -> {ratio[late].mean():.3f}, "
                f"score error {found['score_error']:.5f}, gap {found['gap']:.5f}{held_out} ({row['seconds']:.0f} s)",
                flush=True,
            )
    settings = {key: value for key, value in asdict(problem).items() if not isinstance(value, Tensor)}
    exact = {"optimum": path.partition(problem.intervals).tolist(), **judge(problem, problem.epsilon, levels)}
    print(f"{problem.name}, exact score instead of a network: gap {exact['gap']:.5f}")
    return {**settings, "dimension": problem.centres.shape[1], "sigma": levels.tolist(), "exact": exact, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks, few batches")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--problems", nargs="+", default=["bimodal", "digits"])
    parser.add_argument("--output", type=Path, default=places.results("adaptive"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [problem for problem in problems(options.quick) if problem.name in options.problems]
    results = {
        "settings": {"gamma": GAMMA, "min_visits": MIN_VISITS, "batch": BATCH, "measured": MEASURED},
        "versions": {"package": __version__, "torch": torch.__version__, "machine": platform.machine()},
        "problems": [study(problem, options.seeds) for problem in chosen],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    short = json.loads(json.dumps(results), parse_float=lambda digits: float(f"{float(digits):.6g}"))
    (options.output / "results.json").write_text(json.dumps(short) + "\n")
    text = table(short["problems"])
    (options.output / "table.md").write_text(text + "\n")
    draw(short["problems"], options.output / "train_adaptive.png")
    print(f"\n{text}\n\nwrote results.json, table.md and train_adaptive.png to {options.output}")


if __name__ == "__main__":
    main()
