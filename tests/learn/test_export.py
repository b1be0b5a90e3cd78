"""Learned schedules as plain lists: the levels are right, the lists say them, and other programs take them."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from benchmarks.exact.flows import SD_BETAS
from benchmarks.exact.runs import statistics_of
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics, learned_sigmas
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError, MissingCostError, ScheduleError, TimestepsError
from diffusers_deis_sn.learn.export import (
    FORMATS,
    cost_with_velocity,
    learned_levels,
    own_spread,
    schedule_summary,
    schedule_text,
    sigma_list,
)
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.learn.measured import path_of, whole_call_times
from diffusers_deis_sn.learn.part import Part
from diffusers_deis_sn.learn.path import VELOCITIES, SchedulePath
from diffusers_deis_sn.statistics.cost import COST_ORDERS
from records import costed_record, edm_record, flow_record, gaussian_costs, gaussian_record, solver_cost
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

SD = vp_schedule(**SD_BETAS)
STEPS = [1, 2, 3, 7, 10, 50, 200]
STD = 0.3  # of the records' Gaussian data

LENGTHS = {  # Lambda(sigma) in closed form, up to a constant factor
    ("corrector", "sigma"): lambda s: np.arcsinh(s / STD) - s / np.hypot(s, STD),
    ("corrector", "unit"): lambda s: -1.0 / np.hypot(s, STD),
    ("predictor", "sigma"): lambda s: quad(lambda angle: np.sqrt(np.sin(angle)), 0.0, np.arctan(s / STD))[0],
}


def read(text: str) -> dict[str, list[float]]:
    """The lists of the format "diffusers", as Python reads them."""
    return {name: ast.literal_eval(values) for name, values in (line.split(" = ") for line in text.splitlines())}


# ---------------------------------------------------------------------------------------------------------- the levels


@pytest.mark.parametrize(("cost", "velocity"), LENGTHS)
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_calls_are_equally_far_apart_on_the_exact_path(cost, velocity, final):
    record = costed_record(times=996)
    levels = learned_levels(record, 12, cost, velocity, final)
    top, bottom = np.exp(-0.5 * record.log_snr[[-1, 0]])
    assert len(levels) == 13 and levels[0] == pytest.approx(top)
    assert levels[-1] == (0.0 if final == "zero" else pytest.approx(bottom))
    gaps = -np.diff([LENGTHS[cost, velocity](level) for level in [*levels[:-1], bottom]])  # zero is off the path
    assert gaps == pytest.approx(np.mean(gaps), rel=0.02)


@given(
    st.integers(1, 300), st.sampled_from(["corrector", "predictor"]), st.sampled_from(sorted(VELOCITIES)), st.booleans()
)
def test_any_number_of_steps_is_that_many_falling_calls(steps, cost, velocity, to_zero):
    for record in (costed_record(), edm_record()):
        levels = learned_levels(record, steps, cost, velocity, "zero" if to_zero else "sigma_min")
        assert levels.shape == (steps + 1,)
        assert np.all(np.diff(levels) < 0.0)
        assert (levels[-1] == 0.0) == to_zero


def test_a_cost_with_another_velocity_makes_the_path_of_that_velocity():
    record = costed_record()
    levels = np.exp(-0.5 * record.log_snr)
    for velocity in VELOCITIES:
        local = cost_with_velocity(record, "predictor", velocity)
        expected = SchedulePath.of(record, "predictor", velocity).lengths
        assert SchedulePath.from_costs(levels, local.values, local.order).lengths == pytest.approx(expected, rel=1e-12)
        assert local.error / local.values == pytest.approx(0.1, rel=1e-12)
    assert cost_with_velocity(record, "corrector", "sigma") == record.cost("corrector")
    weights = cost_with_velocity(record, "corrector", "unit").values / record.cost("corrector").values
    assert weights == pytest.approx(levels[:-1] ** -2.0, rel=1e-12)


# --------------------------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("cost", ["corrector", "predictor"])
@pytest.mark.parametrize("record", [costed_record(), costed_record(SD, 1.0), edm_record()], ids=["ddpm", "sd", "edm"])
def test_all_formats_say_the_same_levels(steps, cost, record):
    levels = learned_levels(record, steps, cost)
    lists = read(schedule_text(record, steps, "diffusers", cost))
    comfyui = [float(one) for one in schedule_text(record, steps, "comfyui", cost).split(",")]
    a1111 = ast.literal_eval(schedule_text(record, steps, "a1111", cost))
    assert list(lists) == ["timesteps", "sigmas"]
    assert (len(lists["timesteps"]), len(lists["sigmas"]), len(comfyui), len(a1111)) == (
        (steps, steps + 1, steps + 1, steps)
    )
    assert lists["sigmas"] == comfyui == [*a1111, 0.0]
    assert comfyui == pytest.approx(levels, rel=1e-6)
    assert np.all(np.diff(comfyui) < 0.0)


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in ("json", "csv")])
def test_there_is_nothing_but_numbers_with_points_and_whole_times(form):
    """ComfyUI cuts a text into numbers by a pattern that knows no exponents."""
    tiny = edm_record()
    tiny = replace(tiny, log_snr=tiny.log_snr + 28.0, timesteps=tiny.timesteps - 3.5)  # sigma = 2e-9 to 7e-5
    assert learned_levels(tiny, 5, "predictor")[0] < 1e-4
    for record, time in ((tiny, r"-?\d+\.\d+"), (costed_record(), r"\d+")):
        for line in schedule_text(record, 5, form, "predictor").splitlines():
            pattern = time if line.startswith("timesteps") else r"\d+\.\d+"
            for one in re.sub(r"^\w+ = |[\[\]]", "", line).split(", "):
                assert re.fullmatch(pattern, one)


def test_no_line_break_is_left_over():
    for form, lines in (("diffusers", 2), ("comfyui", 1), ("a1111", 1)):
        text = schedule_text(costed_record(), 4, form)
        assert len(text.splitlines()) == lines and text == text.strip()


def test_a_run_to_the_cleanest_level_names_it_last():
    record = costed_record()
    bottom = float(np.exp(-0.5 * record.log_snr[0]))
    lists = read(schedule_text(record, 6, final="sigma_min"))
    comfyui = [float(one) for one in schedule_text(record, 6, "comfyui", final="sigma_min").split(",")]
    assert (len(lists["timesteps"]), len(comfyui)) == (6, 7)
    assert lists["sigmas"] == comfyui and comfyui[-1] == pytest.approx(bottom, rel=1e-6)
    assert lists["timesteps"][-1] > 4  # a call at the end would change nothing


# ----------------------------------------------------------------------------------------------------------- the times


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("noise", [vp_schedule(), SD], ids=["ddpm", "sd"])
def test_times_are_the_nearest_whole_ones(steps, noise):
    record = costed_record(noise, times=200)
    levels = learned_levels(record, steps)
    times = whole_call_times(record, levels)
    assert read(schedule_text(record, steps))["timesteps"] == [int(time) for time in times]
    assert times[0] == 999 and np.all(np.diff(times) < 0) and times[-1] >= 4
    if steps <= 10:  # none of them had to give way to another
        assert np.max(np.abs(times - noise.time(levels[:-1]))) <= 0.5 + 0.1


@pytest.mark.parametrize(("final", "most"), [("zero", 996), ("sigma_min", 995)])
def test_as_many_steps_as_whole_times_call_them_all_and_one_more_is_refused(final, most):
    record = costed_record()  # from t = 4
    times = whole_call_times(record, learned_levels(record, most, final=final))
    assert times.tolist() == list(range(999, 999 - most, -1))
    words = [f"There are {most} whole training times", "to 999", f"got {most + 1} steps"]
    refused(TimestepsError, words, schedule_text, record, most + 1, final=final)
    assert len(schedule_text(record, most + 1, "comfyui", final=final).split(",")) == most + 2  # takes any levels


@given(st.integers(1, 996), st.sampled_from(["corrector", "predictor"]))
def test_times_are_distinct_whatever_their_number(steps, cost):
    record = costed_record()
    times = whole_call_times(record, learned_levels(record, steps, cost))
    assert len(times) == steps and np.all(np.diff(times) <= -1.0)
    assert times.tolist() == np.round(times).tolist()
    assert 4 <= times[-1] and times[0] <= 999


def test_times_of_a_continuum_are_its_own():
    lists = read(schedule_text(edm_record(), 9))
    assert lists["timesteps"] == pytest.approx(0.25 * np.log(lists["sigmas"][:-1]), abs=1e-5)
    lists = read(schedule_text(edm_record("sigma"), 9))
    assert lists["timesteps"] == lists["sigmas"][:-1]


# ------------------------------------------------------------------------------------------------- the other programs


@pytest.mark.parametrize("steps", [1, 2, 10, 30])
def test_schedulers_of_diffusers_take_the_lists_as_they_are(steps):
    lists = read(schedule_text(costed_record(SD, 1.0), steps))
    dpm = DPMSolverMultistepScheduler(**SD_BETAS)
    dpm.set_timesteps(timesteps=lists["timesteps"])
    assert dpm.timesteps.tolist() == lists["timesteps"]
    euler = EulerDiscreteScheduler(**SD_BETAS)
    euler.set_timesteps(sigmas=lists["sigmas"])
    assert euler.sigmas.tolist() == np.float32(lists["sigmas"]).tolist()
    assert len(euler.timesteps) == steps
    ours = DEISSNScheduler(**SD_BETAS)
    for given_list in ({"timesteps": lists["timesteps"]}, {"sigmas": lists["sigmas"]}):
        ours.set_timesteps(**given_list)
        assert len(ours.timesteps) == steps and ours.sigmas[-1] == 0.0
    assert ours.sigmas.tolist() == np.float32(lists["sigmas"]).tolist()


@pytest.mark.parametrize("steps", [1, 2, 10, 30, 100])
@pytest.mark.parametrize("cost", ["corrector", "predictor"])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_the_scheduler_of_this_package_learns_the_same_run(steps, cost, final):
    times = np.append(0.0, np.arange(4.0, 1000.0, 5.0))
    record = statistics_of(SD, times, np.full(201, 0.8), guidance_scale=1.0)
    record = record.with_costs(**gaussian_costs(record.log_snr))
    scheduler = ScoreOptimalScheduler(**SD_BETAS, grid=EqualCost(cost), final_sigmas_type=final, stats=record)
    scheduler.set_timesteps(steps)
    lists = read(schedule_text(record, steps, cost=cost, final=final))
    assert lists["sigmas"] == pytest.approx(scheduler.sigmas.tolist(), rel=1e-6)
    scheduler = ScoreOptimalScheduler.from_config(scheduler.config, stats=record, whole_timesteps=True)
    scheduler.set_timesteps(steps)
    apart = np.max(np.abs(np.array(lists["timesteps"]) - scheduler.timesteps.numpy()))
    assert apart <= (0 if steps <= 30 else 1)  # of many, one may lie half-way between two


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 30])
@pytest.mark.parametrize("spread", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("record", "config"),
    [
        (costed_record(SD, 1.0, np.arange(0.0, 1000.0, 3.0)), EulerDiscreteScheduler(**SD_BETAS).config),
        (edm_record(), EDMEulerScheduler().config),
        (flow_record(), FlowMatchEulerDiscreteScheduler().config),
    ],
    ids=["vp", "edm", "flow"],
)
@pytest.mark.parametrize("cost", ["solver", "corrector"])
def test_the_scheduler_runs_the_levels_that_are_printed(record, config, cost, spread, steps):
    """Whatever the process, with a part spread evenly and without, and where a run starts from noise alone."""
    record = solver_cost(record)
    scheduler = ScoreOptimalScheduler.from_config(config, grid=EqualCost(cost, spread=spread), stats=record)
    scheduler.set_timesteps(steps)
    lists = read(schedule_text(record, steps, cost=cost, spread=spread))
    printed = lists["sigmas"] if lists["sigmas"][-1] == 0.0 else [*lists["sigmas"], 0.0]
    assert printed == pytest.approx(scheduler.sigmas.tolist(), rel=1e-5)
    apart = np.abs(np.array(lists["timesteps"]) - scheduler.timesteps.numpy())
    assert np.max(apart) <= (0.51 if path_of(record) == "vp" else 1e-3)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_flow_schedulers_of_diffusers_take_the_lists_as_they_are(steps):
    lists = read(schedule_text(flow_record(), steps))
    assert lists["sigmas"][0] == 1.0 and len(lists["sigmas"]) == steps
    euler, ours = (
        FlowMatchEulerDiscreteScheduler(),
        DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler().config),
    )
    for scheduler in (euler, ours):
        scheduler.set_timesteps(sigmas=lists["sigmas"])
        assert scheduler.sigmas.tolist() == pytest.approx([*lists["sigmas"], 0.0], rel=1e-6)
        assert scheduler.timesteps.tolist() == pytest.approx(lists["timesteps"], rel=1e-6)
    comfyui = [float(one) for one in schedule_text(flow_record(), steps, "comfyui").split(",")]
    assert comfyui == [*lists["sigmas"], 0.0]


@pytest.mark.parametrize("options", [{"final": "sigma_min"}, {"part": Part(end=0.3)}], ids=str)
def test_lists_end_where_the_run_does_or_are_refused(options):
    """Diffusers' flow schedulers append a zero to every list, and times say nothing of an end."""
    refused(ConfigurationError, ["Flow-matching", "end every run at zero"], schedule_text, flow_record(), 5, **options)
    record = costed_record()
    scheduler = EulerDiscreteScheduler(**SD_BETAS)
    scheduler.set_timesteps(sigmas=read(schedule_text(record, 5, **options))["sigmas"])
    assert scheduler.sigmas.tolist() == pytest.approx(learned_levels(record, 5, **options).tolist(), rel=1e-6)
    assert ("timesteps" in schedule_text(record, 5, **options)) == ("final" in options)


