"""Rows that are missing, measured: one problem at a time, from the noise of one seed after the other.

Rivals that cannot be the best of a cell are not run to the end: those far off over a few samples stop there, and those
that are off over all samples of the first seed are not run from the noise of others (`Order.every` runs them all).
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from benchmarks.suite import measures, rows
from benchmarks.suite.problems import NetworkCallError, Problem, fingerprint, load, slug
from benchmarks.suite.reference import Reference, kept
from benchmarks.suite.samplers import Sampler, ours, rivals

ROOT = Path(__file__).resolve().parent.parent.parent
CALLS = (4, 5, 6, 8, 10, 12, 15, 20)
SAMPLES, SEEDS = 48, (1, 2, 3)
KINDS = (rows.RIVAL, rows.OURS)
LOOK, FAR_OFF = 8, 2.0  # rivals with so many times the best one's error over so few samples stop there
BEHIND = 1.25  # those so far behind over all samples of the first seed are not run from the noise of others


Key = tuple[str, int]
"""A sampler and a number of calls."""


class SuiteError(RuntimeError):
    """A run that failed in a strict suite."""


@dataclass(frozen=True)
class Order:
    """What is to be run; see the program's arguments."""

    output: Path
    calls: tuple[int, ...] = CALLS
    samples: int = SAMPLES
    seeds: tuple[int, ...] = SEEDS
    kinds: tuple[str, ...] = KINDS
    samplers: tuple[str, ...] = ("*",)
    strict: bool = False
    every: bool = False
    recalibrate: bool = False
    model: str | None = None
    prompts: Path | None = None
    guidance: float = 7.5

    def wants(self, sampler: str) -> bool:
        return any(fnmatch(sampler, pattern) for pattern in self.samplers)


# ---------------------------------------------------------------------------------------------------------- one problem


def run_problem(name: str, order: Order) -> list[str]:
    """All rows of a problem that are missing or stale; returns what failed, in words."""
    settle()
    start, failures = time.perf_counter(), []
    try:
        problem = _problem(name, order)
        if rows.OURS in order.kinds:
            _measure_statistics(problem, order)
    except Exception as error:  # a file that is missing, a pipeline that is none, a network that gives no numbers
        return _failed(f"{name}, before any run: {type(error).__name__}: {error}", order, error)
    for seed in order.seeds:
        try:
            reference = kept(problem, order.samples, seed, order.output / "references")
        except NetworkCallError as error:
            failures += _failed(f"{name}, seed {seed}, converged run, {error}", order, error)
            continue
        for kind in order.kinds:
            failures += _run_kind(problem, seed, kind, reference, order)
    if problem.judged and rows.RIVAL in order.kinds:
        _judge_best(problem, order)
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return failures


def _measure_statistics(problem: Problem, order: Order) -> None:
    """Calibrate where there are no statistics, or where that is asked for; say so where they may be out of date."""
    folder = order.output / "statistics"
    kept_at = folder / f"{slug(problem.name)}-{problem.fingerprint}"
    if kept_at.exists():
        changed = max(path.stat().st_mtime for path in (ROOT / "src/diffusers_deis_sn/collect").glob("*.py"))
        if order.recalibrate:
            shutil.rmtree(kept_at)
        elif kept_at.stat().st_mtime < changed:
            print(f"{problem.name}: statistics older than the code of `calibrate`; --recalibrate measures them again")
    problem.statistics(folder)


def _failed(words: str, order: Order, error: Exception | None = None) -> list[str]:
    """Say what failed and go on, or stop there if the suite is strict."""
    if order.strict:
        raise SuiteError(words) from error
    print(words, flush=True)
    return [words]


def _run_kind(problem: Problem, seed: int, kind: str, reference: Reference, order: Order) -> list[str]:
    """The rows of one seed, those of hopeless rivals left out or short; returns what failed."""

    def fill(samples: int, without: set[Key]) -> list[str]:
        return _fill(problem, seed, kind, replace(reference, end=reference.end[:samples]), order, without)

    if kind == rows.OURS or order.every:
        return fill(order.samples, set())
    first = rows.path_of(order.output / "rows", problem.name, order.seeds[0], kind)
    if seed != order.seeds[0]:
        return fill(order.samples, hopeless(rows.read(first), order.samples, BEHIND))
    failures = fill(min(LOOK, order.samples), set())
    return failures + fill(order.samples, hopeless(rows.read(first), min(LOOK, order.samples), FAR_OFF))


def _fill(problem: Problem, seed: int, kind: str, reference: Reference, order: Order, without: set[Key]) -> list[str]:
    """Measure what is missing, over as many samples as the reference has."""
    path = rows.path_of(order.output / "rows", problem.name, seed, kind)
    known = {(row.sampler, row.asked): row for row in rows.read(path)}
    judged, failures = problem.judged and len(reference.end) == order.samples, []
    for sampler, stamp in _entrants(problem, kind, order):
        asked = [n for n in order.calls if (sampler.name, n) not in without]
        must = judged and kind == rows.OURS  # of rivals only the best, see `_judge_best`
        missing = [n for n in asked if _stale(known.get((sampler.name, n)), stamp, must, len(reference.end))]
        for calls in missing:
            row = measured(problem, sampler, kind, calls, seed, reference, stamp, judged)
            known[sampler.name, calls] = row
            if row.failure:
                words = f"{problem.name}, seed {seed}, sampler {sampler.name}, {calls} calls, {row.failure}"
                failures += _failed(words, order)
        if missing:
            rows.write(path, known.values())
    return failures


