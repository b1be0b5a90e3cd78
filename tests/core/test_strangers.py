"""What others write wrongly in a grid or a solver is refused before any step, by the name of their class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.collect.recorder import MEASURING_OPTIONS, RecordingScheduler
from diffusers_deis_sn.core.codec import encode, register
from diffusers_deis_sn.core.grids import Power, Shifted
from diffusers_deis_sn.core.solvers import Multistep, RungeKutta
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.schedulers._own_config import RECIPE_OPTIONS
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from refusals import refused

BOTH = pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])


@register("strange-grid")
@dataclass(frozen=True)
class Strange:
    """A grid that does something to good levels."""

    what: str = "good"

    def levels(self, process: Any, steps: int, ends: Any) -> Any:
        return GRIDS[self.what][0](Power("t", 2.0).levels(process, steps, ends))


GRIDS: dict[str, tuple[Callable[[np.ndarray], Any], list[str]]] = {
    "without the end": (lambda a: a[:-1], ["shape (5,)", "6 in one row", "the end of the run"]),
    "too many": (lambda a: np.append(a, -1.0), ["shape (7,)"]),
    "none": (lambda a: None, ["shape ()"]),
    "a row of rows": (lambda a: a[None], ["shape (1, 6)"]),
    "rising": (lambda a: a[::-1], ["do not fall strictly", "noisiest first"]),
    "equal": (lambda a: np.append(a[:-1], a[-2]), ["do not fall strictly"]),
    "out of order": (lambda a: a[[0, 2, 1, 3, 4, 5]], ["do not fall strictly"]),
    "end below zero": (lambda a: a - 1.0, ["end below zero"]),
    "not a number": (lambda a: np.where(a == a[2], np.nan, a), ["not finite"]),
    "words": (lambda a: ["a"] * 6, ["gave no levels"]),
    "an object": (lambda a: object(), ["gave no levels"]),
}


@pytest.mark.parametrize("what", GRIDS)
@BOTH
def test_levels_that_cannot_be_walked(ours, what):
    scheduler = ours(**SD_BETAS, grid=Strange(what))
    refused(TimestepsError, ["`Strange.levels`", *GRIDS[what][1]], scheduler.set_timesteps, 5)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "5"])
def test_the_number_of_steps_is_checked_before_a_grid_is_asked(steps):
    scheduler = DEISSNScheduler(**SD_BETAS, grid=Strange("none"))
    refused(TimestepsError, ["`num_inference_steps`", repr(steps)], scheduler.set_timesteps, steps)


def test_lists_and_other_precisions_are_taken():
    GRIDS["good"], GRIDS["list"] = (lambda a: a, []), (lambda a: a.tolist(), [])
    plans = []
    for what in ("good", "list"):
        scheduler = DEISSNScheduler(**SD_BETAS, grid=Strange(what))
        scheduler.set_timesteps(5)
        plans.append(scheduler._plan.levels)
    assert plans[0] == plans[1]


@register("other")
@dataclass(frozen=True)
class Other:
    """A solver that says what it is."""

    of: str = "noise"
    calls_per_step: Any = 1

    def table(self, process: Any, scale: Any, levels: np.ndarray) -> Any: ...


@pytest.mark.parametrize("wrong", [Other("eps"), Other(calls_per_step=0), Other(calls_per_step="1")], ids=repr)
def test_a_solver_says_what_it_integrates_and_how_often_it_calls(wrong):
    words = [f"of={wrong.of!r}", f"calls_per_step={wrong.calls_per_step!r}", "of Other"]
    refused(ConfigurationError, words, DEISSNScheduler, solver=wrong)


def test_options_of_named_solvers_do_not_apply_to_a_value():
    mine, order = (DEISSNScheduler(**SD_BETAS, solver=Multistep(3), **o) for o in ({}, {"solver_order": 4}))
    for scheduler in (mine, order):
        scheduler.set_timesteps(6)
    assert mine.recipe.solver == order.recipe.solver == Multistep(3)


@BOTH
def test_what_is_chosen_afterwards_lays_an_own_grid_or_solver_aside(ours):
    mine = ours(**SD_BETAS, grid=Strange("good"), solver=RungeKutta("heun"))
    assert ours.from_config(mine.config).options["grid"] == Strange("good")
    again = ours.from_config(mine.config, solver_order=3)
    assert again.options["solver"] == "multistep" and again.options["solver_order"] == 3
    mine.register_to_config(solver_order=3)
    assert mine.options["solver"] == "multistep" and mine.options["grid"] == Strange("good")
    if ours is DEISSNScheduler:
        for other in ({"use_karras_sigmas": True}, {"timestep_spacing": "linspace"}):
            assert ours.from_config(mine.config, **other).options["grid"] is None
        mine.register_to_config(timestep_spacing="linspace")
        assert mine.options["grid"] is None and mine.spacing == "linspace"


def test_a_grid_is_shifted_as_named_ones_are_unless_it_says_its_own():
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "use_dynamic_shifting": True}
    named = DEISSNScheduler(**flow, recipe="fixed")  # "trailing", which is uniform in tau
    mine, fixed = DEISSNScheduler(**flow, grid=Power("t", 1.0)), DEISSNScheduler(**flow, grid=Shifted(Power("t", 1.0)))
    for mu in (0.0, 1.5):
        for scheduler in (named, mine, fixed):
            scheduler.set_timesteps(5, mu=mu)
        assert torch.equal(named.sigmas, mine.sigmas) and torch.equal(mine.sigmas, fixed.sigmas) == (mu == 0.0)


def test_calls_between_whole_times_are_refused_whoever_makes_them():
    scheduler = DEISSNScheduler(**SD_BETAS, solver=RungeKutta("midpoint"), whole_timesteps=True)
    refused(ConfigurationError, ["whole_timesteps=True", "RungeKutta", "between"], scheduler.set_timesteps, 4)


def test_the_learned_grid_needs_statistics_where_it_is_asked_for():
    scheduler = DEISSNScheduler(**SD_BETAS, grid=EqualCost())
    refused(ConfigurationError, ["statistics with costs", "deis-sn calibrate"], scheduler.set_timesteps, 5)


def test_a_recording_has_its_own_grid_and_solver_whatever_the_config_says():
    config = DEISSNScheduler(**SD_BETAS, grid=Power("t", 3.0), solver=RungeKutta("heun"), whole_timesteps=True).config
    recorder = RecordingScheduler.measuring(dict(config), StatisticsOrigin())
    assert recorder.options | MEASURING_OPTIONS == recorder.options
    assert {*RECIPE_OPTIONS, "whole_timesteps"} <= {*MEASURING_OPTIONS, "normalise"}  # without statistics that is idle


@BOTH
def test_a_class_is_no_value_and_an_own_factor_is_no_tried_method(ours):
    refused(ConfigurationError, ["`grid`", "MyGrid()"], ours, grid=Strange)
    refused(ConfigurationError, ["`solver`", "MySolver()"], ours, solver=Other)
    refused(ConfigurationError, ["'measured'", "own"], ours, grid=Strange("good"), recipe="measured")


def test_an_own_grid_may_have_any_ends():
    scheduler = DEISSNScheduler(**SD_BETAS, grid=Power("t", 2.0), start_time=0.5, end_time=0.01)
    scheduler.set_timesteps(4)
    assert scheduler.noise.progress(scheduler._plan.levels[0]) == pytest.approx(0.5)


def test_what_a_config_cannot_hold_is_not_registered():
    @dataclass
    class Changing:
        power: float = 1.0

    @dataclass(frozen=True)
    class Called:
        kind: str = "b"

    for wrong in (Changing, Called, int):
        refused(ConfigurationError, ["frozen dataclass", "'kind'", wrong.__name__], register("wrong"), wrong)

    class Plain:
        def levels(self, process: Any, steps: int, ends: Any) -> Any: ...

    refused(ConfigurationError, ["Plain", "@register"], DEISSNScheduler, grid=Plain())


def test_fields_that_no_constructor_takes_are_not_written():
    @register("with a part of its own")
    @dataclass(frozen=True)
    class Own:
        power: float = 1.0
        made: float = field(init=False, default=3.0)

    assert encode(Own(2.0)) == {"kind": "with a part of its own", "power": 2.0}
