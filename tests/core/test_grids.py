"""Time grids as values: falling levels between two ends on every process."""

from __future__ import annotations

import numpy as np
import pytest

from diffusers_deis_sn.core import codec, grids
from diffusers_deis_sn.core.grids import Beta, Ends, Given, Leading, Linspace, Power, Shifted, Trailing, Whole
from diffusers_deis_sn.errors import ConfigurationError
from noise_processes import PROCESSES
from refusals import refused

VP = PROCESSES["vp"]
GRIDS = [Trailing(), Power("t", 1.0), Power("t", 2.5), Power("sigma", 7.0), Power("sigma", np.inf), Beta()]
OF_TABLES = {Leading, Linspace, Whole}  # whole training times, which a continuum does not have
OF_ANOTHER = {Shifted}  # what they do to a grid


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("ends", [Ends(), Ends("sigma_min"), Ends(start=0.9, end=0.01)], ids=str)
def test_every_grid_falls_from_the_first_level_to_the_end_on_every_process(process, grid, ends):
    own = PROCESSES[process]
    if isinstance(grid, Trailing) and ends.moved and own.numbered:
        refused(ConfigurationError, ["`start_time`", "'trailing'"], grid.levels, own, 5, ends)
        return
    for steps in (1, 2, 9):
        levels = grid.levels(own, steps, ends)
        assert levels.shape == (steps + 1,) and np.all(np.diff(levels) < 0.0)
        assert levels[0] == pytest.approx(ends.first(own), rel=1e-9) and levels[-1] == ends.last(own)


def test_every_grid_of_ours_is_among_them() -> None:
    ours = {one for one in codec._CLASSES.values() if one.__module__ == grids.__name__}
    assert ours == {type(grid) for grid in GRIDS} | OF_TABLES | OF_ANOTHER


@pytest.mark.parametrize("process", PROCESSES)
def test_a_power_grid_is_even_in_its_power(process):
    own = PROCESSES[process]
    tau = own.progress(Power("t", 2.0).levels(own, 9, Ends("sigma_min")))
    assert np.diff(np.sqrt(tau)) == pytest.approx(np.diff(np.sqrt(tau))[0], rel=1e-6)
    sigma = own.as_sigma(Power("sigma", 3.0).levels(own, 9, Ends("sigma_min")))
    assert np.diff(np.cbrt(sigma)) == pytest.approx(np.diff(np.cbrt(sigma))[0], rel=1e-6)


def test_given_levels_are_taken_as_they_are():
    levels = np.array([9.0, 3.0, 0.2, 0.0])
    assert Given(levels).levels(VP, 99, Ends()).tolist() == levels.tolist()
