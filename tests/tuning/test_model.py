"""A network as the fit sees it: its plans run as anybody's do."""

from __future__ import annotations

import pytest
import torch

from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.recipe import Recipe, sample
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.tuned import Tuned
from toy_models import PROCESSES, clean, output, toy


@pytest.mark.parametrize("of", ["noise", "data"])
@pytest.mark.parametrize("name", PROCESSES)
def test_a_plan_runs_as_through_any_loop(name, of):
    model = toy(name)
    process, prediction = PROCESSES[name]
    recipe = Recipe(
        process, Whole(Power("t", 1.5)), Multistep(2, of=of, corrector=Corrector(2, 0.3)), prediction=prediction
    )
    plan = recipe.plan(6)

    def network(scaled: torch.Tensor, t: float) -> torch.Tensor:
        n = plan.index(t)
        return output(scaled / plan.input_scale[n], plan.levels[n], process, prediction)

    expected = sample(plan, network, model.start(plan.levels[0]))
    torch.testing.assert_close(model.run(Tuned.of_plan(plan)), expected, rtol=1e-6, atol=1e-6)
    assert model.asked == 6


@pytest.mark.parametrize("name", PROCESSES)
def test_the_start_is_asked_about_once_and_predicts_data(name):
    model = toy(name)
    level = 0.5 * min(model.process.top, 20.0)
    first = model.first(level)
    assert model.first(level) is first and model.asked == 1
    x = model.start(level)
    torch.testing.assert_close(first, clean(x / float(model.process.alpha([level])[0]), level))
