"""Plans of flow-matching models at another shift than they were tuned at, against runs without a plan at that shift.

    python -m benchmarks.tuning.shifts --output runs/suite

A shift s moves levels rho to s rho. The plans are those of `benchmarks.tuning.run`, tuned at shift 1, and such as are
tuned here at shift 3, to OUTPUT/tuned/shifted. Pictures of other sizes are drawn with the shift of their resolution,
the root of the ratio of their areas (Stable Diffusion 3, arXiv 2403.03206). Compared is with the suite's references, of
other sizes with a fine run. Errors go to OUTPUT/tuned/shifts, the table to shifts.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.places import results
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.problems import Problem, Text, load, names, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import settle
from benchmarks.tuning.run import TUNED_FROM
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import Exact
from diffusers_deis_sn.schedulers._given import Request
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.tuning.deciding import FineScheduler
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.meter import FINE_CALLS
from diffusers_deis_sn.tuning.run import tune
from diffusers_deis_sn.tuning.teacher import FINE, GRID

SAMPLES = 16
RESIZED, DRAWN_FROM = 8, 30_000  # samples of other sizes, and seeds that neither a fit nor the suite has
SHIFTS = (0.5, 1.0, 2.0, 3.0, 5.0)
TUNED_AT = (1.0, 3.0)
TODAY = "without a plan"
AS_IT_IS = "the plan as it is, whatever the shift"
MOVED = {
    "times shifted, the recipe's weights": 0.0,
    "times shifted, half of what was fitted": 0.5,
    "times shifted, what was fitted": 1.0,
}
Make = Callable[..., DEISSNScheduler]


def main() -> None:
    """Measure and write."""
    arguments = _parsed()
    settle()
    folder = arguments.output / "tuned" / "shifts"
    folder.mkdir(parents=True, exist_ok=True)
    for name in () if arguments.table else arguments.problems or names():
        for own in arguments.tuned_at:
            path = folder / f"{slug(name)}-{own:g}.json"
            problem = None if path.exists() else load(name)
            if problem is None or problem.family != "flow":
                continue
            statistics = _statistics(problem, own, arguments.output)
            if statistics is not None and statistics.plans is not None:
                runs = list(_runs(problem, statistics, own, arguments))
                if isinstance(problem, Text) and own == 1.0:
                    for size in arguments.sizes:
                        runs += _resized(problem, statistics, *map(int, size.split("x")))
                facts = {"problem": name, "role": problem.role, "tuned at": own, "runs": runs}
                path.write_text(json.dumps(facts, indent=1))
                print(path, flush=True)
    results("tuning", "shifts.md").write_text(table(folder))


def _statistics(problem: Problem, own: float, output: Path) -> ScoreStatistics | None:
    """With plans that were tuned at a shift; None where the suite's were not tuned."""
    place = output / "tuned" / "statistics" / slug(problem.name)
    if not place.exists():
        return None
    statistics = ScoreStatistics.load(place)
    if own == 1.0:
        return statistics
    shifted = output / "tuned" / "shifted" / f"{slug(problem.name)}-{own:g}"
    if not shifted.exists():
        before = problem.pipe.scheduler
        problem.pipe.scheduler = type(before).from_config(before.config, shift=own)
        prompts = problem.prompts(40, TUNED_FROM) if isinstance(problem, Text) else None
        tune(
            problem.pipe,
            prompts,
            (5, 8),
            statistics=statistics.with_plans(None),
            seed=TUNED_FROM,
            progress=False,
            guidance_scale=problem.guidance,
        ).statistics.save(shifted)
        problem.pipe.scheduler = before
    return ScoreStatistics.load(shifted)


