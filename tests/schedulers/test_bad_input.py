"""What a scheduler refuses: early, with the value and the remedy, and with nothing of the run before lost."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    KarrasVeScheduler,
    ScoreSdeVeScheduler,
)

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from benchmarks.exact.runs import start_noise
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.errors import (
    ConfigurationError,
    NoiseScheduleError,
    StatisticsError,
    StatisticsFormatError,
    StatisticsMismatchError,
    StatisticsNotFoundError,
    StepError,
    TimestepsError,
)
from records import gaussian_record
from refusals import refused


def planned(steps: int = 4, **options: Any) -> DEISSNScheduler:
    scheduler = DEISSNScheduler(**{**SD_BETAS, "recipe": "fixed", **options})
    scheduler.set_timesteps(steps)
    return scheduler


# ------------------------------------------------------------------------------------------------------------- options

BAD_OPTIONS = [
    ({"solver_order": 7}, ["`solver_order`", "1 to 4", "got 7"]),
    ({"solver_order": 0}, ["got 0"]),
    ({"solver_order": -1}, ["got -1"]),
    ({"solver_order": 2.5}, ["got 2.5"]),
    ({"solver_order": 3.0}, ["got 3.0"]),
    ({"solver_order": True}, ["got True"]),
    ({"solver_order": "3"}, ["got '3'"]),
    ({"solver_order": None}, ["got None"]),
    ({"timestep_spacing": "cubic"}, ["`timestep_spacing`", "trailing", "use_karras_sigmas", "got 'cubic'"]),
    ({"timestep_spacing": "karras"}, ["`timestep_spacing`", "got 'karras'", "use_karras_sigmas=True", "grid="]),
    ({"solver": {"kind": "multistep", "variable": "sqrt"}}, ["`variable`", "t, rho, log_rho", "got 'sqrt'"]),
    ({"prediction_type": "banana"}, ["`prediction_type`", "v_prediction", "got 'banana'"]),
    ({"final_sigmas_type": "one"}, ["`final_sigmas_type`", "sigma_min", "got 'one'"]),
    ({"clip_normalizer_steps": -1}, ["`clip_normalizer_steps`", "zero or more", "got -1"]),
    ({"clip_normalizer_steps": float("nan")}, ["got nan"]),
    ({"dynamic_thresholding_ratio": 1.5}, ["`dynamic_thresholding_ratio`", "got 1.5"]),
    ({"dynamic_thresholding_ratio": -0.1}, ["got -0.1"]),
    (
        {"use_karras_sigmas": True, "use_beta_sigmas": True},
        ["At most one", "use_karras_sigmas and use_beta_sigmas", "Set the others to False"],
    ),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=lambda value: str(value)[:40])
def test_unknown_options_are_refused_when_a_scheduler_is_made(options, words):
    refused(ConfigurationError, words, DEISSNScheduler, **options)
    refused(ConfigurationError, words, DEISSNScheduler.from_config, DEISSNScheduler().config, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta_schedule": "cubic"}, ["`beta_schedule`", "scaled_linear", "'cubic'", "trained_betas"]),
        ({"beta_start": 0.0}, ["strictly between 0 and 1", "Copy"]),
        ({"trained_betas": [0.1, 2.0]}, ["strictly between 0 and 1", "2"]),
        ({"num_train_timesteps": 1}, ["at least two"]),
    ],
)
def test_betas_without_a_noise_schedule_are_refused_when_a_scheduler_is_made(options, words):
    refused(NoiseScheduleError, words, DEISSNScheduler, **options)


@pytest.mark.parametrize(
    "config",
    [
        EulerDiscreteScheduler(timestep_type="continuous", sigma_min=0.002, sigma_max=700.0).config,
        {"_class_name": "IPNDMScheduler", "num_train_timesteps": 1000},
        {"num_train_timesteps": 1000, "eta": 1.0, "s_noise": 1.0},
        KarrasVeScheduler().config,
        ScoreSdeVeScheduler().config,
    ],
    ids=[
        "continuous noise prediction",
        "no betas",
        "stochastic flow",
        "stochastic sigmas",
        "predictor and corrector",
    ],
)
def test_configs_of_other_processes_are_refused(config):
    words = ["process which is not supported", "Keep the pipeline's own scheduler", config.get("_class_name", "")]
    refused(ConfigurationError, words, DEISSNScheduler.from_config, config)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prediction_type": "flow_prediction"}, ["'flow_prediction'", "process='vp'", "use_flow_sigmas=True"]),
        ({"use_flow_sigmas": True, "prediction_type": "v_prediction"}, ["'v_prediction'", "flow_prediction"]),
        ({"use_flow_sigmas": True, "process": "edm"}, ["use_flow_sigmas=True", "'edm'"]),
        ({"use_flow_sigmas": True, "flow_shift": 0.0}, ["`flow_shift`", "positive", "0.0"]),
        ({"use_flow_sigmas": True, "flow_shift": "3"}, ["`flow_shift`", "positive", "'3'"]),
        ({"use_flow_sigmas": True, "time_shift_type": "cubic"}, ["`time_shift_type`", "exponential", "'cubic'"]),
        ({"use_flow_sigmas": True, "shift_terminal": 1.0}, ["`shift_terminal`", "between 0 and 1", "1.0"]),
        ({"use_flow_sigmas": True, "sigma_max": 80.0}, ["`sigma_max`", "80"]),
        ({"use_dynamic_shifting": True}, ["`use_dynamic_shifting`", "use_flow_sigmas=True"]),
        ({"shift_terminal": 0.1}, ["`shift_terminal`", "use_flow_sigmas=True"]),
        ({"use_flow_sigmas": True, "num_train_timesteps": 0}, ["`num_train_timesteps`", "0"]),
    ],
)
def test_options_of_flows_that_are_none_are_refused(options, words):
    given = {"prediction_type": "flow_prediction"} | options if options.get("use_flow_sigmas") else options
    refused(ConfigurationError, words, DEISSNScheduler, **given)


FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def test_a_shift_by_resolution_needs_the_resolution_and_a_flow():
    refused(ConfigurationError, ["`mu`", "1.15", "use_flow_sigmas"], DEISSNScheduler().set_timesteps, 10, mu=1.15)
    dynamic = DEISSNScheduler(**FLOW, use_dynamic_shifting=True)
    refused(ConfigurationError, ["`mu` is missing", "use_dynamic_shifting=False"], dynamic.set_timesteps, 10)
    refused(ConfigurationError, ["mu=inf", "positive"], dynamic.set_timesteps, 10, mu=np.inf)
    linear = DEISSNScheduler(**FLOW, use_dynamic_shifting=True, time_shift_type="linear")
    refused(ConfigurationError, ["mu=-1.0", "positive"], linear.set_timesteps, 10, mu=-1.0)


@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_a_flow_has_no_whole_training_times(spacing):
    refused(ConfigurationError, [repr(spacing), "continuum"], DEISSNScheduler, **FLOW, timestep_spacing=spacing)


def test_predicted_noise_does_not_tell_data_from_noise_alone():
    scheduler = DEISSNScheduler(use_flow_sigmas=True)
    words = ["'epsilon'", "sigma = 1", "prediction_type='flow_prediction'"]
    refused(TimestepsError, words, scheduler.set_timesteps, 10)
    scheduler.set_timesteps(sigmas=[0.99, 0.5, 0.2])


@pytest.mark.parametrize("sigmas", [[14.6, 1.0], [1.0, 0.5, -0.1], [0.5, 0.5], [0.0]])
def test_sigmas_that_are_no_flow_are_refused(sigmas):
    with pytest.raises(TimestepsError):
        DEISSNScheduler(**FLOW).set_timesteps(sigmas=sigmas)


@pytest.mark.parametrize("times", [[1000.0], [500.0, 600.0], [np.nan, 500.0]])
def test_labels_beside_sigmas_are_one_for_each_call(times):
    with pytest.raises(TimestepsError, match=r"`timesteps` beside `sigmas`"):
        DEISSNScheduler(**FLOW).set_timesteps(sigmas=[1.0, 0.5], timesteps=times)


# --------------------------------------------------------------------------------------------------------------- grids


@pytest.mark.parametrize("steps", [0, -1, 1001, 10.5, True, "10", np.nan])
def test_a_number_of_steps_out_of_range_is_refused(steps):
    refused(TimestepsError, ["`num_inference_steps`", "1 to 1000", repr(steps)], DEISSNScheduler().set_timesteps, steps)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["`num_inference_steps`, `timesteps` or `sigmas`"]),
        ({"timesteps": [9, 3], "sigmas": [3.0, 1.0]}, ["not both"]),
        ({"timesteps": [9, 9, 3]}, ["`timesteps` must fall strictly", "number 1 is 9", "drop repeated"]),
        ({"timesteps": [3, 9]}, ["`timesteps` must fall strictly", "Sort"]),
        ({"timesteps": [1000, 9]}, ["between 0 and 999", "1000"]),
        ({"timesteps": []}, ["`timesteps`", "at least one"]),
        ({"sigmas": [3.0, 3.0]}, ["`sigmas` must fall strictly", "drop repeated"]),
        ({"sigmas": [1.0, 0.9, 0.001]}, ["`sigmas`", "0.02917 and 14.61", "0.001"]),
        ({"sigmas": np.linspace(1.0, 0.1, 10)[::-1]}, ["`sigmas` must fall strictly"]),
        ({"sigmas": [14.7, 14.65, 3.0]}, ["Two of the 3 network calls", "999", "training range"]),
    ],
    ids=str,
)
def test_grids_that_cannot_be_walked_are_refused_and_the_old_plan_stays(arguments, words):
    scheduler = planned(3)
    refused(TimestepsError, words, scheduler.set_timesteps, **arguments)
    assert scheduler.timesteps.tolist() == [999, 666, 332]
    x = scheduler.step(start_noise(2), 999, start_noise(2)).prev_sample
    assert torch.all(torch.isfinite(x))


def test_levels_closer_than_the_network_can_tell_are_refused():
    scheduler = DEISSNScheduler(beta_schedule="squaredcos_cap_v2", use_beta_sigmas=True)
    refused(TimestepsError, ["same time", "another `timestep_spacing`"], scheduler.set_timesteps, 30)


# ---------------------------------------------------------------------------------------------------------- statistics


def test_statistics_of_another_noise_schedule_are_refused_with_both_named():
    ours, other = DEISSNScheduler(**SD_BETAS), DEISSNScheduler(**DDPM_BETAS)
    stats = gaussian_record(other.noise)
    words = ["another noise schedule", other.noise.fingerprint, ours.noise.fingerprint, "linear", "scaled_linear"]
    words += ["measure them with `deis-sn calibrate`"]
    refused(StatisticsMismatchError, words, ours.set_stats, stats)
    refused(StatisticsMismatchError, words, DEISSNScheduler, **SD_BETAS, stats=stats)
    refused(StatisticsMismatchError, words, DEISSNScheduler.from_config, ours.config, stats=stats)


def test_statistics_of_another_prediction_type_are_refused_with_both_named():
    stats = gaussian_record(DEISSNScheduler(**SD_BETAS).noise)
    words = ["another prediction type", "'epsilon'", "'v_prediction'", "deis-sn calibrate"]
    refused(StatisticsMismatchError, words, DEISSNScheduler, **SD_BETAS, prediction_type="v_prediction", stats=stats)


def test_refused_statistics_leave_those_in_use(tmp_path):
    good = gaussian_record(DEISSNScheduler(**SD_BETAS).noise)
    scheduler = DEISSNScheduler(**SD_BETAS, stats=good)
    remembered = scheduler.config["_deis_sn"]
    (tmp_path / "score_statistics.safetensors").write_bytes(b"nonsense")
    for error, source in (
        (StatisticsMismatchError, gaussian_record(DEISSNScheduler(**DDPM_BETAS).noise)),
        (StatisticsFormatError, tmp_path),
        (StatisticsNotFoundError, tmp_path / "nowhere"),
    ):
        with pytest.raises(error):
            scheduler.set_stats(source)
        assert scheduler.statistics is good and scheduler.config["_deis_sn"] == remembered


def test_an_option_of_the_hub_that_is_none_is_named(tmp_path):
    words = ["'localfiles'", "local_files_only"]
    refused(StatisticsError, words, DEISSNScheduler(**SD_BETAS).set_stats, tmp_path, localfiles=True)


def test_a_missing_file_is_named(tmp_path):
    words = [str(tmp_path / "nowhere"), "deis-sn calibrate"]
    refused(StatisticsNotFoundError, words, DEISSNScheduler, stats=tmp_path / "nowhere")
    with pytest.raises(OSError, match="nowhere"):  # as handlers for missing files expect
        DEISSNScheduler.from_config(DEISSNScheduler().config, stats=str(tmp_path / "nowhere"))


def test_a_damaged_file_beside_a_saved_config_is_refused(tmp_path):
    DEISSNScheduler(**SD_BETAS, stats=gaussian_record(DEISSNScheduler(**SD_BETAS).noise)).save_pretrained(tmp_path)
    file = tmp_path / "score_statistics" / "score_statistics.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    refused(StatisticsFormatError, [str(file), "truncated"], DEISSNScheduler.from_pretrained, tmp_path)


# --------------------------------------------------------------------------------------------------------------- steps


def test_step_before_set_timesteps_is_refused():
    refused(StepError, ["before `set_timesteps`"], DEISSNScheduler().step, start_noise(1), 999, start_noise(1))


def test_a_step_too_many_is_refused():
    scheduler, x = planned(2), start_noise(1)
    for t in scheduler.timesteps:
        scheduler.step(x, t, x)
    refused(StepError, ["All 2 steps", "`set_timesteps`"], scheduler.step, x, 0, x)


def test_steps_out_of_order_are_refused():
    scheduler, x = planned(4), start_noise(1)
    scheduler.step(x, 999, x)
    refused(StepError, ["Step 1", "749", "499", "in order"], scheduler.step, x, torch.tensor(499), x)
    refused(StepError, ["Step 1", "749", "999"], scheduler.step, x, 999, x)
    assert scheduler.step(x, 749, x).prev_sample.shape == x.shape


@pytest.mark.parametrize("begin", [-1, 4, 17])
def test_a_beginning_outside_the_run_is_refused(begin):
    scheduler = planned(4)
    scheduler.set_begin_index(begin)
    words = ["0 to 3", "-1"] if begin < 0 else ["All 4 steps"]
    refused(StepError, words, scheduler.step, start_noise(1), 999, start_noise(1))


def test_a_first_timestep_off_the_grid_is_the_nearest_with_one_warning(caplog):
    """Diffusers' own tests ask for leniency here."""
    x = start_noise(2)
    exact = planned(4).step(x, 749, x).prev_sample
    scheduler = planned(4, solver_order=1)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        caplog.clear()
        assert torch.equal(scheduler.step(x, 760, x).prev_sample, exact)
        scheduler.set_timesteps(4)
        scheduler.step(x, 130, x)
    told = [record.getMessage() for record in caplog.records if "not in the plan" in record.getMessage()]
    assert told == ["Timestep 760 is not in the plan; the nearest, 749, is taken for it."]


