"""The program that tunes the suite's networks: what has rows is not tuned again, and plans are kept together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.suite import rows
from benchmarks.suite.runner import Order
from benchmarks.suite.samplers import OURS, TUNED
from benchmarks.tuning import run
from benchmarks.tuning.image_to_image import HEADING, in_short
from diffusers_deis_sn import ScoreStatistics
from diffusers_deis_sn.statistics.plans import Plans
from diffusers_deis_sn.tuning.outcome import Outcome, Tuning
from records import tiny_record
from tunings import DEFAULT, RIVALS, failed, planned


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, ...]]:
    """Numbers of calls that were tuned, of a network that is made up; a plan for all but six."""
    told: list[tuple[int, ...]] = []

    def tune(pipe: Any, prompts: Any, calls: Sequence[int], *, statistics: ScoreStatistics, **_: Any) -> Tuning:
        told.append(tuple(calls))
        outcomes = [
            failed(one) if one == 6 else Outcome(one, 1.0, DEFAULT, RIVALS, planned(one), DEFAULT, "times")
            for one in calls
        ]
        plans = tuple(one.plan for one in outcomes if one.plan is not None)
        return Tuning(statistics.with_plans(Plans(plans, statistics.origin.sample_shape)), tuple(outcomes), 100, 1.0)

    def measured(problem: Any, sampler: Any, kind: str, calls: int, seed: int, *_: Any) -> rows.Row:
        return rows.Row(problem.name, "choosing", "network", "vp", kind, sampler.name, calls, seed, calls, 16)

    monkeypatch.setattr(run, "tune", tune)
    monkeypatch.setattr(run, "measured", measured)
    monkeypatch.setattr(run, "kept", lambda *_: None)
    return told


def test_numbers_of_calls_that_have_rows_are_not_tuned_again(asked, tmp_path):
    problem: Any = SimpleNamespace(
        name="toy", pipe=None, guidance=1.0, judged=None, config={}, statistics=lambda _: tiny_record()
    )
    for calls in ((5, 8), (5, 8), (5, 6, 12)):
        run._tuned(problem, Order(tmp_path, calls, seeds=(1, 2)), tmp_path / "tuned")
    assert asked == [(5, 8), (6, 12)]
    found = rows.read(tmp_path / "tuned" / "rows" / "toy.csv")
    expected = {(name, calls, seed) for name in (OURS, TUNED) for calls in (5, 6, 8, 12) for seed in (1, 2)}
    assert {(row.sampler, row.asked, row.seed) for row in found} == expected and len(found) == len(expected)
    kept = ScoreStatistics.load(tmp_path / "tuned" / "statistics" / "toy").plans
    assert sorted(one.calls for one in kept.entries) == [5, 8, 12]
    facts = json.loads((Path(tmp_path) / "tuned" / "facts" / "toy.json").read_text())
    assert [(one["calls"], one["accepted"]) for one in facts["outcomes"]] == [(5, 1), (8, 1), (6, 0), (12, 1)]
    assert facts["asked"] == 200


def test_what_plans_gain_from_an_image_is_said_as_the_table_has_it() -> None:
    folder = Path(run.__file__).parent
    text = (folder / "image-to-image.md").read_text()
    assert text.startswith(HEADING) and (folder / "image-to-image-summary.md").read_text() == in_short(text)