def _runs(
    problem: Problem, statistics: ScoreStatistics, own: float, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    plans = statistics.plans.at(problem.guidance) if statistics.plans else {}
    for calls, plan in plans.items():
        for shift in arguments.shifts:
            if shift == own:
                continue
            ends: dict[str, list[Tensor]] = {}
            fine = []
            for seed in arguments.seeds:
                for way, scheduler in _ways(problem, statistics, plan, shift):
                    ends.setdefault(way, []).append(problem.end(scheduler, calls, SAMPLES, seed))
                    assert (scheduler.plan is None) == (way == TODAY)
                fine.append(kept(problem, SAMPLES, seed, arguments.output / "references").end)
            errors = {way: asdict(Judged.of(torch.cat(several), torch.cat(fine))) for way, several in ends.items()}
            yield {"calls": calls, "shift": shift, "errors": errors}


def _resized(problem: Text, statistics: ScoreStatistics, height: int, width: int) -> Iterator[dict[str, Any]]:
    """Runs at another size, in pixels of latents."""
    shape, scale = problem.shape, problem.pipe.vae_scale_factor
    shift = (height * width / (shape[1] * shape[2])) ** 0.5
    problem.shape = (shape[0], height, width)
    options = {"height": height * scale, "width": width * scale, "output_type": "latent"}
    options |= {"guidance_scale": problem.guidance, "latents": problem.noise(RESIZED, DRAWN_FROM)}
    problem.shape = shape
    prompts = problem.prompts(RESIZED, DRAWN_FROM)

    def end(scheduler: Any, steps: int) -> Tensor:
        problem.pipe.scheduler, before = scheduler, problem.pipe.scheduler
        with torch.no_grad():
            found = problem.pipe(prompts, num_inference_steps=steps, **options).images.float()
        problem.pipe.scheduler = before
        return found

    fine = end(FineScheduler.from_config(problem.config, stats=False, solver=FINE, grid=GRID), FINE_CALLS)
    for calls, plan in statistics.plans.at(problem.guidance).items() if statistics.plans else ():
        ways = _ways(problem, statistics, plan, shift)
        errors = {way: asdict(Judged.of(end(scheduler, calls), fine)) for way, scheduler in ways}
        yield {"calls": calls, "shift": shift, "size": f"{height}x{width}", "errors": errors}


def _ways(
    problem: Problem, statistics: ScoreStatistics, plan: TunedPlan, shift: float
) -> Iterator[tuple[str, DEISSNScheduler]]:
    """Name and scheduler of each way to run at a shift."""
    make: Make = partial(DEISSNScheduler.from_config, problem.config, guidance_scale=problem.guidance)
    yield TODAY, make(stats=statistics, flow_shift=shift, tuned=False)
    yield AS_IT_IS, make(stats=statistics, flow_shift=plan.run.shift)
    before, after = (_exact(make(stats=statistics, flow_shift=one), plan) for one in (plan.run.shift, shift))
    for way, share in MOVED.items():
        run = moved(plan.run, shift, before, after, share)
        own = Plans((TunedPlan(run, plan.guidance),), statistics.plans.sample_shape) if statistics.plans else None
        yield way, make(stats=statistics.with_plans(own), flow_shift=shift)


def moved(
    run: Tuned, shift: float, before: tuple[NoiseSchedule, Exact], after: tuple[NoiseSchedule, Exact], share: float
) -> Tuned:
    """A plan at another shift: its times shifted, the weights of the recipe there, and a share of what was fitted."""
    levels = after[0].shifted(run.rho, shift / run.shift)
    formula, base = before[1](run.rho), after[1](levels)
    return replace(
        base,
        transfer=base.transfer + share * (run.transfer - formula.transfer),
        weights=base.weights + share * (run.weights - formula.weights),
        low=None if run.low is None or not share else share * run.low,
        shift=shift,
    )


def _exact(scheduler: DEISSNScheduler, plan: TunedPlan) -> tuple[NoiseSchedule, Exact]:
    return scheduler.noise, scheduler._planner._exact(Request(plan.calls, guidance=plan.guidance))


# -------------------------------------------------------------------------------------------------------------- table

HEADING = """# Plans at another shift

Errors of runs of flow-matching models at a shift that their plan was not tuned at, over those of runs without a plan at
that shift, geometric mean / RMS of the distances of samples (`python -m benchmarks.tuning.shifts`). Runs of another
size have it beside their shift, which is the root of the ratio of the areas.

"""


def table(folder: Path) -> str:
    """A row for each network, number of calls and shift."""
    ways = (AS_IT_IS, *MOVED)
    lines = [f"| network | role | calls | tuned at | run at | {' | '.join((TODAY, *ways))} |"]
    lines.append("|" + " --- |" * (len(ways) + 6))
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for one in sorted(found, key=lambda one: (one["role"], one["tuned at"], one["problem"])):
        for run in one["runs"]:
            errors = run["errors"]
            at = f"{run['shift']:.2g}" + (f", {run['size']}" if "size" in run else "")
            cells = [one["problem"], one["role"], run["calls"], f"{one['tuned at']:g}", at]
            cells.append("{geometric:.4g} / {rms:.4g}".format(**errors[TODAY]))
            cells += [_ratios(errors[way], errors[TODAY]) for way in ways]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return HEADING + "\n".join(lines) + "\n\n" + "\n".join(_summary(found, ways)) + "\n"


def _summary(found: Sequence[Mapping[str, Any]], ways: Sequence[str]) -> Iterator[str]:
    """Geometric means over all runs of a role."""
    yield f"| role | {' | '.join(ways)} |"
    yield "|" + " --- |" * (len(ways) + 1)
    for role in ("choosing", "reporting"):
        runs = [run["errors"] for one in found if one["role"] == role for run in one["runs"]]
        if runs:
            means = [
                [geometric_mean(np.array([run[way][name] / run[TODAY][name] for run in runs])) for name in NAMES]
                for way in ways
            ]
            yield f"| {role} | {' | '.join(f'{one:.2f} / {two:.2f}' for one, two in means)} |"


NAMES = ("geometric", "rms")


def _ratios(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    return " / ".join(f"{one[name] / other[name]:.2f}" for name in NAMES)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", help="all flows if none is named")
    parser.add_argument("--output", type=Path, default=Path("runs/suite"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--shifts", type=float, nargs="*", default=SHIFTS)
    parser.add_argument("--sizes", nargs="*", default=("8x4", "6x6"), help="HEIGHTxWIDTH of latents")
    parser.add_argument("--tuned-at", type=float, nargs="+", default=TUNED_AT)
    parser.add_argument("--table", action="store_true", help="write the table alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
