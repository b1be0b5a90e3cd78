"""Configs edited by hand: whatever works on Diffusers' own schedulers works here, and means `register_to_config`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.configuration_utils import FrozenDict
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.schedulers._edits import Glance, carried, rewrite
from diffusers_deis_sn.schedulers._own_config import default_options

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
EDM = {"process": "edm"}


def by_attribute(scheduler: Any, name: str, value: Any) -> None:
    setattr(scheduler.config, name, value)


def by_item(scheduler: Any, name: str, value: Any) -> None:
    scheduler.config[name] = value


def by_registering(scheduler: Any, name: str, value: Any) -> None:
    scheduler.register_to_config(**{name: value})


def by_another_config(scheduler: Any, name: str, value: Any) -> None:
    """As Stable Diffusion's pipelines do."""
    scheduler._internal_dict = FrozenDict({**scheduler.config, name: value})


def by_a_config_that_is_held(scheduler: Any, name: str, value: Any) -> None:
    """Twice, with a run between."""
    config = scheduler.config
    setattr(config, name, value)
    shifting = config["use_dynamic_shifting"] or name == "use_dynamic_shifting"
    scheduler.set_timesteps(3, **MU if shifting else {})
    setattr(config, name, value)


MU = {"mu": 0.9}
WAYS: list[Callable[[Any, str, Any], None]] = [
    by_attribute,
    by_item,
    by_registering,
    by_another_config,
    by_a_config_that_is_held,
]
# A value that is not the default, and what the scheduler is else.
VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "num_train_timesteps": (FLOW, 500),
    "beta_start": ({}, 0.001),
    "beta_end": ({}, 0.03),
    "beta_schedule": ({}, "scaled_linear"),
    "trained_betas": ({}, np.linspace(1e-4, 0.03, 1000).tolist()),
    "solver_order": ({}, 4),
    "prediction_type": ({}, "v_prediction"),
    "solver": ({}, "heun"),
    "guidance_scale": ({}, 20.0),
    "timestep_spacing": ({}, "leading"),
    "start_time": ({"grid": Power("t", 1.0)}, 0.8),
    "end_time": ({"grid": Power("t", 1.0)}, 0.01),
    "steps_offset": ({"timestep_spacing": "leading"}, 1),
    "grid": ({}, Power("sigma", 5.0)),
    "use_karras_sigmas": ({}, True),
    "use_exponential_sigmas": ({}, True),
    "use_beta_sigmas": ({}, True),
    "final_sigmas_type": ({"solver_order": 1}, "sigma_min"),
    "lower_order_final": ({"solver_order": 3}, False),
    "clip_normalizer_steps": ({}, 10.0),
    "thresholding": ({}, True),
    "dynamic_thresholding_ratio": ({"thresholding": True}, 0.5),
    "sample_max_value": ({"thresholding": True}, 2.0),
    "rescale_betas_zero_snr": ({"prediction_type": "v_prediction"}, True),
    "process": ({}, "edm"),
    "sigma_min": (EDM, 0.01),
    "sigma_max": (EDM, 40.0),
    "sigma_data": (EDM, 1.0),
    "variance_type": ({}, "learned_range"),
    "use_flow_sigmas": ({"prediction_type": "sample"}, True),
    "flow_shift": (FLOW, 7.0),
    "use_dynamic_shifting": (FLOW, True),
    "time_shift_type": ({**FLOW, "use_dynamic_shifting": True}, "linear"),
    "shift_terminal": (FLOW, 0.1),
    "invert_sigmas": (FLOW, True),
    "snr_shift_scale": ({}, 3.0),
    "normalise": ({}, False),
    "whole_timesteps": ({"grid": Power("t", 2.0)}, True),
    "recipe": ({}, "fixed"),
    "tuned": ({}, False),
}


def run(scheduler: Any, steps: int = 6) -> list[Tensor]:
    """Times, levels and samples of a run."""
    scheduler.set_timesteps(steps, **(MU if scheduler.config["use_dynamic_shifting"] else {}))
    x = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
    for t in scheduler.timesteps:
        given = scheduler.scale_model_input(x, t)
        x = scheduler.step(torch.sin(3.0 * given + float(t) / 500.0), t, x, return_dict=False)[0]
    return [scheduler.timesteps, scheduler.sigmas, x]


def test_every_option_is_tried():
    assert VALUES.keys() == default_options(DEISSNScheduler).keys()


@pytest.mark.parametrize("way", WAYS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", VALUES)
def test_an_edited_scheduler_is_one_that_was_made_so(name, way):
    base, value = VALUES[name]
    edited, made = DEISSNScheduler(**base), DEISSNScheduler(**{**base, name: value})
    run(edited)
    way(edited, name, value)
    if name == "use_dynamic_shifting":
        edited.set_timesteps(2, **MU)
    for one, other in zip(run(edited), run(made), strict=True):
        assert torch.equal(one, other)
    assert edited.options == made.options
    if way is by_another_config:  # which says of its new values that nobody gave them, to Diffusers' schedulers too
        return
    again = DEISSNScheduler.from_config(edited.config)  # what was edited is in the config
    assert all(torch.equal(*pair) for pair in zip(run(again), run(made), strict=True))


@pytest.mark.parametrize("way", WAYS[:2], ids=lambda one: one.__name__)
def test_an_edit_before_the_first_run_counts_as_well(way):
    edited = DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler(shift=3.0).config, solver_order=1)
    way(edited, "flow_shift", 7.0)
    theirs = FlowMatchEulerDiscreteScheduler(shift=7.0)
    for scheduler in (edited, theirs):
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.1, 10))
    assert torch.allclose(edited.sigmas, theirs.sigmas, atol=1e-6)


