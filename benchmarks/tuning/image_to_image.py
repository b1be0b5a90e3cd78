"""Runs that start from an image, as `strength` has them: today's way, and ways to take a plan's times and weights.

    python -m benchmarks.tuning.image_to_image --output runs/suite

A run of N steps at strength s makes n = int(N s) calls, from the level that the image was noised to. Images are those
which converged runs of the network itself end with (the suite's references), noised anew; asked for is what they show
(seed 1) and something else (seed 2, by the prompts of seed 3). Compared is with a fine run from the same noised image.
Ways are those of `benchmarks.tuning.begun`; statistics and plans are those of `benchmarks.tuning.run`
(OUTPUT/tuned/statistics). Errors go to OUTPUT/tuned/image-to-image, the table to image-to-image.md.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.places import results
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.problems import Network, Problem, Text, load, names, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import settle
from benchmarks.tuning.begun import LEVELS, TODAY, WEIGHTS, Begun, served, ways
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.schedulers._given import Request
from diffusers_deis_sn.schedulers._options_to_recipe import followed
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.judging import Judged

SAMPLES = 16
PAIRS = ((1, 1), (2, 3))  # seed of the images, and of what is asked for
NOISED_FROM = 60_000  # seeds of the noise on them
# Steps and strength: 3, 4, 4, 5, 6, 6, 8, 10, 12 and 15 calls.
RUNS = ((10, 0.3), (5, 0.8), (8, 0.5), (10, 0.5), (20, 0.3), (10, 0.6), (10, 0.8), (20, 0.5), (20, 0.6), (30, 0.5))
FINE, COARSE = 60, 30  # calls of the fine run, and of the one that says how fine it is
FEW = ("inside all plans; today's", "inside all plans; the recipe's", "the recipe's, compressed; the recipe's")
GROUPS = ((3, 5), (6, 10), (11, 15))  # of numbers of calls

Run = tuple[int, float]
"""Number of steps, and strength."""


def measured(
    problem: Problem, statistics: ScoreStatistics, pair: tuple[int, int], asked: Sequence[Run], few: bool, output: Path
) -> list[dict[str, Any]]:
    """Errors of every way, or of a few, for each number of steps and strength."""
    images, found = kept(problem, SAMPLES, pair[0], output / "references").end, []
    noise = problem.noise(SAMPLES, NOISED_FROM + pair[0])
    prediction = DEISSNScheduler.from_config(problem.config, stats=False).config.prediction_type
    fine: dict[float, Tensor] = {}
    with torch.no_grad(), _network(problem, pair[1], noise) as network:
        for steps, strength in asked:
            begun = begin(problem, statistics, steps, steps - int(steps * strength))
            start = float(begun.tail[0])
            alpha, sigma = (float(scale([start])[0]) for scale in (begun.process.alpha, begun.process.sigma))
            noised = alpha * images + sigma * noise

            def end(plan: Plan, first: int, noised: Tensor = noised) -> Tensor:
                return ended(network, plan, first, noised)

            far = None
            if start not in fine:
                fine[start] = end(_fine(begun, prediction, FINE), 0)
                if len(fine) == 1:
                    far = Judged.of(end(_fine(begun, prediction, COARSE), 0), fine[start]).geometric
            errors = {
                way: asdict(Judged.of(end(*_run(begun, run, prediction)), fine[start]))
                for way, run in ways(begun)
                if not few or way in (TODAY, *FEW)
            }
            facts = {"steps": steps, "strength": strength, "calls": begun.calls, "served": served(begun), "far": far}
            found.append(facts | {"errors": errors})
    return found


def begin(problem: Problem, statistics: ScoreStatistics, steps: int, first: int) -> Begun:
    """A run of the problem's network that begins at a call."""
    scheduler = DEISSNScheduler.from_config(
        problem.config, stats=statistics, tuned=False, guidance_scale=problem.guidance
    )
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(first)
    none = torch.zeros(1, *problem.shape)
    scheduler.add_noise(none, none, scheduler.timesteps[first : first + 1])
    run, planner = scheduler._run, scheduler._planner
    assert run is not None
    request = Request(steps - first, guidance=problem.guidance)
    method = planner._method(request)
    options = planner._told(problem.guidance)
    grid = None
    if method is not None:
        recipe = planner.recipe(followed(options, method, planner.statistics), run.shift, True)
        grid = recipe.levels(steps - first)
    plans = {} if statistics.plans is None else statistics.plans.at(problem.guidance)
    return Begun(
        scheduler.noise,
        (run.plan, first),
        {calls: one.run for calls, one in plans.items()},
        lambda levels: Tuned.of_recipe(planner.recipe(options, run.shift), levels),
        planner._exact(request),
        grid,
    )


