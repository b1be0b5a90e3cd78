"""Host time of schedulers, network excluded: microseconds a step and milliseconds to plan a run.

python -m benchmarks.overhead          # writes benchmarks/overhead.json and overhead.md
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, DEISMultistepScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from benchmarks.places import results
from diffusers_deis_sn import DEISSNScheduler, Multistep, ScoreStatistics

HERE = Path(__file__).resolve().parent
STATISTICS = HERE.parent / "stats/tiny-sd-digits"
SHAPE = (2, 4, 64, 64)
STEPS = 20
REPEATS = 15
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "timestep_spacing": "trailing"}


def schedulers() -> dict[str, Callable[[], Any]]:
    record = ScoreStatistics.load(STATISTICS)
    return {
        "DDIM": lambda: DDIMScheduler(**BETAS),
        "DPM++ 2M": lambda: DPMSolverMultistepScheduler(**BETAS),
        "UniPC order 2": lambda: UniPCMultistepScheduler(**BETAS),
        "DEIS (Diffusers) order 3": lambda: DEISMultistepScheduler(**BETAS, solver_order=3),
        "DEIS-SN, defaults": lambda: DEISSNScheduler(**BETAS, stats=record),
        "DEIS-SN order 3, no corrector": lambda: DEISSNScheduler(**BETAS, stats=record, solver=Multistep(3)),
    }


def step_microseconds(make: Callable[[], Any], dtype: torch.dtype) -> float:
    """Median over runs of the mean time of a step, the first one left out."""
    scheduler, times = make(), []
    sample, output = torch.randn(SHAPE).to(dtype), torch.randn(SHAPE).to(dtype)
    for _ in range(REPEATS):
        scheduler.set_timesteps(STEPS)
        scheduler.step(output, scheduler.timesteps[0], sample)
        start = time.perf_counter()
        for t in scheduler.timesteps[1:]:
            scheduler.step(output, t, sample)
        times.append((time.perf_counter() - start) / (STEPS - 1))
    return 1e6 * statistics.median(times)


def plan_milliseconds(make: Callable[[], Any]) -> float:
    """Median time of `set_timesteps`."""
    scheduler, times = make(), []
    for _ in range(REPEATS):
        start = time.perf_counter()
        scheduler.set_timesteps(STEPS)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    rows = [
        {
            "scheduler": name,
            "step_us_float32": step_microseconds(make, torch.float32),
            "step_us_bfloat16": step_microseconds(make, torch.bfloat16),
            "set_timesteps_ms": plan_milliseconds(make),
        }
        for name, make in schedulers().items()
    ]
    machine = {"processor": platform.processor() or platform.machine(), "threads": 1, "shape": SHAPE, "steps": STEPS}
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "numpy": np.__version__}
    result = {"machine": machine, "versions": versions, "rows": rows}
    results("overhead.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = ["| scheduler | step, float32 | step, bfloat16 | `set_timesteps(20)` |", "|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['scheduler']} | {row['step_us_float32']:.0f} µs | {row['step_us_bfloat16']:.0f} µs | "
            f"{row['set_timesteps_ms']:.1f} ms |"
        )
    lines += ["", f"One CPU thread, latents {SHAPE}, median of {REPEATS} runs of {STEPS} steps, network excluded."]
    results("overhead.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
