"""What stats/ publishes is what the programs in benchmarks/ write."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from diffusers_deis_sn.publish.card import card
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.index import look_up

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program():
    """benchmarks/shipped_statistics.py as a module."""
    spec = importlib.util.spec_from_file_location("shipped_statistics", ROOT / "benchmarks/shipped_statistics.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_cards_are_those_of_the_records(program):
    for shipped in program.SHIPPED:
        text = card(
            ScoreStatistics.load(shipped.place),
            f"stats/{shipped.folder}",
            model=f"examples/models/{shipped.model}",
            figures=["normaliser.png", "schedule.png"],
            notes=shipped.notes,
        )
        assert (shipped.place / "README.md").read_text() == text, shipped.folder


def test_the_statistics_are_those_of_their_settings(program):
    for shipped in program.SHIPPED:
        origin = ScoreStatistics.load(shipped.place).origin
        assert (origin.base_model, origin.guidance_scale) == (shipped.model, shipped.guidance)


def test_the_index_names_every_model(program):
    assert (ROOT / "stats/index.json").read_text() == program.index()
    for model in {shipped.model for shipped in program.SHIPPED}:
        found = look_up(model, index=ROOT / "stats")
        assert found is not None and found.statistics.origin.guidance_scale == program.INDEXED


@pytest.mark.slow
def test_the_recipes_are_what_is_computed():
    done = subprocess.run(
        [sys.executable, "benchmarks/recipes.py", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
