"""What is ours in a config lies under one key, and what other classes left stays for the way back."""

from __future__ import annotations

from typing import Any

import pytest
from diffusers import EulerDiscreteScheduler

from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.schedulers._own_config import (
    OWN_OPTIONS,
    RECIPE_OPTIONS,
    configured,
    default_options,
    entries,
    kept,
    split,
    with_entries,
)
from oracles import SD_BETAS

OURS = [DEISSNScheduler, ScoreOptimalScheduler]


@pytest.mark.parametrize("foreign", [None, 3, "text", ["solver"]])
def test_what_somebody_else_put_under_our_key_is_nothing(foreign):
    assert entries({PRIVATE: foreign}) == {} == entries({})


def test_entries_come_and_go_and_the_key_goes_with_the_last():
    config = DEISSNScheduler(**SD_BETAS).config
    both = with_entries(config, stats="user/repo", solver="heun")
    assert entries(both) == entries(config) | {"stats": "user/repo", "solver": "heun"}
    assert entries(with_entries(both, stats=None)) == entries(config) | {"solver": "heun"}
    none = with_entries({"beta_start": 0.1, PRIVATE: {"solver": "heun"}}, solver=None)
    assert dict(none) == {"beta_start": 0.1}


@pytest.mark.parametrize("ours", OURS)
def test_the_options_of_a_config_are_the_defaults_but_for_what_it_says(ours):
    defaults = default_options(ours)
    assert configured({}, ours) == defaults and "stats" not in defaults
    assert configured(ours().config, ours) == defaults
    chosen: dict[str, Any] = SD_BETAS | {"solver": "heun", "guidance_scale": 3.0}
    assert configured(ours(**chosen).config, ours) == defaults | chosen


@pytest.mark.parametrize("ours", OURS)
def test_no_option_of_ours_is_in_the_public_config(ours):
    assert not OWN_OPTIONS & ours(solver="heun", guidance_scale=3.0).config.keys()


@pytest.mark.parametrize("ours", OURS)
def test_what_another_class_said_is_either_an_argument_or_left_for_the_way_back(ours):
    theirs = EulerDiscreteScheduler(**SD_BETAS, timestep_spacing="leading", timestep_type="discrete").config
    arguments, left, private = split(dict(theirs), ours)
    assert not arguments.keys() & left.keys() and private == {}
    assert SD_BETAS.items() <= arguments.items() and left["timestep_spacing"] == "leading"
    back = kept(ours(**arguments).config, left, {})
    assert {**SD_BETAS, "timestep_spacing": "leading", "timestep_type": "discrete"}.items() <= back.items()


def test_recipes_decide_options_that_there_are():
    known = default_options(DEISSNScheduler).keys() | default_options(ScoreOptimalScheduler).keys()
    assert known >= {*RECIPE_OPTIONS} and known >= OWN_OPTIONS
