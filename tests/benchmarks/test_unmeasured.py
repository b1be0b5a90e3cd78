"""The table of the default without statistics: ratios over the best simple rival, and where they are too large."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import unmeasured
from benchmarks.suite import rows
from benchmarks.suite.problems import load, names
from benchmarks.suite.reference import Reference

PROBLEM = "mixture-flow"


def row(sampler: str, kind: str, seed: int, errors: list[float], calls: int = 5) -> rows.Row:
    place = {"problem": PROBLEM, "role": "choosing", "group": "network", "family": "flow", "kind": kind, "calls": calls}
    packed = rows.packed(np.array(errors))
    return rows.Row(
        **place, sampler=sampler, asked=calls, seed=seed, samples=2, geometric=1.0, grain=1.5, errors=packed
    )


def options(folder: Path, seeds: tuple[int, ...] = (1, 2)) -> Namespace:
    for seed in seeds:
        ours = [row(unmeasured.NAME, rows.OURS, seed, [1.0, 4.0])]
        rows.write(rows.path_of(folder / "unmeasured", PROBLEM, seed, rows.OURS), ours)
        rivals = {"UniPC 2, shift 1": [0.5, 4.0], "FlowEuler, own grid": [2.0, 9.0], "UniPC 2, Karras": [0.25, 1.0]}
        found = [row(name, rows.RIVAL, seed, errors) for name, errors in rivals.items()]
        rows.write(rows.path_of(folder / "rows", PROBLEM, seed, rows.RIVAL), found)
    return Namespace(output=folder, seeds=(1, 2), calls=(5, 8), samples=2)


def test_a_ratio_is_over_the_best_rival_on_the_models_own_grid(tmp_path):
    (cell,) = unmeasured.cells(PROBLEM, options(tmp_path))
    assert cell.best == "UniPC 2, shift 1" and cell.ratio == pytest.approx(np.sqrt(2.0))
    assert cell.overall == pytest.approx(4.0) and cell.grain == pytest.approx(1.5)
    text = unmeasured.table([cell], (5, 8))
    assert "| mixture-flow | choosing | **1.41** |  | 1.500 to 1.500 |" in text
    assert "| choosing | 5 | 1 | 1.41 | **1.41** | mixture-flow (UniPC 2, shift 1) | 4.00 |" in text


def test_a_problem_without_all_seeds_has_no_cell(tmp_path):
    assert unmeasured.cells(PROBLEM, options(tmp_path, (1,))) == []


def test_every_problem_has_rivals_that_the_suite_knows():
    for name in ("mixture-vp", "mixture-edm", PROBLEM):
        assert name in names()
        problem = load(name)
        assert len(unmeasured.simple(problem)) == len(unmeasured.SIMPLE[problem.family]) >= 2


def test_what_is_missing_is_measured_once(tmp_path, monkeypatch):
    asked = options(tmp_path)
    asked.calls = (5,)
    measured = []
    real = unmeasured.measured
    monkeypatch.setattr(unmeasured, "kept", lambda *_: Reference(torch.zeros(2, 64), 0.0, 1))
    monkeypatch.setattr(unmeasured, "measured", lambda *a, **b: measured.append(a[1].name) or real(*a, **b))
    unmeasured.run(PROBLEM, asked)
    assert measured == [unmeasured.NAME] * 2  # the rows above are of no code
    unmeasured.run(PROBLEM, asked)
    assert len(measured) == 2
    assert len(unmeasured.cells(PROBLEM, asked)) == 1
