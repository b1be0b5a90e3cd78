"""One training run: warm-up and cosine decay over its steps, averaged weights, checkpoints, exact resumption."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from tqdm import tqdm

WARM_UP = 100
AVERAGING = 0.998
Loss = Callable[[nn.Module, torch.Generator], Tensor]
"""Mean error of a network on a batch that the generator draws."""


@dataclass
class Run:
    """The state of a run: everything that a checkpoint holds beside the weights.

    Args:
        precision: "bf16" or "no".
        count: Steps done.
        seconds: Processor time they took.
        curve: (step, mean loss) now and then.
    """

    precision: str
    count: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)


def train(
    network: nn.Module,
    loss: Loss,
    steps: int,
    checkpoint: Path,
    *,
    name: str,
    rate: float,
    precision: str = "auto",
    every: int = 200,
) -> Run:
    """Train, from the checkpoint where there is one, and leave the averaged weights in the network.

    Step n draws its batch from a generator that is seeded by n, so a resumed run sees what an uninterrupted one does.

    Args:
        network: Trained in place.
        loss: What is minimised.
        steps: How many.
        checkpoint: File that is written now and then, and at the end.
        name: For the progress bar.
        rate: The largest rate of learning.
        precision: "bf16", "no", or "auto" for the faster one on this machine.
        every: Steps between checkpoints.
    """
    _plain_attention(network)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    run = _resume(checkpoint, network, average, optimiser)
    if run is None:
        run = Run(_faster_precision(network, loss) if precision == "auto" else precision)
    bar = tqdm(total=steps, initial=run.count, desc=f"{name} ({run.precision})", unit="step", mininterval=5.0)
    network.train()
    mean = run.curve[-1][1] if run.curve else None
    while run.count < steps:
        start, share = time.process_time(), run.count / steps
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (run.count + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * share))
        value = _step(network, average, optimiser, loss, run)
        run.count += 1
        run.seconds += time.process_time() - start
        mean = value if mean is None else mean + max(0.02, 1.0 / run.count) * (value - mean)
        bar.update()
        bar.set_postfix_str(f"loss {mean:.4f}", refresh=False)
        if run.count % 50 == 0:
            run.curve.append((run.count, round(mean, 5)))
        if run.count % every == 0:
            _save(checkpoint, network, average, optimiser, run)
    _save(checkpoint, network, average, optimiser, run)
    bar.close()
    network.load_state_dict(average.state_dict())
    network.eval()
    return run


def _step(network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, loss: Loss, run: Run) -> float:
    generator = torch.Generator().manual_seed(1_000_003 + run.count)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.precision == "bf16"):
        value = loss(network, generator)
    if not torch.isfinite(value):
        raise FloatingPointError(f"The loss of step {run.count} is {value.item()}. Lower the rate of learning.")
    optimiser.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    decay = min(AVERAGING, (1 + run.count) / (10 + run.count))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1.0 - decay)
    return value.item()


def _plain_attention(network: nn.Module) -> None:
    """The fused kernel's backward in half precision is three times as slow on CPUs."""
    for module in network.modules():
        if hasattr(module, "set_processor"):
            module.set_processor(AttnProcessor())


def _faster_precision(network: nn.Module, loss: Loss, rounds: int = 4) -> str:
    """The precision whose steps take less time here: bfloat16 is ten times slower where there are no units for it."""
    spent = {}
    for precision in ("no", "bf16"):
        trial, times = copy.deepcopy(network).train(), []
        for index in range(rounds):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                value = loss(trial, torch.Generator().manual_seed(index))
            value.backward()
            times.append(time.perf_counter() - start)
        spent[precision] = min(times)  # the first holds the library's preparations
    return min(spent, key=spent.__getitem__)


def _save(path: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, run: Run) -> None:
    """Write beside the old checkpoint and then in its place, so that there always is a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "run": vars(run),
    }
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def _resume(path: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> Run | None:
    if not path.is_file():
        return None
    state = torch.load(path, weights_only=True)
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise RuntimeError(f"{path} is a checkpoint of another network. Delete it, or train with --again.") from error
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return Run(**state["run"])
