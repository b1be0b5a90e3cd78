"""Plans as part of a record and of its file: found for their run alone, bit for bit the same again, or refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.tuned_between import run_between
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StatisticsError, StatisticsFormatError, StatisticsMismatchError
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.plans import TENSORS, Plans, TunedPlan, lengths, merged, sound_facts
from records import gaussian_record, guided_family, resealed, tiny_record

VP = vp_schedule(**SD_BETAS)


def run(calls: int = 3, bands: int = 1) -> Tuned:
    tuned = Tuned.of_plan(Recipe(VP, Power("t", 1.5), Multistep(2, of="data")).plan(calls))
    return replace(tuned, low=0.1 * tuned.weights) if bands == 2 else tuned


def plans(*entries: TunedPlan) -> Plans:
    some = (TunedPlan(run(5, 2), 7.5, 16, 0.06, 0.09, 0.1), TunedPlan(run(3), 7.5), TunedPlan(run(5), 3.0))
    return Plans(entries or some, (4, 8, 8))


def record(*entries: TunedPlan) -> ScoreStatistics:
    return gaussian_record(VP).with_plans(plans(*entries))


def test_a_plan_serves_its_number_of_calls_and_guidance_alone():
    some = plans()
    three, weak, strong = some.entries
    assert (three.calls, weak.guidance, strong.guidance) == (3, 3.0, 7.5)  # in one order, however they came
    assert some.find(5, 7.5) is strong and some.find(5, 3.03) is weak and some.find(3, 7.5) is three
    for calls, guidance in ((4, 7.5), (5, 5.0), (5, 9.0), (3, 3.0), (5, 1.0)):
        assert some.find(calls, guidance) is None
    assert some.at(7.5) == {3: three, 5: strong} and some.at(3.0) == {5: weak} and some.at(1.0) == {}
    assert some.find(3, None) is three and some.find(5, None) is None


def test_between_two_guidances_there_is_a_plan_and_beyond_there_is_none():
    some = plans()
    _, weak, strong = some.entries
    between = some.between(5, 5.25, VP)
    assert between is not None and between.guidance == 5.25 and between.run == weak.run.towards(strong.run, 0.5, VP)
    assert between.error == pytest.approx((weak.error * strong.error) ** 0.5) and between.num_samples == 1
    for calls, guidance in ((5, 2.0), (5, 9.0), (3, 5.0), (4, 5.0)):
        assert some.between(calls, guidance, VP) is None
    other = TunedPlan(replace(strong.run, shift=2.0), 7.5)
    assert plans(weak, other).between(5, 5.0, VP) is None


def test_between_two_numbers_of_calls_there_is_a_plan_and_beyond_there_is_none():
    some = plans(*(TunedPlan(run(calls), g, 16, 0.01 * calls) for calls in (4, 6, 8, 10) for g in (3.0, 7.5)))
    exact = partial(Tuned.of_recipe, Recipe(VP, Power("t", 1.5), Multistep(2, of="data")))
    for guidance in (3.0, 7.5, 5.0):
        found = some.between_calls(9, guidance, VP, exact)
        assert found is not None and (found.calls, found.guidance) == (9, guidance)
        assert found.error == pytest.approx((0.08 * 0.1) ** 0.5)
    assert some.between_calls(7, 3.0, VP, exact).run == run_between(run(6), run(8), 7, VP, exact)
    for calls, guidance in ((3, 3.0), (11, 3.0), (5, 3.0), (9, 1.0), (9, 8.5), (9, None)):
        assert some.between_calls(calls, guidance, VP, exact) is None
    lone = plans(TunedPlan(run(6)), TunedPlan(run(8)))
    assert lone.between_calls(7, None, VP, exact).guidance == 1.0


def test_a_new_plan_takes_the_place_of_an_older_one():
    newer = TunedPlan(run(5), 7.5, 32)
    both = plans().with_plans(newer, TunedPlan(run(8), 3.0))
    assert both.find(5, 7.5) is newer and len(both) == 4


def test_a_plan_says_what_it_was_worth():
    assert str(plans().entries[2]) == "5 calls at guidance 7.5: 0.67 of the best other error"


def test_a_person_is_told_of_plans():
    told = record().inspect().splitlines()
    assert sum(line.strip().startswith("plan ") for line in told) == 3 and any(
        str(plans().entries[2]) in one for one in told
    )
    assert "plan " not in gaussian_record(VP).inspect()


@pytest.mark.parametrize("entries", [(), (TunedPlan(run(1)),), (TunedPlan(run(20, 2), 1.0), TunedPlan(run(2, 2)))])
def test_a_file_gives_the_plans_back_bit_for_bit(entries, tmp_path):
    one = record(*entries)
    again = ScoreStatistics.load(one.save(tmp_path))
    assert again.plans == one.plans and again == one and again.to_bytes() == one.to_bytes()
    assert again != one.with_plans(None) and copy.deepcopy(one) == one and hash(again.plans) == hash(one.plans)


def test_ten_calls_are_a_few_kilobytes():
    with_plan, without = record(TunedPlan(run(10, 2))), gaussian_record(VP)
    assert len(with_plan.to_bytes()) - len(without.to_bytes()) < 3000


def test_facts_say_how_long_tensors_are():
    facts, tensors = plans().encode()
    assert sound_facts(facts) is None
    assert lengths(facts) == {name: len(tensors[name]) for name in TENSORS}
    assert Plans.decode(facts, tensors) == plans()


# --------------------------------------------------------------------------------------------- several guidances


FAMILY = guided_family(VP, (1.0, 3.0, 7.5))


@pytest.mark.parametrize("guidance", [None, 1.0, 2.0, 3.0, 5.0, 7.5, 20.0])
def test_plans_go_with_the_statistics_of_every_guidance(guidance):
    assert FAMILY.with_plans(plans()).at(guidance) == FAMILY.at(guidance).with_plans(plans())


def test_a_file_of_several_guidances_gives_the_plans_back(tmp_path):
    one = FAMILY.with_plans(plans())
    again = ScoreStatistics.load(one.save(tmp_path))
    assert again == one and again.plans == plans() and again.to_bytes() == one.to_bytes()
    assert again.with_plans(None) == FAMILY


def test_records_that_come_together_bring_their_plans():
    first, second = TunedPlan(run(5, 2), 3.0), TunedPlan(run(5), 3.0, 99)
    one, other, third = FAMILY.members
    both = ScoreStatistics.together(
        [one, other.with_plans(plans(first)), third.with_plans(plans(second, TunedPlan(run(4))))]
    )
    assert both.plans == plans(first, TunedPlan(run(4)))
    assert ScoreStatistics.together([one.with_plans(plans())]).plans == plans()
    with pytest.raises(StatisticsError, match="different sizes"):
        ScoreStatistics.together([one.with_plans(plans()), other.with_plans(Plans((TunedPlan(run()),), (4, 16, 16)))])
    assert merged([None, None]) is None


# ------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "change",
    [
        {"run": "plan"},
        {"guidance": 0.0},
        {"guidance": True},
        {"num_samples": 0},
        {"error": -1.0},
        {"rival_error": 1e40},
    ],
)
def test_facts_that_no_plan_has(change):
    with pytest.raises(StatisticsError, match="plan"):
        replace(TunedPlan(run()), **change)


@pytest.mark.parametrize(
    ("entries", "shape"),
    [
        ((), (4, 8, 8)),
        ((TunedPlan(run()), TunedPlan(run(), 1.01)), (4, 8, 8)),
        ((TunedPlan(run()),), ()),
        ((TunedPlan(run()),), (4, 0)),
        ((TunedPlan(run(3, 2)),), (4, 8, 7)),
        ((TunedPlan(run(3, 2)),), (8, 8)),
    ],
)
def test_plans_that_are_none(entries, shape):
    with pytest.raises(StatisticsError):
        Plans(entries, shape)


def test_a_record_refuses_plans_of_another_size_or_schedule():
    assert tiny_record().origin.sample_shape == (4, 8, 8)
    with pytest.raises(StatisticsError, match="size that was measured"):
        tiny_record().with_plans(Plans((TunedPlan(run()),), (4, 16, 16)))
    with pytest.raises(StatisticsError, match="Plans or None"):
        tiny_record().with_plans("plans")
    other = Tuned.of_plan(Recipe(vp_schedule(), Power("t", 1.5), Multistep(2, of="data")).plan(3))
    with pytest.raises(StatisticsMismatchError, match="another noise schedule"):
        record(TunedPlan(other)).check(VP, "epsilon")
    with pytest.raises(StatisticsMismatchError):
        plans().check(FlowSchedule())


def rewritten(change: Any) -> bytes:
    """A file whose facts of plans and tensors were changed."""
    data = record().to_bytes()
    length = int.from_bytes(data[:8], "little")
    payload = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["score_statistics"])
    tensors = load(data)
    change(payload, tensors)
    return resealed(payload, tensors)


DAMAGES: dict[str, Any] = {
    "no object": lambda p, t: p.update(plans=[]),
    "no entries": lambda p, t: p["plans"].pop("entries"),
    "no shape": lambda p, t: p["plans"].pop("sample_shape"),
    "none at all": lambda p, t: p["plans"].update(entries=[]),
    "too many": lambda p, t: p["plans"].update(entries=p["plans"]["entries"] * 400),
    "an entry that is none": lambda p, t: p["plans"]["entries"].append(3),
    "calls beyond reason": lambda p, t: p["plans"]["entries"][0].update(calls=10**9),
    "calls of a fraction": lambda p, t: p["plans"]["entries"][0].update(calls=3.0),
    "three bands": lambda p, t: p["plans"]["entries"][0].update(bands=3),
    "other bands than tensors": lambda p, t: p["plans"]["entries"][0].update(bands=2),
    "another integrand": lambda p, t: p["plans"]["entries"][0].update(of="score"),
    "guidance in words": lambda p, t: p["plans"]["entries"][0].update(guidance="strong"),
    "guidance beyond floats": lambda p, t: p["plans"]["entries"][0].update(guidance=10**400),
    "shift of nothing": lambda p, t: p["plans"]["entries"][0].update(shift=0.0),
    "a shape of words": lambda p, t: p["plans"].update(sample_shape=["a"]),
    "another shape than the origin": lambda p, t: p["origin"].update(sample_shape=[3, 8, 8]),
    "no facts": lambda p, t: p.pop("plans"),
    "numbers that are not finite": lambda p, t: t["plan_weights"].fill(np.nan),
    "levels that rise": lambda p, t: t["plan_rho"].sort(),
    **{f"no {name}": lambda p, t, name=name: t.pop(name) for name in TENSORS},
    **{f"short {name}": lambda p, t, name=name: t.update({name: t[name][:-1]}) for name in TENSORS},
    **{f"{name} of float32": lambda p, t, name=name: t.update({name: t[name].astype("f4")}) for name in TENSORS},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_with_plans_that_make_no_sense_is_refused(damage, tmp_path):
    file = tmp_path / "score_statistics.safetensors"
    file.write_bytes(rewritten(DAMAGES[damage]))
    with pytest.raises(StatisticsFormatError, match=str(file)):
        ScoreStatistics.load(file)


def test_facts_of_plans_that_are_not_known_are_ignored(tmp_path):
    file = tmp_path / "score_statistics.safetensors"
    file.write_bytes(rewritten(lambda p, t: (p["plans"].update(a=1), p["plans"]["entries"][0].update(b=2))))
    assert ScoreStatistics.load(file) == record()
