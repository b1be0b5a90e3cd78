"""Where statistics come from: prompts as a hash, facts as JSON and back, and what is no fact refused."""

from __future__ import annotations

import json

import pytest

from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.statistics.origin import StatisticsOrigin, hash_prompts
from records import tiny_record
from refusals import refused


def test_prompts_are_kept_as_the_hash_of_the_specification():
    # sha256 of ["a cat","a dog"], taken with sha256sum
    assert hash_prompts(("a cat", "a dog")) == "ba8e612a74f869fb"
    assert hash_prompts(["a cat", "a dog"]) != hash_prompts(["a dog", "a cat"])


@pytest.mark.parametrize("origin", [StatisticsOrigin(), tiny_record().origin], ids=["nothing known", "much known"])
def test_facts_go_through_json_and_what_a_later_version_adds_is_passed_over(origin):
    facts = json.loads(json.dumps(origin.as_dict()))
    assert StatisticsOrigin.from_dict(facts | {"weather": "fair"}) == origin


def test_how_many_samples_were_skipped_is_written_only_where_some_were():
    assert "num_skipped" not in StatisticsOrigin().as_dict()
    facts = json.loads(json.dumps(StatisticsOrigin(num_skipped=2).as_dict()))
    assert facts["num_skipped"] == 2 and StatisticsOrigin.from_dict(facts).num_skipped == 2


def test_facts_that_are_not_there_are_unknown():
    assert StatisticsOrigin.from_dict({"seed": 3}) == StatisticsOrigin(seed=3)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("base_model", 3),
        ("seed", 1.5),
        ("seed", True),
        ("num_skipped", 1.5),
        ("guidance_scale", float("nan")),
        ("guidance_scale", True),
        ("sample_shape", (4, 0)),
        ("sample_shape", "4x8"),
        ("versions", {"torch": 2}),
        ("date", "yesterday"),
    ],
)
def test_what_is_no_fact_is_refused_with_its_name_and_value(fact, value):
    refused(StatisticsError, [f"`{fact}`", repr(value)], StatisticsOrigin, **{fact: value})
