"""The learned grid as a value: steps of equal length, whatever the number, or with a share spread evenly."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Ends
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.grid import PATH_TOP, EqualCost, Learned
from diffusers_deis_sn.learn.path import SchedulePath
from records import costed_record
from refusals import refused

SD = vp_schedule(**SD_BETAS)
STATS = costed_record(SD)


def on_the_path(levels: np.ndarray, grid: Learned) -> np.ndarray:
    """The levels of a run to clean data, of which the last step goes on from where the path ends."""
    return np.append(levels[:-1], grid.path.levels[0])


@pytest.mark.parametrize("cost", ["corrector", "predictor"])
@pytest.mark.parametrize("steps", [2, 5, 17])
def test_steps_have_equal_length(cost, steps):
    grid = EqualCost(cost).of(STATS, SD)
    lengths = -np.diff(grid.path.position(on_the_path(grid.levels(SD, steps, Ends()), grid)))
    assert lengths == pytest.approx(grid.path.path_length / steps, rel=1e-6)


def test_to_clean_data_the_last_step_goes_on_from_the_end_of_the_path():
    grid = EqualCost("corrector").of(STATS, SD)
    end = float(SD.progress(grid.path.levels[0]))
    levels, there = grid.levels(SD, 6, Ends()), grid.levels(SD, 6, Ends(end=end))
    assert levels[-1] == 0.0 and there[-1] > 0.0 and levels[:-1] == pytest.approx(there[:-1], rel=1e-9)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_no_step_is_longer_than_the_share_allows(share):
    """A share s spread evenly in tau^(1/2) leaves no step wider than 1 / s of an even one; all of it is the even grid.

    Up to what interpolating between measured levels adds.
    """
    grid, steps = EqualCost("corrector", spread=share).of(STATS, SD), 7
    half = np.sqrt(SD.progress(on_the_path(grid.levels(SD, steps, Ends()), grid)))
    widest = np.max(-np.diff(half)) / ((half[0] - half[-1]) / steps)
    assert widest <= 1.0 / share * 1.02 and (share < 1.0 or widest == pytest.approx(1.0, rel=0.02))


def test_nothing_spread_is_the_path_itself():
    path = SchedulePath.of(STATS, "corrector")
    assert path.spread(0.0, np.arange(len(path.levels))) is path
    for share in (-0.1, 1.1):
        refused(ScheduleError, ["share", "0 to 1", str(share)], path.spread, share, path.levels)
    refused(ScheduleError, ["must rise"], path.spread, 0.5, path.levels[::-1])


def test_a_flow_enters_the_path_with_its_first_step():
    flow = FlowSchedule()
    path = SchedulePath(np.geomspace(flow.bottom, 1e6, 50), np.ones(49))
    levels = Learned(path).levels(flow, 6, Ends())
    assert levels[0] == flow.top and levels[1] < PATH_TOP
    below = -np.diff(path.position(np.append(PATH_TOP, levels[1:-1])))
    assert below == pytest.approx(below[0], rel=1e-6)


@pytest.mark.parametrize("before", [1, 4, 9])
def test_a_run_that_begins_later_begins_at_the_share_that_is_left(before):
    grid = EqualCost("corrector").of(STATS, SD)
    levels = grid.later(SD, 10, Ends(), before)
    assert SD.progress(levels[before]) == pytest.approx(1.0 - before / 10, rel=1e-9) and len(levels) == 11
    rest = -np.diff(grid.path.position(on_the_path(levels, grid)[before:]))
    assert rest == pytest.approx(rest[0], rel=1e-6) and np.all(np.diff(levels) < 0.0)
    whole = SD.time(grid.later(SD, 10, Ends(), before, whole=True)[:-1])
    assert whole == pytest.approx(np.round(whole), abs=1e-6)


def test_costs_of_part_of_the_process_are_no_grid_of_all():
    path = SchedulePath(np.geomspace(SD.bottom, 3.0, 20), np.ones(19))
    refused(ScheduleError, ["noise level 3", "strength=1", "start_time"], Learned(path).check, SD, Ends())
    Learned(path).check(SD, Ends(start=0.5))


def test_a_recipe_takes_it_as_any_grid():
    plan = Recipe(SD, EqualCost("predictor").of(STATS, SD)).plan(6)
    assert len(plan) == 6 and plan.levels[-1] == 0.0
