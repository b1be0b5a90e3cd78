"""What stats/ publishes is what the programs in benchmarks/ write."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from diffusers_deis_sn.publish.card import card
from diffusers_deis_sn.statistics import ScoreStatistics

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program():
    """benchmarks/shipped_statistics.py as a module."""
    spec = importlib.util.spec_from_file_location("shipped_statistics", ROOT / "benchmarks/shipped_statistics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_card_is_that_of_the_record(program):
    folder = ROOT / "stats/tiny-sd-digits"
    text = card(
        ScoreStatistics.load(folder),
        "stats/tiny-sd-digits",
        model="examples/models/tiny-sd-digits",
        figures=["normaliser.png", "schedule.png"],
        notes=program.NOTES,
    )
    assert (folder / "README.md").read_text() == text


def test_the_index_names_every_folder(program):
    assert (ROOT / "stats/index.json").read_text() == program.index()


@pytest.mark.slow
def test_the_recipes_are_what_is_computed():
    done = subprocess.run(
        [sys.executable, "benchmarks/recipes.py", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
