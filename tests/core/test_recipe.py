"""A run as a product: the loop without Diffusers is the scheduler's, and every factor may be exchanged for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Ends, Given, Leading, Linspace, Power, Shifted, Trailing, Whole
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.recipe import Recipe, described, sample
from diffusers_deis_sn.core.sigma import EDMSchedule, SigmaSchedule
from diffusers_deis_sn.core.solvers import Corrector, Multistep, RungeKutta
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import TimestepsError
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
        {"grid": Power("t", 1.5), "solver": Multistep(3, of="data", corrector=Corrector(3))},
    ),
    "Karras, rounded": (
        Recipe(VP, Whole(Power("sigma", 7.0)), Multistep(2, "log_rho")),
        {"use_karras_sigmas": True, "whole_timesteps": True, "solver": Multistep(2, "log_rho")},
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
        {"process": "edm", "use_karras_sigmas": True, "solver": Multistep(2, corrector=Corrector(2, 0.1))},
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


def test_any_factor_may_be_exchanged():
    recipe = Recipe(VP)
    for change in ({"scale": SCALE}, {"solver": Multistep(3)}, {"grid": Power()}, {"ends": Ends("sigma_min")}):
        other = replace(recipe, **change).plan(5)
        same = recipe.plan(5)
        assert other.levels != same.levels or not np.array_equal(other.table.weights, same.table.weights)


def test_runs_of_flows_from_noise_alone_need_a_step_there():
    flow = Recipe(FLOW, prediction="flow_prediction")
    refused(TimestepsError, ["'epsilon'", "sigma = 1"], replace(flow, prediction="epsilon").plan, 5)
    for ends in (Ends(), Ends(start=0.9)):
        assert len(replace(flow, ends=ends, grid=Power("t", 1.0), solver=RungeKutta("euler")).plan(5)) == 5


def test_what_differs_from_the_defaults_is_told():
    assert described(Power("sigma", 7.0)) == "Power(variable='sigma', exponent=7.0)" and described(Power()) == "Power()"
    assert described(Given(np.ones(5))) == "Given(values=5 numbers)"
    assert str(Recipe(VP, scale=SCALE)).endswith("outputs divided by r(t)") and "r(t)" not in str(Recipe(VP))


class Unscaled(RungeKutta):
    """A solver with no use for a scale."""

    def table(self, process, scale, levels):
        return super().table(process, Normaliser.flat(), levels)


def test_division_is_told_where_it_is_done_and_by_what():
    assert "divided" not in str(Recipe(VP, scale=SCALE, solver=Unscaled("euler")))
    assert str(Recipe(VP, scale=SCALE, solver=Multistep(2, of="data"))).endswith("divided by nu(t)")
    fitted = Tuned.of_recipe(Recipe(VP, scale=SCALE), Recipe(VP).levels(5))
    assert not Recipe(VP, fitted, fitted, SCALE).divides
    page = Recipe(VP, scale=SCALE, solver=Unscaled("euler"))._repr_html_()
    assert "svg" not in page and "nothing" in page


@pytest.mark.parametrize("low", [None, np.zeros((5, 5))])
def test_plans_are_described_with_bands_and_without(low):
    plan = replace(Tuned.of_recipe(Recipe(VP), Recipe(VP).levels(5)), low=low)
    assert "Tuned(rho=6 numbers" in str(Recipe(VP, plan, plan)) and ("low=" in described(plan)) is (low is not None)
    assert "Tuned" in Recipe(VP, plan, plan)._repr_html_()


def test_what_has_no_effect_is_not_told():
    assert str(Multistep(2, corrector=Corrector(0, 3.0))) == str(Multistep(2))
    assert Corrector(0, 3.0) == Corrector() and Corrector(1, 3.0).gain == 3.0
