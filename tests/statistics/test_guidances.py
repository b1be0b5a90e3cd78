"""Records of one model at several guidances: what lies between them, and which do not go together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.statistics.cost import LocalCost
from diffusers_deis_sn.statistics.guidances import USUAL
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import guided_family, guided_record
from refusals import refused

NOISE = vp_schedule(**SD_BETAS)
SCALES = (1.0, 3.0, 5.0, 9.0)
FAMILY = guided_family(NOISE, SCALES)


@pytest.mark.parametrize("scale", SCALES)
def test_a_guidance_that_was_measured_has_its_own_record_bit_for_bit(scale):
    assert FAMILY.at(scale) == guided_record(NOISE, scale)


@given(st.floats(1.0, 9.0))
def test_what_is_linear_in_the_guidance_is_exact_in_between(scale):
    """r, m, nu and lengths of steps of `guided_record` are linear, errors of its trials powers, of the guidance."""
    found, exact = FAMILY.at(scale), guided_record(NOISE, scale)
    assert found.origin == exact.origin and found.guidances == (scale,)
    for name, values in exact.curves.items():
        np.testing.assert_allclose(found.curves[name], values, rtol=1e-12)
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(found.costs[name].values, cost.values, rtol=1e-12)
    for table in ("error", "rms", "grain"):
        np.testing.assert_allclose(getattr(found.trials, table), getattr(exact.trials, table), rtol=1e-12)


@pytest.mark.parametrize(("beyond", "nearest"), [(0.0, 1.0), (30.0, 9.0)])
def test_beyond_what_was_measured_the_nearest_serves(beyond, nearest):
    assert FAMILY.at(beyond) == guided_record(NOISE, nearest)


def test_where_no_guidance_is_named_the_usual_is_meant_or_what_is_next_to_it():
    usual = min(SCALES, key=lambda one: abs(one - USUAL))
    assert FAMILY.at(None) == guided_record(NOISE, usual)
    assert FAMILY.origin.guidance_scale == usual == 9.0
    assert guided_family(NOISE, (5.0, 10.0)).origin.guidance_scale == 5.0  # both are as near


def test_the_order_they_are_given_in_is_no_matter_nor_whether_some_are_together_already():
    records = [guided_record(NOISE, scale) for scale in SCALES]
    half = ScoreStatistics.together(records[2:])
    assert ScoreStatistics.together([half, records[1], records[0]]) == FAMILY
    assert FAMILY.guidances == SCALES and [one.guidances for one in FAMILY.members] == [(one,) for one in SCALES]


def test_one_alone_is_itself_at_every_guidance():
    record = guided_record(NOISE, 3.0)
    assert ScoreStatistics.together([record]) == record
    assert record.at(7.5) is record and record.at(None) is record and not record.others


def test_other_facts_of_the_origin_are_those_of_all():
    named = FAMILY.with_origin(base_model="someone/renamed")
    assert {one.origin.base_model for one in named.members} == {"someone/renamed"}
    assert named.guidances == SCALES


def test_recipes_that_were_not_tried_at_all_guidances_are_left_out():
    one, other, third = Method("data", 1), Method("data", 2), Method("data", 3)

    def tried(*recipes):
        table = [[0.5]] * len(recipes)
        return Trials(recipes, (8,), table, table, table, 4)

    records = [guided_record(NOISE, 1.0).with_trials(tried(one, other)), guided_record(NOISE, 3.0)]
    both = ScoreStatistics.together([records[0], records[1].with_trials(tried(third, other))])
    assert [member.trials.recipes for member in both.members] == [(other,), (other,)]
    assert all(
        member.trials is None
        for member in ScoreStatistics.together([records[0], records[1].with_trials(tried(third))]).members
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timesteps": guided_record(NOISE, 3.0).timesteps + 0.5}, "times"),
        ({"mean_abs_data": None, "mean_abs_data_error": None}, "curves"),
        ({"costs": {}}, "costs"),
        ({"costs": {"solver": LocalCost(np.ones(49), np.ones(49), 4, 2)}}, "costs"),
    ],
)
def test_records_that_differ_in_more_than_guidance_do_not_go_together(change, words):
    other = replace(guided_record(NOISE, 3.0), **change)
    refused(StatisticsError, ["guidance 1 and 3", words], ScoreStatistics.together, [guided_record(NOISE, 1.0), other])


@pytest.mark.parametrize("fact", ["fingerprint", "prediction_type"])
def test_nor_do_those_of_different_models(fact):
    other = guided_record(NOISE, 3.0).with_origin(**{fact: "another"})
    words = ["noise schedule" if fact == "fingerprint" else "prediction type"]
    refused(StatisticsError, words, ScoreStatistics.together, [guided_record(NOISE, 1.0), other])


def test_each_says_its_guidance_and_once():
    record = guided_record(NOISE, 3.0)
    refused(
        StatisticsError,
        ["guidance_scale", "None"],
        ScoreStatistics.together,
        [record, record.with_origin(guidance_scale=None)],
    )
    refused(StatisticsError, ["Guidance 3", "twice"], ScoreStatistics.together, [record, record])
    refused(StatisticsError, ["No record"], ScoreStatistics.together, [])
