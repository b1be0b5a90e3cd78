"""Tables of plans: ratios of pooled errors to the best rival, for those cells that have all seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.suite import rows
from benchmarks.suite.samplers import OURS, TUNED
from benchmarks.tuning.table import write_tables

ACCURACIES = {OURS: 0.5, TUNED: 0.75, "UniPC": 0.25, "DDIM": 0.125}


def row(sampler: str, seed: int, errors: list[float], kind: str = rows.OURS) -> rows.Row:
    place = {"problem": "net@3", "role": "reporting", "group": "shipped", "family": "vp", "kind": kind, "calls": 5}
    right = {"accuracy": ACCURACIES[sampler], "converged_accuracy": 0.8, "errors": rows.packed(np.array(errors))}
    return rows.Row(**place, sampler=sampler, asked=5, seed=seed, samples=2, geometric=1.0, **right)


def written(folder: Path, seeds: tuple[int, ...] = (1, 2)) -> str:
    own = [row(name, seed, [scale, 4.0 * scale]) for seed in seeds for name, scale in ((OURS, 0.5), (TUNED, 0.25))]
    rows.write(folder / "tuned" / "rows" / "net@3.csv", own)
    for seed in seeds:
        rivals = [row("UniPC", seed, [1.0, 4.0], rows.RIVAL), row("DDIM", seed, [4.0, 2.0], rows.RIVAL)]
        rows.write(rows.path_of(folder / "rows", "net@3", seed, rows.RIVAL), rivals)
    facts = {"problem": "net@3", "seconds": 12.3, "asked": 4567, "outcomes": []}
    facts["outcomes"] = [
        {"calls": 5, "freedom": "times", "accepted": True, "objections": []},
        {"calls": 8, "freedom": "times", "accepted": False, "objections": ["RMS 2, and 1 without"]},
    ]
    (folder / "tuned" / "facts").mkdir(parents=True)
    (folder / "tuned" / "facts" / "net@3.json").write_text(json.dumps(facts))
    return write_tables(folder / "tuned", folder / "rows", (5, 8), (1, 2))


def test_a_cell_is_the_ratio_to_the_best_rival_by_each_measure(tmp_path):
    lines = written(tmp_path).splitlines()
    cells = [cell.strip() for cell in next(line for line in lines if line.startswith("| net@3 | rep")).split("|")[1:-1]]
    assert cells[:7] == ["net@3", "reporting", "5", "UniPC", "2", "1", "0.5"]  # geometric means
    assert cells[7:9] == ["0.25", "0.50"]
    assert cells[9] == f"{0.25 * np.sqrt(8.5) / np.sqrt(8.5):.2f}"  # UniPC has the least RMS too
    assert cells[-1] == "0.800 / 0.250 / 0.750"  # the converged run's, UniPC's, and with a plan
    summary = next(line for line in lines if line.startswith("| shipped | 5"))
    assert "| 1 | 0.25 | 0.25 |" in summary
    assert any("| net@3 | 4.6 | 12 | 5: times | 8: RMS 2, and 1 without |" in line for line in lines)
    assert (tmp_path / "tuned" / "table.md").read_text().splitlines() == lines


def test_a_cell_without_all_seeds_is_none(tmp_path):
    assert written(tmp_path, (1,)) == "" and not (tmp_path / "tuned" / "table.md").exists()