def ended(network: Callable[[Tensor, float], Tensor], plan: Plan, first: int, x: Tensor) -> Tensor:
    """Where a run that begins at a call ends."""
    history: list[Tensor] = []
    for n in range(first, len(plan)):
        output, raw = plan.convert(n, network(x, plan.levels[n]), x)
        history = [output, *history][: plan.table.order]
        x = plan.advance(n, x, history, raw)
    return x


def _run(begun: Begun, run: Tuned | None, prediction: str) -> tuple[Plan, int]:
    return begun.today if run is None else (run.plan(begun.process, prediction), 0)


def _fine(begun: Begun, prediction: str, calls: int) -> Plan:
    """A run of many calls from the same level, at whole times where the network knows no others."""
    process, start = begun.process, float(begun.tail[0])
    tau = float(process.progress(start)) * (1.0 - np.arange(calls) / calls) ** 1.5
    rho = process.level(np.unique(np.maximum(tau, float(process.progress(process.bottom))))[::-1])
    rho[0] = start
    grid = Power("t", 1.5)
    return Recipe(process, grid, Multistep(3, of="data"), prediction=prediction).over(
        process.whole(np.append(rho, 0.0))
    )


@contextmanager
def _network(problem: Problem, seed: int, noise: Tensor) -> Iterator[Callable[[Tensor, float], Tensor]]:
    """The problem's network as a function of samples and levels, asked for what a seed says."""
    if isinstance(problem, Text):
        prompts = {"prompt": problem.prompts(SAMPLES, seed), "output_type": "latent"}
        options = {"latents": noise, "guidance_scale": problem.guidance, **prompts}
        with Asker(problem.pipe, [lambda: options]) as asker:
            yield asker
        return
    process, pipe = DEISSNScheduler.from_config(problem.config, stats=False).noise, problem.pipe

    def called(x: Tensor, level: float) -> Tensor:
        time = float(process.call_times(np.array([level]))[0])
        scaled = x * float(process.input_scale(process.sigma([level]))[0])
        if isinstance(problem, Network):
            output = pipe.guided(scaled, time, problem.labels(SAMPLES, seed), problem.guidance)
        else:
            labels = None if pipe.classes is None else torch.arange(SAMPLES) % pipe.classes
            output = pipe.network(scaled.double(), time, labels, problem.guidance)
        return output.to(x.dtype)

    yield called


# -------------------------------------------------------------------------------------------------------------- table

HEADING = """# Tuned plans in image-to-image runs

Runs of N steps at `strength` s start from pictures that the network drew itself, with new noise on them. Each row is
a way to choose times and weights from a plan; its numbers are errors divided by those of the same run without plans,
so below 1 is better. Means are geometric, over networks, runs and samples. "Worse" is the share of runs (a network,
N, s and prompts) whose error is more than 2 % larger than without plans; "worst" is the network with the largest
ratio. Written by `python -m benchmarks.tuning.image_to_image`.

The *times* of a run of n calls from the start that `strength` says:

* today's times: evenly spaced ("trailing"), as without plans;
* the recipe's, compressed: those of the measured recipe for n calls, scaled to begin at the start;
* the last of the plan: the last n times of the plan of N calls, scaled likewise;
* the plan, compressed: all times of the nearest plan, scaled likewise;
* inside the nearest plan: the part of that plan's times below the start, at n equal steps;
* inside all plans: the same, averaged over all plans. **This is what `DEISSNScheduler` does.**

The *weights*: today's are the exact ones of the options at these times, the recipe's are those of the measured
recipe, and the plan's are those that were fitted.

"""
MEASURES = (("geometric", "geometric mean"), ("rms", "RMS"), ("trimmed", "RMS without the worst tenth"))


