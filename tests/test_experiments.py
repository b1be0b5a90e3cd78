"""What the score-optimal paper's toy experiments claim, as measured by the scripts that draw them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("cantor", "bimodal")
SAMPLERS = ("annealed Langevin", "Euler")

pytestmark = pytest.mark.slow

Figures = dict[str, Any]


def measured(script: str, folder: Path) -> Figures:
    """Run a script in a fresh interpreter; what it printed, which is what it wrote."""
    command = [sys.executable, "-m", f"benchmarks.score_optimal.{script}", "--output", str(folder / "figures")]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures: Figures = json.loads(done.stdout)
    assert figures == json.loads((folder / f"figures/{script}.json").read_text())
    with Image.open(folder / f"figures/{script}.png") as picture:
        assert min(picture.size) > 400
        assert len(picture.convert("RGB").getcolors(2**20)) > 50
    return figures


@pytest.fixture(scope="module")
def cantor(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return measured("cantor", tmp_path_factory.mktemp("cantor"))


@pytest.fixture(scope="module")
def bimodal(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return measured("bimodal", tmp_path_factory.mktemp("bimodal"))


@pytest.mark.parametrize("script", [*SCRIPTS, "toy_experiment", "toy_figure"])
def test_the_scripts_are_short(script: str) -> None:
    assert len((ROOT / f"benchmarks/score_optimal/{script}.py").read_text().splitlines()) <= 80


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_optimised_levels_resolve_all_eight_modes_and_as_many_linear_ones_do_not(cantor: Figures, sampler: str) -> None:
    assert cantor["true modes"] == 8
    assert cantor["optimised"][sampler]["modes"] == 8
    assert cantor["linear"][sampler]["modes"] < 8
    assert cantor["optimised"][sampler]["distance"] < 0.9 * cantor["linear"][sampler]["distance"]


def test_log_linear_levels_resolve_them_too(cantor: Figures) -> None:
    """The optimised schedule finds what a good guess has; it is not the only one that works."""
    assert [cantor["log-linear"][sampler]["modes"] for sampler in SAMPLERS] == [8, 8]


def test_steps_of_the_optimised_schedule_cost_the_same(cantor: Figures) -> None:
    assert cantor["optimised"]["largest cost / smallest"] == pytest.approx(1.0, abs=1e-4)
    assert cantor["log-linear"]["largest cost / smallest"] > 10.0
    assert cantor["linear"]["largest cost / smallest"] > 100.0


def test_energy_is_least_and_the_squared_length_where_costs_are_equal(cantor: Figures) -> None:
    optimised = cantor["optimised"]
    assert optimised["energy"] == pytest.approx(optimised["path length squared"], rel=1e-5)
    for name in ("linear", "log-linear"):
        assert cantor[name]["energy"] > 1.05 * cantor[name]["path length squared"]
        assert cantor[name]["energy"] > 1.1 * optimised["energy"]


def test_a_schedule_that_adapts_in_training_improves_on_the_linear_one_it_begins_as(bimodal: Figures) -> None:
    adapted, linear = bimodal["optimised"], bimodal["linear"]
    assert adapted["score error"] < 0.8 * linear["score error"]
    for sampler in SAMPLERS:
        assert adapted[sampler]["distance"] < 0.7 * linear[sampler]["distance"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_figures_in_the_repository_are_of_these_scripts(script: str, request: pytest.FixtureRequest) -> None:
    """To a tolerance that other versions and machines may need: networks are trained and modes are counted."""
    kept = json.loads((ROOT / f"benchmarks/score_optimal/{script}.json").read_text())
    now = request.getfixturevalue(script)
    assert (ROOT / f"benchmarks/score_optimal/{script}.png").is_file()
    assert kept.keys() == now.keys()
    for name in ("linear", "log-linear", "optimised"):
        for sampler in SAMPLERS:
            assert kept[name][sampler]["distance"] == pytest.approx(now[name][sampler]["distance"], rel=0.3, abs=0.01)