@pytest.mark.parametrize("steps", STEPS)
def test_a1111_makes_n_steps_of_n_numbers(steps):
    """With N sampling steps it takes N points of the list, interpolated in log sigma, and appends the zero."""
    record = costed_record()
    text = schedule_text(record, steps, "a1111")
    assert text[0] == "[" and text[-1] == "]"
    given_list = ast.literal_eval(text)
    assert 0.0 not in given_list
    places = np.linspace(0.0, 1.0, steps)
    points = np.exp(np.interp(places, np.linspace(0.0, 1.0, len(given_list)), np.log(given_list)))
    assert [*points, 0.0] == pytest.approx(learned_levels(record, steps).tolist(), rel=1e-6)


# ---------------------------------------------------------------------------------------------------------- the summary


def test_the_summary_says_how_long_the_path_is_and_where_it_came_from():
    record = costed_record(num_samples=32)
    for cost, error in (("corrector", "0.5%"), ("predictor", "2.4%")):
        length = SchedulePath.of(record, cost).path_length
        summary = schedule_summary(record, 10, cost)
        energy = f"energy {length ** COST_ORDERS[cost]:.4g}"  # of steps of equal length
        for word in ("10 calls", f"length {length:.4g} ± {error}", energy, f"{cost} cost", "32 samples of gaussian"):
            assert word in summary
    assert "v = unit" in schedule_summary(record, 10, velocity="unit")
    assert schedule_summary(record.with_origin(base_model=None), 1).startswith("1 call along")
    assert "an unknown model" in schedule_summary(record.with_origin(base_model=None), 1)


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("steps", [0, -1, 2.5, 10.0, True, "10", None])
def test_what_is_no_number_of_steps_is_refused(steps):
    for form in FORMATS:
        refused(
            TimestepsError, ["`steps` must be a whole number", repr(steps)], schedule_text, costed_record(), steps, form
        )


