"""Tunes every network of the suite and holds the plans against the rivals on other noise.

    python -m benchmarks.tuning.run

Plans are fitted and accepted by `tune` alone, on seeds from 20 000 on; compared are the seeds of the suite.
References, statistics and the rivals' rows are those of the suite (--output of benchmarks.suite.run, measured where
they are missing). Rows of plans go to OUTPUT/tuned, tables to OUTPUT/tuned/table.md; numbers of calls that have rows
there are not tuned again. `benchmarks.suite.settings` then
draws error against calls, with plans and without.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.places import results
from benchmarks.suite import rows
from benchmarks.suite.asking import parser
from benchmarks.suite.problems import Problem, Text, load, names, slug
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import Order, measured, run_problem, settle
from benchmarks.suite.samplers import OURS, TUNED, Sampler
from benchmarks.tuning.table import write_tables
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.tuning.outcome import Outcome, Tuning
from diffusers_deis_sn.tuning.run import tune

TUNED_FROM = 20_000  # seeds from here on are tuned on; those below are compared, or measured
CALLS = (5, 8, 10)
PROMPTS = 80  # for the samples to fit on and those held out, and as many again where these leave no plan


def main() -> None:
    """Tune, measure, write."""
    arguments = parser(__doc__, names(), CALLS).parse_args()
    settle()
    calls, seeds = tuple(arguments.calls), tuple(arguments.seeds)
    order = Order(arguments.output, calls, arguments.samples, seeds, (rows.RIVAL,))
    folder = arguments.output / "tuned"
    for name in arguments.problems:
        if not arguments.table:
            run_problem(name, order)
            _tuned(load(name), order, folder)
            write_tables(folder, arguments.output / "rows", calls, seeds)
    text = write_tables(folder, arguments.output / "rows", calls, seeds)
    if text:
        results("tuning", "table.md").write_text(HEADING + text)
        found = [row for row in rows.read_all(folder / "rows") if row.sampler == TUNED]
        rows.write(results("tuning", "results.csv"), found, without=("errors", "stamp"))


HEADING = """# What tuned plans gain

Plans were fitted and accepted by `tune` on noise and prompts of their own; these are errors on others, those of the
suite: geometric means over samples of the RMS distance to a converged run (`python -m benchmarks.tuning.run`). The best
rival is that with the least geometric mean of all samplers of Diffusers in the suite; of the RMS, that with the least
RMS. Choices in `tune` (ridge, sweeps, menu, gates) were made on choosing networks. A network that is not listed was not
run; of 12 calls and more only those were in which a rival was nearer than the run without a plan. Frechet distances are
the best rival's, DEIS-SN's and with a plan; accuracies, by a network that tells what is shown, the converged run's, the
best rival's and with a plan: one of 48 samples is .021.

"""


def _tuned(problem: Problem, order: Order, folder: Path) -> None:
    """The rows of plans, and of runs without, of one problem, for the numbers of calls that have none."""
    place = folder / "rows" / f"{slug(problem.name)}.csv"
    known = rows.read(place)
    left = tuple(one for one in order.calls if one not in {row.asked for row in known})
    if not left:
        return
    statistics = problem.statistics(order.output / "statistics")
    start = time.perf_counter()
    tuning = tune(
        problem.pipe,
        problem.prompts(PROMPTS, TUNED_FROM) if isinstance(problem, Text) else None,
        left,
        statistics=statistics,
        seed=TUNED_FROM,
        progress=False,
        guidance_scale=problem.guidance,
    )
    seconds = time.perf_counter() - start
    _keep(folder, problem, tuning, seconds)
    for seed in order.seeds:
        reference = kept(problem, order.samples, seed, order.output / "references")
        for sampler in _samplers(problem, statistics, tuning.statistics):
            for calls in left:
                known.append(measured(problem, sampler, rows.OURS, calls, seed, reference, "", problem.judged))
    rows.write(place, known)
    print(f"{problem.name}: tuned in {seconds:.0f} s\n{tuning}", flush=True)


def _samplers(problem: Problem, before: ScoreStatistics, after: ScoreStatistics) -> Iterable[Sampler]:
    for name, statistics in ((OURS, before), (TUNED, after)):
        yield Sampler(name, partial(DEISSNScheduler.from_config, problem.config, stats=statistics))


def _keep(folder: Path, problem: Problem, tuning: Tuning, seconds: float) -> None:
    """Statistics with plans, and what tuning said, beside the rows and what is there of other numbers of calls."""
    place = folder / "statistics" / slug(problem.name)
    record = tuning.statistics
    if place.exists() and (before := ScoreStatistics.load(place).plans) is not None:
        record = record.with_plans(before.with_plans(*tuning.plans))
    record.save(place)
    facts = folder / "facts" / f"{slug(problem.name)}.json"
    facts.parent.mkdir(parents=True, exist_ok=True)
    told = json.loads(facts.read_text()) if facts.is_file() else {"seconds": 0.0, "asked": 0, "outcomes": []}
    new = [_fact(one) for one in tuning.outcomes]
    old = [one for one in told["outcomes"] if one["calls"] not in {fact["calls"] for fact in new}]
    whole = {"seconds": told["seconds"] + seconds, "asked": told["asked"] + tuning.asked, "outcomes": old + new}
    facts.write_text(json.dumps({"problem": problem.name} | whole, indent=1))


def _fact(one: Outcome) -> dict[str, Any]:
    """What tuning said of a number of calls."""
    return {
        "calls": one.calls,
        "freedom": one.freedom,
        "accepted": one.plan is not None,
        "objections": list(one.objections),
        "tuned": None if one.tuned is None else asdict(one.tuned),
        "tries": {name: asdict(judged) for name, judged in one.tries.items()},
        "default": asdict(one.default),
        "rivals": {name: asdict(judged) for name, judged in one.rivals.items()},
        "times": None if one.plan is None else one.plan.run.times.tolist(),
    }


if __name__ == "__main__":
    main()
