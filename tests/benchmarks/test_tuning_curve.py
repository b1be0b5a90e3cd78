"""The curve of quality against tuning calls: a row for each fit, and what there is without any."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite import rows
from benchmarks.tuning import curve
from diffusers_deis_sn.plots.style import png

POINTS = {
    "net@3": [
        {
            "samples": samples,
            "share": share,
            "asked": 1000 * samples,
            "seconds": 10.0,
            "ratios": {"5": 4.0 / samples, "8": 0.5},
            "without": {"5": 0.9, "8": 0.7},
            "plans": {"5": True, "8": samples > 4},
        }
        for samples, share in ((curve.SAMPLES, 1.0), (4, 1.0), (curve.SAMPLES, 0.5))
    ]
}


def test_the_table_has_a_row_for_each_fit_and_one_without():
    lines = curve.table(POINTS).splitlines()
    assert len(lines) == 2 + 3 + 1
    assert lines[2] == f"| net@3 | {curve.SAMPLES} | 0.5 | 24.0 | 10 | {4 / curve.SAMPLES:.2f} | 0.50 |"
    assert lines[3] == "| net@3 | 4 | all | 4.0 | 10 | 1.00 | 0.50 (no plan) |"
    assert lines[-1] == "| net@3 | none |  |  |  | 0.90 | 0.70 |"


def test_the_figure_is_a_picture_and_always_the_same_one():
    found = png(curve.figure(POINTS))
    assert found[:4] == b"\x89PNG" and found == png(curve.figure(POINTS))


def test_the_best_rival_is_one_that_ran_from_all_noise(tmp_path: Path):
    class Named:
        name = "net@3"

    asked = Namespace(output=tmp_path, seeds=(1, 2), samples=2)
    for seed, found in ((1, {"DDIM": 2.0, "Euler": 0.5}), (2, {"DDIM": 8.0})):
        made = [
            rows.Row(
                "net@3", "reporting", "network", "vp", rows.RIVAL, name, 5, seed, 5, 2, 1.0, errors=rows.packed(error)
            )
            for name, error in ((name, np.full(2, error)) for name, error in found.items())
        ]
        rows.write(rows.path_of(tmp_path / "rows", "net@3", seed, rows.RIVAL), made)
    assert curve._rival(Named(), asked, 5) == pytest.approx(4.0)  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match="has no rivals of net@3 in 8 calls"):
        curve._rival(Named(), asked, 8)  # type: ignore[arg-type]
