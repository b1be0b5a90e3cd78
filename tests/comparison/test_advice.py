"""The recommendation follows from the rows, whoever wins."""

from __future__ import annotations

import pytest

from comparisons import DRAW, RIVAL_WINS, WE_WIN, row, rows
from diffusers_deis_sn.comparison.advice import Equal, advise, judged_at
from diffusers_deis_sn.comparison.rows import Row
from diffusers_deis_sn.errors import ComparisonError


def test_where_ours_win_the_nearest_of_ours_is_recommended() -> None:
    advice = advise(rows(WE_WIN), 8, "DPM++ 2M", Equal("DPM++ 2M", 13, 48))
    assert (advice.verdict, advice.scheduler, advice.best_rival) == ("ours", "ScoreOptimal", "DPM++ 2M")
    assert advice.sentence == (
        "ScoreOptimal at 8 steps is as near to the converged picture as DPM++ 2M at 13 steps: 1.6 times fewer network "
        "calls."
    )
    assert advice.times_fewer == 13 / 8
    assert advice.ratio.value == pytest.approx(0.025 / 0.06)


def test_a_rival_that_never_comes_as_near_is_said_so() -> None:
    advice = advise(rows(WE_WIN), 8, None, Equal("UniPC", None, 48))
    assert "is nearer to the converged picture than UniPC at 48 steps: more than 6.0 times" in advice.sentence


def test_where_a_rival_wins_it_is_recommended() -> None:
    advice = advise(rows(RIVAL_WINS), 8, "UniPC")
    assert (advice.verdict, advice.scheduler) == ("rival", "DPM++ 2M")
    assert advice.sentence.startswith("Take DPM++ 2M: in 8 steps it is nearer")
    assert advice.equal is None and advice.times_fewer is None


@pytest.mark.parametrize(
    ("own", "kept"), [("DPM++ 2M", "Keep DPM++ 2M"), ("UniPC", "Take DEIS-SN"), (None, "Take DEIS-SN")]
)
def test_a_difference_within_error_bars_keeps_what_is_there_unless_it_is_surely_worse(own, kept) -> None:
    advice = advise(rows(DRAW), 8, own)
    assert advice.verdict == "draw"
    assert "the difference is within its error bars" in advice.sentence
    assert kept in advice.sentence


def test_one_prompt_decides_nothing() -> None:
    advice = advise(rows(WE_WIN, prompts=1), 8, "DPM++ 2M")
    assert advice.verdict == "draw"
    assert "one prompt has no error bars" in advice.sentence
    assert "interval" not in advice.detail


def test_an_rms_that_says_otherwise_is_told() -> None:
    ours = row("DEIS-SN", 8, 0.03)
    far = ours.distances.copy()
    far[0] = 5.0
    table = [row("UniPC", 8, 0.07), Row("DEIS-SN", 8, far, ours=True)]
    advice = advise([*table, row("DPM++ 2M", 8, 0.9)], 8)
    assert "By RMS, which a few pictures decide, it is the other way round" in advice.detail


def test_without_rivals_there_is_nothing_to_win() -> None:
    advice = advise([row("DEIS-SN", 8, 0.03)], 8)
    assert (advice.verdict, advice.scheduler) == ("alone", "DEIS-SN")


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ComparisonError, match="made 7 network calls"):
        advise(rows(WE_WIN), 7)


def test_the_middle_column_is_judged() -> None:
    assert [judged_at(steps) for steps in ((8,), (6, 8), (10, 6, 8), (4, 5, 6, 8))] == [8, 6, 8, 5]
