"""A bimodal normal distribution: the same small network, trained on three schedules; distances are Wasserstein's.

Linear, log-linear, and one that moves from linear to equal corrector's costs of the network meanwhile (Algorithm 2).
Each network samples down its own levels. Score error: RMS of eps = -sigma score, over levels uniform in log sigma.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import Linear, Sequential, SiLU

from benchmarks.score_optimal.toy_experiment import SAMPLERS, sample, script
from benchmarks.score_optimal.toy_figure import Panel, draw
from diffusers_deis_sn.learn.adaptive import AdaptiveSchedule
from diffusers_deis_sn.learn.costs import Epsilon, corrector_cost

TOP, BOTTOM, STEPS, BATCHES, KERNEL, X = 10.0, 0.15, 20, 1500, 0.05, torch.linspace(-2.5, 2.5, 501)


def noised(sigma: float) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-1.0, 1.0]), (0.3**2 + sigma**2) ** 0.5))


def trained(schedule: AdaptiveSchedule, adapts: bool) -> Epsilon:
    torch.manual_seed(0)
    network = Sequential(Linear(2, 64), SiLU(), Linear(64, 64), SiLU(), Linear(64, 1))
    optimiser = torch.optim.Adam(network.parameters())

    def epsilon(y: Tensor, sigma: Any) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=y.dtype).expand(y.shape)
        return network(torch.cat([y / (1.0 + sigma**2) ** 0.5, sigma.log()], 1))

    for batch in range(BATCHES):
        optimiser.param_groups[0]["lr"] = 4e-3 * (1.0 - batch / BATCHES)
        intervals, sigma, entered = schedule.draw(256)
        sigma, entered = sigma.float()[:, None], entered.float()[:, None]
        x, noise, levels = noised(0.0).sample(sigma.shape), torch.randn(sigma.shape), torch.cat([sigma, entered])
        loss = (epsilon(x.repeat(2, 1) + levels * noise.repeat(2, 1), levels) - noise.repeat(2, 1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if adapts:
            schedule.update(intervals, corrector_cost(torch.no_grad()(epsilon), x + sigma * noise, sigma, entered))
            schedule.resample()
    return torch.no_grad()(epsilon)


def main(output: Path) -> dict[str, Any]:
    linear, log_linear = np.linspace(TOP, BOTTOM, STEPS + 1), np.geomspace(TOP, BOTTOM, STEPS + 1)
    sigma = torch.from_numpy(log_linear).float().repeat(4000)[:, None]
    y = noised(0.0).sample(sigma.shape) + sigma * torch.randn(sigma.shape)
    exact = sigma * (y - torch.tanh(y / (0.3**2 + sigma**2))) / (0.3**2 + sigma**2)
    truth = noised((BOTTOM**2 + KERNEL**2) ** 0.5).log_prob(X).exp().numpy()
    report: dict[str, Any] = {"steps": STEPS}
    densities = {sampler: Panel(f"density, {sampler}", "y", truth=(X, truth)) for sampler in SAMPLERS}
    errors = Panel("score error", "noise level σ", {"xscale": "log", "yscale": "log"})
    schedules = Panel("noise level σ", "step", {"yscale": "log"})
    for name, start in (("linear", linear), ("log-linear", log_linear), ("optimised", linear)):
        schedule = AdaptiveSchedule(start, gamma=0.1, min_visits=200)
        epsilon = trained(schedule, name == "optimised")
        squares = (epsilon(y, sigma) - exact).square().reshape(4000, -1).mean(0).numpy()
        report[name] = {"score error": float(squares.mean() ** 0.5)}
        errors.curves[name] = log_linear, squares**0.5
        schedules.curves[name] = range(STEPS + 1), schedule.levels
        for sampler, langevin in SAMPLERS.items():
            samples = sample(epsilon, noised(TOP), schedule.levels, langevin)
            density = stats.gaussian_kde(samples, KERNEL / samples.std(ddof=1))(X)
            report[name][sampler] = {"distance": stats.wasserstein_distance(X, X, density, truth)}
            densities[sampler].curves[name] = X, density
    draw(output / "bimodal.png", *densities.values(), errors, schedules)
    return report


if __name__ == "__main__":
    script(main, "bimodal", __doc__)
