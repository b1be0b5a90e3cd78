"""The table of README: its rows are those of the catalogue, and it says yes only where tests passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_pipelines.families import FAMILIES, IMPOSSIBLE
from tiny_pipelines.table import FOOT, HEAD, SCHEDULERS, SHOWN, Outcomes, impossible_line, line

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "benchmarks/pipelines.md"
REWRITE = "run `python -m pytest tests/pipelines --pipeline-table`"


def columns(row: str) -> list[str]:
    return [column.strip() for column in row.strip().strip("|").split("|")]


def all_passed(builder: str) -> Outcomes:
    outcomes = Outcomes()
    for name in SCHEDULERS:
        for topic in ("calls", "first order"):
            outcomes.add(builder, name, topic, True)
    return outcomes


def test_the_rows_of_the_written_table_are_those_of_the_catalogue():
    written = TABLE.read_text()
    assert written.startswith(HEAD) and written.endswith(FOOT), REWRITE
    rows = written.removeprefix(HEAD).removesuffix(FOOT).splitlines()
    assert len(rows) == len(FAMILIES) + len(IMPOSSIBLE), REWRITE
    for family, row in zip(FAMILIES, rows, strict=False):
        expected, found = columns(line(family, "", "", [])), columns(row)
        assert (found[0], found[4]) == (expected[0], expected[4]), REWRITE
        assert set(found[3].split(", ")) <= set(SHOWN)
    assert [row + "\n" for row in rows[len(FAMILIES) :]] == [impossible_line(row) for row in IMPOSSIBLE], REWRITE


def test_the_written_table_promises_no_more_and_no_less_than_the_tests_hold():
    """Every test of a row has to pass for a yes, so a table with another word is one of a run that failed."""
    rows = TABLE.read_text().removeprefix(HEAD).splitlines()[: len(FAMILIES)]
    assert [columns(row)[1:3] for row in rows] == [["yes", "yes"]] * len(FAMILIES), REWRITE


def test_one_test_that_fails_is_told_by_its_topic():
    outcomes = all_passed("sd")
    assert outcomes.verdict("sd", "DEISSNScheduler") == "yes"
    outcomes.add("sd", "DEISSNScheduler", "calls", False)
    outcomes.add("sd", "DEISSNScheduler", "calls", True)
    assert outcomes.verdict("sd", "DEISSNScheduler") == "no: calls"
    assert outcomes.verdict("sd", "ScoreOptimalScheduler") == "yes"


def test_a_row_without_its_tests_says_so():
    outcomes = Outcomes()
    outcomes.add("sd", "DEISSNScheduler", "offload", True)
    assert outcomes.verdict("sd", "DEISSNScheduler") == "not tested"


def test_topics_that_nobody_knows_are_refused():
    with pytest.raises(AssertionError):
        Outcomes().add("sd", "DEISSNScheduler", "beauty", True)
