"""Tables of tuned runs against runs without plans and the rivals, from rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.suite import rows
from benchmarks.suite.measures import geometric_mean, rms, trimmed_rms
from benchmarks.suite.samplers import OURS, TUNED

BARS = {"each": {5: 0.75, 8: 0.75, 10: 0.75}, "mean": {5: 0.65, 8: 0.50, 10: 0.55}, "rms": 0.90, "rms mean": 0.70}
MEASURES: dict[str, Callable[[np.ndarray], float]] = {"geometric": geometric_mean, "rms": rms, "trimmed": trimmed_rms}


def write_tables(folder: Path, of_rivals: Path, calls: Sequence[int], seeds: Sequence[int]) -> str:
    """Write `table.md` from the rows of plans in `folder` and those of rivals; its text, empty where there are none.

    Args:
        folder: Where plans are.
        of_rivals: Rows of the suite.
        calls: Numbers of calls.
        seeds: Seeds that all rows have to have.
    """
    found = {one.problem: own for one, own in ((own[0], own) for own in map(rows.read, _files(folder)) if own)}
    cells = [cell for problem, own in found.items() for cell in _cells(problem, own, of_rivals, calls, seeds)]
    if not cells:
        return ""
    text = [_head(), *(_row(cell) for cell in cells), "", *_summary(cells, calls), "", *_costs(folder, found)]
    written = "\n".join(text) + "\n"
    (folder / "table.md").write_text(written)
    return written


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "rows").glob("*.csv"))


Cell = dict[str, object]


def _cells(
    problem: str, own: list[rows.Row], of_rivals: Path, calls: Sequence[int], seeds: Sequence[int]
) -> list[Cell]:
    """One for each number of calls: ratios to the best rival by each measure, and of the run without a plan."""
    rivals = [row for seed in seeds for row in rows.read(rows.path_of(of_rivals, problem, seed, rows.RIVAL))]
    cells: list[Cell] = []
    for number in calls:
        errors = {name: _errors(own, name, number, seeds) for name in (OURS, TUNED)}
        others = {name: _errors(rivals, name, number, seeds) for name in {row.sampler for row in rivals}}
        others = {name: values for name, values in others.items() if values is not None}
        if any(values is None for values in errors.values()) or not others:
            continue
        cell: Cell = {"problem": problem, "role": own[0].role, "group": own[0].group, "calls": number}
        for name, measure in MEASURES.items():
            best = min(others, key=lambda one, measure=measure: measure(others[one]))
            cell[name] = tuple(measure(values) for values in (others[best], errors[OURS], errors[TUNED]))
            cell[f"best {name}"] = best
        for fact in ("grain", "frechet", "accuracy"):
            cell[fact] = tuple(_mean(own, name, number, fact) for name in (OURS, TUNED))
            cell[f"rival {fact}"] = _mean(rivals, str(cell["best geometric"]), number, fact)
        cells.append(cell)
    return cells


def _errors(found: list[rows.Row], sampler: str, calls: int, seeds: Sequence[int]) -> np.ndarray | None:
    """Distances of the samples of all seeds, None where one is missing."""
    own = {row.seed: row for row in found if row.sampler == sampler and row.asked == calls and not row.failure}
    most = max((row.samples for row in own.values()), default=0)
    if any(seed not in own or own[seed].samples < most for seed in seeds):
        return None
    return np.concatenate([own[seed].sample_errors for seed in seeds])


def _mean(found: list[rows.Row], sampler: str, calls: int, fact: str) -> float | None:
    values = [getattr(row, fact) for row in found if row.sampler == sampler and row.asked == calls]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _head() -> str:
    names = ("network", "role", "calls", "best rival", "best rival", "DEIS-SN", "tuned", "tuned / rival")
    more = ("tuned / DEIS-SN", "RMS, tuned / best rival", "trimmed", "grain, DEIS-SN, tuned", "Frechet distance")
    line = "| " + " | ".join((*names, *more)) + " |"
    return f"{line}\n|{' --- |' * (len(names) + len(more))}"


def _row(cell: Cell) -> str:
    rival, ours, tuned = cell["geometric"]  # type: ignore[misc]
    ratios = [cell[name][2] / cell[name][0] for name in ("rms", "trimmed")]  # type: ignore[index]
    grain = " / ".join("-" if one is None else f"{one:.3f}" for one in cell["grain"])  # type: ignore[attr-defined]
    frechet = (cell["rival frechet"], *cell["frechet"])  # type: ignore[misc]
    distances = " / ".join("-" if one is None else f"{one:.3g}" for one in frechet)
    values = (
        cell["problem"],
        cell["role"],
        cell["calls"],
        cell["best geometric"],
        *(f"{one:.4g}" for one in (rival, ours, tuned)),
        *(f"{one:.2f}" for one in (tuned / rival, tuned / ours, *ratios)),
        grain,
        distances,
    )
    return "| " + " | ".join(map(str, values)) + " |"


def _summary(cells: list[Cell], calls: Sequence[int]) -> list[str]:
    """Ratios in the geometric mean over networks, for each role, and the largest, beside the bars."""
    by_role: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_role[str(cell["role"]), int(cell["calls"])].append(cell)  # type: ignore[call-overload]
        if cell["group"] == "shipped":
            by_role["shipped", int(cell["calls"])].append(cell)  # type: ignore[call-overload]
    names = ("networks", "calls", "cells", "tuned / best rival", "largest", "bars", "tuned / DEIS-SN", "largest")
    lines = ["| " + " | ".join((*names, "RMS", "largest", "bars")) + " |", "|" + " --- |" * 11]
    for (role, number), own in sorted(by_role.items()):
        ratio = np.array([one["geometric"][2] / one["geometric"][0] for one in own])  # type: ignore[index]
        before = np.array([one["geometric"][2] / one["geometric"][1] for one in own])  # type: ignore[index]
        square = np.array([one["rms"][2] / one["rms"][0] for one in own])  # type: ignore[index]
        bar = f"{BARS['mean'].get(number, '')}, {BARS['each'].get(number, '')}"  # type: ignore[attr-defined]
        lines.append(
            f"| {role} | {number} | {len(own)} | {geometric_mean(ratio):.2f} | {ratio.max():.2f} | {bar} | "
            f"{geometric_mean(before):.2f} | {before.max():.2f} | {geometric_mean(square):.2f} | {square.max():.2f} | "
            f"{BARS['rms mean']}, {BARS['rms']} |"
        )
    return lines


def _costs(folder: Path, found: dict[str, list[rows.Row]]) -> list[str]:
    """What tuning took, and what it did not accept."""
    lines = [
        "| network | calls of the network, in thousands of samples | seconds | plans | not accepted |",
        "|" + " --- |" * 5,
    ]
    for file in sorted((folder / "facts").glob("*.json")):
        facts = json.loads(file.read_text())
        plans = ", ".join(f"{one['calls']}: {one['freedom']}" for one in facts["outcomes"] if one["accepted"])
        not_so = ", ".join(
            f"{one['calls']}: {'; '.join(one['objections']) or 'nothing found'}"
            for one in facts["outcomes"]
            if not one["accepted"]
        )
        asked = facts["asked"] / 1000
        lines.append(f"| {facts['problem']} | {asked:.1f} | {facts['seconds']:.0f} | {plans} | {not_so} |")
    return lines


# ------------------------------------------------------------------------------------------ beside what is published


def published_table(folder: Path, output: Path, calls: Sequence[int], seeds: Sequence[int]) -> str:
    """Errors of what was fitted as papers do it, beside the best rival's, ours without a plan and ours with one.

    Args:
        folder: Rows and facts of `published`.
        output: That of `run`, whose `rows` are the rivals' and `tuned/rows` ours.
        calls: Numbers of calls.
        seeds: Seeds that all rows have to have.

    Returns:
        Empty where there are no rows.
    """
    lines = ["| network | role | calls | sampler | error | over the best rival | sample calls, thousands | seconds |"]
    lines.append("|" + " --- |" * 8)
    for file in _files(folder):
        own = rows.read(file)
        problem, tuned = own[0].problem, rows.read(output / "tuned" / "rows" / file.name)
        rivals = [row for seed in seeds for row in rows.read(rows.path_of(output / "rows", problem, seed, rows.RIVAL))]
        facts = json.loads((folder / "facts" / f"{file.stem}.json").read_text())
        spent = _spent(output / "tuned" / "facts" / f"{file.stem}.json")
        for number in calls:
            found = {name: _errors(own + tuned, name, number, seeds) for name in _names(own + tuned)}
            others = {name: _errors(rivals, name, number, seeds) for name in _names(rivals)}
            best = min((geometric_mean(one) for one in others.values() if one is not None), default=None)
            for name, errors in found.items():
                if errors is None or best is None:
                    continue
                fact = spent if name == TUNED else facts.get(f"{name}, {number}", {})
                cost = f"{fact['asked'] / 1000:.1f} | {fact['seconds']:.0f}" if fact else " | "
                error = geometric_mean(errors)
                lines.append(
                    f"| {problem} | {own[0].role} | {number} | {name} | {error:.4g} | {error / best:.2f} | {cost} |"
                )
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _names(found: list[rows.Row]) -> list[str]:
    return list(dict.fromkeys(row.sampler for row in found))


def _spent(path: Path) -> dict[str, float]:
    """What `tune` took for all numbers of calls together; empty where it was not run."""
    return json.loads(path.read_text()) if path.is_file() else {}