def table(folder: Path) -> str:
    """What all networks say together, and each of them of the ways that say most."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    lines = []
    for role in ("choosing", "reporting"):
        chosen = [one for one in found if one["role"] == role]
        if chosen:
            listed = ", ".join(sorted({one["problem"] for one in chosen}))
            lines += [f"## The {role} networks\n", f"{listed}.\n", *_summary(chosen), ""]
    return HEADING + "\n".join(lines)


def in_short(text: str) -> str:
    """What the table says of the runs that `DEISSNScheduler` takes times of plans for, in words."""
    served = r"where `DEISSNScheduler` takes it \| (\d+) \| ([\d.]+), (\d+%), ([\d.]+) \| ([\d.]+)"
    runs, mean, worse, worst, rms = re.findall(served, text)[-1]  # of the networks that report
    return (
        f"**With tuned plans** the error falls to {mean} of that without them (RMS {rms}; geometric mean over {runs} "
        f"runs on the test models kept for judging). {worse[:-1]} % of these runs got worse by more than 2 %; on the "
        f"model that gained least, the error falls to {worst} of that without.\n"
    )


def _summary(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    heads = [f"{said}: mean, worse, worst" for _, said in MEASURES]
    yield f"| times; weights | calls | runs | {' | '.join(heads)} |"
    yield "| --- | --- | --- |" + " --- |" * len(heads)
    for way in (f"{levels}; {weights}" for levels in LEVELS for weights in WEIGHTS):
        for least, most in GROUPS:
            yield from _row(found, way, f"{least} to {most}", lambda run, a=least, b=most: a <= run["calls"] <= b)
    yield from _row(found, FEW[0], "where `DEISSNScheduler` takes it", lambda run: run["served"])


def _row(
    found: Sequence[Mapping[str, Any]], way: str, said: str, chosen: Callable[[Mapping[str, Any]], bool]
) -> Iterator[str]:
    """A way in some of the runs; nothing where it was not measured in any."""
    cells, number = [], 0
    for measure, _ in MEASURES:
        ratios: dict[str, list[float]] = defaultdict(list)
        for one in found:
            for run in one["runs"]:
                if chosen(run) and way in run["errors"]:
                    errors = run["errors"]
                    ratios[one["problem"]].append(errors[way][measure] / errors[TODAY][measure])
        every = np.array([ratio for several in ratios.values() for ratio in several])
        number = len(every)
        if number:
            worst = max(geometric_mean(np.array(several)) for several in ratios.values())
            cells.append(f"{geometric_mean(every):.2f}, {np.mean(every > 1.02):.0%}, {worst:.2f}")
    if number:
        yield f"| {way} | {said} | {number} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and write."""
    arguments = _parsed()
    settle()
    folder = arguments.output / "tuned" / "image-to-image"
    folder.mkdir(parents=True, exist_ok=True)
    plans = arguments.output / "tuned" / "statistics"
    for name in () if arguments.table else arguments.problems or names():
        for pair in arguments.pairs:
            path = folder / f"{slug(name)}-{pair[0]}-{pair[1]}.json"
            statistics = ScoreStatistics.load(plans / slug(name)) if (plans / slug(name)).exists() else None
            known = json.loads(path.read_text())["runs"] if path.exists() else []
            left = [one for one in arguments.runs if not _among(one, known)]
            if not left or statistics is None or statistics.plans is None:
                continue
            problem = load(name)
            known += measured(problem, statistics, pair, left, arguments.few, arguments.output)
            path.write_text(json.dumps({"problem": name, "role": problem.role, "pair": pair, "runs": known}, indent=1))
            print(path, flush=True)
    text = table(folder)
    results("tuning", "image-to-image.md").write_text(text)
    results("tuning", "image-to-image-summary.md").write_text(in_short(text))


def _among(run: Run, known: Sequence[Mapping[str, Any]]) -> bool:
    return any((one["steps"], one["strength"]) == run for one in known)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", help="all that were tuned if none is named")
    parser.add_argument("--output", type=Path, default=Path("runs/suite"))
    parser.add_argument("--pairs", type=_pair, nargs="+", default=list(PAIRS), help="IMAGES-PROMPTS, seeds")
    parser.add_argument("--runs", type=_run_of, nargs="+", default=list(RUNS), help="STEPS:STRENGTH")
    parser.add_argument("--few", action="store_true", help="measure the ways alone that are chosen among in the end")
    parser.add_argument("--table", action="store_true", help="write the table alone")
    return parser.parse_args()


def _run_of(text: str) -> Run:
    steps, strength = text.split(":")
    return int(steps), float(strength)


def _pair(text: str) -> tuple[int, int]:
    images, prompts = map(int, text.split("-"))
    return images, prompts


if __name__ == "__main__":
    main()
