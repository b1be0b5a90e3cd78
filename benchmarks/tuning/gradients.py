"""Plans fitted with gradients through the network, after LD3 (arXiv 2405.15506) and GS (arXiv 2510.17699).

Both start from the exact weights of a multistep solver, here DPM++ 2M, and minimise the distance of the ends of runs to
those of a fine run. LD3 learns the times, and which time the network is told; GS also what is added to each weight:

    t_{n+1} = t_n sigmoid(m_n),    told_n = t_n + T b_n
    x_{n+1} = (c_n + da_n) x_n + sum_{j <= n} (w_{n,j}(t) + dw_{n,j}) D_j

with D_j predicted data, all of b, da and dw zero at first, and m of the best of a few grids. Samples, their number and
the fine run are those that `tune` has; what is left out of both papers are distances of features, for the fit is judged
by that of the samples, and LD3's freedom to move the start noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.tuning.direct import Direct
from diffusers_deis_sn.core.grids import Ends, Grid, Power, Whole
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.tuning.judging import score

GRIDS: tuple[Grid, ...] = (Power("t", 1.0), Power("t", 1.5), Power("t", 2.0), Power("sigma", 7.0))
RATES = {"times": 0.02, "told": 1e-3, "transfer": 3e-3, "weights": 3e-3}  # of Adam, falling to zero as a cosine
BATCH = 8
SETTLED = 0.7  # share of the iterations after which times are brought to whole ones and stay
LOOKS = 25  # iterations between looks at the samples held out, the best of which is kept


@dataclass
class Fit:
    """What is learned of a run of N calls.

    Args:
        direct: The network.
        times: m_n between the calls; (N - 1,).
        told: b_n; (N,).
        transfer: da_n; (N,).
        weights: dw_{n,j} of the output j of step n; (N, N).
        fixed: Times of the calls once they stay; (N,).
    """

    direct: Direct
    times: Tensor
    told: Tensor
    transfer: Tensor
    weights: Tensor
    fixed: Tensor | None = field(default=None)

    @classmethod
    def on(cls, direct: Direct, grid: Grid, calls: int) -> Fit:
        """A run of DPM++ 2M on a grid."""
        levels = Whole(grid).levels(direct.process, calls, Ends())
        times = torch.from_numpy(direct.process.call_times(levels[:-1]))
        zeros = torch.zeros(calls, dtype=torch.float64)
        steps = torch.logit((times[1:] / times[:-1]).clamp(1e-6, 1.0 - 1e-6))
        return cls(direct, steps, zeros.clone(), zeros.clone(), torch.zeros(calls, calls, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.told)

    def called(self) -> Tensor:
        """t_n; (N,)."""
        if self.fixed is not None:
            return self.fixed
        first, last = self.direct.times
        shares = torch.cat([torch.ones(1, dtype=torch.float64), torch.sigmoid(self.times).cumprod(0)])
        return (first * shares).clamp_min(last)

    def settle(self) -> None:
        """Bring the times to those that the network knows, and leave them there."""
        process = self.direct.process
        levels = process.whole(np.append(process.rho(self.called().detach().numpy()), 0.0))
        self.fixed = torch.from_numpy(process.call_times(levels[:-1]))

    def rows(self) -> tuple[Tensor, Tensor]:
        """Factors of the samples (N,) and weights of the outputs (N, N), by step and number of the output."""
        alpha, sigma = self.direct.scales(self.called())
        alpha, sigma = torch.cat([alpha, torch.ones(1)]), torch.cat([sigma, torch.zeros(1)])
        alpha = alpha.clamp_min(2.0**-24)
        logs = torch.log(alpha[:-1] / sigma[:-1])
        transfer = sigma[1:] / sigma[:-1]
        data = alpha[1:] - alpha[:-1] * transfer
        rows = []
        for n in range(len(self)):
            row = torch.zeros(len(self), dtype=torch.float64)
            row[n] = 1.0
            if 0 < n < len(self) - 1:
                slope = 0.5 * (logs[n + 1] - logs[n]) / (logs[n] - logs[n - 1])
                row = row + slope * (_unit(n, len(self)) - _unit(n - 1, len(self)))
            rows.append(data[n] * row)
        return transfer + self.transfer, torch.stack(rows) + torch.tril(self.weights)

    def ends(self, numbers: Tensor) -> Tensor:
        """Where the samples of these numbers end; (B, *event)."""
        direct, times = self.direct, self.called()
        told = (times + len(direct.process) * self.told).clamp(*sorted(direct.times))
        transfer, weights = self.rows()
        x, found = direct.noise[numbers] * direct.process.start_scale(direct.process.top), list[Tensor]()
        for n in range(len(self)):
            found.append(direct.data(x, times[n], numbers, told[n]))
            x = transfer[n] * x + sum(weights[n, j] * one for j, one in enumerate(found))
        return x

    def plan(self) -> Tuned:
        """The numbers of the run."""
        with torch.no_grad():
            times, (transfer, weights) = self.called().numpy(), self.rows()
            told = (torch.from_numpy(times) + len(self.direct.process) * self.told).clamp(*sorted(self.direct.times))
        calls = len(self)
        newest = np.zeros((calls, calls))
        for n in range(calls):
            newest[n, : n + 1] = weights[n, : n + 1].numpy()[::-1]
        falling = np.minimum.accumulate(told.numpy() - 1e-6 * np.arange(calls))
        return Tuned(self.direct.levels(times), times, falling, transfer.numpy(), newest)


def fitted(
    direct: Direct,
    fine: Tensor,
    held_out: Direct,
    held_out_fine: Tensor,
    calls: int,
    iterations: int,
    weights: bool = True,
    seed: int = 0,
) -> Tuned:
    """The run that was best on the samples held out, of one that is fitted with gradients.

    Args:
        direct: The network with the samples to fit on.
        fine: Where their fine run ends.
        held_out: The network with others.
        held_out_fine: Where theirs ends.
        calls: N.
        iterations: Steps of Adam, of `BATCH` samples each.
        weights: Whether weights are learned (GS), or times alone (LD3).
        seed: Of the batches.
    """
    fit = min((Fit.on(direct, grid, calls) for grid in GRIDS), key=lambda one: _missed(one, direct, fine))
    best, plan = np.inf, fit.plan()
    for step, _ in enumerate(_descended(fit, fine, iterations, weights, seed)):
        if fit.fixed is not None and (step % LOOKS == 0 or step == iterations - 1):
            missed = _missed(fit, held_out, held_out_fine)
            if missed < best:
                best, plan = missed, fit.plan()
    return plan


def _descended(fit: Fit, fine: Tensor, iterations: int, weights: bool, seed: int) -> Iterator[None]:
    """After each step of Adam."""
    learned = ("times", "told", "transfer", "weights") if weights else ("times", "told")
    groups = [{"params": [getattr(fit, name).requires_grad_()], "lr": RATES[name]} for name in learned]
    adam = torch.optim.Adam(groups)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, iterations)
    generator = torch.Generator().manual_seed(seed)
    for step in range(iterations):
        if step == round(SETTLED * iterations):
            fit.settle()
        numbers = torch.randperm(len(fine), generator=generator)[:BATCH]
        missed = (fit.ends(numbers) - fine[numbers]).double().flatten(1).square().mean(1)
        adam.zero_grad()
        missed.clamp_min(1e-30).log().mean().backward()
        torch.nn.utils.clip_grad_norm_([one for group in groups for one in group["params"]], 1.0)
        adam.step()
        slower.step()
        yield


@torch.no_grad()
def _missed(fit: Fit, direct: Direct, fine: Tensor) -> float:
    """See `judging.score`; of the samples of another network object than the fit's own."""
    own, fit.direct = fit.direct, direct
    try:
        return score(fit.ends(torch.arange(len(fine))), fine)
    finally:
        fit.direct = own


def _unit(place: int, length: int) -> Tensor:
    found = torch.zeros(length, dtype=torch.float64)
    found[place] = 1.0
    return found