@pytest.mark.parametrize(
    ("error", "options", "words"),
    [
        (ConfigurationError, {"form": "webui"}, ["format", "diffusers, comfyui, a1111, json, csv", "'webui'"]),
        (ConfigurationError, {"final": "never"}, ["zero, sigma_min", "'never'"]),
        (ConfigurationError, {"form": "a1111", "final": "sigma_min"}, ["AUTOMATIC1111", "zero", "'sigma_min'"]),
        (MissingCostError, {"cost": "energy"}, ["'energy'", "corrector and predictor"]),
        (ScheduleError, {"velocity": "light"}, ["`velocity`", "sigma, vp_sigma, unit", "'light'"]),
    ],
    ids=str,
)
def test_options_that_name_nothing_are_refused(error, options, words):
    refused(error, words, schedule_text, costed_record(), 10, **options)


def test_statistics_without_costs_say_how_to_measure_them():
    for function in (schedule_text, schedule_summary, learned_levels):
        refused(MissingCostError, ["'solver' cost", "deis-sn calibrate MODEL -o"], function, gaussian_record(), 10)
        command = "deis-sn calibrate MODEL --cost corrector"
        refused(MissingCostError, [command], function, gaussian_record(), 10, cost="corrector")


# ------------------------------------------------------------------------------------- in the programs they are for

