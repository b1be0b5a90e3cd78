"""What recording costs: seconds over the pipeline's own for the same network calls, and memory.

    python -m benchmarks.calibration.overhead        # overhead.json and overhead.md, about two minutes

* Time: the tiny Stable Diffusion pipeline draws the same samples with its own scheduler and with the recorder, in turn,
  with as many network calls; processor time, which other programs on the machine change least. The ratio is the median
  over pairs; since the network's time differs from run to run by more than what is sought, it is also taken from the
  seconds inside of the schedulers alone. What `calibrate` does before and after its calls is measured apart: it does
  not grow with them.
* Memory: the largest resident set of a process that measures so many samples in so many steps, batches of one size, and
  of one that draws a batch with the pipeline's own scheduler.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers import DiffusionPipeline

from benchmarks.places import ROOT, results
from diffusers_deis_sn.collect.calls import PipelineCalls, plan_calls
from diffusers_deis_sn.collect.run import calibrate, recording

MODEL = ROOT / "examples/models/tiny-sd-digits"
PROMPTS = ["a red seven", "a blue two", "a green zero", "a white nine"]
OPTIONS: dict[str, Any] = {"guidance_scale": 5.0}
BATCH, STEPS, PAIRS = 8, 50, 5  # as many samples at once and steps as `calibrate` takes by default
WATCHED = ("step", "set_timesteps")
SIZES = ((8, 10), (8, 80), (64, 10))  # samples and steps whose memory is measured, in batches of 8


def loaded() -> Any:
    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(pipe: Any, steps: int) -> PipelineCalls:
    return plan_calls(pipe, PROMPTS, steps, 0, OPTIONS)


class Spent(NamedTuple):
    """Processor time of one batch, how much of it within the scheduler, and how often it called the network."""

    whole: float
    inside: float
    calls: int


def seconds(pipe: Any, steps: int) -> Spent:
    """Of a batch with the scheduler that the pipeline has."""
    calls: list[None] = []
    inside = [0.0]
    hook = pipe.unet.register_forward_hook(lambda *_: calls.append(None))
    for name in WATCHED:
        setattr(pipe.scheduler, name, watched(getattr(pipe.scheduler, name), inside))
    start = time.process_time()
    pipe(**drawn(pipe, steps).arguments(0, BATCH))
    spent = time.process_time() - start
    hook.remove()
    for name in WATCHED:
        delattr(pipe.scheduler, name)
    return Spent(spent, inside[0], len(calls))


def watched(method: Callable[..., Any], inside: list[float]) -> Callable[..., Any]:
    """The method, which adds its processor time."""

    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return method(*arguments, **named)
        finally:
            inside[0] += time.process_time() - start

    return call


def recorded(pipe: Any, steps: int) -> Spent:
    """The same, past a recorder as `calibrate` uses it."""
    with recording(pipe, dense=True) as recorder:
        start = time.process_time()
        with recorder.ledger.batch():
            spent = seconds(pipe, steps)
        whole = time.process_time() - start  # with merging what it saw
    return Spent(whole, spent.inside + whole - spent.whole, spent.calls)


def times() -> dict[str, Any]:
    pipe, pairs = loaded(), []
    calls = recorded(pipe, STEPS).calls  # one more at the cleanest level, and one less where two times are the same
    for number in range(PAIRS + 1):  # the first does not count
        order = ("own", "recorder") if number % 2 else ("recorder", "own")
        pair = {name: seconds(pipe, calls) if name == "own" else recorded(pipe, STEPS) for name in order}
        if pair["own"].calls != pair["recorder"].calls:
            raise RuntimeError(f"Not the same calls: {pair}")
        pairs.append((pair["own"], pair["recorder"]))
    ratios = [other.whole / own.whole for own, other in pairs[1:]]
    own_s = statistics.median(own.whole for own, _ in pairs[1:])
    inside = [statistics.median(pair[place].inside for pair in pairs[1:]) for place in (0, 1)]
    return {
        "calls": calls,
        "batch": BATCH,
        "own_s": own_s,
        "recorder_s": statistics.median(other.whole for _, other in pairs[1:]),
        "own_inside_s": inside[0],
        "recorder_inside_s": inside[1],
        "ratio_by_inside": 1.0 + (inside[1] - inside[0]) / own_s,
        "ratio": statistics.median(ratios),
        "ratios": sorted(ratios),
        "around_s": around(pipe),
    }


def around(pipe: Any) -> float:
    """Processor time of what `calibrate` does once, whatever the network costs: a run of 50 steps without a network."""
    network, pipe.unet.forward = pipe.unet.forward, lambda x, *_, **__: (0.5 * x,)
    spent = []
    for _ in range(3):
        for count in (2, 4):
            start = time.process_time()
            calibrate(pipe, PROMPTS, count, 50, 2, trials=0, progress=False, **OPTIONS)
            spent.append(time.process_time() - start)
    pipe.unet.forward = network
    return statistics.median(2 * one - two for one, two in zip(spent[::2], spent[1::2], strict=True))


def memory(samples: int, steps: int) -> float:
    """MiB of a process of its own; no samples for a batch of the pipeline alone."""
    program = [sys.executable, "-m", "benchmarks.calibration.overhead", "--memory", str(samples), str(steps)]
    done = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def measured_memory(samples: int, steps: int) -> None:
    torch.set_num_threads(1)
    pipe = loaded()
    if samples:
        calibrate(pipe, PROMPTS, samples, steps, BATCH, trials=0, progress=False, **OPTIONS)
    else:
        pipe(**drawn(pipe, steps).arguments(0, BATCH))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # KiB on Linux


def table(result: dict[str, Any]) -> str:
    time_of, lines = (
        result["time"],
        ["| scheduler | time of a batch | ratio | inside of the scheduler |", "|---|---|---|---|"],
    )
    lines += [
        f"| the pipeline's own | {time_of['own_s']:.3f} s | 1 | {1e3 * time_of['own_inside_s']:.1f} ms |",
        f"| the recorder | {time_of['recorder_s']:.3f} s | {time_of['ratio']:.3f} | "
        f"{1e3 * time_of['recorder_inside_s']:.1f} ms |",
        "",
        f"Tiny Stable Diffusion, {time_of['batch']} samples, {time_of['calls']} network calls, one CPU thread, "
        f"processor time, median of {len(time_of['ratios'])} pairs. What `calibrate` does once, whatever the number "
        f"of calls, takes {time_of['around_s']:.2f} s more. By the time inside of the schedulers the ratio is "
        f"{time_of['ratio_by_inside']:.3f}.",
        "",
        "| measured | largest resident set |",
        "|---|---|",
    ]
    for row in result["memory"]:
        what = f"{row['samples']} samples x {row['steps']} steps" if row["samples"] else "one batch, own scheduler"
        lines.append(f"| {what} | {row['mib']:.0f} MiB |")
    return "\n".join([*lines, "", f"Batches of {BATCH}; a process each."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", nargs=2, type=int, metavar=("SAMPLES", "STEPS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        measured_memory(*given.memory)
        return
    torch.set_num_threads(1)
    rows = [{"samples": n, "steps": steps, "mib": memory(n, steps)} for n, steps in ((0, 10), *SIZES)]
    result = {
        "machine": {"processor": platform.processor() or platform.machine(), "threads": 1},
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "time": times(),
        "memory": rows,
    }
    results("calibration", "overhead.json").write_text(json.dumps(result, indent=1) + "\n")
    results("calibration", "overhead.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
