"""From options and statistics to the factors of a recipe: the scale, the limit of a correction, the tried method."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.learn.following import GAIN, LEAST_GUIDANCE, NO_LIMIT, TRUSTED, gain_limit
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.schedulers._options_to_recipe import followed, options_of, scale_of, tried_method
from diffusers_deis_sn.statistics.guidances import USUAL
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import gaussian_record

ONE, TWO = Method("noise", 2, 4, 0.375, "power_t", 1.0), Method("noise", 2, 4, None, "learned")
TRIED = Trials((ONE, TWO), (4, 16), [[1.0, 4.0], [2.0, 2.0]], [[1.0, 4.0], [2.0, 2.0]], np.ones((2, 2)), 8)
STATS = gaussian_record().with_trials(TRIED).with_origin(guidance_scale=4.0)


def options(**given: Any) -> Options:
    return replace(DEISSNScheduler(**SD_BETAS)._planner.options, **given)


@pytest.mark.parametrize("steps", [None, "6", float("nan"), True])
def test_a_run_of_no_known_number_of_steps_follows_no_method(steps):
    assert tried_method(options(), STATS, steps, None) is None


def test_the_best_method_for_the_number_of_steps_is_followed_of_the_kind_that_may_be():
    for steps, learned, expected in ((4, None, ONE), (16, None, TWO), (4, True, TWO), (16, False, ONE)):
        assert tried_method(options(), STATS, steps, learned) == expected
        fixed = DEISSNScheduler(stats=STATS, recipe="fixed")
        fixed.set_timesteps(steps)
        assert fixed.method is None  # nor is one looked for where none is followed


def test_statistics_without_trials_have_no_method_and_no_statistics_have_a_safe_one():
    assert tried_method(options(), gaussian_record(), 6, None) is None
    assert isinstance(tried_method(options(), None, 6, None), Method)


def test_methods_are_trusted_up_to_a_quarter_more_guidance():
    for factor, expected in ((1.0, ONE), (TRUSTED, ONE), (TRUSTED + 0.01, None)):
        assert tried_method(options(guidance_scale=4.0 * factor), STATS, 4, None) == expected


def test_the_limit_falls_with_guidance_as_its_inverse_but_not_below_the_least():
    limits = [gain_limit(GAIN, scale, None) for scale in (0.0, LEAST_GUIDANCE, 4.0, 8.0)]
    assert limits[0] == limits[1] == 2.0 * limits[2] == 4.0 * limits[3] > 0.0


def test_guidance_is_that_of_the_call_or_of_the_statistics_or_a_safe_guess():
    assert gain_limit(GAIN, None, STATS) == gain_limit(GAIN, 4.0, None)
    assert gain_limit(GAIN, None, None) == gain_limit(GAIN, USUAL, None)
    assert gain_limit(GAIN, 8.0, STATS) == gain_limit(GAIN, 8.0, None) != gain_limit(GAIN, None, STATS)
    tried = followed(options(guidance_scale=8.0), ONE, STATS).solver
    assert tried.corrector.gain == gain_limit(ONE.corrector_gain, None, STATS) == ONE.corrector_gain / 4.0


FLAGS = {f"use_{one}_sigmas": False for one in ("karras", "exponential", "beta")}
COMMON: dict[str, Any] = FLAGS | {"end_time": None, "timestep_spacing": "trailing", "normalise": True}


def test_a_method_is_a_solver_and_a_grid_as_values_and_where_runs_start_and_end():
    ends = {"start_time": 0.9, "final_sigmas_type": "sigma_min"}
    assert options_of(replace(ONE, **ends), STATS) == COMMON | ends | {
        "solver": Multistep(2, corrector=Corrector(4, 0.375 / 4.0)),
        "grid": Power("t", 1.0),
    }
    limitless = Multistep(3, of="data", corrector=Corrector(2, NO_LIMIT / 4.0))
    assert options_of(Method("data", 3, 2), STATS)["solver"] == limitless
    assert options_of(Method("data", 3, 2), None)["solver"].corrector.gain == NO_LIMIT / USUAL


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Method(timestep_spacing="power_t"), {"grid": Power("t", 2.0)}),
        (Method(timestep_spacing="power_rho"), {"grid": Power("sigma", 7.0)}),
        (Method(timestep_spacing="power_rho", grid_exponent=5.0), {"grid": Power("sigma", 5.0)}),
        (Method(timestep_spacing="learned"), {"grid": EqualCost(spread=0.0)}),
        (Method(timestep_spacing="learned", spread=0.25), {"grid": EqualCost(spread=0.25)}),
        (Method(timestep_spacing="leading"), {"grid": None, "timestep_spacing": "leading"}),
        (Method(timestep_spacing="beta"), {"grid": None, "use_beta_sigmas": True}),
    ],
    ids=str,
)
def test_the_grid_of_a_method_is_a_value_or_one_that_diffusers_has_a_name_for(method, expected):
    told = options_of(method, None)
    grids = {"grid", "timestep_spacing", *FLAGS}
    assert {name: told[name] for name in grids} == FLAGS | {"timestep_spacing": "trailing"} | expected


@pytest.mark.parametrize("method", [ONE, TWO])
def test_a_method_that_is_followed_leaves_all_other_options_alone(method):
    given = options(clip_normalizer_steps=3.0, guidance_scale=2.0, solver_order=4, recipe="measured")
    assert followed(given, None, STATS) is given
    used, said = followed(given, method, STATS), options_of(method, STATS)
    for one in fields(given):
        expected = said.get(one.name, getattr(given, one.name))
        assert getattr(used, one.name) == expected


def test_the_scale_is_that_of_the_statistics_and_flat_without_them():
    times = np.array([4.0, 300.0, 999.0])
    record = gaussian_record(times=times)
    assert np.allclose(scale_of(options(), record)(times), record.mean_abs, rtol=1e-12)
    for flat in (scale_of(options(), None), scale_of(options(normalise=False), record)):
        assert np.all(flat(times) == flat(times)[0])