SHIPPED = sorted((Path(__file__).parents[2] / "stats").rglob("score_statistics.safetensors"))
SHIFTS: dict[str, tuple[dict[str, object], dict[str, float], float]] = {
    "none": ({}, {}, 1.0),
    "static": ({"shift": 3.0}, {}, 3.0),
    "below one": ({"shift": 0.5}, {}, 0.5),
    "by resolution": ({"use_dynamic_shifting": True}, {"mu": 1.15}, float(np.exp(1.15))),
    "linear": ({"use_dynamic_shifting": True, "time_shift_type": "linear"}, {"mu": 2.0}, 2.0),
}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("file", [one for one in SHIPPED if "flow" in str(one)], ids=str)
def test_a_list_makes_the_schedulers_own_run_in_diffusers_whatever_its_shift(file, shift):
    """FlowMatchEuler with the model's config, its shift included, calls the network where our scheduler does."""
    statistics = ScoreStatistics.load(file)
    options, run, factor = SHIFTS[shift]
    theirs = FlowMatchEulerDiscreteScheduler(**options)
    own = ScoreOptimalScheduler.from_config(theirs.config, stats=statistics, tuned=False)
    for steps in (1, 2, 5, 6, 12):
        own.set_timesteps(steps, **run)
        theirs.set_timesteps(sigmas=read(schedule_text(statistics, steps, shift=factor))["sigmas"], **run)
        assert theirs.timesteps.numpy() == pytest.approx(own.timesteps.numpy(), rel=1e-5, abs=1e-3)
        sigmas = learned_sigmas(statistics, steps, shift=factor)[:-1]
        ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
        ours.set_timesteps(sigmas=sigmas, **run)
        assert ours.sigmas.numpy() == pytest.approx(own.sigmas.numpy(), rel=1e-5)
        for form in ("comfyui", "csv", "json"):  # levels as they are
            assert levels_in(schedule_text(statistics, steps, form), form) == pytest.approx(own.sigmas.tolist(), 1e-5)


