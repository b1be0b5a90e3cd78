"""What a scheduler takes over from another class's config, and what it leaves behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
from diffusers import (
    CogVideoXDDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SASolverScheduler,
    UniPCMultistepScheduler,
)

from benchmarks.exact.flows import SD_BETAS
from benchmarks.exact.runs import statistics_of
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.schedulers._inheritance import READ

OWN = {"grid": Power("t", 1.5)}


def test_a_grid_of_ours_comes_back_through_another_class_with_its_exponent():
    ours = DEISSNScheduler(**SD_BETAS, **OWN)
    back = DEISSNScheduler.from_config(DPMSolverMultistepScheduler.from_config(ours.config).config)
    for scheduler in (ours, back):
        scheduler.set_timesteps(7)
    assert back.sigmas.tolist() == ours.sigmas.tolist()


@pytest.mark.parametrize("choice", [{"timestep_spacing": "trailing"}, {"use_karras_sigmas": True}], ids=str)
@pytest.mark.parametrize("ends", [{}, {"end_time": 1e-3, "start_time": 0.9}], ids=str)
def test_another_grid_leaves_behind_what_belonged_to_the_one_before(choice, ends):
    config = DPMSolverMultistepScheduler(**SD_BETAS).config
    first = DEISSNScheduler.from_config(config, **OWN, **ends)
    kept = ends if "use_karras_sigmas" in choice else {}
    second = DEISSNScheduler.from_config(first.config, **choice)
    fresh = DEISSNScheduler.from_config(config, **choice, **kept)
    for scheduler in (second, fresh):
        scheduler.set_timesteps(7)
    assert second.sigmas.tolist() == fresh.sigmas.tolist()


def test_a_flag_wins_over_the_grid_of_an_edm_config():
    scheduler = DEISSNScheduler.from_config(EDMEulerScheduler(rho=5.0).config, use_exponential_sigmas=True)
    scheduler.set_timesteps(6)
    assert np.ptp(np.diff(np.log(scheduler.sigmas[:-1].double().numpy()))) < 1e-5


@pytest.mark.parametrize("solver", ["euler", "heun", "rk4"])
def test_runge_kutta_does_not_inherit_an_order_or_a_corrector(solver):
    theirs = DPMSolverMultistepScheduler(**SD_BETAS, solver_order=3)
    once = DEISSNScheduler.from_config(theirs.config, solver=Multistep(3, corrector=Corrector(3)))
    for config in (theirs.config, once.config):
        scheduler = DEISSNScheduler.from_config(config, solver=solver)
        fresh = DEISSNScheduler(**SD_BETAS, solver=solver)
        for one in (scheduler, fresh):
            one.set_timesteps(4)
        assert scheduler.timesteps.tolist() == fresh.timesteps.tolist()


def test_the_corrector_of_sasolver_is_not_ours():
    config = SASolverScheduler(**SD_BETAS, predictor_order=3, corrector_order=3).config
    assert DEISSNScheduler.from_config(config).recipe.solver.corrector.order == 0
    given = Multistep(corrector=Corrector(2))
    assert DEISSNScheduler.from_config(config, solver=given).recipe.solver == given


@pytest.mark.parametrize("kind", [EulerDiscreteScheduler, UniPCMultistepScheduler])
def test_bounds_of_a_grid_of_sigmas_do_not_make_another_process(kind):
    scheduler = DEISSNScheduler.from_config(kind(**SD_BETAS, sigma_min=0.03, sigma_max=14.6).config)
    assert scheduler.options["process"] == "vp" and scheduler.noise.path == "vp"


def test_an_edm_config_can_be_read_as_raw_ve():
    scheduler = DEISSNScheduler.from_config(EDMEulerScheduler(sigma_max=50.0).config, process="ve")
    scheduler.set_timesteps(5)
    assert scheduler.timesteps[0] == 50.0
    x = scheduler.sigmas[:2]
    assert scheduler.scale_model_input(x, scheduler.timesteps[0]) is x


def test_small_sigmas_as_times_are_told_apart():
    scheduler = DEISSNScheduler(process="ve", use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    zero = scheduler.sigmas.new_zeros(3, 1)
    times = scheduler.sigmas.new_tensor([0.002, 0.0025, 0.0028])
    added = scheduler.add_noise(zero, zero + 1.0, times)
    assert added.flatten().tolist() == pytest.approx(times.tolist(), rel=1e-6)


@pytest.mark.parametrize(("measured", "given", "expected"), [(None, None, 0.1), (3.0, None, 0.25), (3.0, 7.5, 0.1)])
def test_the_limit_on_corrections_knows_the_guidance(measured, given, expected):
    noise = DEISSNScheduler(**SD_BETAS).noise
    stats = statistics_of(noise, np.array([0.0, 999.0]), np.array([0.5, 0.8]), guidance_scale=measured)
    scheduler = DEISSNScheduler(**SD_BETAS, stats=stats, guidance_scale=given)
    assert scheduler.recipe.solver.corrector.order == 4
    assert scheduler.recipe.solver.corrector.gain == pytest.approx(expected)


CHANGED = {
    "shift": (FlowMatchEulerDiscreteScheduler, 7.0),
    "shift_terminal": (FlowMatchEulerDiscreteScheduler, 0.2),
    "invert_sigmas": (FlowMatchEulerDiscreteScheduler, True),
    "snr_shift_scale": (CogVideoXDDIMScheduler, 2.5),
    "sigma_min": (EDMEulerScheduler, 0.02),
    "sigma_max": (EDMEulerScheduler, 40.0),
    "sigma_data": (EDMEulerScheduler, 0.7),
    "rho": (EDMEulerScheduler, 5.0),
    "sigma_schedule": (EDMEulerScheduler, "exponential"),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("by", ["class", "file"])
def test_what_another_class_or_a_file_changes_afterwards_holds(name, by, tmp_path):
    """Ours -> theirs with another value -> ours is theirs with that value -> ours; a choice of ours stays otherwise."""
    theirs, value = CHANGED[name]
    ours = DEISSNScheduler.from_config(theirs().config, guidance_scale=3.0)
    if by == "class":
        back = DEISSNScheduler.from_config(theirs.from_config(ours.config, **{name: value}).config)
    else:
        ours.save_pretrained(tmp_path)
        path = tmp_path / "scheduler_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
        back = DEISSNScheduler.from_pretrained(tmp_path)
    fresh = DEISSNScheduler.from_config(theirs(**{name: value}).config, guidance_scale=3.0)
    assert back.options == fresh.options != ours.options
    own = DEISSNScheduler.from_config(back.config, **({"sigma_max": 30.0} if theirs is EDMEulerScheduler else {}))
    assert DEISSNScheduler.from_config(theirs.from_config(own.config).config).options == own.options