def test_a_timestep_within_rounding_is_on_the_grid(caplog):
    scheduler = planned(6, use_exponential_sigmas=True)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        caplog.clear()
        for t in scheduler.timesteps.tolist():
            scheduler.step(start_noise(1), t + 1e-4, start_noise(1))
    assert not caplog.records


@pytest.mark.parametrize("shape", [(2, 4, 8, 4), (1, 4, 8, 8), (2, 12, 8, 8), (2, 2, 8, 8), (2, 4, 8)])
def test_outputs_of_another_shape_than_the_sample_are_refused(shape):
    scheduler, x = planned(4), torch.randn(2, 4, 8, 8)
    words = [str(shape), "(2, 4, 8, 8)", "agree"]
    refused(StepError, words, scheduler.step, torch.randn(shape), 999, x)
    assert torch.all(torch.isfinite(scheduler.step(x, 999, x).prev_sample))  # nothing was kept of it


@pytest.mark.parametrize("solver", ["heun", "kutta3", "rk4"])
def test_samples_that_change_their_shape_within_a_step_of_several_calls_are_refused(solver):
    scheduler, x, other = planned(4, solver=solver), torch.randn(2, 4, 8, 8), torch.randn(2, 4, 16, 16)
    scheduler.step(x, 999, x)
    words = [str((2, 4, 16, 16)), "(2, 4, 8, 8)", f"{scheduler.order} calls", "'multistep'"]
    refused(StepError, words, scheduler.step, other, scheduler.timesteps[1], other)


def test_noise_of_ddim_is_refused():
    scheduler, x = planned(4), start_noise(1)
    refused(StepError, ["`eta` must be 0", "0.5", "DDIMScheduler"], scheduler.step, x, 999, x, eta=0.5)
