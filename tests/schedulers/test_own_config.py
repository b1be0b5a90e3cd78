"""What is ours in a config lies under one key, and what other classes left stays for the way back."""

from __future__ import annotations

from typing import Any

import pytest
from diffusers import EulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.learn.grid import EqualCost
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


def test_grids_and_solvers_lie_there_as_plain_data_without_their_defaults():
    given: dict[str, Any] = {"grid": Power("sigma", 7.0), "solver": Multistep(3, corrector=Corrector(4, gain=0.5))}
    said = {"kind": "multistep", "order": 3, "corrector": {"kind": "corrector", "order": 4, "gain": 0.5}}
    power = {"kind": "power", "variable": "sigma", "exponent": 7.0}
    config = DEISSNScheduler(**given).config
    assert entries(config) == {"process": "vp", "grid": power, "solver": said}
    assert entries(ScoreOptimalScheduler(**given).config) == {"process": "vp", "learned_grid": power, "solver": said}
    assert configured(config, DEISSNScheduler) == default_options(DEISSNScheduler) | {"grid": power, "solver": said}


@pytest.mark.parametrize(
    ("between", "by_hand"), [(EulerDiscreteScheduler, False), *((one, hand) for one in OURS for hand in (False, True))]
)
def test_each_of_the_two_keeps_a_grid_of_its_own(between, by_hand):
    def made(kind: Any, config: Any) -> Any:
        return kind(**config) if by_hand else kind.from_config(config)

    named = DEISSNScheduler(**SD_BETAS, grid=Power("sigma", 5.0))
    learned = ScoreOptimalScheduler.from_config(named.config, grid=EqualCost("predictor"))
    middle = between.from_config(learned.config)
    assert made(DEISSNScheduler, middle.config).options["grid"] == Power("sigma", 5.0)
    assert made(ScoreOptimalScheduler, middle.config).options["grid"] == EqualCost("predictor")
    assert made(ScoreOptimalScheduler, made(DEISSNScheduler, middle.config).config).options == learned.options
    plain = DEISSNScheduler.from_config(middle.config, use_karras_sigmas=True)  # which lays aside its own alone
    assert plain.spacing == "karras"
    assert ScoreOptimalScheduler.from_config(plain.config).options["grid"] == EqualCost("predictor")


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
