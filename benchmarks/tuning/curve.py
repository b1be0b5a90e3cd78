"""Quality against tuning calls: `tune` with more and more samples, and with more and more time, table and figure.

    python -m benchmarks.tuning.curve digits-mlp-flow@3 mnist-vit-vp@1

Errors are those of the suite: from noise that nothing was fitted on, over that of the best rival of Diffusers. A plan
that is not accepted counts as the run without one. Points go to OUTPUT/tuned/curve, table and figure to curve.md and
curve.png there. Fits of limited time stop by the clock: on another machine they come to other numbers of calls, which
are what errors are drawn against.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.places import results, write_figure
from benchmarks.suite import rows
from benchmarks.suite.asking import parser
from benchmarks.suite.measures import geometric_mean, sample_errors
from benchmarks.suite.problems import Problem, Text, load, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import settle
from benchmarks.tuning.run import TUNED_FROM
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style, panels
from diffusers_deis_sn.tuning.arguments import HELD_OUT, SAMPLES
from diffusers_deis_sn.tuning.run import tune

PROBLEMS = ("digits-mlp-flow@3", "mnist-vit-vp@1")
CALLS = (5, 8)
NUMBERS = (4, 8, 16, SAMPLES, 40)  # of samples to fit on, with as much time as it takes
SHARES = (0.15, 0.3, 0.5, 0.75)  # of the time that all of it takes with `SAMPLES` samples

Point = dict[str, Any]


def main() -> None:
    """Fit, measure, write."""
    arguments = parser(__doc__, PROBLEMS, CALLS).parse_args()
    settle()
    folder = arguments.output / "tuned" / "curve"
    for name in () if arguments.table else arguments.problems:
        _run(name, arguments, folder)
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if found:
        (folder / "curve.md").write_text(table(found))
        for place in (folder / "curve.png", results("tuning", "curve.png")):
            write_figure(place, lambda palette: figure(found, palette))
        results("tuning", "curve.md").write_text(HEADING + table(found))


HEADING = f"""# How much tuning is enough

`tune` with more and more samples to fit on, each with as much time as it takes, and with {SAMPLES} samples and a part
of that time (`python -m benchmarks.tuning.curve`); {HELD_OUT} samples are held out. Errors over that of the best
rival of Diffusers, on noise of the suite that nothing was fitted on. Calls count every sample that the network was
called on: fine runs, the fit, the rivals and the runs without a plan that decide.

