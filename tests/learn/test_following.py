"""What a run follows on a model: what our scheduler follows there, and what is safe for levels from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffusers_deis_sn import ConfigurationError, DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.coefficients import MAX_ORDER
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power, Shifted, Trailing
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.defaults import unmeasured
from diffusers_deis_sn.learn.following import (
    GAIN,
    TRUSTED,
    best_method,
    gain_limit,
    recipe_of,
    recipe_over,
    safe_solver,
    scale_for,
    shifted,
    solver_of,
)
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import costed_record, edm_record, flow_record, gaussian_record, solver_cost
from refusals import refused

METHODS = (
    Method("noise", 2, 3, 0.75, "trailing"),
    Method("data", 3, 2, None, "power_t", 1.5, start_time=0.98),
    Method("noise", 2, 4, 0.75, "karras", final_sigmas_type="sigma_min"),
    Method("noise", 3, 2, 0.5, "learned", spread=0.4),
)
PROCESSES = {
    "vp": (vp_schedule(), costed_record(times=np.arange(0.0, 1000.0, 9.0)), {}),
    "edm": (EDMSchedule(), edm_record(), {"process": "edm", "sigma_min": 0.002, "sigma_max": 80.0}),
    "flow": (
        FlowSchedule(),
        flow_record(),
        {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 2.5},
    ),
}


def tried(record, best: int = 0, guidance: float | None = None):
    error = np.full((len(METHODS), 1), 0.5)
    error[best] = 0.1
    return replace(
        solver_cost(record),
        trials=Trials(METHODS, (8,), error, error, np.ones_like(error), 4),
        mean_abs_data=np.linspace(0.2, 0.4, len(record)),
        origin=replace(record.origin, guidance_scale=guidance),
    )


def same(plan, other) -> bool:
    """Whether two runs are the same, number for number."""
    tables = (plan.table.transfer, other.table.transfer), (plan.table.weights, other.table.weights)
    return plan.times == other.times and all(np.array_equal(*pair) for pair in tables)


@pytest.mark.parametrize("best", range(len(METHODS)), ids=str)
@pytest.mark.parametrize("kind", PROCESSES)
@pytest.mark.parametrize("steps", [3, 8])
def test_it_is_the_recipe_of_the_scheduler(kind, best, steps):
    process, record, config = PROCESSES[kind]
    stats = tried(record, best)
    found = {"prediction": config.get("prediction_type", "epsilon"), "shift": config.get("flow_shift", 1.0)}
    for ours, learned in ((DEISSNScheduler, None), (ScoreOptimalScheduler, True)):
        scheduler = ours(**config, stats=stats)
        scheduler.set_timesteps(steps)
        recipe = recipe_of(process, stats, steps, learned=learned, **found)
        assert same(recipe.plan(steps), scheduler.recipe.plan(steps))
        levels = recipe.levels(steps)
        walked = recipe_over(process, stats, np.float32(process.as_sigma(levels)), **found) if kind != "flow" else None
        if walked is not None:  # on their way through float32
            assert (walked.solver, walked.scale) == (recipe.solver, walked.scale)


@pytest.mark.parametrize("steps", [2, 8])
def test_without_statistics_it_is_what_is_safe_then(steps):
    scheduler = DEISSNScheduler()
    scheduler.set_timesteps(steps)
    assert best_method(None, steps) == unmeasured(steps)
    recipe = recipe_of(vp_schedule(), None, steps)
    assert same(recipe.plan(steps), scheduler.recipe.plan(steps)) and recipe.scale.is_flat
    assert safe_solver(None, steps) == solver_of(unmeasured(steps), None)


def test_levels_of_nobodys_have_the_safe_solver():
    process, record, _ = PROCESSES["vp"]
    stats = tried(record, guidance=4.0)
    scheduler = DEISSNScheduler(stats=stats, guidance_scale=6.0)
    sigmas = np.append(np.geomspace(process.top, 0.05, 8), 0.0)
    scheduler.set_timesteps(sigmas=sigmas)
    recipe = recipe_over(process, stats, sigmas, guidance=6.0)
    assert recipe.solver == safe_solver(stats, 8, 6.0) == Multistep(corrector=Corrector(MAX_ORDER, GAIN / 6.0))
    assert same(recipe.over(sigmas), scheduler.recipe.over(sigmas))


def test_levels_of_either_grid_are_known_again():
    process, record, _ = PROCESSES["vp"]
    for best in range(len(METHODS)):
        stats = tried(record, best)
        for learned in (None, True):
            recipe = recipe_of(process, stats, 8, learned=learned)
            assert recipe_over(process, stats, recipe.levels(8)).solver == recipe.solver


def test_what_was_tried_is_not_followed_at_far_more_guidance():
    stats = tried(PROCESSES["vp"][1], guidance=4.0)
    for factor, expected in ((1.0, METHODS[0]), (TRUSTED, METHODS[0]), (TRUSTED + 0.01, None)):
        assert best_method(stats, 8, 4.0 * factor) == expected
    assert recipe_of(vp_schedule(), stats, 8, guidance=40.0) is None
    assert best_method(gaussian_record(), 8) is None and recipe_of(vp_schedule(), gaussian_record(), 8) is None


def test_where_no_grid_can_be_learned_a_named_one_is_followed():
    stats = replace(tried(PROCESSES["vp"][1], best=3), costs={})
    recipe = recipe_of(vp_schedule(), stats, 8)
    assert recipe.solver == solver_of(METHODS[0], stats)
    assert recipe_of(vp_schedule(), stats, 8, learned=True) is None


def test_only_grids_of_times_are_shifted():
    assert shifted(Trailing(), 3.0) == Shifted(Trailing(), 3.0) and shifted(Power("t", 2.0), 3.0, 0.1).terminal == 0.1
    learned = EqualCost().of(PROCESSES["flow"][1], FlowSchedule())
    for grid in (Power("sigma", 7.0), Shifted(Trailing(), 1.0), learned):
        assert shifted(grid, 3.0) is grid


def test_the_limit_is_that_it_was_tried_with():
    stats = tried(PROCESSES["vp"][1], guidance=4.0)
    assert solver_of(METHODS[0], stats).corrector.gain == gain_limit(0.75, 4.0, None)
    assert gain_limit(GAIN, 1.0, None) == gain_limit(GAIN, 2.0, None) == 2.0 * gain_limit(GAIN, 4.0, None)


def test_a_scale_of_data_has_to_be_known():
    assert scale_for("noise", gaussian_record()).values == pytest.approx(gaussian_record().mean_abs)
    assert scale_for("data", gaussian_record(), 5.0).cutoff == 5.0
    refused(ConfigurationError, ["`mean_abs_data`", "calibrate"], scale_for, "data", edm_record())
