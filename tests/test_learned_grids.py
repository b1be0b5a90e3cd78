"""examples/learned_grids.py: its measure is Frechet's distance, and its table is what was measured."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks/score_optimal"


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The script as a module, beside those that it imports."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        yield importlib.import_module("learned_grids")
    finally:
        sys.path.remove(str(ROOT / "examples"))


def test_the_script_is_short() -> None:
    assert len((ROOT / "examples/learned_grids.py").read_text().splitlines()) <= 80


def test_the_distance_of_a_shift_and_of_a_scale_are_known(script: ModuleType) -> None:
    x = torch.randn(500, 5, dtype=torch.float64)
    assert script.frechet(x, x) == pytest.approx(0.0, abs=1e-10)
    assert script.frechet(x, x + 0.5) == pytest.approx(5 * 0.25, rel=1e-9)
    centred = x - x.mean(0)
    assert script.frechet(centred, 3.0 * centred) == pytest.approx(4.0 * np.trace(np.cov(x.numpy().T)), rel=1e-9)


def test_the_distance_of_any_two_covariances_is_that_of_the_matrix_root(script: ModuleType) -> None:
    a, b = (torch.randn(300, 4, dtype=torch.float64) @ torch.randn(4, 4, dtype=torch.float64) for _ in range(2))
    c, d = (np.cov(x.numpy().T) for x in (a, b))
    root = sqrtm(c)
    expected = np.trace(c + d - 2.0 * sqrtm(root @ d @ root).real)
    expected += float((a.mean(0) - b.mean(0)).square().sum())
    assert script.frechet(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(not MEASURED.exists(), reason="the measurements are not in this checkout")
def test_the_table_and_the_grids_are_those_of_the_measurement(script: ModuleType) -> None:
    rows = [row for name in ("mixture", "pipeline") for row in json.loads((MEASURED / f"{name}.json").read_text())]
    assert script.table(rows) + "\n" == (MEASURED / "learned_grids.md").read_text()
    assert {row["grid"] for row in rows} == set(script.NAMED | script.LEARNED)
    for row in rows:
        assert len(row["times"]) == row["steps"] and np.all(np.diff(row["times"]) < 0.0)
