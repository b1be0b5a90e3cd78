"""What tuning has come to, as a table."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from diffusers_deis_sn.tuning.outcome import HEAD, Outcome, Tuning
from records import tiny_record
from tunings import DEFAULT, PLAN, RIVALS, failed, found, planned


def test_a_plan_is_shown_beside_the_best_of_the_others():
    outcome = Outcome(5, 1.0, DEFAULT, RIVALS, planned(), PLAN, "bands")
    assert outcome.best_rival == ("UniPC", RIVALS["UniPC"])
    assert outcome.row() == "| 5 | 0.05 / 0.06 (UniPC) | 0.02 / 0.03 | 0.01 / 0.015 | bands |"


def test_no_plan_says_why():
    worse = Outcome(5, 1.0, DEFAULT, RIVALS, None, PLAN, "bands", ("RMS 2, and 1 without", "too bright"))
    assert worse.row().endswith("| 0.01 / 0.015 | no plan: RMS 2, and 1 without; too bright |")
    assert Outcome(5, 1.0, DEFAULT, {}).row() == "| 5 | 0.02 / 0.03 (none) | 0.02 / 0.03 |  | no plan: nothing found |"


def test_a_table_has_a_row_for_each_number_of_calls():
    outcomes = (Outcome(5, 1.0, DEFAULT, RIVALS, planned(), PLAN, "bands"), Outcome(8, 1.0, DEFAULT, RIVALS))
    tuning = Tuning(tiny_record(), outcomes, 100, 2.0)
    assert str(tuning).splitlines()[:2] == HEAD.splitlines() and len(str(tuning).splitlines()) == 4
    assert len({line.count("|") for line in str(tuning).splitlines()}) == 1
    assert tuning.plans == (outcomes[0].plan,)
    assert np.isfinite(tuning.seconds)


def test_what_runs_are_worth_from_now_on():
    assert found().after is PLAN and failed().after is DEFAULT
    refused_ = Outcome(5, 1.0, DEFAULT, RIVALS, None, PLAN, "times", ("too bright",))
    assert refused_.after is DEFAULT


UNSURE = Outcome(8, 1.0, DEFAULT, RIVALS, None, PLAN, "times", ("RMS 2, and 1 without",))


def test_more_samples_are_for_what_was_found_and_not_accepted():
    nothing, no_goal = failed(), replace(UNSURE, calls=10, goal=False)
    tuning = Tuning(tiny_record(), (found(), UNSURE, nothing, no_goal), seconds=60.0)
    assert tuning.undecided(None) == (8,) == tuning.undecided(600.0)
    assert tuning.undecided(65.0) == ()


def test_what_is_found_on_more_samples_takes_the_place_of_what_was_not():
    later = Tuning(tiny_record(), (found(8, 1.0),), 10, 5.0)
    first = Tuning(tiny_record(), (found(8, 3.0), UNSURE, found(5, 1.0)), 20, 7.0)
    both = first.or_rather(later)
    assert both.outcomes == (first.outcomes[0], later.outcomes[0], first.outcomes[2])
    assert both.statistics is later.statistics and (both.asked, both.seconds) == (30, 12.0)


def test_each_guidance_has_a_table_of_its_own():
    tuning = Tuning(tiny_record(), (found(8, 7.5), found(5, 3.0), failed(5, 7.5)))
    assert [one.calls for one in tuning.by_guidance[7.5]] == [5, 8] and list(tuning.by_guidance) == [3.0, 7.5]
    assert str(tuning).count(HEAD) == 2 and "Guidance 7.5:" in str(tuning)
    assert str(Tuning(tiny_record(), ())) == ""


def test_the_line_to_paste_is_python_whatever_the_folder_is_called():
    place = 'a "b"/c'
    pipe = SimpleNamespace(scheduler=SimpleNamespace(config={"kind": "own"}))
    scheduler = SimpleNamespace(from_config=lambda config, stats: (config, stats))
    exec(Tuning(tiny_record(), ()).code(place), {"pipe": pipe, "DEISSNScheduler": scheduler})
    assert pipe.scheduler == ({"kind": "own"}, place)
