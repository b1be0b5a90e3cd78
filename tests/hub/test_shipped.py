"""What stats/ publishes is what the programs in benchmarks/ write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import shipped_statistics
from diffusers_deis_sn.publish.card import card
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.index import look_up

ROOT = Path(__file__).resolve().parents[2]


def test_the_cards_are_those_of_the_records():
    for shipped in shipped_statistics.SHIPPED:
        text = card(
            ScoreStatistics.load(shipped.place),
            f"stats/{shipped.folder}",
            model=f"examples/models/{shipped.model}",
            figures=["normaliser.png", "schedule.png"],
            notes=shipped.notes,
        )
        assert (shipped.place / "README.md").read_text() == text, shipped.folder


def test_the_statistics_are_those_of_their_settings():
    for shipped in shipped_statistics.SHIPPED:
        origin = ScoreStatistics.load(shipped.place).origin
        assert (origin.base_model, origin.guidance_scale) == (shipped.model, shipped.guidance)


def test_the_index_names_every_model():
    assert (ROOT / "stats/index.json").read_text() == shipped_statistics.index()
    for model in {shipped.model for shipped in shipped_statistics.SHIPPED}:
        found = look_up(model, index=ROOT / "stats")
        assert found is not None and found.statistics.origin.guidance_scale == shipped_statistics.INDEXED


@pytest.mark.slow
def test_the_recipes_are_what_is_computed():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.recipes", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
