"""Statistics before a comparison: whose they are, where they are kept, and what plans are fitted on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from comparisons import pipeline, plan, planned, statistics
from diffusers_deis_sn import ScoreStatistics
from diffusers_deis_sn.comparison.preparing import APART, Preparation, Prepared, compared_of, others, seed_of
from diffusers_deis_sn.errors import CalibrationInterruptedError, ComparisonError
from diffusers_deis_sn.statistics.plans import Plans
from diffusers_deis_sn.tuning.outcome import Tuning
from refusals import refused

TEXTS = [f"prompt {i}" for i in range(10)]


@pytest.fixture
def preparation(tmp_path):
    return Preparation(pipeline(), tmp_path, True, False)


@pytest.fixture
def tuned(monkeypatch):
    """In the place of `tune`: plans for all numbers of steps but 6. What it was asked."""
    asked = []

    def tune(pipe, prompts, steps, *, statistics, **options):
        asked.append({"prompts": prompts, "steps": list(steps), **options})
        new = [plan(calls) for calls in steps if calls != 6]
        shape = planned(5).plans.sample_shape
        plans = statistics.plans.with_plans(*new) if statistics.plans else Plans(tuple(new), shape)
        return Tuning(statistics.with_plans(plans), (), 100, 2.5)

    monkeypatch.setattr("diffusers_deis_sn.tuning.run.tune", tune)
    return asked


OPTIONS = {"seed": 0, "batch_size": 4, "budget": None}


def test_statistics_of_the_caller_stay_where_they_are(preparation, tmp_path) -> None:
    given = statistics()
    assert preparation.statistics("some/where", given, None, {}) == Prepared(given, "some/where", False)
    assert preparation.statistics(given, given, None, {}).place == "STATISTICS"
    assert list(tmp_path.iterdir()) == []


def test_plans_are_fitted_once_for_what_has_none_and_kept_in_the_folder(preparation, tuned) -> None:
    known = Prepared(planned(5), "some/where", False)
    found = preparation.tuned(known, (5, 6, 8), TEXTS, {"guidance_scale": 1.0}, **OPTIONS)
    assert [one["steps"] for one in tuned] == [[6, 8]] and tuned[0]["guidance_scale"] == 1.0
    assert [one.calls for one in found.statistics.plans.entries] == [5, 8]
    assert found.place == str(preparation.folder / "statistics")
    assert ScoreStatistics.load(found.place).plans == found.statistics.plans
    assert (found.fitting.steps, found.fitting.prompts, found.fitting.seconds) == ((6, 8), 10, 2.5)
    again = preparation.tuned(known, (5, 6, 8), TEXTS, {}, **OPTIONS)
    assert len(tuned) == 1 and again.fitting == found.fitting and again.statistics.plans == found.statistics.plans
    more = preparation.tuned(known, (4, 5, 6, 8, 30), TEXTS, {}, **OPTIONS)
    assert tuned[1]["steps"] == [4] and more.fitting.steps == (4, 6, 8) and more.fitting.seconds == 5.0


def test_without_a_folder_that_stays_there_is_no_place_to_name(preparation, tuned) -> None:
    found = replace(preparation, kept=False).tuned(
        Prepared(statistics(), "STATISTICS", True), (5,), None, {}, **OPTIONS
    )
    assert found.place == "STATISTICS" and found.statistics.plans is not None and found.fitting.prompts is None


def test_what_was_written_by_somebody_else_is_not_believed(preparation, tuned) -> None:
    path = preparation.folder / "runs/tuned.json"
    path.parent.mkdir()
    for text in ("[1]", "nonsense", json.dumps({"steps": [5]})):
        path.write_text(text)
        assert preparation.tuned(Prepared(statistics(), "x", False), (5,), None, {}, **OPTIONS).fitting.steps == (5,)
        (preparation.file).unlink()
    assert len(tuned) == 3


def test_ctrl_c_while_plans_are_fitted_says_how_to_go_on(preparation, monkeypatch) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffusers_deis_sn.tuning.run.tune", interrupted)
    with pytest.raises(CalibrationInterruptedError, match=r"while plans were fitted.*begins with them again"):
        preparation.tuned(Prepared(statistics(), "x", False), (5,), None, {}, **OPTIONS)


def test_plans_are_fitted_on_prompts_that_are_not_compared() -> None:
    assert compared_of(TEXTS, None, False) == 5 and compared_of(TEXTS[:9], None, False) == 5
    assert compared_of(TEXTS, 3, False) == 3
    assert compared_of(TEXTS, None, True) is None and compared_of(None, None, False) is None
    assert others(TEXTS, {"guidance_scale": 2.0}, 5, None) == (TEXTS[5:], {"guidance_scale": 2.0})
    assert others(None, {"height": 8}, 8, None) == (None, {"height": 8})


def test_lists_that_go_with_the_prompts_stay_with_them() -> None:
    negative = [f"not {i}" for i in range(10)]
    texts, options = others([*TEXTS[:9], TEXTS[0]], {"negative_prompt": negative, "prompt_2": "a"}, 4, None)
    assert texts == TEXTS[4:9]  # the last is compared
    assert options == {"negative_prompt": negative[4:9], "prompt_2": "a"}


def test_others_can_be_named_and_those_compared_are_left_out(tmp_path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("a\nb\nc\nd\nprompt 1\n")
    texts, options = others(TEXTS, {"negative_prompt": TEXTS, "height": 8}, 10, file)
    assert texts == list("abcd") and options == {"height": 8}


@pytest.mark.parametrize(("texts", "count", "named"), [("one", 1, None), (TEXTS, 7, None), (TEXTS, 10, TEXTS[:4])])
def test_too_few_others_are_refused(texts, count, named) -> None:
    refused(ComparisonError, ["at least 4", "`num_prompts`", "`tuning_prompts`"], others, texts, {}, count, named)


@pytest.mark.parametrize(("seed", "count"), [(0, 8), (1000, 8), (5, 2000), (999, 100)])
def test_no_noise_is_both_fitted_on_and_compared(seed, count) -> None:
    fitted = range(seed_of(seed, count), seed_of(seed, count) + 500)
    assert set(fitted).isdisjoint(range(seed, seed + count)) and APART >= 500
