"""Statistics as JSON: all that is in a record comes back from the text, number for number."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.statistics.cost import LocalCost
from diffusers_deis_sn.statistics.facts import as_json, facts
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import costed_record, gaussian_record, guided_family, guided_record, tiny_record


def rebuilt(told: dict) -> ScoreStatistics:
    """The record that the text is of."""
    return ScoreStatistics.together(
        ScoreStatistics(
            np.array(told["timesteps"]),
            np.array(told["log_snr"]),
            **{
                name: None if values is None else np.array(values)
                for name, values in one.items()
                if name not in ("origin", "costs", "trials")
            },
            origin=StatisticsOrigin.from_dict(one["origin"]),
            costs={
                name: LocalCost(np.array(cost["values"]), np.array(cost["error"]), cost["order"], cost["num_samples"])
                for name, cost in one["costs"].items()
            },
            trials=one["trials"]
            and Trials(
                tuple(Method.from_dict(recipe["options"]) for recipe in one["trials"]["recipes"]),
                tuple(one["trials"]["calls"]),
                *(
                    np.array([recipe[name] for recipe in one["trials"]["recipes"]])
                    for name in ("error", "rms", "grain")
                ),
                one["trials"]["num_samples"],
            ),
        )
        for one in told["members"]
    )


@pytest.mark.parametrize(
    "record",
    [
        tiny_record(),
        gaussian_record(),
        costed_record(),
        guided_record(vp_schedule(), 3.0),
        guided_family(vp_schedule()),
    ],
    ids=["tiny", "curves", "costs", "trials", "guidances"],
)
def test_the_text_holds_the_whole_record(record):
    assert rebuilt(json.loads(as_json(record))) == record
    assert "\n" not in as_json(record)


def test_what_is_derived_is_that_of_the_record():
    record = guided_family(vp_schedule())
    told = facts(record)
    assert (told["num_times"], told["guidances"]) == (len(record), list(record.guidances))
    assert told["guidance_scale"] == record.origin.guidance_scale
    for member, one in zip(record.members, told["members"], strict=True):
        trials = member.trials
        assert [trials.recipes[place] for place in one["trials"]["best"]] == [trials.best(n) for n in trials.calls]
        assert [recipe["name"] for recipe in one["trials"]["recipes"]] == list(map(str, trials.recipes))
        cost = member.costs["solver"]
        assert one["costs"]["solver"]["path_length"] == pytest.approx(np.sum(cost.values ** (1.0 / 6.0)))
        assert one["costs"]["solver"]["relative_error"] == cost.uncertainty


def test_what_is_not_known_is_null_and_nothing_is_no_number():
    bare = ScoreStatistics(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([0.5, 0.6]))
    told = json.loads(as_json(bare))
    (member,) = told["members"]
    assert told["guidances"] == [] and told["guidance_scale"] is None
    assert member["num_samples"] is None and member["trials"] is None and member["mean_square"] is None
    free = replace(bare, costs={"solver": LocalCost(np.zeros(1), np.zeros(1), 6, 1)})
    assert json.loads(as_json(free))["members"][0]["costs"]["solver"]["relative_error"] is None  # 0 of 0