![Error over the best rival's against calls of the network](curve.png)

"""


def table(found: dict[str, list[Point]]) -> str:
    """A row for each fit."""
    numbers = sorted({number for points in found.values() for point in points for number in point["ratios"]}, key=int)
    names = ["network", "samples", "share of the time", "sample calls, thousands", "seconds"]
    lines = ["| " + " | ".join([*names, *(f"{number} calls" for number in numbers)]) + " |"]
    lines.append("|" + " --- |" * (len(names) + len(numbers)))
    for problem, points in found.items():
        for point in sorted(points, key=lambda one: (one["share"], one["samples"])):
            cells = [problem, str(point["samples"]), "all" if point["share"] >= 1.0 else f"{point['share']:g}"]
            cells += [f"{point['asked'] / 1000:.1f}", f"{point['seconds']:.0f}"]
            for number in numbers:
                ratio, plan = point["ratios"].get(number), point["plans"].get(number)
                cells.append("" if ratio is None else f"{ratio:.2f}{'' if plan else ' (no plan)'}")
            lines.append("| " + " | ".join(cells) + " |")
        without = points[0]["without"]
        lines.append("| " + " | ".join([problem, "none", "", "", "", *(f"{without[n]:.2f}" for n in numbers)]) + " |")
    return "\n".join(lines) + "\n"


def figure(found: dict[str, list[Point]], palette: Palette = LIGHT) -> Any:
    """A panel for each network: both ways of spending more, for each number of calls; dotted, without a plan."""
    from matplotlib.ticker import FixedLocator, NullLocator

    with house_style(palette):
        drawn, axes = panels(len(found), 4.2, 3.3)
        for axis, (problem, points) in zip(axes, found.items(), strict=True):
            for number, colour in zip(points[0]["ratios"], (palette.blue, palette.orange, palette.green), strict=False):
                _lines(axis, points, number, colour)
            axis.set(title=problem, xscale="log", yscale="log", xlabel="sample calls of tuning, thousands")
            for side, places in ((axis.xaxis, [5, 10, 20, 30]), (axis.yaxis, [0.1, 0.2, 0.3, 0.5, 0.7, 1.0])):
                side.set_major_locator(FixedLocator(places))
                side.set_minor_locator(NullLocator())
                side.set_major_formatter("{x:g}")
        axes[0].set_ylabel("error over the best rival's")
        named = max((axis.get_legend_handles_labels() for axis in axes), key=lambda both: len(both[1]))
        drawn.legend(*named, loc="outside lower center", ncols=4)
        return drawn


def _lines(axis: Any, points: list[Point], number: str, colour: str) -> None:
    whole = sorted((one for one in points if one["share"] >= 1.0), key=lambda one: one["asked"])
    timed = [one for one in points if one["share"] < 1.0] + [one for one in whole if one["samples"] == SAMPLES]
    ways = ((whole, "-", "more samples"), (sorted(timed, key=lambda one: one["asked"]), "--", "more time"))
    for own, line, label in ways:
        if len(own) > 1:
            asked, ratios = ([one["asked"] / 1000.0 for one in own], [one["ratios"][number] for one in own])
            axis.plot(asked, ratios, line, marker="o", ms=3.5, color=colour, label=f"{number} calls, {label}")
    axis.axhline(points[0]["without"][number], color=colour, lw=0.8, ls=":")
    axis.axhline(1.0, color="grey", lw=0.8)


# ------------------------------------------------------------------------------------------------------------ measuring


def _run(name: str, arguments: argparse.Namespace, folder: Path) -> None:
    """The points of a problem, those that are missing; written after each."""
    place = folder / f"{slug(name)}.json"
    points: list[Point] = json.loads(place.read_text()) if place.is_file() else []
    known = {(point["samples"], point["share"]) for point in points}
    first = [(SAMPLES, 1.0)]  # whose time the others have a share of
    wanted = first + [(number, 1.0) for number in NUMBERS if number != SAMPLES] + [(SAMPLES, one) for one in SHARES]
    problem: Problem | None = None
    for samples, share in wanted:
        if (samples, share) in known:
            continue
        problem = problem or load(name)
        whole = next((one["seconds"] for one in points if (one["samples"], one["share"]) == first[0]), None)
        budget = None if share >= 1.0 or whole is None else share * whole
        try:
            point = _point(problem, arguments, samples, budget)
        except CalibrationError as error:  # too little time for anything
            print(f"{name}, {share:g} of the time: {error}", flush=True)
            continue
        points.append(point | {"samples": samples, "share": share})
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(points, indent=1))
        print(f"{name}: {points[-1]}", flush=True)


def _point(problem: Problem, arguments: argparse.Namespace, samples: int, budget: float | None) -> Point:
    """One fit, and what it is worth."""
    statistics = problem.statistics(arguments.output / "statistics")
    started = time.perf_counter()
    tuning = tune(
        problem.pipe,
        problem.prompts(samples + HELD_OUT, TUNED_FROM) if isinstance(problem, Text) else None,
        arguments.calls,
        statistics=statistics,
        num_samples=samples,
        seed=TUNED_FROM,
        budget=budget,
        progress=False,
        guidance_scale=problem.guidance,
    )
    seconds = round(time.perf_counter() - started, 1)
    errors = {n: _error(problem, arguments, tuning.statistics, n) for n in arguments.calls}
    before = {n: _error(problem, arguments, statistics.with_plans(None), n) for n in arguments.calls}
    best = {n: _rival(problem, arguments, n) for n in arguments.calls}
    return {
        "asked": tuning.asked,
        "seconds": seconds,
        "ratios": {str(n): errors[n] / best[n] for n in arguments.calls},
        "without": {str(n): before[n] / best[n] for n in arguments.calls},
        "plans": {str(one.calls): one.plan is not None for one in tuning.outcomes},
    }


def _error(problem: Problem, arguments: argparse.Namespace, statistics: ScoreStatistics, calls: int) -> float:
    """Over the noise of all seeds."""
    make = partial(DEISSNScheduler.from_config, problem.config, stats=statistics)
    errors = []
    for seed in arguments.seeds:
        there = kept(problem, arguments.samples, seed, arguments.output / "references").end
        errors.append(sample_errors(problem.end(make(), calls, arguments.samples, seed), there))
    return geometric_mean(np.concatenate(errors))


def _rival(problem: Problem, arguments: argparse.Namespace, calls: int) -> float:
    """The least error of the suite's rivals that ran from the noise of all seeds.

    Raises:
        SystemExit: There are no rows.
    """
    folder, found = arguments.output / "rows", dict[str, list[np.ndarray]]()
    for seed in arguments.seeds:
        for row in rows.read(rows.path_of(folder, problem.name, seed, rows.RIVAL)):
            if row.asked == calls and not row.failure and row.samples >= arguments.samples:
                found.setdefault(row.sampler, []).append(row.sample_errors)
    whole = [geometric_mean(np.concatenate(one)) for one in found.values() if len(one) == len(arguments.seeds)]
    if not whole:
        raise SystemExit(
            f"{folder} has no rivals of {problem.name} in {calls} calls. Run them first: python -m "
            f"benchmarks.suite.run --problems '{problem.name}' --only rivals --output {arguments.output}"
        )
    return min(whole)


if __name__ == "__main__":
    main()
