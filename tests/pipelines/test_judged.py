"""No pipeline class of the installed Diffusers is unjudged, and the table says what was judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.classes import hidden_classes, pipeline_classes
from sweep.cookbook import recipe_of
from sweep.judged import HIDDEN, NO, NOT_BUILT, REMARKS, RUNS, UNMEASURED
from sweep.outcomes import HEAD, Row, remark, table

TABLE = Path(__file__).resolve().parents[2] / "benchmarks/every-pipeline.md"


def test_every_pipeline_with_a_scheduler_is_judged():
    unjudged = pipeline_classes().keys() - RUNS - NO.keys() - NOT_BUILT.keys()
    assert not unjudged, f"new in this Diffusers: {sorted(unjudged)}. Build them in tests/sweep and run `make sweep`."


def test_every_pipeline_that_wants_another_library_is_known():
    assert not set(hidden_classes()) - HIDDEN.keys() - RUNS - NO.keys() - NOT_BUILT.keys(), (
        "new pipelines that need a library which is not installed"
    )


def test_each_is_judged_once():
    assert not RUNS & NO.keys() and not RUNS & NOT_BUILT.keys() and not NO.keys() & NOT_BUILT.keys()
    assert RUNS >= REMARKS.keys() | UNMEASURED.keys()
    assert all({**NO, **NOT_BUILT, **UNMEASURED}.values())


def test_the_written_table_says_what_was_judged():
    rows = [line for line in TABLE.read_text().removeprefix(HEAD).splitlines() if line.startswith("| `")]
    told = {row.split("`")[1]: [part.strip() for part in row.strip("|").split("|")] for row in rows}
    assert told.keys() >= pipeline_classes().keys() & (RUNS | NO.keys() | NOT_BUILT.keys())
    for name, columns in told.items():
        expected = "not built" if name in NOT_BUILT else "no" if name in NO else "yes"
        assert columns[2:4] == [expected] * 2, name
        assert columns[4] == ("no" if name in UNMEASURED else expected), name
        assert columns[7] == {**NO, **NOT_BUILT}.get(name, remark(name)), name


@pytest.mark.parametrize(
    ("error", "bound"), [(3e-8, "< 1e-06"), (2e-6, "< 1e-05"), (5e-4, "< 0.001"), (0.2, "2e-01"), (None, "")]
)
def test_differences_are_told_as_bounds(error, bound):
    assert Row("FluxPipeline", "FlowMatchEulerDiscreteScheduler", (4, 4), error).bound == bound


def test_the_table_counts_its_rows():
    text = table(
        [Row("FluxPipeline", "X", (4, 4), 1e-8), Row("WanPipeline", "X", (4, 4), 1e-8), Row(next(iter(NO)))], "0"
    )
    assert "2 run with both, 1 cannot, 0 are not built" in text and "2 can be measured" in text
    assert text.count("\n| `") == 3


def test_a_sweep_of_some_leaves_the_others_as_they_were():
    flux, wan = Row("FluxPipeline", "X", (4, 4), 1e-8), Row("WanPipeline", "X", (8, 8), 1e-8)
    both = table([flux, wan], "0.0")
    slower = Row("WanPipeline", "X", (8, 8), 5e-4)
    assert table([slower], "0.0", both) == table([flux, slower], "0.0") != both


def test_later_recipes_win_and_patterns_match_whole_names():
    assert recipe_of("FluxPipeline").parts.keys() == {"scheduler"}
    assert "transformer" in recipe_of("FluxFillPipeline").parts
