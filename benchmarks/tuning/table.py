"""Tables of tuned runs against runs without plans and the rivals, from rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.suite import rows
from benchmarks.suite.cells import GEOMETRIC, Cell, cells_of
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.samplers import OURS, TUNED

EACH, RMS_EACH, RMS_MEAN = 0.75, 0.9, 0.7  # at most, of each network and in the mean
MEANS = {5: 0.65, 8: 0.5, 10: 0.55}
NOWHERE = 1.0  # of any network in any other number of calls, in the geometric mean
COMPARED = ((GEOMETRIC, None), (GEOMETRIC, OURS), ("RMS", None), ("RMS without the worst tenth", None))
"""Measures, and what a plan's errors are held against: None for the best rival."""


def write_tables(folder: Path, of_rivals: Path, calls: Sequence[int], seeds: Sequence[int]) -> str:
    """Write `table.md` from the rows of plans in `folder` and those of rivals; its text, empty where there are none.

    Args:
        folder: Where plans are.
        of_rivals: Rows of the suite.
        calls: Numbers of calls.
        seeds: Seeds that all rows have to have.
    """
    cells = [
        cell
        for own in map(rows.read, _files(folder))
        if own
        for cell in _cells(own, of_rivals, calls, seeds)
        if {OURS, TUNED} <= cell.entrants.keys()
    ]
    if not cells:
        return ""
    text = [_head(), *map(_row, cells), "", *_summary(cells), "", *_costs(folder)]
    written = "\n".join(text) + "\n"
    (folder / "table.md").write_text(written)
    return written


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "rows").glob("*.csv"))


def _cells(own: list[rows.Row], of_rivals: Path, calls: Sequence[int], seeds: Sequence[int]) -> list[Cell]:
    """Those of one problem in which all have run from all seeds: our rows with the suite's of the rivals."""
    suite = [row for seed in seeds for row in rows.read(rows.path_of(of_rivals, own[0].problem, seed, rows.RIVAL))]
    return [
        cell
        for cell in cells_of(suite + own)
        if cell.calls in calls and {row.seed for row in cell.best().rows} >= set(seeds)
    ]


def _head() -> str:
    names = ("network", "role", "calls", "best rival", "best rival", "DEIS-SN", "tuned", "tuned / rival")
    more = (
        "tuned / DEIS-SN",
        "RMS, tuned / best rival",
        "trimmed",
        "grain, DEIS-SN, tuned",
        "Frechet distance",
        "accuracy",
    )
    line = "| " + " | ".join((*names, *more)) + " |"
    return f"{line}\n|{' --- |' * (len(names) + len(more))}"


def _row(cell: Cell) -> str:
    rival, ours, tuned = cell.best(), cell.entrants[OURS], cell.entrants[TUNED]
    ratios = [cell.ratio(TUNED, over=over, measure=name) for name, over in COMPARED]
    grain = " / ".join("-" if one is None else f"{one:.3f}" for one in (ours.mean("grain"), tuned.mean("grain")))
    frechet = [one.mean("frechet") for one in (rival, ours, tuned)]
    distances = " / ".join("-" if one is None else f"{one:.3g}" for one in frechet)
    accuracy = [rival.mean("converged_accuracy"), *(one.mean("accuracy") for one in (rival, tuned))]
    values = (
        cell.problem,
        cell.role,
        cell.calls,
        rival.name,
        *(f"{one.error(GEOMETRIC):.4g}" for one in (rival, ours, tuned)),
        *(f"{one:.2f}" for one in ratios),
        grain,
        distances,
        " / ".join("-" if one is None else f"{one:.3f}" for one in accuracy),
    )
    return "| " + " | ".join(map(str, values)) + " |"


def _summary(cells: list[Cell]) -> list[str]:
    """Ratios in the geometric mean over networks, for each role, and the largest, beside the bars."""
    by_role: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        for role in (cell.role, "shipped") if cell.group == "shipped" else (cell.role,):
            by_role[role, cell.calls].append(cell)
    names = ("networks", "calls", "cells", "tuned / best rival", "largest", "bars", "tuned / DEIS-SN", "largest")
    lines = ["| " + " | ".join((*names, "RMS", "largest", "bars")) + " |", "|" + " --- |" * 11]
    for (role, number), own in sorted(by_role.items()):
        ratio, before, square = (
            np.array([cell.ratio(TUNED, over=over, measure=name) for cell in own]) for name, over in COMPARED[:3]
        )
        lines.append(
            f"| {role} | {number} | {len(own)} | {geometric_mean(ratio):.2f} | {ratio.max():.2f} | "
            f"{f'{MEANS[number]}, {EACH}' if number in MEANS else NOWHERE} | "
            f"{geometric_mean(before):.2f} | {before.max():.2f} | "
            f"{geometric_mean(square):.2f} | {square.max():.2f} | "
            f"{f'{RMS_MEAN}, {RMS_EACH}' if number in MEANS else ''} |"
        )
    return lines


def _costs(folder: Path) -> list[str]:
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
        own, tuned = rows.read(file), rows.read(output / "tuned" / "rows" / file.name)
        facts = json.loads((folder / "facts" / f"{file.stem}.json").read_text())
        spent = _spent(output / "tuned" / "facts" / f"{file.stem}.json")
        for cell in _cells(own + tuned, output / "rows", calls, seeds):
            for name, entrant in cell.entrants.items():
                if entrant.kind == rows.RIVAL:
                    continue
                fact = spent if name == TUNED else facts.get(f"{name}, {cell.calls}", {})
                cost = f"{fact['asked'] / 1000:.1f} | {fact['seconds']:.0f}" if fact else " | "
                error = f"{entrant.error(GEOMETRIC):.4g} | {cell.ratio(name):.2f}"
                lines.append(f"| {cell.problem} | {cell.role} | {cell.calls} | {name} | {error} | {cost} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _spent(path: Path) -> dict[str, float]:
    """What `tune` took for all numbers of calls together; empty where it was not run."""
    return json.loads(path.read_text()) if path.is_file() else {}