def _entrants(problem: Problem, kind: str, order: Order) -> Iterator[tuple[Sampler, str]]:
    """The samplers of a kind that are wanted, and the stamps of their rows."""
    made_from = [problem.fingerprint, str(order.samples)]
    if kind == rows.RIVAL:
        found = rivals(problem.config, problem.family, problem.guidance > 1.0)
        made_from.append(diffusers.__version__)
    else:
        folder = order.output / "statistics"
        statistics = problem.statistics(folder)
        found = ours(problem.config, statistics)
        made_from += [code(), fingerprint(folder / f"{slug(problem.name)}-{problem.fingerprint}")]
    for name, sampler in found.items():
        if order.wants(name):
            yield sampler, hashlib.sha256(" ".join([*made_from, sampler.recipe]).encode()).hexdigest()[:8]


def hopeless(found: list[rows.Row], samples: int, factor: float) -> set[Key]:
    """Rivals, and numbers of calls, with more than `factor` times the least error by every measure.

    Args:
        found: Rows of one seed.
        samples: How many of the samples are looked at; rows of fewer were given up before.
        factor: See above.
    """
    runs = [row for row in found if not row.failure and row.samples >= samples]
    errors = {(row.sampler, row.asked): row.sample_errors[:samples] for row in runs}
    close: set[Key] = set()
    for measure in (measures.geometric_mean, measures.rms, measures.trimmed_rms):
        for calls in {row.asked for row in runs}:
            own = {key: measure(values) for key, values in errors.items() if key[1] == calls}
            close |= {key for key, value in own.items() if value <= factor * min(own.values())}
    return {(row.sampler, row.asked) for row in found} - close


def _stale(row: rows.Row | None, stamp: str, judged: bool, samples: int) -> bool:
    """Whether a row has to be measured: missing, of fewer samples or something else, failed, or not yet judged."""
    if row is None or row.stamp != stamp or row.samples < samples:
        return True
    return bool(row.failure) or (judged and row.frechet is None)


def _judge_best(problem: Problem, order: Order) -> None:
    """Features and accuracy of the best rivals whose rows are older than their judge."""
    paths = {seed: rows.path_of(order.output / "rows", problem.name, seed, rows.RIVAL) for seed in order.seeds}
    known = {seed: {(row.sampler, row.asked): row for row in rows.read(path)} for seed, path in paths.items()}
    samplers = rivals(problem.config, problem.family, problem.guidance > 1.0)
    for best in best_rivals([row for own in known.values() for row in own.values()]):
        for seed, own in known.items():
            row = own.get(best)
            if row is None or row.frechet is not None or best[0] not in samplers:
                continue
            reference = kept(problem, order.samples, seed, order.output / "references")
            own[best] = measured(problem, samplers[best[0]], rows.RIVAL, best[1], seed, reference, row.stamp, True)
            rows.write(paths[seed], own.values())


def best_rivals(found: list[rows.Row]) -> list[Key]:
    """The rival with the smallest error, and the number of calls, over all seeds and for each number of calls."""
    pooled: dict[Key, list[float]] = {}
    samples = max((row.samples for row in found), default=0)
    for row in found:
        if row.geometric is not None and row.samples == samples:
            pooled.setdefault((row.sampler, row.asked), []).append(row.geometric)
    most = max(map(len, pooled.values()), default=0)
    whole = {key: sum(map(math.log, values)) for key, values in pooled.items() if len(values) == most}
    return [min((key for key in whole if key[1] == n), key=whole.__getitem__) for n in sorted({n for _, n in whole})]


def measured(
    problem: Problem,
    sampler: Sampler,
    kind: str,
    calls: int,
    seed: int,
    reference: Reference,
    stamp: str,
    judged: bool = True,
) -> rows.Row:
    """One run and all that is measured on it, features and accuracy if `judged`; `failure` where there is none."""
    place: dict[str, Any] = {
        "problem": problem.name,
        "role": problem.role,
        "group": problem.group,
        "family": problem.family,
        "kind": kind,
        "sampler": sampler.name,
        "asked": calls,
        "seed": seed,
        "samples": len(reference.end),
        "stamp": stamp,
    }
    try:
        end = problem.end(sampler(), sampler.steps(calls), len(reference.end), seed)
    except NetworkCallError as error:
        return rows.Row(**place, calls=problem.calls, failure=str(error))
    if problem.calls != sampler.calls(calls):
        return rows.Row(**place, calls=problem.calls, failure=f"{problem.calls} network calls were made")
    errors = measures.sample_errors(end, reference.end)
    return rows.Row(
        **place,
        calls=problem.calls,
        geometric=measures.geometric_mean(errors),
        rms=measures.rms(errors),
        trimmed=measures.trimmed_rms(errors),
        share=measures.worst_share(errors),
        grain=measures.grain(end, reference.end),
        disagreement=reference.disagreement,
        errors=rows.packed(errors),
        **(_judgement(problem, end, seed, reference.end) if judged else {}),
    )


def _judgement(problem: Problem, end: Tensor, seed: int, reference: Tensor) -> dict[str, Any]:
    features, true_features = problem.features(end), problem.features(reference)
    return {
        "frechet": None if features is None else measures.frechet(features, true_features),
        "accuracy": problem.accuracy(end, seed),
        "converged_accuracy": problem.accuracy(reference, seed),
    }


@cache
def code() -> str:
    """Eight digits that change with any line of our package that samples."""
    digest = hashlib.sha256()
    for room in ("core", "learn", "schedulers", "statistics"):
        for path in sorted((ROOT / "src/diffusers_deis_sn" / room).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _problem(name: str, order: Order) -> Problem:
    if order.model is None:
        return load(name)
    from benchmarks.suite.extra_problems import any_model, lines

    if order.prompts is None:
        raise ValueError("a model wants prompts, a file with one a line: --prompts FILE")
    return any_model(order.model, lines(order.prompts), order.guidance)


def settle() -> None:
    """One thread, and only what this program says."""
    torch.set_num_threads(1)
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
