"""What tuning has come to, as a table."""

from __future__ import annotations

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
