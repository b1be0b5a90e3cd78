"""A run fitted to a model: the numbers of any recipe run as that recipe does, and strangers are refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power, Trailing
from diffusers_deis_sn.core.recipe import Recipe, sample
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.core.solvers import Corrector, Multistep, RungeKutta
from diffusers_deis_sn.core.step import low_band
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StatisticsError, StatisticsMismatchError, StepError, TimestepsError

VP = vp_schedule(**SD_BETAS)
RECIPES = {
    "ddim": Recipe(VP, Trailing(), Multistep(1)),
    "noise 2+4": Recipe(VP, Power("t", 1.5), Multistep(2, corrector=Corrector(4, 0.3))),
    "data 3+3": Recipe(VP, Power("sigma", 7.0), Multistep(3, of="data", corrector=Corrector(3)), prediction="epsilon"),
    "v": Recipe(VP, Power("t", 2.0), Multistep(2, of="data"), prediction="v_prediction"),
    "flow": Recipe(FlowSchedule(), Power("t", 2.0), Multistep(2, of="data"), prediction="flow_prediction"),
    "flow of noise": Recipe(
        FlowSchedule(), Trailing(), Multistep(2, corrector=Corrector(2)), prediction="flow_prediction"
    ),
    "edm": Recipe(EDMSchedule(), Power("sigma", 7.0), Multistep(3, of="data")),
}
EACH = pytest.mark.parametrize("name", RECIPES)


def network(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.tanh(x * 1.3 + 0.1 * torch.roll(x, 1, -1)) * (0.5 + 0.2 * np.cos(t))


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(3))


@EACH
@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_the_numbers_of_a_recipe_run_as_it_does(name, steps):
    recipe, x = RECIPES[name], noise(2, 3, 4, 4)
    plan = recipe.plan(steps)
    again = Tuned.of_plan(plan).plan(recipe.process, recipe.prediction)
    assert again.times == plan.times and again.levels == plan.levels
    assert torch.equal(sample(again, network, x), sample(plan, network, x))


@EACH
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_a_run_of_noise_is_one_of_data(name, steps):
    recipe, x = RECIPES[name], noise(2, 3, 4, 4)
    tuned = Tuned.of_plan(recipe.plan(steps))
    of_data = tuned.of_data(recipe.process)
    assert of_data.of == "data" and of_data.of_data(recipe.process) is of_data
    one, two = (each.plan(recipe.process, recipe.prediction) for each in (tuned, of_data))
    torch.testing.assert_close(sample(two, network, x), sample(one, network, x), rtol=1e-7, atol=1e-8)


@EACH
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_between_two_runs_all_is_between(name, share):
    recipe = RECIPES[name]
    one = Tuned.of_plan(recipe.plan(5))
    grid = Recipe(recipe.process, Power("t", 2.5), recipe.solver, prediction=recipe.prediction)
    two = Tuned.of_plan(grid.plan(5))
    if recipe.process.numbered:
        two = Tuned.of_plan(grid.over(recipe.process.whole(two.rho)))
        one = Tuned.of_plan(recipe.over(recipe.process.whole(one.rho)))
    two = replace(two, low=0.1 * two.weights)
    between = one.towards(two, share, recipe.process)
    between.check(recipe.process)
    lower, upper = np.minimum(one.rho, two.rho), np.maximum(one.rho, two.rho)
    assert np.all(between.rho >= lower * (1 - 1e-2)) and np.all(between.rho <= upper * (1 + 1e-2))
    np.testing.assert_allclose(between.weights, (1 - share) * one.weights + share * two.weights, atol=1e-12)
    np.testing.assert_allclose(between.low, share * two.low, atol=1e-12)
    if share in (0.0, 1.0):
        np.testing.assert_allclose(between.rho, (two if share else one).rho, rtol=1e-9)


def test_runs_that_have_nothing_between_them():
    one = Tuned.of_plan(RECIPES["v"].plan(4))
    for other in (Tuned.of_plan(RECIPES["v"].plan(5)), replace(one, of="noise"), replace(one, shift=2.0)):
        with pytest.raises(StatisticsError, match="interpolated"):
            one.towards(other, 0.5, VP)


@EACH
def test_weights_on_the_low_band_are_those_of_the_low_band(name):
    """Without a high band left, weights and low add up; and a sample without a low band sees the weights alone."""
    recipe, x = RECIPES[name], torch.ones(2, 3, 4, 4, dtype=torch.float64) * 0.7
    tuned = Tuned.of_plan(recipe.plan(4))
    both = replace(tuned, weights=0.75 * tuned.weights, low=0.25 * tuned.weights)
    one, two = (each.plan(recipe.process, recipe.prediction) for each in (tuned, both))
    torch.testing.assert_close(sample(two, network, x), sample(one, network, x), rtol=1e-9, atol=1e-9)  # flows cancel


def test_a_step_in_two_bands_is_linear_in_them():
    tuned = Tuned.of_plan(RECIPES["v"].plan(3))
    two = replace(tuned, low=0.5 * tuned.weights).plan(VP, "v_prediction")
    one, x = tuned.plan(VP, "v_prediction"), noise(2, 3, 4, 6)
    output = noise(2, 3, 4, 6) * 0.3
    f, raw = one.convert(0, output, x)
    expected = one.advance(0, x, [f], raw) + low_band(0.5 * tuned.weights[0, 0] * f)
    torch.testing.assert_close(two.advance(0, x, [f], raw), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    tuned = Tuned.of_plan(RECIPES["v"].plan(3))
    plan = replace(tuned, low=0.3 * tuned.weights).plan(VP, "v_prediction")
    x, output = noise(2, 3, 4, 6, dtype=torch.float32).to(dtype), noise(2, 3, 4, 6, dtype=torch.float32).to(dtype)
    f, raw = plan.convert(0, output, x)
    given = plan.advance(0, x, [f], raw)
    wide = plan.convert(0, output.double(), x.double())
    exact = plan.advance(0, x.double(), [wide[0]], wide[1])
    assert given.dtype == dtype
    torch.testing.assert_close(given.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_a_run_that_begins_half_way_takes_the_newest_output_for_those_it_lacks():
    tuned = Tuned.of_plan(RECIPES["noise 2+4"].plan(5))
    plan, x, eps = tuned.plan(VP, "epsilon"), noise(2, 3), noise(2, 3) * 0.4
    at_hand = plan.advance(3, x, [eps])
    assert torch.allclose(at_hand, plan.advance(3, x, [eps] * 5))
    assert all(plan.starts)


def test_it_is_told_other_times_than_those_of_its_levels():
    tuned = Tuned.of_plan(RECIPES["v"].plan(4))
    told = replace(tuned, told=tuned.times - 2.5).plan(VP, "v_prediction")
    assert told.times == pytest.approx(tuned.times - 2.5) and told.levels == pytest.approx(tuned.rho)


def test_values_are_equal_bit_for_bit_and_stay_what_they_are():
    one, other = (Tuned.of_plan(RECIPES["v"].plan(4)) for _ in range(2))
    assert one == other and hash(one) == hash(other) and one != replace(one, low=one.weights) and one != "plan"
    assert one != replace(one, transfer=one.transfer * (1.0 + 1e-15))
    for again in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert again == one
        with pytest.raises(ValueError, match="read-only"):
            again.weights[0, 0] = 1.0


def test_plans_of_another_schedule_are_refused():
    tuned = Tuned.of_plan(RECIPES["v"].plan(4))
    for stranger, prediction in ((vp_schedule(), "v_prediction"), (FlowSchedule(), "flow_prediction")):
        with pytest.raises(StatisticsMismatchError, match="tuned=False"):
            tuned.plan(stranger, prediction)
    with pytest.raises(TimestepsError, match="4 steps"):
        Recipe(VP, tuned, tuned).plan(5)
    with pytest.raises(StatisticsError, match="own noise levels"):
        Recipe(VP, Trailing(), tuned).plan(4)


def test_samples_without_bands_are_refused_by_name():
    tuned = Tuned.of_plan(RECIPES["v"].plan(2))
    plan = replace(tuned, low=tuned.weights).plan(VP, "v_prediction")
    for shape in ((2, 5), (2, 3, 8)):
        with pytest.raises(StepError, match="tuned=False"):
            plan.advance(0, noise(*shape), [noise(*shape)])


GOOD = Tuned.of_plan(RECIPES["v"].plan(3))
BAD = {
    "rising levels": {"rho": GOOD.rho[::-1]},
    "an end below zero": {"rho": np.append(GOOD.rho[:-1], -1.0)},
    "a level missing": {"rho": GOOD.rho[1:]},
    "rising times": {"times": GOOD.times[::-1]},
    "told rising times": {"told": GOOD.told[::-1]},
    "no number": {"transfer": np.array([1.0, np.nan, 1.0])},
    "words": {"transfer": ["a", "b", "c"]},
    "outputs to come": {"weights": np.ones((3, 3))},
    "low of outputs to come": {"low": np.ones((3, 3))},
    "another shape": {"weights": np.zeros((3, 2))},
    "another integrand": {"of": "score"},
    "no shift": {"shift": 0.0},
    "a transfer that no step has": {"transfer": GOOD.transfer * [1.0, 2.0**30, 1.0]},
    "a transfer that no run has": {"transfer": np.full(3, 30.0) * (1.0 + GOOD.rho[:-1]) / (1.0 + GOOD.rho[1:])},
    "a weight that no step has": {"weights": GOOD.weights * [[1.0], [1.0], [-(2.0**30)]]},
    "a weight of the low band that no step has": {"low": GOOD.weights * 2.0**30},
}


@pytest.mark.parametrize("what", BAD)
def test_numbers_that_are_no_run(what):
    with pytest.raises(StatisticsError, match="plan"):
        replace(GOOD, **BAD[what])


def test_two_bands_of_noise_are_none_of_data():
    tuned = Tuned.of_plan(RECIPES["ddim"].plan(3))
    with pytest.raises(StatisticsError, match="two bands"):
        replace(tuned, low=tuned.weights).of_data(VP)


@pytest.mark.parametrize("plan", [RECIPES["v"].plan(21), Recipe(VP, Trailing(), RungeKutta("heun")).plan(3)])
def test_what_no_plan_can_hold(plan):
    with pytest.raises(StatisticsError, match="1 to 20"):
        Tuned.of_plan(plan)
