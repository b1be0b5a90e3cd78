"""benchmarks/score_optimal/learned_grids.py: its measure is Frechet's distance, and its table is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from benchmarks.score_optimal import learned_grids

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks/score_optimal"


def test_the_script_is_short() -> None:
    assert len((ROOT / "benchmarks/score_optimal/learned_grids.py").read_text().splitlines()) <= 80


def test_the_distance_of_a_shift_and_of_a_scale_are_known() -> None:
    x = torch.randn(500, 5, dtype=torch.float64)
    assert learned_grids.frechet(x, x) == pytest.approx(0.0, abs=1e-10)
    assert learned_grids.frechet(x, x + 0.5) == pytest.approx(5 * 0.25, rel=1e-9)
    centred = x - x.mean(0)
    assert learned_grids.frechet(centred, 3.0 * centred) == pytest.approx(4.0 * np.trace(np.cov(x.numpy().T)), rel=1e-9)


def test_the_distance_of_any_two_covariances_is_that_of_the_matrix_root() -> None:
    a, b = (torch.randn(300, 4, dtype=torch.float64) @ torch.randn(4, 4, dtype=torch.float64) for _ in range(2))
    c, d = (np.cov(x.numpy().T) for x in (a, b))
    root = sqrtm(c)
    expected = np.trace(c + d - 2.0 * sqrtm(root @ d @ root).real)
    expected += float((a.mean(0) - b.mean(0)).square().sum())
    assert learned_grids.frechet(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(not MEASURED.exists(), reason="the measurements are not in this checkout")
def test_the_table_and_the_grids_are_those_of_the_measurement() -> None:
    rows = [row for name in ("mixture", "pipeline") for row in json.loads((MEASURED / f"{name}.json").read_text())]
    assert learned_grids.table(rows) + "\n" == (MEASURED / "learned_grids.md").read_text()
    assert {row["grid"] for row in rows} == set(learned_grids.NAMED | learned_grids.LEARNED)
    for row in rows:
        assert len(row["times"]) == row["steps"] and np.all(np.diff(row["times"]) < 0.0)