LIVE: list[tuple[type[Any], dict[str, Any], str, Any]] = [
    (DPMSolverMultistepScheduler, {}, "timestep_spacing", "trailing"),
    (DPMSolverMultistepScheduler, {}, "timestep_spacing", "leading"),
    (DPMSolverMultistepScheduler, {"timestep_spacing": "leading"}, "steps_offset", 1),
    (DPMSolverMultistepScheduler, {}, "final_sigmas_type", "sigma_min"),
    (DPMSolverMultistepScheduler, {}, "prediction_type", "v_prediction"),
    (DEISMultistepScheduler, {}, "prediction_type", "sample"),
]


@pytest.mark.parametrize(("theirs", "options", "name", "value"), LIVE)
def test_attributes_work_as_on_schedulers_of_diffusers(theirs, options, name, value):
    """Both are edited, and run at order one on the same times: they end alike."""
    common = {**SD_BETAS, "solver_order": 1, "timestep_spacing": "linspace", **options}
    them, us = theirs(**common), DEISSNScheduler(**common)
    for scheduler in (them, us):
        scheduler.set_timesteps(5)
        setattr(scheduler.config, name, value)
        scheduler.set_timesteps(5)
    assert us.timesteps.tolist() == them.timesteps.tolist()
    x = y = torch.linspace(-1.0, 1.0, 12)
    last = len(us.timesteps) - (theirs is DEISMultistepScheduler)  # which ends above zero
    for t in us.timesteps[:last]:
        x = us.step(torch.sin(3.0 * x), t, x).prev_sample
        y = them.step(torch.sin(3.0 * y), t, y).prev_sample
    assert torch.allclose(x, y, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("theirs", [DPMSolverMultistepScheduler, UniPCMultistepScheduler])
@pytest.mark.parametrize("shift", [7.0, 0.5])
def test_an_edited_shift_is_that_of_schedulers_of_diffusers(theirs, shift):
    them, us = theirs(**FLOW), DEISSNScheduler(**FLOW, solver_order=1)
    them.set_timesteps(5)
    grid = them.sigmas[:-1].double().numpy()
    for scheduler in (them, us):
        scheduler.config.flow_shift = shift
    them.set_timesteps(5)
    us.set_timesteps(sigmas=grid)
    assert torch.allclose(us.sigmas, them.sigmas.float(), atol=1e-5)


def test_the_shift_of_flow_matching_schedulers_is_known_by_their_name(tmp_path):
    ours = DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler(shift=3.0, shift_terminal=0.2).config)
    ours.config.shift = 5.0
    ours.config.shift_terminal = 0.1
    ours.set_timesteps(6)
    made = DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler(shift=5.0, shift_terminal=0.1).config)
    made.set_timesteps(6)
    assert torch.equal(ours.sigmas, made.sigmas)
    back = FlowMatchEulerDiscreteScheduler.from_config(ours.config)
    assert back.config["shift"] == 5.0 and back.config["shift_terminal"] == 0.1


@pytest.mark.parametrize("way", WAYS[:4], ids=lambda one: one.__name__)
def test_what_a_learned_grid_cannot_be_told_is_refused_and_can_be_taken_back(way):
    scheduler = ScoreOptimalScheduler(**SD_BETAS)
    with pytest.raises(ConfigurationError, match="learns its time grid"):
        way(scheduler, "timestep_spacing", "leading")
        scheduler.set_timesteps(4)
    if way in (by_attribute, by_item):
        way(scheduler, "timestep_spacing", None)
        scheduler.set_timesteps(4)


@pytest.mark.parametrize("way", WAYS[:4], ids=lambda one: one.__name__)
def test_the_length_of_a_noise_table_is_no_option(way):
    scheduler = DEISSNScheduler(**SD_BETAS)
    with pytest.raises(ConfigurationError, match="`num_train_timesteps` of a model of betas"):
        way(scheduler, "num_train_timesteps", 500)
        scheduler.set_timesteps(4)


def test_a_swap_there_and_back_is_no_edit():
    scheduler = DEISSNScheduler.from_config(DDIMScheduler(timestep_spacing="leading").config, solver=Multistep(3))
    back = DEISSNScheduler.from_config(EulerDiscreteScheduler.from_config(scheduler.config).config)
    assert back.options == scheduler.options


def test_a_glance_tells_what_is_new():
    config = FrozenDict({"flow_shift": 1.0, "other": 2})
    glance = Glance(config)
    assert glance.edited(config, DEISSNScheduler) is None
    config.other = 3
    assert glance.edited(config, DEISSNScheduler) == {}
    config.flow_shift = 2.0
    config["flow_shift"] = 3.0
    assert glance.edited(config, DEISSNScheduler) == {"flow_shift": 2.0}
    rewrite(config, {"flow_shift": 5.0})
    assert dict(config) == {"flow_shift": 5.0} and config.flow_shift == 5.0 and not hasattr(config, "other")
    assert carried({"shift": 1.0, "sigma_min": 0.1}, {"flow_shift": 2.0, "sigma_max": 3.0}) == {"shift": 2.0}
