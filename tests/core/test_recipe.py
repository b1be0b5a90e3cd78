"""A run as a product: the loop without Diffusers is the scheduler's, and every factor may be exchanged for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Beta, Ends, Given, Leading, Linspace, Power, Shifted, Trailing, Whole
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.recipe import Recipe, described, sample
from diffusers_deis_sn.core.sigma import EDMSchedule, SigmaSchedule
from diffusers_deis_sn.core.solvers import Corrector, Multistep, RungeKutta
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from oracles import SD_BETAS
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

VP, EDM, VE, FLOW = vp_schedule(**SD_BETAS), EDMSchedule(), SigmaSchedule(label="sigma"), FlowSchedule()
PROCESSES = {"vp": VP, "edm": EDM, "ve": VE, "flow": FLOW}
SCALE = Normaliser(np.array([0.0, 300.0, 999.0]), np.array([0.3, 0.9, 1.0]))


def network(x: Tensor, t: float) -> Tensor:
    return torch.sin(3.0 * x + t / 500.0)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


RUNS: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "plain": (Recipe(VP, Trailing(), Multistep(2)), {}),
    "data form": (
        Recipe(VP, Power("t", 1.5), Multistep(3, of="data", corrector=Corrector(3))),
        {
            "timestep_spacing": "power_t",
            "grid_exponent": 1.5,
            "solver_order": 3,
            "integrand": "data",
            "corrector_order": 3,
            "corrector_gain": 1e9,
        },
    ),
    "Karras, rounded": (
        Recipe(VP, Whole(Power("sigma", 7.0)), Multistep(2, "log_rho")),
        {"use_karras_sigmas": True, "whole_timesteps": True, "interpolation": "log_rho"},
    ),
    "Runge-Kutta": (Recipe(VP, Linspace(), RungeKutta("kutta3")), {"timestep_spacing": "linspace", "solver": "kutta3"}),
    "velocities": (
        Recipe(VP, Leading(1), Multistep(4), prediction="v_prediction", ends=Ends("sigma_min")),
        {
            "timestep_spacing": "leading",
            "steps_offset": 1,
            "solver_order": 4,
            "prediction_type": "v_prediction",
            "final_sigmas_type": "sigma_min",
        },
    ),
    "EDM": (
        Recipe(EDM, Power("sigma", 7.0), Multistep(2, corrector=Corrector(2, 0.1))),
        {"process": "edm", "timestep_spacing": "karras", "corrector_order": 2},
    ),
    "shifted flow": (
        Recipe(FLOW, Shifted(Trailing(), 3.0), Multistep(2), prediction="flow_prediction"),
        {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"},
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_loop_without_diffusers_is_the_schedulers_bit_for_bit(name):
    recipe, options = RUNS[name]
    betas = SD_BETAS if recipe.process is VP else {}
    scheduler = DEISSNScheduler(**betas, **options, recipe="fixed")
    scheduler.set_timesteps(7)
    plan, start = recipe.plan(7), noise(2, 3, 4)
    x = start
    for t in scheduler.timesteps:
        out = network(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(out, t, x, return_dict=False)[0]
    assert plan.times == tuple(scheduler.timesteps.tolist()) and torch.equal(sample(plan, network, start), x)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    "grid", [Trailing(), Power("t", 1.0), Power("t", 2.5), Power("sigma", 7.0), Power("sigma", np.inf), Beta()], ids=str
)
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


def test_with_flat_scale_euler_and_one_output_are_the_same_run():
    one, other = (Recipe(VP, Power("t", 2.0), solver).plan(6) for solver in (RungeKutta("euler"), Multistep(1)))
    assert np.allclose(one.table.weights[0], other.table.weights[0], rtol=1e-12)
    assert np.allclose(one.table.transfer, other.table.transfer, rtol=1e-12)


@pytest.mark.parametrize(
    "solver", [Multistep(2), Multistep(3, of="data", corrector=Corrector(3)), RungeKutta("kutta3")]
)
def test_data_of_one_point_is_reached_exactly(solver):
    """eps = (x - alpha c) / sigma: predicted data are the same at all levels, whatever the solver integrates."""
    point, plan = 0.3, Recipe(VP, Power("t", 2.0), solver, ends=Ends("sigma_min")).plan(9)

    def exact(x: Tensor, t: float) -> Tensor:
        level = float(VP.rho(t))
        return (x - float(VP.alpha(level)) * point) / float(VP.sigma(level))

    start = float(plan.alpha[0]) * point + float(plan.sigma[0]) * noise(4)
    wanted = plan.alpha[-1] * point + plan.sigma[-1] * noise(4)
    assert torch.allclose(
        sample(plan, exact, start), wanted, rtol=0.0, atol=1e-3 if solver.calls_per_step > 1 else 1e-9
    )


def test_any_factor_may_be_exchanged():
    recipe = Recipe(VP)
    for change in ({"scale": SCALE}, {"solver": Multistep(3)}, {"grid": Power()}, {"ends": Ends("sigma_min")}):
        other = replace(recipe, **change).plan(5)
        same = recipe.plan(5)
        assert other.levels != same.levels or not np.array_equal(other.table.weights, same.table.weights)


def test_a_step_has_no_state():
    plan, x = Recipe(VP, solver=Multistep(3)).plan(8), noise(2, 5)
    history = [noise(2, 5) * k for k in (1.0, 0.5, 0.2, 0.1, 7.0)]
    once, again = plan.advance(5, x, history[:3]), plan.advance(5, x, history)  # older outputs than it combines
    assert torch.equal(once, again) and torch.equal(x, noise(2, 5)) and torch.equal(once, plan.advance(5, x, history))


def test_runs_of_flows_from_noise_alone_need_a_step_there():
    flow = Recipe(FLOW, prediction="flow_prediction")
    refused(ConfigurationError, ["Runge-Kutta", "start_time"], replace(flow, solver=RungeKutta("heun")).plan, 5)
    refused(TimestepsError, ["'epsilon'", "sigma = 1"], replace(flow, prediction="epsilon").plan, 5)
    assert len(replace(flow, ends=Ends(start=0.9), grid=Power("t", 1.0), solver=RungeKutta("euler")).plan(5)) == 5


def test_what_differs_from_the_defaults_is_told():
    assert described(Power("sigma", 7.0)) == "Power(variable='sigma', exponent=7.0)" and described(Power()) == "Power()"
    assert described(Given(np.ones(5))) == "Given(values=5 numbers)"
    assert str(Recipe(VP, scale=SCALE)).endswith("outputs divided by r(t)") and "r(t)" not in str(Recipe(VP))
