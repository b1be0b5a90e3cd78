"""One stage of a training program: a loop with checkpoints that the same command resumes, and what it writes down.

`train_tiny_sd.py` and `train_tiny_flow.py` are made of such stages.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

PROBE_SECONDS = 5.0
LossOfStep = Callable[[int], Tensor]
Report = Callable[[int], None]


class Trainer:
    """One training stage under accelerate: warm-up and cosine decay, EMA, progress bar, checkpoints, resumption."""

    def __init__(self, name: str, model: nn.Module, options: argparse.Namespace, steps: int, rate: float) -> None:
        self.name, self.steps, self.folder = name, steps, options.output / "checkpoints" / name
        self.minutes = getattr(options, f"{name}_minutes", None)
        self.precision = options.mixed_precision
        self.accelerator = Accelerator(
            mixed_precision="no" if self.precision == "auto" else self.precision, cpu=options.cpu
        )
        # ATen's fused attention has a slow half-precision backward on CPUs; the plain one is three times as fast there.
        for module in model.modules():
            if hasattr(module, "set_attn_processor") and self.accelerator.device.type == "cpu":
                module.set_attn_processor(AttnProcessor())
        self.raw = model.to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.count, self.spent, self.share, self.curve = 0, 0.0, 0.0, []
        schedule = LambdaLR(optimiser, lambda _: min(1.0, self.count / 100 + 0.01) * (0.02 + 0.98 * self.decay()))
        self.ema = EMAModel(
            model.parameters(), decay=0.999, use_ema_warmup=True, inv_gamma=1.0, power=0.75, foreach=True
        )
        self.ema.to(self.accelerator.device)
        self.model, self.optimiser, self.schedule = self.accelerator.prepare(model, optimiser, schedule)
        self.accelerator.register_for_checkpointing(self, self.ema)
        if (self.folder / "complete").exists():
            self.accelerator.load_state(str(self.folder))
            self.decay()

    def decay(self) -> float:
        """Cosine from one to zero over the stage: over its steps, or over its minutes where those run out first."""
        done = self.count / self.steps
        if self.minutes:
            done = max(done, self.spent / (60.0 * self.minutes))
        self.share = min(1.0, done)
        return 0.5 * (1.0 + math.cos(math.pi * self.share))

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "spent": self.spent, "curve": self.curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.spent, self.curve = state["count"], state["spent"], state["curve"]

    def save(self) -> None:
        """Write a checkpoint; the mark that makes it valid comes last."""
        (self.folder / "complete").unlink(missing_ok=True)
        self.accelerator.save_state(str(self.folder), safe_serialization=True)
        (self.folder / "complete").touch()

    def autocast(self) -> Any:
        """The precision that was asked for, or the one that `choose_precision` found to be faster; float32 before."""
        if self.accelerator.mixed_precision != "no":
            return self.accelerator.autocast()
        half = self.precision == "bf16"
        return torch.autocast(self.accelerator.device.type, dtype=torch.bfloat16) if half else nullcontext()

    def choose_precision(self, loss: Callable[[], Tensor]) -> None:
        """Set the faster of float32 and bfloat16, by a few seconds of steps without an update.

        Autocast is twice as fast as float32 on processors with bfloat16 units and ten times slower on others, and which
        it is depends on the network too.
        """

        def step() -> None:
            with self.autocast():
                value = loss()
            value.backward()
            self.optimiser.zero_grad(set_to_none=True)

        rates = {}
        for precision in ("no", "bf16"):
            self.precision, count = precision, 0
            step()  # the first one prepares kernels and is not counted
            start = time.perf_counter()
            while time.perf_counter() - start < PROBE_SECONDS:
                step()
                count += 1
            rates[precision] = count / (time.perf_counter() - start)
        self.precision = max(rates, key=rates.get)
        tqdm.write(f"{self.name}: {rates['no']:.2f} steps/s in float32, {rates['bf16']:.2f} with bfloat16 autocast")

    def run(self, loss_of_step: LossOfStep, report: Report | None = None, every: int = 500) -> None:
        """Minimise `loss_of_step(step)`; leaves the averaged weights in the model."""
        bar = tqdm(total=100, desc=self.name, unit="%", initial=int(100 * self.share))
        self.model.train()
        if self.precision == "auto" and self.share < 1.0:
            self.choose_precision(lambda: loss_of_step(self.count))
        mean = self.curve[-1][2] if self.curve else None
        while self.share < 1.0:
            start = time.perf_counter()
            with self.autocast():
                loss = loss_of_step(self.count)
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
            self.schedule.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.ema.step(self.raw.parameters())
            self.count += 1
            self.spent += time.perf_counter() - start
            mean = loss.item() if mean is None else 0.99 * mean + 0.01 * loss.item()
            bar.update(int(100 * self.share) - bar.n)
            bar.set_postfix_str(f"step {self.count}, loss {mean:.4f}", refresh=False)
            if self.count % 50 == 0:
                self.curve.append((self.count, round(self.spent, 1), mean))
            if self.count % every == 0:
                self.save()
                if report is not None:
                    self.averaged(report)
        self.save()
        bar.close()
        self.ema.copy_to(self.raw.parameters())
        self.raw.to(memory_format=torch.contiguous_format).eval()

    def averaged(self, report: Report) -> None:
        """Call `report(step)` with the averaged weights in the model."""
        self.ema.store(self.raw.parameters())
        self.ema.copy_to(self.raw.parameters())
        self.raw.eval()
        with torch.no_grad():
            report(self.count)
        self.raw.train()
        self.ema.restore(self.raw.parameters())


def record(options: argparse.Namespace, stage: str, values: dict[str, Any]) -> None:
    """Add a stage's figures to `training.json`, in one move, so that an interruption leaves the former file."""
    path = options.output / "training.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    log = json.loads(path.read_text()) if path.exists() else {}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(log | {stage: values}, indent=1))
    fresh.replace(path)


def device_name(options: argparse.Namespace) -> str:
    """What the training runs on, in words."""
    if torch.cuda.is_available() and not options.cpu:
        return torch.cuda.get_device_name()
    used, there = torch.get_num_threads(), os.cpu_count()
    return f"{there} CPU cores" if used == there else f"{used} of {there} CPU cores"


def add_loop_arguments(parser: argparse.ArgumentParser, precision: str) -> None:
    """The arguments that every training program has."""
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints, figures and the pipeline")
    parser.add_argument(
        "--mixed-precision",
        default=precision,
        choices=("auto", "no", "bf16", "fp16"),
        help="auto: the faster of float32 and bfloat16, measured before every stage",
    )
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU even where there is a GPU")
