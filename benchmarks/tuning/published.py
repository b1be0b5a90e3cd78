"""Reference rows beside `tune`, written from their papers: GITS, and fits with gradients as LD3 and GS make them.

    python -m benchmarks.tuning.published digits-mlp-flow@3 mnist-vit-vp@1 tiny-sd-digits@3

They have as many samples to fit on and to hold out as `tune`, a fine run of as many calls, and are compared on the same
noise of the suite. Rows go to OUTPUT/tuned/published, the table to published.md there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.places import results
from benchmarks.suite import rows
from benchmarks.suite.asking import parser
from benchmarks.suite.problems import Problem, load, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import measured, settle
from benchmarks.suite.samplers import Sampler
from benchmarks.tuning.direct import Direct
from benchmarks.tuning.gits import gits_levels
from benchmarks.tuning.gradients import BATCH, LOOKS, SETTLED, fitted
from benchmarks.tuning.run import TUNED_FROM
from benchmarks.tuning.table import published_table
from diffusers_deis_sn import DEISSNScheduler, Multistep
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Solver
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.tuning.arguments import HELD_OUT, SAMPLES
from diffusers_deis_sn.tuning.meter import FINE_CALLS
from diffusers_deis_sn.tuning.teacher import Teacher

PROBLEMS = ("digits-mlp-flow@3", "mnist-vit-vp@1", "tiny-sd-digits@3")
CALLS = (5, 8)
ITERATIONS = 200
BACKWARD = 3.0  # calls that a call with its gradient counts as
GITS, LD3, GS = "GITS", "times by gradients (LD3)", "times and weights by gradients (GS)"
SOLVERS: dict[str, Solver] = {  # for the times of GITS
    "iPNDM": Multistep(3, equal_steps=True, lower_order_final=False),
    "DPM++ 2M": Multistep(2, "log_rho", "data"),
}


@dataclass(frozen=True)
class Material:
    """What is fitted on: the network with samples of two kinds, and their fine runs."""

    direct: Direct
    fine: Teacher
    held_out: Direct
    held_out_fine: Teacher

    @classmethod
    def of(cls, problem: Problem) -> Material:
        """That of a problem."""
        direct, held_out = (
            Direct.of(problem, samples, seed) for samples, seed in ((SAMPLES, TUNED_FROM), (HELD_OUT, TUNED_FROM + 1))
        )
        fine, other = (Teacher.of(one.model(), FINE_CALLS) for one in (direct, held_out))
        return cls(direct, fine, held_out, other)

    def fits(self, calls: int, iterations: int) -> Iterator[tuple[str, Callable[[], Tuned], int]]:
        """Names, how to fit, and how many sample calls that takes beside the fine run."""
        looks = (iterations * (1.0 - SETTLED) / LOOKS + 1) * HELD_OUT + 4 * SAMPLES
        cost = round(calls * (iterations * BATCH * BACKWARD + looks))
        for name, solver in SOLVERS.items():
            yield f"{GITS}, {name}", partial(self._gits, calls, solver), 0
        for name, weights in ((LD3, False), (GS, True)):
            yield name, partial(self._by_gradients, calls, iterations, weights), cost

    def _gits(self, calls: int, solver: Solver) -> Tuned:
        direct = self.direct
        levels = direct.process.whole(gits_levels(self.fine, calls))
        return Tuned.of_plan(Recipe(direct.process, solver=solver, prediction=direct.prediction).over(levels))

    def _by_gradients(self, calls: int, iterations: int, weights: bool) -> Tuned:
        return fitted(self.direct, self.fine.end, self.held_out, self.held_out_fine.end, calls, iterations, weights)


def main() -> None:
    """Fit, measure, write."""
    asked = parser(__doc__, PROBLEMS, CALLS)
    asked.add_argument("--iterations", type=int, default=ITERATIONS, help="steps of Adam")
    arguments = asked.parse_args()
    settle()
    folder = arguments.output / "tuned" / "published"
    for name in () if arguments.table else arguments.problems:
        _run(load(name), arguments, folder)
    text = published_table(folder, arguments.output, arguments.calls, arguments.seeds)
    if text:
        (folder / "published.md").write_text(text)
        results("tuning", "published.md").write_text(HEADING + text)


HEADING = f"""# `tune` and other published methods

Written from the papers and their authors' code, on the samples that `tune` has ({SAMPLES} to fit on, {HELD_OUT} held
out) and a fine run of {FINE_CALLS} calls (`python -m benchmarks.tuning.published`). GITS: times by its dynamic
programme over the fine run, with the solver named. With gradients: {ITERATIONS} steps of Adam through the network,
batches of {BATCH}, from the exact weights of DPM++ 2M on the best of four grids; times alone, as LD3, or also all
weights, as GS; the distance is that of the samples, as everywhere here. Errors are those of `table.md`: geometric means
over samples of the RMS distance to a converged run, on noise that nothing was fitted on. Sample calls of the fit are
without those of the fine run, and a call with its gradient counts as {BACKWARD:g}.

"""


def _run(problem: Problem, arguments: argparse.Namespace, folder: Path) -> None:
    """Rows and facts of a problem, those that are missing."""
    place, facts_at = folder / "rows" / f"{slug(problem.name)}.csv", folder / "facts" / f"{slug(problem.name)}.json"
    found = rows.read(place)
    facts = json.loads(facts_at.read_text()) if facts_at.is_file() else {}
    statistics = problem.statistics(arguments.output / "statistics")
    material: Material | None = None
    for calls in arguments.calls:
        material = material or Material.of(problem)
        for name, fit, cost in material.fits(calls, arguments.iterations):
            if any(row.sampler == name and row.asked == calls for row in found):
                continue
            start = time.perf_counter()
            plans = Plans((TunedPlan(fit(), problem.guidance),), tuple(problem.shape))
            seconds = time.perf_counter() - start
            make = partial(DEISSNScheduler.from_config, problem.config, stats=statistics.with_plans(plans))
            for seed in arguments.seeds:
                reference = kept(problem, arguments.samples, seed, arguments.output / "references")
                found.append(measured(problem, Sampler(name, make), rows.OURS, calls, seed, reference, "", False))
            facts[f"{name}, {calls}"] = {"seconds": seconds, "asked": cost}
            rows.write(place, found)
            facts_at.parent.mkdir(parents=True, exist_ok=True)
            facts_at.write_text(json.dumps(facts, indent=1))
            error = float(np.mean([row.geometric or np.nan for row in found[-len(arguments.seeds) :]]))
            print(f"{problem.name}, {calls} calls, {name}: {error:.4g}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
