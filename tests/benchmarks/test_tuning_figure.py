"""The figure of errors: its lines are the errors and ratios of the rows, and where nothing was run there is no line."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suite import rows
from benchmarks.suite.cells import DEIS_SN, cells_of
from benchmarks.tuning.figure import BEST, SHOWN, figure
from benchmarks.tuning.table import TUNED

SD, FLOW = SHOWN


def row(problem: str, sampler: str, error: float, calls: int = 5, kind: str = rows.OURS) -> rows.Row:
    place = {"problem": problem, "role": "reporting", "group": "shipped", "family": "vp", "kind": kind, "calls": calls}
    errors = rows.packed(np.array([error, 4.0 * error]))
    return rows.Row(**place, sampler=sampler, asked=calls, seed=1, samples=2, geometric=2.0 * error, errors=errors)


@pytest.fixture
def axes():
    found = [
        row(SD, "UniPC", 1.0, kind=rows.RIVAL),
        row(SD, "DDIM", 2.0, kind=rows.RIVAL),
        row(SD, DEIS_SN, 0.5),
        row(SD, TUNED, 0.25),
        row(FLOW, "UniPC", 1.0, kind=rows.RIVAL),
        row(FLOW, DEIS_SN, 2.0),
        row(SD, "UniPC", 0.5, 8, rows.RIVAL),
        row(SD, DEIS_SN, 0.125, 8),
    ]
    return figure(cells_of(found)).axes


def lines(axis):
    return {line.get_label(): np.column_stack(line.get_data()).tolist() for line in axis.lines}


def test_a_models_panel_has_its_errors(axes):
    assert lines(axes[0]) == {BEST: [[5, 2.0], [8, 1.0]], DEIS_SN: [[5, 1.0], [8, 0.25]], TUNED: [[5, 0.5]]}
    assert lines(axes[1])[TUNED] == []


def test_the_last_panel_has_the_mean_ratio_to_the_best_rival(axes):
    drawn = lines(axes[2])
    assert drawn[DEIS_SN] == [[5, pytest.approx(1.0)], [8, pytest.approx(0.25)]]  # (1/2 2)^(1/2)
    assert drawn[TUNED] == [[5, pytest.approx(0.25)]]
    assert axes[2].get_title(loc="left").endswith("2 settings")
