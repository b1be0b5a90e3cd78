"""benchmarks/adaptive/train.py: its truths are true, and a short run of it obeys the laws of schedules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.adaptive import train as train_adaptive
from benchmarks.exact.flows import SD_BETAS, Mixture
from diffusers_deis_sn.core.vp import vp_schedule

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("linear", "log-linear", "adaptive")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a short run has written."""
    folder = tmp_path_factory.mktemp("adaptive")
    command = [sys.executable, "-m", "benchmarks.adaptive.train", "--quick", "--seeds", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--output", str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What was measured, by problem and schedule."""
    problems = json.loads((folder / "results.json").read_text())["problems"]
    return {(problem["name"], row["schedule"]): problem | row for problem in problems for row in problem["rows"]}


def test_both_problems_are_run_on_all_schedules(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert set(rows) == {(problem, name) for problem in ("bimodal", "digits") for name in NAMES}


def test_energy_is_at_least_length_squared(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for row in rows.values():
        assert np.all(np.array(row["history"]["energy"]) >= (1 - 1e-5) * np.square(row["history"]["length"]))
        assert min(row["ratio"]) >= 1.0 and row["ratio_exact"] >= 1.0


def test_levels_fall_between_fixed_ends_and_fixed_ones_stay(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for (_, name), row in rows.items():
        begin = (np.geomspace if name == "log-linear" else np.linspace)(row["top"], row["bottom"], row["intervals"] + 1)
        seen = np.array([*row["history"].get("levels", []), row["levels"]])
        assert np.all(np.diff(seen) < 0.0)
        assert np.all(seen[:, 0] == row["top"]) and np.all(seen[:, -1] == row["bottom"])
        if name == "adaptive":
            np.testing.assert_allclose(seen[0], begin, rtol=1e-5)
            assert np.max(np.abs(np.log(seen[-1] / begin))) > 0.05
        else:
            np.testing.assert_allclose(seen, [begin], rtol=1e-5)


def test_only_the_adaptive_schedule_comes_to_equal_costs(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for problem in ("bimodal", "digits"):
        first, last = rows[problem, "adaptive"]["ratio"]
        assert last - 1.0 < 0.6 * (first - 1.0)
        assert all(last < 0.95 * rows[problem, name]["ratio"][1] for name in NAMES[:2])


def test_networks_learn(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for problem in train_adaptive.problems(quick=True):
        untrained = train_adaptive.Network(problem.centres.shape[1], problem.width, problem.gain)
        start = train_adaptive.judge(problem, untrained, np.geomspace(problem.top, problem.bottom, 31))
        learned = rows[problem.name, "log-linear"]  # which has enough levels where there is something to learn
        for measure in ("score_error", "gap"):
            assert learned[measure] < 0.98 * start[measure]


def test_the_table_and_the_figure_are_written(folder: Path) -> None:
    text = (folder / "table.md").read_text()
    for heading in ("Bimodal", "Digits", "score error", "likelihood gap", "held-out"):
        assert heading in text
    assert sum(line.startswith(f"| {name} |") for line in text.splitlines() for name in NAMES) == 6
    with Image.open(folder / "train_adaptive.png") as image:
        assert min(image.size) > 600 and len(image.getcolors(1 << 24)) > 100


# ------------------------------------------------------------------------------------------------------------ the truth


def test_the_exact_score_is_the_gradient_of_the_exact_density() -> None:
    for problem, sigma in zip(train_adaptive.problems(quick=True), (0.4, 1.3), strict=True):
        y = problem.draw(6, torch.Generator().manual_seed(0)).double() + sigma
        y.requires_grad_()
        (score,) = torch.autograd.grad(problem.log_density(y, sigma).sum(), y)
        torch.testing.assert_close(problem.epsilon(y, sigma).detach(), -sigma * score)


def test_the_exact_score_is_that_of_the_mixture_oracle() -> None:
    problem = train_adaptive.problems(quick=True)[1]
    oracle = Mixture(vp_schedule(**SD_BETAS), problem.centres.double(), problem.bandwidth)
    for rho in (0.07, 0.6, 5.0):
        y = problem.draw(6, torch.Generator().manual_seed(0)).double() + rho
        alpha = float(oracle.noise.alpha(rho))
        torch.testing.assert_close(problem.epsilon(y, rho), oracle.epsilon_at(alpha * y, rho))


def test_densities_integrate_to_one() -> None:
    problem = train_adaptive.problems(quick=True)[0]
    y = torch.linspace(-60.0, 60.0, 24001, dtype=torch.float64)[:, None]
    for sigma in (0.02, 0.5, 8.0):
        assert torch.trapezoid(problem.log_density(y, sigma).exp(), y[:, 0]).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("case", ["bimodal", "normal in five dimensions"])
def test_the_flow_of_the_exact_score_has_the_exact_likelihood(case: str) -> None:
    """Signs give the divergence exactly on the line, and wherever the Jacobian is a multiple of the identity."""
    centres = torch.tensor([[-1.0], [1.0]]) if case == "bimodal" else torch.zeros(1, 5)
    problem = replace(train_adaptive.problems(quick=True)[0], centres=centres, bandwidth=0.2, top=500.0)
    y = problem.draw(20, torch.Generator().manual_seed(0)).double()
    truth = problem.log_density(y, problem.bottom)
    coarse, fine = (
        train_adaptive.log_likelihood(problem.epsilon, y, problem.top, problem.bottom, n) for n in (100, 200)
    )
    assert (fine - truth).abs().max() < 0.3 * (coarse - truth).abs().max() < 0.05  # of order two
    assert (fine + (fine - coarse) / 3.0 - truth).abs().max() < 2e-3
