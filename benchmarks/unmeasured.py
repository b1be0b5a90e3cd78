"""The default without statistics, held against the samplers that people would otherwise leave in place.

    python -m benchmarks.unmeasured                       # every problem of the suite, to benchmarks/unmeasured.md
    python -m benchmarks.unmeasured 'tiny-*' --output runs/suite

What a user gets who measures nothing is to be no worse than the samplers that a pipeline comes with, on the grid of its
own config: Euler, DDIM, DPM++ 2M and UniPC. References and rows of rivals are those of the suite (its --output); where
it has none of these rivals they are measured, and lie with our rows in OUTPUT/unmeasured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial

import numpy as np

from benchmarks.places import results
from benchmarks.suite import rows
from benchmarks.suite.asking import parser
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.problems import Problem, load, names
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import code, measured, settle
from benchmarks.suite.samplers import Sampler, rivals
from diffusers_deis_sn import DEISSNScheduler

CALLS = (5, 6, 8, 10, 12, 15, 20)
WORSE = 1.1  # times the best of those rivals, which the default is nowhere to be
NAME = "DEIS-SN without statistics"
SIMPLE = {
    "vp": ("DDIM", "DDIM, to t = 0", "DPM++ 2M", "DPM++ 2M, to t = 0", "UniPC 2", "UniPC 2, to t = 0"),
    "flow": ("FlowEuler, own grid", "DPM++ 2M, shift {own:g}", "UniPC 2, shift {own:g}"),
    "edm": ("EDMEuler", "EDM DPM++ 2M"),
}


def simple(problem: Problem) -> dict[str, Sampler]:
    """The rivals on the grid of the model's own config, by name."""
    own = float(problem.config.get("shift", problem.config.get("flow_shift", 1.0)) or 1.0)
    wanted = [name.format(own=own) for name in SIMPLE.get(problem.family, SIMPLE["vp"])]
    found = rivals(problem.config, problem.family, problem.guidance > 1.0)
    return {name: found[name] for name in wanted}


# ------------------------------------------------------------------------------------------------------------ measuring


def run(name: str, options: argparse.Namespace) -> None:
    """Our rows of a problem, where they are of another code or missing, and those rivals' that the suite lacks."""
    problem = load(name)
    for seed in options.seeds:
        path = rows.path_of(options.output / "unmeasured", name, seed, rows.OURS)
        known = {(row.sampler, row.asked): row for row in rows.read(path)}
        there = {(row.sampler, row.asked): row for row in _of_suite(options, name, seed)}
        ours = Sampler(NAME, partial(DEISSNScheduler.from_config, problem.config, stats=False))
        wanted = [(ours, n, rows.OURS) for n in options.calls if _stale(known.get((NAME, n)), options)]
        others = simple(problem)
        for n in options.calls:
            if not any(_whole(there.get((other, n)), options) for other in others):
                wanted += [(one, n, rows.RIVAL) for other, one in others.items() if (other, n) not in known]
        for sampler, calls, kind in wanted:
            reference = kept(problem, options.samples, seed, options.output / "references")
            row = measured(problem, sampler, kind, calls, seed, reference, code(), problem.judged and kind == rows.OURS)
            known[sampler.name, calls] = row
        if wanted:
            rows.write(path, known.values())
    print(name, flush=True)


def _of_suite(options: argparse.Namespace, name: str, seed: int) -> list[rows.Row]:
    return rows.read(rows.path_of(options.output / "rows", name, seed, rows.RIVAL))


def _stale(row: rows.Row | None, options: argparse.Namespace) -> bool:
    return not _whole(row, options) or row is None or row.stamp != code()


def _whole(row: rows.Row | None, options: argparse.Namespace) -> bool:
    return row is not None and not row.failure and row.samples >= options.samples


# ---------------------------------------------------------------------------------------------------------------- table


@dataclass(frozen=True)
class Cell:
    """One problem in so many calls.

    Args:
        problem: Its name.
        role: "choosing" or "reporting".
        calls: The number.
        ratio: Geometric mean of our errors over the best of those rivals'.
        best: That rival.
        overall: The same over the best of all rivals in the suite; None where there are no rows.
        grain: Energy of our finest band over that of the converged run; None without bands.
    """

    problem: str
    role: str
    calls: int
    ratio: float
    best: str
    overall: float | None
    grain: float | None