def levels_in(text: str, form: str) -> list[float]:
    if form == "json":
        return json.loads(text)["sigmas"]
    return (
        [float(one) for one in text.split(",")]
        if form == "comfyui"
        else [float(line.split(",")[2]) for line in text.splitlines()[1:]]
    )


@pytest.mark.parametrize("file", [one for one in SHIPPED if "flow" not in str(one)], ids=str)
def test_times_of_a_noise_table_are_those_of_the_schedulers_own_run(file):
    statistics = ScoreStatistics.load(file)
    theirs = DPMSolverMultistepScheduler(**SD_BETAS)
    for steps in (2, 5, 10, 20):
        times = read(schedule_text(statistics, steps))["timesteps"]
        own = ScoreOptimalScheduler.from_config(SD_BETAS, stats=statistics, tuned=False)
        own.set_timesteps(steps)
        theirs.set_timesteps(timesteps=times)
        assert np.max(np.abs(theirs.timesteps.numpy() - own.timesteps.numpy())) <= 1


def test_a_flow_is_known_by_what_it_says_where_its_times_are_rounded():
    record = flow_record()
    rounded = replace(record, timesteps=np.maximum(np.round(record.timesteps, 3), 1.0004))
    assert path_of(rounded) == path_of(record) == "flow"
    unsaid = replace(rounded, origin=replace(record.origin, prediction_type=None))
    assert path_of(unsaid) == "flow"  # by its fingerprint
    assert path_of(costed_record(SD)) == "vp" and path_of(edm_record()) == path_of(edm_record("sigma")) == "ve"


@pytest.mark.parametrize("form", [one for one in FORMATS if one != "diffusers"])
def test_programs_that_take_levels_as_they_are_have_no_shift(form):
    refused(ConfigurationError, ["`shift`", form], schedule_text, flow_record(), 5, form, shift=3.0)


@pytest.mark.parametrize("shift", [0.0, -1.0, float("inf"), "3"])
def test_a_shift_is_a_positive_number_of_a_flow(shift):
    refused(ConfigurationError, ["shift"], schedule_text, flow_record(), 5, shift=shift)
    refused(ConfigurationError, ["`shift`", "vp"], schedule_text, costed_record(SD), 5, shift=3.0)


@pytest.mark.shipped
def test_a_spread_that_is_said_is_used_and_else_that_of_the_method_that_is_followed():
    statistics = ScoreStatistics.load(next(one for one in SHIPPED if "flow" in str(one)))
    assert own_spread(statistics, 6, None, "sigma", 0.25) == 0.25
    assert own_spread(statistics, 6, None, "sigma", None) == statistics.trials.best(6, True).spread
    for other in ((6, "corrector", "sigma"), (6, None, "unit"), (0, None, "sigma")):
        assert own_spread(statistics, *other, None) is None
    assert own_spread(flow_record(), 6, None, "sigma", None) is None


def test_noise_levels_are_read_back_as_float32_has_them() -> None:
    levels = np.geomspace(14.6146, 3e-5, 9).astype(np.float32)
    text = sigma_list([*levels.tolist(), 0.0])
    assert "e" not in text
    assert [float(one) for one in text.split(", ")] == pytest.approx([*levels, 0.0], rel=1e-6)
