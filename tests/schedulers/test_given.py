"""Lists that are given: those that choose nothing give way to what was chosen, all others win and say so."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.schedulers._given import Request, labelled_before_shift
from records import costed_record

SHIFTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "static": ({"shift": 3.0}, {}),
    "dynamic": ({"use_dynamic_shifting": True}, {"mu": 1.15}),
    "linear": ({"use_dynamic_shifting": True, "time_shift_type": "linear"}, {"mu": 2.0}),
    "terminal": ({"use_dynamic_shifting": True, "shift_terminal": 0.1}, {"mu": 0.8}),
}
N = 7


def lists() -> dict[str, dict[str, Any]]:
    """One of each kind, as pipelines pass them."""
    whole = np.linspace(1000, 1.0, N).astype(np.int64).astype(np.float32)
    above = np.linspace(1000, 1.0, N + 1)[:-1].astype(np.int64).astype(np.float32)
    return {
        "most": {"sigmas": np.linspace(1.0, 1.0 / N, N)},
        "float32": {"sigmas": torch.linspace(1.0, 0.0, N + 1)[:-1].numpy()},
        "Cosmos": {"sigmas": np.linspace(0.999, 0.0, N + 1)[:-1].tolist()},
        "CogView": {"sigmas": whole / 1000.0, "timesteps": whole},
        "GLM": {"sigmas": above / 1000.0, "timesteps": above},
    }


def statistics() -> Any:
    noise = FlowSchedule()
    record = costed_record(noise, times=np.concatenate([np.linspace(4.0, 990.0, 100), [995.0, 999.0, 1000.0]]))
    return record.with_origin(prediction_type="flow_prediction", fingerprint=noise.fingerprint)


CHOICES: dict[str, Any] = {
    "karras": lambda config: DEISSNScheduler.from_config(config, use_karras_sigmas=True),
    "beta": lambda config: DEISSNScheduler.from_config(config, use_beta_sigmas=True),
    "power": lambda config: DEISSNScheduler.from_config(config, grid=Power("t", 2.0)),
    "ends": lambda config: DEISSNScheduler.from_config(config, use_karras_sigmas=True, start_time=0.9),
    "learned": lambda config: ScoreOptimalScheduler.from_config(config, stats=statistics()),
    "learned, solver chosen": lambda config: ScoreOptimalScheduler.from_config(
        config, stats=statistics(), solver_order=1, tuned=False
    ),
}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("given", lists())
def test_where_nothing_is_chosen_a_run_is_that_of_diffusers(given, shift):
    options, run = SHIFTS[shift]
    theirs = FlowMatchEulerDiscreteScheduler(**options)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(**lists()[given], **run)
    assert torch.allclose(ours.sigmas, theirs.sigmas, atol=1e-6)
    assert torch.allclose(ours.timesteps.float(), theirs.timesteps, atol=1e-3)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    y = x
    for mine, other in zip(ours.timesteps, theirs.timesteps, strict=True):
        x = ours.step(torch.sin(3.0 * x + mine / 1000.0), mine, x).prev_sample
        y = theirs.step(torch.sin(3.0 * y + other / 1000.0), other, y).prev_sample
    assert torch.allclose(x, y, atol=2e-5)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("given", lists())
@pytest.mark.parametrize("choice", CHOICES)
def test_what_was_chosen_is_used_where_a_list_chooses_nothing(choice, given, shift, caplog):
    options, run = SHIFTS[shift]
    one, other = (CHOICES[choice](FlowMatchEulerDiscreteScheduler(**options).config) for _ in "ab")
    arguments = lists()[given]
    if "timesteps" in arguments and shift == "terminal":
        return  # no model has both
    with caplog.at_level(logging.WARNING, logger="diffusers_deis_sn"):
        one.set_timesteps(**arguments, **run)
        other.set_timesteps(N, **run)
    assert one._plan.levels == other._plan.levels
    assert not [record for record in caplog.records if "are used" in record.message]
    if "timesteps" not in arguments:
        assert torch.equal(one.timesteps, other.timesteps)
        return
    factor = 1.0 if shift == "none" else one._run.shift
    before = one.timesteps.double() / 1000.0  # the network is called with, and the levels are these once shifted
    moved = factor * before / (1.0 + (factor - 1.0) * before)
    inside = before > 0.001  # below, the network is called at the cleanest time it was trained at
    assert torch.allclose(moved.float()[inside], one.sigmas[:-1][inside], atol=2e-6) and inside.sum() >= N - 1


@pytest.mark.parametrize("shift", ["static", "dynamic", "terminal"])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_list_that_was_shifted_already_chooses_nothing(choice, shift):
    options, run = SHIFTS[shift]
    theirs = FlowMatchEulerDiscreteScheduler(**options)
    theirs.set_timesteps(sigmas=np.linspace(1.0, 1.0 / N, N), **run)
    one, other = (CHOICES[choice](theirs.config) for _ in "ab")
    one.set_timesteps(sigmas=theirs.sigmas[:-1], **run)
    other.set_timesteps(N, **run)
    assert one._plan.levels == other._plan.levels


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", ["sigmas", "timesteps"])
def test_a_list_that_wins_over_a_choice_says_so_once_where_people_see_it(choice, name, caplog):
    scheduler = CHOICES[choice](FlowMatchEulerDiscreteScheduler().config)
    values = np.array([1.0, 0.8, 0.7, 0.2])
    for _ in "ab":
        scheduler.set_timesteps(**{name: values if name == "sigmas" else 1000.0 * values})
    assert scheduler.sigmas.tolist() == pytest.approx([*values, 0.0], abs=1e-6)
    told = [one for one in caplog.records if one.message.startswith(f"The given {name} are used, and not ")]
    assert len(told) == 1 and told[0].levelno == logging.WARNING


@pytest.mark.parametrize("values", [[1.0, 0.8, 0.7, 0.2], np.linspace(1.0, 0.25, 4)])
def test_where_nothing_was_chosen_there_is_nothing_to_say(values, caplog):
    DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler().config, solver_order=1).set_timesteps(sigmas=values)
    assert not [one for one in caplog.records if "are used" in one.message]


def test_the_words_name_every_option_that_was_chosen(caplog):
    scheduler = DEISSNScheduler(use_karras_sigmas=True, start_time=0.9)
    scheduler.set_timesteps(timesteps=[900, 500, 100])
    assert "The given timesteps are used, and not use_karras_sigmas=True and start_time=0.9." in caplog.text


def test_times_beside_sigmas_that_are_not_theirs_are_a_choice():
    process, sigmas = FlowSchedule(), np.linspace(1.0, 0.25, 4)
    assert Request(sigmas=sigmas, timesteps=1000.0 * sigmas).as_number(process, 1.0, None).unshifted
    assert Request(sigmas=sigmas, timesteps=[999.0, 700.0, 400.0, 100.0]).as_number(process, 1.0, None) is None
    assert Request(sigmas=sigmas, timesteps=1000.0 * sigmas).as_number(process, 1.0, 0.1) is None
    assert Request(steps=4).as_number(process, 1.0, None) is None and Request(sigmas=sigmas).is_own_grid


def test_labels_before_a_shift_are_undone_shifts():
    scheduler = DEISSNScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0, solver_order=1)
    scheduler.set_timesteps(5)
    plan = labelled_before_shift(scheduler._plan, scheduler.noise, 3.0)
    assert plan.times == pytest.approx(tuple(np.linspace(1000.0, 200.0, 5))) and plan.levels == scheduler._plan.levels


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("choice", [None, *(one for one in CHOICES if "learned" not in one)])
def test_the_list_that_ace_step_shifts_itself_chooses_how_many_and_its_shift(choice, shift):
    from diffusers.pipelines.ace_step.pipeline_ace_step import AceStepPipeline

    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1)
    sigmas = AceStepPipeline._get_timestep_schedule(None, 8, shift, dtype=torch.float32).tolist()
    theirs.set_timesteps(sigmas=sigmas)
    if choice is None:
        ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
        ours.set_timesteps(sigmas=sigmas)
        assert torch.allclose(ours.sigmas, theirs.sigmas, atol=1e-6)
        assert torch.allclose(ours.timesteps.float(), theirs.timesteps, atol=1e-6)
        return
    one = CHOICES[choice](theirs.config)
    other = CHOICES[choice](FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=shift).config)
    one.set_timesteps(sigmas=sigmas)
    other.set_timesteps(8)
    assert np.allclose(one.sigmas, other.sigmas, atol=1e-6)
