"""Quality against calibration calls: how many samples, steps and trials a measurement needs, on every network.

    python -m benchmarks.calibration.size                     # all problems of the suite; goes on where it stopped
    python -m benchmarks.calibration.size --problems 'digits-*' --draw-only

Two questions, each asked of the one while the other is at its largest:

* measurements of S samples x N steps, at uniform times and at times that are dense next to clean data: the error of
  both schedulers in 5, 8 and 10 calls, over that with the largest;
* recipes tried on K samples: the error, on eight other samples, of the recipe that K samples choose, over that of the
  best of all recipes on those eight.

Errors are geometric means over samples of the distance to a converged run, as in the suite.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor

from benchmarks.calibration.figure import draw, table, trials_of
from benchmarks.places import results
from benchmarks.suite import reference
from benchmarks.suite.problems import CALIBRATED_FROM, Problem, load, names
from benchmarks.suite.runner import settle
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics, calibrate
from diffusers_deis_sn.collect import recorder
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.collect.enough import plan_change
from diffusers_deis_sn.collect.trying import CALLS, FINE, FINE_CALLS, MENU, TINY, Trier, finest_band
from diffusers_deis_sn.core.grids import Trailing
from diffusers_deis_sn.errors import DeisSnError
from diffusers_deis_sn.statistics.trials import Trials

HERE = Path(__file__).resolve().parent
# Spacing of the times, samples, steps; the last is what all others are held against.
SIZES = (
    *(("dense", *size) for size in ((2, 10), (4, 20), (8, 30), (8, 50), (16, 50))),
    *(("uniform", *size) for size in ((8, 50), (16, 100), (32, 200))),
    ("dense", 32, 100),
)
# With trials from elsewhere: the smallest, the default, what "auto" goes on to, and what they are held against.
FEWER_SIZES = tuple(SIZES[i] for i in (0, 3, 4, 5, 8))
CHOOSING, JUDGING = 8, 8  # samples that recipes are chosen on, the first of them, and that the choice is judged on
STEPS = (5, 8, 10)
SAMPLES, SEED = 16, 1


def measured(problem: Problem, spacing: str, samples: int, steps: int) -> ScoreStatistics:
    """Statistics of so many samples and steps, without trials."""
    options: dict[str, Any] = {"prompts": problem.prompts(samples, CALIBRATED_FROM)} if has_prompts(problem) else {}
    grid = recorder.DENSE if spacing == "dense" else Trailing()
    with mock.patch.object(recorder, "DENSE", grid):  # `calibrate` offers no choice
        return calibrate(
            problem.pipe,
            num_samples=samples,
            num_inference_steps=steps,
            batch_size=16,
            seed=CALIBRATED_FROM,
            trials=0,
            progress=False,
            guidance_scale=problem.guidance,
            **options,
        )


def has_prompts(problem: Problem) -> bool:
    """Whether its pipeline draws from texts."""
    return hasattr(problem, "prompts")


def distance(end: Tensor, other: Tensor) -> float:
    """Geometric mean over samples of the RMS distance."""
    return float((end - other).flatten(1).double().square().mean(1).log().mean().mul(0.5).exp())


def sizes(
    problem: Problem, trials: Trials | None, folder: Path, asked: tuple[tuple[str, int, int], ...] = SIZES
) -> Iterator[dict[str, Any]]:
    """Rows of the first question."""
    there = reference.kept(problem, SAMPLES, SEED, folder)
    for spacing, samples, steps in asked:
        started = time.perf_counter()
        record = measured(problem, spacing, samples, steps).with_trials(trials)
        seconds = round(time.perf_counter() - started, 2)
        change = plan_change(record, DEISSNScheduler.from_config(problem.config).noise)
        size = {"spacing": spacing, "samples": samples, "steps": steps, "seconds": seconds, "change": change}
        for kind in (DEISSNScheduler, ScoreOptimalScheduler):
            for n in STEPS:
                try:
                    end = problem.end(kind.from_config(problem.config, stats=record), n, SAMPLES, SEED)
                except DeisSnError:
                    continue
                error = distance(end, there.end)
                yield size | {"scheduler": kind.__name__, "calls": n, "error": error}


def recipes(problem: Problem, record: ScoreStatistics) -> Iterator[dict[str, Any]]:
    """Rows of the second question: error and energy of the finest band of each sample, recipe and number of calls."""
    prompts = problem.prompts(CHOOSING + JUDGING, CALIBRATED_FROM) if has_prompts(problem) else None
    calls = plan_calls(problem.pipe, prompts, 10, CALIBRATED_FROM, {"guidance_scale": problem.guidance})
    trier = Trier(problem.pipe, problem.config, record, calls, CHOOSING + JUDGING, 16, lambda _: None)
    fine = trier.ends(FINE, FINE_CALLS)
    yield {"recipe": "fine", "bands": bands(fine)}
    for number, recipe in enumerate(MENU):
        for n in CALLS:
            try:
                end = trier.ends(recipe, n)
            except DeisSnError:
                break
            each = (end - fine).flatten(1).double().square().mean(1).clamp_min(TINY).sqrt()
            yield {"recipe": number, "calls": n, "errors": each.tolist(), "bands": bands(end)}


def bands(ends: Tensor) -> list[float]:
    """Energy of the finest band of each sample; ones where there is none."""
    return [1.0 if (band := finest_band(one[None])) is None else band for one in ends]


def run(name: str, folder: Path, references: Path, statistics: Path | None = None) -> None:
    """Both questions of a problem, kept in a file; the first alone with the trials of statistics that are there."""
    path = folder / f"{name}.json"
    if path.exists():
        return
    started, problem = time.perf_counter(), load(name)
    if hasattr(problem.pipe, "set_progress_bar_config"):
        problem.pipe.set_progress_bar_config(disable=True)
    if statistics is not None:
        trials = problem.statistics(statistics).trials
        found = {"recipes": [], "sizes": list(sizes(problem, trials, references, FEWER_SIZES))}
    else:
        record = measured(problem, "dense", 16, 50)
        before = problem.pipe.scheduler
        try:
            tried = list(recipes(problem, record))
        finally:
            problem.pipe.scheduler = before
        found = {"recipes": tried, "sizes": list(sizes(problem, trials_of(tried, slice(0, CHOOSING)), references))}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found) + "\n")
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["*"], metavar="PATTERN")
    parser.add_argument("--draw-only", action="store_true")
    parser.add_argument("--runs", type=Path, default=HERE.parent.parent / "runs/calibration")
    parser.add_argument("--references", type=Path, default=HERE.parent.parent / "runs/suite/references")
    parser.add_argument("--statistics", type=Path, help="the suite's, whose trials are taken: the first question alone")
    parser.add_argument("--output", type=Path, default=results("calibration"))
    arguments = parser.parse_args()
    settle()
    for name in [] if arguments.draw_only else names():
        if any(fnmatch(name, pattern) for pattern in arguments.problems):
            run(name, arguments.runs, arguments.references, arguments.statistics)
    found = {path.stem: json.loads(path.read_text()) for path in sorted(arguments.runs.glob("*.json"))}
    draw(found, arguments.output / "size.png")
    (arguments.output / "size.md").write_text(table(found) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
