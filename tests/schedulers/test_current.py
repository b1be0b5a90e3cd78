"""The planner of a config as it is: another where config, arrays or statistics are others, and else the same."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError, StepError
from diffusers_deis_sn.schedulers._current import current_planner, register, take_config, take_edits
from diffusers_deis_sn.schedulers._own_config import DEFAULTED, default_options
from records import costed_record
from refusals import refused
from tiny_pipelines import BUILDERS, run_pipeline

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def test_the_planner_is_the_same_until_something_is_edited():
    scheduler = DEISSNScheduler(**SD_BETAS)
    planners = [current_planner(scheduler)]
    for edit in (
        lambda: register(scheduler, {"solver_order": 3}),
        lambda: setattr(scheduler.config, "timestep_spacing", "leading"),
        lambda: scheduler.set_stats(costed_record(vp_schedule(**SD_BETAS))),
        lambda: scheduler.alphas_cumprod.mul_(0.9999),
    ):
        assert current_planner(scheduler) is planners[-1]
        edit()
        planners.append(current_planner(scheduler))
    assert len(set(map(id, planners))) == 5
    assert planners[-1].options.solver_order == 3 and planners[-1].edited is not None


def test_a_config_that_is_taken_is_nobodys_edit():
    scheduler, other = DEISSNScheduler(**SD_BETAS), DEISSNScheduler(**SD_BETAS, solver_order=3)
    take_config(scheduler, other.config)
    take_edits(scheduler)
    assert scheduler.config is other.config and current_planner(scheduler).options.solver_order == 3


def test_the_config_that_is_held_stays_that_of_the_scheduler():
    scheduler = DEISSNScheduler(**FLOW)
    config = scheduler.config
    for shift in (7.0, 3.0, 1.0, 5.0):
        config.flow_shift = shift
        scheduler.set_timesteps(4)
        made = DEISSNScheduler(**FLOW, flow_shift=shift)
        made.set_timesteps(4)
        assert scheduler.config is config and torch.equal(scheduler.sigmas, made.sigmas)
        assert config["flow_shift"] == config.flow_shift == shift


def test_edits_are_saved_and_survive_statistics_and_copies(tmp_path):
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.config.timestep_spacing = "leading"
    scheduler.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_deis_sn"]["timestep_spacing"] == "leading"
    scheduler.config.prediction_type = "v_prediction"
    scheduler.set_stats(None)
    assert scheduler.config["prediction_type"] == "v_prediction"
    scheduler.config.solver_order = 3
    for copied in (copy.copy(scheduler), copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert copied.options["solver_order"] == 3 and copied.options["timestep_spacing"] == "leading"


def test_a_copy_that_shares_a_config_sees_its_edits():
    scheduler = DEISSNScheduler(**FLOW)
    other = copy.copy(scheduler)
    scheduler.config.flow_shift = 4.0
    for one in (scheduler, other):
        one.set_timesteps(4)
    assert torch.equal(scheduler.sigmas, other.sigmas)


def test_values_that_are_wrong_are_refused_at_the_next_run_and_can_be_mended():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.config.prediction_type = "banana"
    with pytest.raises(ConfigurationError, match="banana"):
        scheduler.set_timesteps(4)
    scheduler.config.prediction_type = "epsilon"
    scheduler.set_timesteps(4)


def test_an_edit_of_a_recipes_option_turns_recipes_off():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(5)
    assert scheduler.method is not None
    scheduler.config.timestep_spacing = "leading"
    scheduler.set_timesteps(5)
    assert scheduler.method is None


def test_pipelines_see_what_a_flow_matching_config_says(tmp_path):
    """Flux pipelines take all `sigmas` away where they find `use_flow_sigmas`, of whatever class the scheduler is."""
    config = FlowMatchEulerDiscreteScheduler().config
    scheduler = DEISSNScheduler.from_config(config, base_shift=0.7)
    scheduler.config.flow_shift = 5.0
    scheduler.register_to_config(solver_order=3)
    scheduler.save_pretrained(tmp_path)
    again = copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler)), DEISSNScheduler.from_pretrained(tmp_path)
    for one in (scheduler, *again, DEISSNScheduler.from_config(scheduler.config, flow_shift=5.0)):
        one.set_timesteps(3)
        assert not hasattr(one.config, "use_flow_sigmas") and one.noise.path == "flow"
        assert one.config.shift == one.config["flow_shift"] == 5.0 and one.config.base_shift == 0.7
        assert not hasattr(FlowMatchEulerDiscreteScheduler.from_config(one.config).config, "use_flow_sigmas")
    assert FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path).config.get("use_flow_sigmas") is None
    known = {*default_options(DEISSNScheduler), PRIVATE, DEFAULTED}
    assert DEISSNScheduler(**{k: v for k, v in scheduler.config.items() if k in known}).noise.path == "flow"
    scheduler.config.use_flow_sigmas = False
    scheduler.config.prediction_type = "epsilon"
    assert scheduler.noise.path == "vp"


def test_a_list_of_the_user_reaches_the_scheduler_of_flux():
    pipe, arguments = BUILDERS["flux"]()
    theirs, sigmas = pipe.scheduler, [1.0, 0.7, 0.2]
    run_pipeline(pipe, arguments, 3, sigmas=sigmas)
    pipe.scheduler = DEISSNScheduler.from_config(theirs.config)
    run_pipeline(pipe, arguments, 3, sigmas=sigmas)
    assert torch.allclose(pipe.scheduler.sigmas, theirs.sigmas)
    pipe.scheduler = type(theirs).from_config(pipe.scheduler.config)
    run_pipeline(pipe, arguments, 3, sigmas=sigmas)
    assert torch.equal(pipe.scheduler.sigmas, theirs.sigmas)


OF_STEPS = {
    "thresholding": True,
    "sample_max_value": 0.7,
    "dynamic_thresholding_ratio": 0.5,
    "prediction_type": "sample",
}


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("name", OF_STEPS)
def test_what_diffusers_reads_in_every_step_counts_from_the_next_or_is_refused(name, at):
    base = {**SD_BETAS, "solver_order": 1, "timestep_spacing": "trailing", "sample_max_value": 1.5}
    base |= {"thresholding": name != "thresholding"}
    theirs, ours = DPMSolverMultistepScheduler(**base, euler_at_final=False), DEISSNScheduler(**base)
    samples = {}
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(4)
        x = torch.linspace(-3.0, 3.0, 12).reshape(1, 3, 2, 2)
        for n, t in enumerate(scheduler.timesteps):
            if n == at:
                setattr(scheduler.config, name, OF_STEPS[name])
            if n == at and scheduler is ours and name == "prediction_type":
                refused(StepError, [name, "'epsilon'", "'sample'", "again"], ours.step, x, t, x)
                return
            x = scheduler.step(torch.sin(3.0 * x), t, x).prev_sample
        samples[scheduler] = x
    assert torch.allclose(samples[ours], samples[theirs], atol=1e-4)
