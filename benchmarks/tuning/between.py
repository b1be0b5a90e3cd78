"""Runs of numbers of steps between those that were tuned, and at other sizes of samples, against runs without a plan.

    python -m benchmarks.tuning.between --output runs/suite

The plans are those of `benchmarks.tuning.run` (OUTPUT/tuned/statistics). Numbers are all that `DEISSNScheduler`
takes a plan for by itself without one that was fitted; references are those of the suite. Of the Stable Diffusion
pipeline other sizes of pictures are drawn too, against a fine run. Tables go to OUTPUT/tuned/between.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.places import results
from benchmarks.suite.problems import Problem, Text, load, names, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import settle
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.collect.lending import silenced
from diffusers_deis_sn.tuning.deciding import FineScheduler
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.meter import FINE_CALLS
from diffusers_deis_sn.tuning.running import Running
from diffusers_deis_sn.tuning.samples import batches
from diffusers_deis_sn.tuning.teacher import FINE, GRID

SAMPLES = 16
DRAWN, DRAWN_FROM, RESIZED = 12, 30_000, "tiny-sd-digits@3"  # seeds that neither a fit nor the suite has
HEADING = """# Numbers of steps and sizes that were not tuned

Error with a plan divided by that without, in the same number of steps: geometric mean / RMS over samples
(`python -m benchmarks.tuning.between`). Below 1 the plan is better.

"""


def main() -> None:
    """Measure and write."""
    arguments = _parsed()
    settle()
    folder = arguments.output / "tuned" / "statistics"
    there = {name: folder / slug(name) for name in arguments.problems or names() if (folder / slug(name)).exists()}
    lines = [HEADING + "## Steps between two tuned numbers\n"]
    lines += ["| network | role | steps | without | with / without |\n| --- | --- | --- | --- | --- |"]
    for name, place in there.items():
        lines += _between(load(name), ScoreStatistics.load(place), arguments)
        _write(arguments.output, lines)
    if RESIZED in there and arguments.sizes:
        lines += ["\n## Other sizes of pictures\n"]
        lines += ["| network | samples | steps | without | with / without |\n| --- | --- | --- | --- | --- |"]
        for size in arguments.sizes:
            lines += _resized(load(RESIZED), ScoreStatistics.load(there[RESIZED]), *map(int, size.split("x")))
            _write(arguments.output, lines)


def _write(output: Path, lines: Sequence[str]) -> None:
    """What is known so far."""
    text = "\n".join(lines) + "\n"
    (output / "tuned" / "between.md").write_text(text)
    results("tuning", "between.md").write_text(text)
    print(lines[-1], flush=True)


def _between(problem: Problem, statistics: ScoreStatistics, arguments: argparse.Namespace) -> Iterator[str]:
    """A row for each number of steps that is served by plans of others."""
    known = [] if statistics.plans is None else sorted({one.calls for one in statistics.plans.entries})
    for steps in range(known[0], known[-1]) if known else ():
        made = _scheduler(problem, statistics, True)
        ends: dict[bool, list[Tensor]] = {False: [], True: []}
        fine = []
        for seed in arguments.seeds if steps not in known else ():
            for tuned, found in ends.items():
                made = _scheduler(problem, statistics, tuned)
                found.append(problem.end(made, steps, SAMPLES, seed))
            if made.plan is None:
                break
            fine.append(kept(problem, SAMPLES, seed, arguments.output / "references").end)
        if fine:
            yield _row((problem.name, problem.role, steps), *(torch.cat(one) for one in (*ends.values(), fine)))


def _resized(problem: Problem, statistics: ScoreStatistics, height: int, width: int) -> Iterator[str]:
    """A row for each number of steps that was tuned."""
    options = {"guidance_scale": problem.guidance, "height": height, "width": width}
    prompts = problem.prompts(DRAWN, DRAWN_FROM) if isinstance(problem, Text) else None
    calls = plan_calls(problem.pipe, prompts, FINE_CALLS, DRAWN_FROM, options)
    running = Running(problem.pipe, batches(calls, list(range(DRAWN)), 6))
    make: Callable[[], FineScheduler] = partial(
        FineScheduler.from_config, problem.config, stats=False, solver=FINE, grid=GRID
    )
    with silenced(problem.pipe), torch.no_grad():
        fine = running.ends(make, FINE_CALLS)
        for one in statistics.plans.at(problem.guidance).values() if statistics.plans else ():
            ends = [running.ends(partial(_scheduler, problem, statistics, t), one.calls) for t in (False, True)]
            yield _row((problem.name, "x".join(map(str, fine.shape[1:])), one.calls), *ends, fine)


def _scheduler(problem: Problem, statistics: ScoreStatistics, tuned: bool) -> DEISSNScheduler:
    return DEISSNScheduler.from_config(problem.config, stats=statistics, tuned=tuned)


def _row(names_: Sequence[object], without: Tensor, planned: Tensor, fine: Tensor) -> str:
    before, after = Judged.of(without, fine), Judged.of(planned, fine)
    ratios = f"{after.geometric / before.geometric:.2f} / {after.rms / before.rms:.2f}"
    return f"| {' | '.join(map(str, names_))} | {before.geometric:.4g} / {before.rms:.4g} | {ratios} |"


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", help="all that were tuned if none is named")
    parser.add_argument("--output", type=Path, default=Path("runs/suite"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--sizes", nargs="*", default=("64x64", "96x96", "128x64"), help="HEIGHTxWIDTH in pixels")
    return parser.parse_args()


if __name__ == "__main__":
    main()
