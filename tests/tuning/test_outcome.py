"""What tuning has come to, as a table."""

from __future__ import annotations

import numpy as np

from diffusers_deis_sn.core.grids import Trailing
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.outcome import HEAD, Outcome, Tuning
from records import tiny_record
from toy_models import PROCESSES

DEFAULT, PLAN = Judged(0.02, 0.03, 0.025), Judged(0.01, 0.015, 0.012)
RIVALS = {"DDIM": Judged(0.09, 0.1, 0.1), "UniPC": Judged(0.05, 0.06, 0.05)}


def plan() -> TunedPlan:
    return TunedPlan(Tuned.of_plan(Recipe(PROCESSES["vp"][0], Trailing(), Multistep(2)).plan(5)))


def test_a_plan_is_shown_beside_the_best_of_the_others():
    outcome = Outcome(5, 1.0, DEFAULT, RIVALS, plan(), PLAN, "bands")
    assert outcome.best_rival == ("UniPC", RIVALS["UniPC"])
    assert outcome.row() == "| 5 | 0.05 / 0.06 (UniPC) | 0.02 / 0.03 | 0.01 / 0.015 | bands |"


def test_no_plan_says_why():
    worse = Outcome(5, 1.0, DEFAULT, RIVALS, None, PLAN, "bands", ("RMS 2, and 1 without", "too bright"))
    assert worse.row().endswith("| 0.01 / 0.015 | no plan: RMS 2, and 1 without; too bright |")
    assert Outcome(5, 1.0, DEFAULT, {}).row() == "| 5 | 0.02 / 0.03 (none) | 0.02 / 0.03 |  | no plan: nothing found |"


def test_a_table_has_a_row_for_each_number_of_calls():
    outcomes = (Outcome(5, 1.0, DEFAULT, RIVALS, plan(), PLAN, "bands"), Outcome(8, 1.0, DEFAULT, RIVALS))
    tuning = Tuning(tiny_record(), outcomes, 100, 2.0)
    assert str(tuning).splitlines()[:2] == HEAD.splitlines() and len(str(tuning).splitlines()) == 4
    assert len({line.count("|") for line in str(tuning).splitlines()}) == 1
    assert tuning.plans == (outcomes[0].plan,)
    assert np.isfinite(tuning.seconds)