def cells(name: str, options: argparse.Namespace) -> list[Cell]:
    """Those of a problem that were measured from the noise of all seeds."""
    problem, found = load(name), list[Cell]()
    own = [r for s in options.seeds for r in rows.read(rows.path_of(options.output / "unmeasured", name, s, rows.OURS))]
    suite = [row for seed in options.seeds for row in _of_suite(options, name, seed)]
    for calls in options.calls:
        mine = _pooled([row for row in own if row.sampler == NAME], calls, options)
        all_rivals = {
            sampler: errors
            for sampler in dict.fromkeys(row.sampler for row in own + suite)
            if sampler != NAME and (errors := _error(sampler, own + suite, calls, options)) is not None
        }
        usual = {sampler: error for sampler, error in all_rivals.items() if sampler in simple(problem)}
        if mine is None or not usual:
            continue
        best = min(usual, key=usual.__getitem__)
        error, grains = geometric_mean(mine), [row.grain for row in own if row.sampler == NAME and row.asked == calls]
        known = [grain for grain in grains if grain is not None]
        overall = error / min(all_rivals.values()) if suite else None
        grain = float(np.mean(known)) if known else None
        found.append(Cell(name, problem.role, calls, error / usual[best], best, overall, grain))
    return found


def _error(sampler: str, found: Sequence[rows.Row], calls: int, options: argparse.Namespace) -> float | None:
    errors = _pooled([row for row in found if row.sampler == sampler], calls, options)
    return None if errors is None else geometric_mean(errors)


def _pooled(found: Sequence[rows.Row], calls: int, options: argparse.Namespace) -> np.ndarray | None:
    """Errors from the noise of all seeds, None where one is missing."""
    by_seed = {row.seed: row for row in found if row.asked == calls and _whole(row, options)}
    if any(seed not in by_seed for seed in options.seeds):
        return None
    return np.concatenate([by_seed[seed].sample_errors[: options.samples] for seed in options.seeds])


def table(found: Sequence[Cell], calls: Sequence[int]) -> str:
    """Ratios by problem, those beyond `WORSE` bold, and a line for each role."""
    lines = ["| network | role | " + " | ".join(f"{n} calls" for n in calls) + " | grain, least to most |"]
    lines.append("|" + " --- |" * (len(calls) + 3))
    by_name: dict[str, list[Cell]] = {}
    for cell in found:
        by_name.setdefault(cell.problem, []).append(cell)
    for name, own in sorted(by_name.items(), key=lambda item: (item[1][0].role, item[0])):
        at = {cell.calls: cell for cell in own}
        grains = [cell.grain for cell in own if cell.grain is not None]
        shown = [_shown(at[n].ratio) if n in at else "" for n in calls]
        grain = f"{min(grains):.3f} to {max(grains):.3f}" if grains else ""
        lines.append("| " + " | ".join([name, own[0].role, *shown, grain]) + " |")
    lines += ["", *summary(found, calls)]
    return "\n".join(lines) + "\n"


def summary(found: Sequence[Cell], calls: Sequence[int]) -> list[str]:
    """Over networks, for each role and number of calls."""
    names_of = ("networks", "calls", "cells", "over the best simple rival", "largest", "whose", "over the best of all")
    lines = ["| " + " | ".join(names_of) + " |", "|" + " --- |" * len(names_of)]
    for role in ("choosing", "reporting"):
        for n in calls:
            own = [cell for cell in found if cell.role == role and cell.calls == n]
            if not own:
                continue
            largest = max(own, key=lambda cell: cell.ratio)
            mean = geometric_mean(np.array([cell.ratio for cell in own]))
            overall = [cell.overall for cell in own if cell.overall is not None]
            of_all = f"{geometric_mean(np.array(overall)):.2f}" if overall else ""
            cells_of = [role, str(n), str(len(own)), f"{mean:.2f}", _shown(largest.ratio)]
            lines.append("| " + " | ".join([*cells_of, f"{largest.problem} ({largest.best})", of_all]) + " |")
    return lines


def _shown(ratio: float) -> str:
    return f"**{ratio:.2f}**" if ratio > WORSE else f"{ratio:.2f}"


HEADING = f"""# Without statistics

The error of `DEISSNScheduler` without statistics, divided by that of the best of the samplers that pipelines come
with, on the timesteps of the model's own config: Euler for flow matching and EDM; DDIM, DPM++ 2M and UniPC of order
2, to sigma zero or to the cleanest training level (`python -m benchmarks.unmeasured`). Below 1 ours is nearer; more
than {WORSE:g} is bold. Errors are geometric means over samples of the RMS distance to a converged run. The last
column of the second table compares with the best of all samplers of Diffusers in the suite, each on its own best
timesteps. The default was chosen on choosing networks, except that guided runs are damped: that was seen on the
shipped models, which lost without it.

"""


def main() -> None:
    """Measure what is missing, write the table."""
    options = parser(__doc__, ["*"], CALLS).parse_args()
    settle()
    chosen = [name for name in names() if any(fnmatch(name, pattern) for pattern in options.problems)]
    for name in () if options.table else chosen:
        run(name, options)
    text = table([cell for name in chosen for cell in cells(name, options)], options.calls)
    text += f"\n{options.samples} samples of each of {len(options.seeds)} seeds; what is blank was not run.\n"
    (options.output / "unmeasured").mkdir(parents=True, exist_ok=True)
    (options.output / "unmeasured" / "unmeasured.md").write_text(text)
    results("unmeasured.md").write_text(HEADING + text)


if __name__ == "__main__":
    main()
