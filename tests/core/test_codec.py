"""Grids and solvers of others: as small as the docs say, in both schedulers, and safe in configs and files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core import codec
from diffusers_deis_sn.core.codec import decode, encode, register
from diffusers_deis_sn.core.grids import Beta, Leading, Linspace, Power, Shifted, Trailing, Whole
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Corrector, Multistep, RungeKutta
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

PAGE = (Path(__file__).resolve().parents[2] / "docs/extending.md").read_text()
BOTH = pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])
VALUES = [
    Trailing(),
    Linspace(),
    Leading(3),
    Power("t", 1.5),
    Power("sigma", np.inf),
    Beta(),
    Shifted(Power("t", 2.0), 3.0, 0.02),
    Whole(Shifted(Trailing(), 1.5)),
    Multistep(3, "log_rho", "data", Corrector(3, 0.75), lower_order_final=False),
    Multistep(equal_steps=True),
    Corrector(2, 0.5),
    RungeKutta("kutta3"),
]


def example(*names: str) -> dict[str, Any]:
    """What programs of the page, one after the other, leave behind."""
    found: dict[str, Any] = {}
    for name in names:
        exec(re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE, re.S)[1], found)  # type: ignore[index]
    return found


def test_every_grid_and_solver_of_ours_is_among_them():
    ours = {one for one in codec._CLASSES.values() if one.__module__.startswith("diffusers_deis_sn.core.")}
    assert ours == {type(value) for value in VALUES}


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_every_value_comes_back_from_json(value):
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_what_is_at_its_default_is_not_written():
    assert encode(Power()) == {"kind": "power"} and encode(Power("t", 3.0)) == {"kind": "power", "exponent": 3.0}


@pytest.mark.parametrize("name", ["grid", "solver"])
def test_the_programs_of_the_page_are_a_dozen_lines(name):
    code = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE, re.S)[1]  # type: ignore[index]
    body = code[code.index("@register") : code.index("\n\n\nscheduler")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 12
    assert len(example(name)["scheduler"].timesteps) == 8


def test_the_grid_of_the_page_falls_from_the_first_level_to_the_end():
    cosine, process = example("grid")["Cosine"], vp_schedule(**SD_BETAS)
    levels = np.array(Recipe(process, cosine(1.0)).plan(9).levels)
    assert levels[0] == pytest.approx(process.top) and levels[-1] == 0.0 and np.all(np.diff(levels) < 0.0)


def test_the_solver_of_the_page_is_ddim():
    x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(1, 3, 4)
    ends = []
    for options in ({"solver": example("solver")["ByHand"]()}, {"solver_order": 1, "recipe": "fixed"}):
        scheduler, sample = DEISSNScheduler(**SD_BETAS, **options), x
        scheduler.set_timesteps(6)
        for t in scheduler.timesteps:
            sample = scheduler.step(torch.sin(3.0 * sample), t, sample, return_dict=False)[0]
        ends.append(sample)
    assert torch.allclose(*ends, rtol=1e-12, atol=1e-12)


def test_the_loop_of_the_page_ends_at_the_data():
    plan = example("alone")["plan"]
    assert len(plan) == 8
    noise = torch.ones(1, 3, dtype=torch.float64)
    end = example("alone")["sample"](plan, lambda x, t: x / plan.sigma[plan.index(t)], noise)
    assert end.abs().max() < 1e-12


def test_two_outputs_by_hand_are_the_packages_own():
    mine = example("solver", "adams")["Adams"]()
    runs = [DEISSNScheduler(**SD_BETAS, solver=one) for one in (mine, Multistep(2, "rho", lower_order_final=False))]
    x = y = torch.ones(1, 3, dtype=torch.float64)
    for scheduler in runs:
        scheduler.set_timesteps(9)
    for t in runs[0].timesteps:
        x = runs[0].step(torch.sin(x), t, x).prev_sample
        y = runs[1].step(torch.sin(y), t, y).prev_sample
    assert torch.allclose(x, y, rtol=1e-9)


def test_a_class_that_a_notebook_makes_anew_under_another_name_is_not_the_one_before():
    def cell(name: str, power: float) -> type:
        @register(name)
        @dataclass(frozen=True)
        class Mine:
            factor: float = power

            def levels(self, process, steps, ends): ...

        return Mine

    first, second = cell("first", 1.0), cell("second", 2.0)  # one place, two classes
    assert encode(first()) == {"kind": "first"} and encode(second()) == {"kind": "second"}
    assert decode(encode(second())).factor == 2.0


def test_arrays_are_refused_with_the_remedy():
    @register("of-an-array")
    @dataclass(frozen=True)
    class OfAnArray:
        values: object = None

        def levels(self, process, steps, ends): ...

    refused(ConfigurationError, ["array", "(3,)", "tuple"], encode, OfAnArray(np.ones(3)))


@BOTH
def test_a_strangers_grid_survives_a_file_and_another_class(ours, tmp_path):
    cosine = example("grid")["Cosine"](1.5)
    scheduler = ours(**SD_BETAS, grid=cosine)
    scheduler.save_pretrained(tmp_path)
    by_way_of_euler = ours.from_config(EulerDiscreteScheduler.from_config(scheduler.config).config)
    other = DEISSNScheduler if ours is ScoreOptimalScheduler else ScoreOptimalScheduler
    by_way_of_the_other = ours.from_config(other.from_config(scheduler.config).config)  # which has a grid of its own
    for again in (ours.from_pretrained(tmp_path), by_way_of_euler, by_way_of_the_other):
        assert again.options["grid"] == cosine == again.recipe.grid.base
        for one in (scheduler, again):
            one.set_timesteps(7)
        assert again.sigmas.tolist() == scheduler.sigmas.tolist() and again.method is None


def test_a_strangers_solver_survives_a_file(tmp_path):
    mine = example("solver")["ByHand"]()
    DEISSNScheduler(**SD_BETAS, solver=mine).save_pretrained(tmp_path)
    again = DEISSNScheduler.from_pretrained(tmp_path)
    again.set_timesteps(5)
    assert again.options["solver"] == mine == again.recipe.solver


@BOTH
def test_a_name_that_nobody_registered_is_refused_with_the_remedy(ours):
    config, entry = (
        dict(ours(**SD_BETAS, grid=Power("t", 3.0)).config),
        {DEISSNScheduler: "grid"}.get(ours, "learned_grid"),
    )
    config["_deis_sn"] = {**config["_deis_sn"], entry: {"kind": "os.system"}}
    refused(ConfigurationError, ["'os.system'", "registered", "Import the module"], ours.from_config, config)


def test_a_field_of_another_version_is_refused():
    refused(ConfigurationError, ["'power'", "colour", "another version"], decode, {"kind": "power", "colour": 1})


def test_a_value_without_a_name_cannot_be_saved_and_says_so():
    @dataclass(frozen=True)
    class Nameless:
        def levels(self, process: Any, steps: int, ends: Any) -> Any: ...

    refused(ConfigurationError, ["Nameless", "@register"], DEISSNScheduler, **SD_BETAS, grid=Nameless())


def test_names_are_taken_once_and_by_dataclasses_only():
    refused(ConfigurationError, ["'power'", "Choose another"], register("power"), Beta)
    refused(ConfigurationError, ["dataclass", "int"], register("number"), int)


@pytest.mark.parametrize(
    ("options", "words"), [({"grid": 3}, ["`grid`", "`levels`", "3"]), ({"solver": 3}, ["`solver`", "`table`", "3"])]
)
def test_what_is_no_grid_and_no_solver_is_refused(options, words):
    refused(ConfigurationError, words, DEISSNScheduler, **options)
