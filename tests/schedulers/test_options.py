"""Options of the family that do not go together: refused when a scheduler is made, and when its config was edited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from diffusers import DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler

from benchmarks.exact.flows import SD_BETAS
from benchmarks.exact.runs import start_noise, statistics_of
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.errors import ConfigurationError, NoiseScheduleError, StepError
from records import gaussian_record
from refusals import refused

EDM = {"process": "edm", "use_karras_sigmas": True}
VE = {"process": "ve", "use_karras_sigmas": True}


def solver(**said: Any) -> dict[str, Any]:
    """A multistep solver as a file has it: what is at fault is said where it is made a value."""
    return {"solver": {"kind": "multistep", **said}}


def corrector(order: Any) -> dict[str, Any]:
    return solver(corrector={"kind": "corrector", "order": order})


def power(exponent: Any) -> dict[str, Any]:
    return {"grid": {"kind": "power", "exponent": exponent}}


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown solver": ({"solver": "dopri5"}, ["`solver`", "multistep, ipndm", "rk4", "'dopri5'"]),
    "ipndm 5": ({"solver": "ipndm", "solver_order": 5}, ["`solver_order`", "1 to 4", "got 5"]),
    "kutta3 of order 4": ({"solver": "kutta3", "solver_order": 4}, ["'kutta3' has order 3", "=4", "solver_order=3"]),
    "heun of order 3": ({"solver": "heun", "solver_order": 3}, ["'heun' has order 2", "=3", "solver_order=2"]),
    "multistep 5": (solver(order=5), ["`order`", "1 to 4", "got 5"]),
    "corrector 5": (corrector(5), ["`order`", "0 to 4", "got 5"]),
    "corrector -1": (corrector(-1), ["`order`", "0 to 4", "got -1"]),
    "corrector True": (corrector(True), ["`order`", "got True"]),
    "corrector 2.0": (corrector(2.0), ["`order`", "got 2.0"]),
    "unknown integrand": (solver(of="velocity"), ["`of`", "noise, data", "'velocity'"]),
    "unknown variable": (solver(variable="sqrt"), ["`variable`", "t, rho, log_rho", "'sqrt'"]),
    "sigma_data of vp": ({"sigma_data": 0.5}, ["`sigma_data`", "'edm'", "0.5", "'vp'", "Leave it out"]),
    "sigma_max of vp": ({"sigma_max": 80.0}, ["`sigma_max`", "'ve'", "80.0", "'vp'", "Leave it out"]),
    "sigma_min of vp": ({"sigma_min": 0.002}, ["`sigma_min`", "0.002", "'vp'", "Leave it out"]),
    "sigma_data of ve": ({**VE, "sigma_data": 0.5}, ["`sigma_data`", "'edm'", "0.5", "'ve'", "Leave it out"]),
    "no sigma_data": ({**EDM, "sigma_data": 0.0}, ["`sigma_data`", "positive", "0.0", "Copy it"]),
    "sigma_data as text": ({**EDM, "sigma_data": "half"}, ["`sigma_data`", "positive", "'half'", "Copy it"]),
    "unknown process": ({"process": "flow"}, ["`process`", "vp, ve, edm", "'flow'"]),
    "v of ve": (
        {**VE, "prediction_type": "v_prediction"},
        ["`prediction_type`", "v_prediction", "'ve'", "epsilon, sample"],
    ),
    "velocity of edm": (
        {**EDM, "prediction_type": "flow_prediction"},
        ["`prediction_type`", "epsilon, v_prediction, sample", "'flow_prediction'"],
    ),
    "clip of edm": ({**EDM, "clip_normalizer_steps": 5}, ["`clip_normalizer_steps`", "'edm'", "got 5", "Use 0"]),
    "clip of ve": ({**VE, "clip_normalizer_steps": 1}, ["`clip_normalizer_steps`", "'ve'", "got 1", "Use 0"]),
    **{
        f"{spacing} of {process}": (
            {"process": process, "timestep_spacing": spacing},
            ["whole training times", repr(spacing), repr(process), "karras", "trailing"],
        )
        for spacing in ("leading", "linspace")
        for process in ("edm", "ve")
    },
    "exponent 0": (power(0), ["exponent", "positive", "got 0"]),
    "exponent True": (power(True), ["exponent", "got True"]),
    "exponent as text": (power("2"), ["exponent", "got '2'"]),
    "start 0": ({"grid": Power("t", 2.0), "start_time": 0.0}, ["`start_time`", "above 0", "got 0.0"]),
    "start 1.5": ({"grid": Power("t", 2.0), "start_time": 1.5}, ["`start_time`", "up to 1", "got 1.5"]),
    "start as text": ({"grid": Power("t", 2.0), "start_time": "T"}, ["`start_time`", "got 'T'"]),
    "end at start": (
        {"use_karras_sigmas": True, "start_time": 0.4, "end_time": 0.4},
        ["`end_time`", "start_time=0.4", "got 0.4"],
    ),
    "end below data": ({"use_karras_sigmas": True, "end_time": -1e-3}, ["`end_time`", "from 0", "got -0.001"]),
    "end nan": ({"use_karras_sigmas": True, "end_time": float("nan")}, ["`end_time`", "got nan"]),
    **{
        f"{name} of {spacing}": (
            {"timestep_spacing": spacing, name: 0.5},
            [f"`{name}`", repr(spacing), "grid=Power('t', 1)"],
        )
        for name in ("start_time", "end_time")
        for spacing in ("leading", "linspace", "trailing")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_go_together_is_refused_when_a_scheduler_is_made(name):
    options, words = CASES[name]
    refused(ConfigurationError, words, DEISSNScheduler, **{**SD_BETAS, **options})
    refused(ConfigurationError, words, DEISSNScheduler.from_config, DEISSNScheduler(**SD_BETAS).config, **options)


@pytest.mark.parametrize("name", CASES)
def test_a_config_edited_to_that_is_refused_before_any_step(name):
    """Pipelines and users edit configs; the run that was planned before stays as it is."""
    options, words = CASES[name]
    scheduler, x = DEISSNScheduler(**SD_BETAS, solver=Multistep()), start_noise(1)
    scheduler.set_timesteps(3)
    scheduler.register_to_config(**options)
    refused(ConfigurationError, words, scheduler.set_timesteps, 4)
    if "prediction_type" in options:  # which Diffusers reads in every step
        refused(StepError, ["`prediction_type` was edited", "set_timesteps"], scheduler.step, x, 999, x)
        return
    for t in (999, 666, 332):
        x = scheduler.step(x, t, x).prev_sample
    refused(StepError, ["All 3 steps"], scheduler.step, x, 0, x)


# ---------------------------------------------------------------------------------------------------------- statistics

DATA_WORDS = ["Multistep(of='data')", "predicted data", "`mean_abs_data`", "of='noise'", "stats=False"]
DATA = Multistep(of="data")


def without_data(noise: NoiseSchedule) -> ScoreStatistics:
    """Statistics that do not tell the scale of predicted data, as the published ones."""
    return replace(gaussian_record(noise), mean_abs_data=None, mean_abs_data_error=None)


def test_statistics_without_the_scale_of_data_are_refused_for_the_data_form():
    stats = without_data(DEISSNScheduler(**SD_BETAS).noise)
    refused(ConfigurationError, DATA_WORDS, DEISSNScheduler, **SD_BETAS, solver=DATA, stats=stats)
    data = DEISSNScheduler(**SD_BETAS, solver=DATA)
    refused(ConfigurationError, DATA_WORDS, data.set_stats, stats)
    assert data.statistics is None
    data.set_timesteps(3)
    noise = DEISSNScheduler(**SD_BETAS, stats=stats)
    noise.register_to_config(solver=DATA)
    refused(ConfigurationError, DATA_WORDS, noise.set_timesteps, 3)
    refused(ConfigurationError, DATA_WORDS, DEISSNScheduler.from_config, data.config, stats=stats)


def test_statistics_that_a_config_remembers_can_be_left_out_for_the_data_form(tmp_path):
    stats = without_data(DEISSNScheduler(**SD_BETAS).noise)
    stats.save(tmp_path)
    config = DEISSNScheduler(**SD_BETAS, stats=str(tmp_path)).config
    refused(ConfigurationError, DATA_WORDS, DEISSNScheduler.from_config, config, solver=DATA)
    left = DEISSNScheduler.from_config(config, solver=DATA, stats=False)
    left.set_timesteps(3)
    assert left.statistics is None


def test_flat_statistics_do_no_harm_to_the_data_form():
    noise = DEISSNScheduler(**SD_BETAS).noise
    flat = replace(statistics_of(noise, np.array([0.0, 500.0]), np.full(2, 0.8)), mean_abs_data=np.full(2, 0.3))
    ends = []
    for stats in (flat, None):
        each = DEISSNScheduler(**SD_BETAS, solver=DATA, stats=stats)
        each.set_timesteps(4)
        x = start_noise(1)
        for t in each.timesteps:
            x = each.step(x.tanh(), t, x).prev_sample
        ends.append(x)
    assert np.allclose(ends[0], ends[1], rtol=1e-12)


# --------------------------------------------------------------------------------------------------------- other errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**EDM, "sigma_min": 90.0}, ["`sigma_min` and `sigma_max`", "90.0", "80.0", "Copy them"]),
        ({**VE, "sigma_max": float("inf")}, ["`sigma_min` and `sigma_max`", "inf", "Copy them"]),
    ],
    ids=["edm", "ve"],
)
def test_sigmas_without_a_process_are_refused_when_a_scheduler_is_made(options, words):
    refused(NoiseScheduleError, words, DEISSNScheduler, **options)


def test_a_start_below_the_cleanest_level_is_refused_with_that_level():
    scheduler = DEISSNScheduler(**SD_BETAS, use_karras_sigmas=True, start_time=5e-4)
    refused(ConfigurationError, ["`start_time`", "tau = 0.001", "got 0.0005"], scheduler.set_timesteps, 4)


def test_an_order_that_comes_with_anothers_config_is_left_behind_and_one_given_here_is_not():
    config = DPMSolverMultistepScheduler(**SD_BETAS, solver_order=3).config
    assert DEISSNScheduler.from_config(config, solver="heun").order == 2
    words = ["'heun' has order 2", "solver_order=3", "Use solver_order=2"]
    refused(ConfigurationError, words, DEISSNScheduler.from_config, config, solver="heun", solver_order=3)
    edm = EDMDPMSolverMultistepScheduler(solver_order=3).config
    assert DEISSNScheduler.from_config(edm, solver="kutta3").order == 3
