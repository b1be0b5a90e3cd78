"""What recording costs, as it is committed: within what is promised, and the table says what was measured."""

from __future__ import annotations

import json

import pytest

from benchmarks.calibration import overhead
from benchmarks.places import ROOT

FOLDER = ROOT / "benchmarks/calibration"


@pytest.fixture(scope="module")
def result():
    return json.loads((FOLDER / "overhead.json").read_text())


def test_recording_takes_at_most_two_hundredths_more_than_the_same_calls_as_the_readme_says(result):
    assert 1.0 < result["time"]["ratio_by_inside"] <= 1.02
    assert len(result["time"]["ratios"]) == overhead.PAIRS


def test_memory_does_not_grow_with_samples_or_steps(result):
    own, small, *large = [row["mib"] for row in result["memory"]]
    assert tuple((row["samples"], row["steps"]) for row in result["memory"][1:]) == overhead.SIZES
    # Eight times the samples or the steps, within what two processes differ by.
    assert max(large) <= 1.02 * small and small <= 1.02 * own


def test_the_table_is_that_of_the_numbers(result):
    assert (FOLDER / "overhead.md").read_text() == overhead.table(result)


def test_both_schedulers_are_timed_over_the_same_calls():
    pipe = overhead.loaded()
    own = pipe.scheduler
    both = overhead.seconds(pipe, 3), overhead.recorded(pipe, 2)
    assert [one.calls for one in both] == [3, 3] and pipe.scheduler is own
    assert all(0.0 < one.inside < one.whole for one in both)
