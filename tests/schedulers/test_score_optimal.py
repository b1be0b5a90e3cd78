"""The scheduler of learned times: the grid against closed forms, the solver against `DEISSNScheduler`, its manners."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from scipy.integrate import quad
from torch import Tensor

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from benchmarks.exact.runs import start_noise, statistics_of
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import (
    ConfigurationError,
    MissingCostError,
    NoiseScheduleError,
    ScheduleError,
    StatisticsError,
    StatisticsMismatchError,
    StepError,
    TimestepsError,
)
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.statistics.cost import LocalCost
from oracles import called_levels, gaussian_corrector_length
from records import costed_record, edm_record, gaussian_costs, gaussian_record
from refusals import refused
from trace_syncs import FakeCuda, trace

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

SD = vp_schedule(**SD_BETAS)
STATS = costed_record(SD)
DATA_WORDS = ["Multistep(of='data')", "predicted data", "`mean_abs_data`", "stats=False"]
SCALE = 0.3  # standard deviation of the data of `STATS`

FAMILY: dict[str, dict[str, Any]] = {
    "multistep": {},
    "order 4": {"solver_order": 4},
    "order 3 to the end": {"solver_order": 3, "lower_order_final": False},
    "order 4 in log rho": {"solver": Multistep(4, "log_rho", corrector=Corrector(4, 0.375))},
    "order 3 in rho": {"solver": Multistep(3, "rho", corrector=Corrector(4, 0.375), lower_order_final=False)},
    "corrected": {"solver": Multistep(2, corrector=Corrector(3, 0.375))},
    "ipndm": {"solver": "ipndm", "solver_order": 4},
    **{name: {"solver": name} for name in TABLEAUX},
}
DATA: dict[str, dict[str, Any]] = {
    "data": {"solver": Multistep(variable="log_rho", of="data")},
    "data corrected": {"solver": Multistep(of="data", corrector=Corrector(2))},
    "data ipndm": {"solver": Multistep(of="data", equal_steps=True)},
}


def learned(**options: Any) -> ScoreOptimalScheduler:
    return ScoreOptimalScheduler(**{**SD_BETAS, "stats": STATS, **options})


def steps_of(scheduler: Any) -> np.ndarray:
    """The levels at which the steps of a planned run begin, and its end, in float64."""
    plan = scheduler._plan
    return np.array(
        [level for level, starts in zip(plan.levels[:-1], plan.starts, strict=True) if starts] + [plan.levels[-1]]
    )


def run(scheduler: Any, x: Tensor, begin: int = 0) -> Tensor:
    """Whatever a network says, from the call `begin` on."""
    for t in scheduler.timesteps[begin:]:
        x = scheduler.step(torch.tanh(x) * (1.0 + 1e-3 * float(t)), t, x).prev_sample
    return x


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "diffusers_deis_sn"]


# ------------------------------------------------------------------------------------------------- the learned grid


def off_the_partition(scheduler: ScoreOptimalScheduler, times: int, steps: int = 12) -> float:
    """Largest distance of a run's levels from the closed form's equal partition, as a share of the whole length."""
    scheduler.set_stats(costed_record(SD, SCALE, times))
    scheduler.set_timesteps(steps)
    cleanest = np.exp(-0.5 * scheduler.statistics.log_snr[0])
    *length, end = gaussian_corrector_length(np.array([*called_levels(scheduler), cleanest]), SCALE)
    shares = (np.array(length) - end) / (length[0] - end)
    assert called_levels(scheduler)[0] == SD.top
    return float(np.max(np.abs(shares - np.linspace(1.0, 0.0, steps + 1)[:-1])))


def test_learned_times_are_the_equal_partition_of_the_closed_form():
    """sum L^(1/2) over M intervals tends to Lambda as 1 / M, for a cost is weighed at the level entered."""
    errors = [off_the_partition(learned(), times) for times in (50, 100, 200, 400)]
    assert errors[-1] < 1e-3
    for coarse, fine in pairwise(errors):
        assert 1.8 < coarse / fine < 2.3


# Interior nodes of ten steps from 80 to 0.002 for c = 0.5, from the closed forms of both lengths by bisection.
NODES = {
    "corrector": [0.901, 1.653, 2.774, 4.536, 7.348, 11.863, 19.126, 30.821, 49.657],
    "predictor": [0.165, 0.278, 0.394, 0.528, 0.697, 0.931, 1.297, 1.993, 3.960],
}


@pytest.mark.parametrize("cost", NODES)
def test_ten_steps_of_an_edm_model(cost):
    """Printed to three decimals; 800 intervals are within 0.2 percent, the first order error of the test above."""
    scheduler = ScoreOptimalScheduler(process="edm", grid=EqualCost(cost), final_sigmas_type="sigma_min")
    scheduler.set_stats(edm_record(times=801))
    scheduler.set_timesteps(10)
    np.testing.assert_allclose(called_levels(scheduler)[:0:-1], NODES[cost], rtol=3e-3)
    assert (scheduler.sigmas[0], scheduler.sigmas[-1]) == (80.0, np.float32(0.002))


VELOCITIES = {"sigma": lambda s: s, "vp_sigma": lambda s: s / (1.0 + s**2) ** 0.5, "unit": lambda s: 1.0}
DENSITIES = {  # of length, without the velocity: (4 sigma^2 / V^3)^(1/2), and (c^4 / V^5)^(1/4)
    "corrector": lambda s, v: v * 2.0 * s / (SCALE**2 + s**2) ** 1.5,
    "predictor": lambda s, v: v**0.5 * SCALE / (SCALE**2 + s**2) ** 1.25,
}


@pytest.mark.parametrize("velocity", VELOCITIES)
@pytest.mark.parametrize("cost", DENSITIES)
def test_every_cost_and_velocity_makes_steps_of_equal_length(cost, velocity):
    scheduler = learned(grid=EqualCost(cost, velocity), stats=costed_record(SD, SCALE, 400))
    scheduler.set_timesteps(8)
    levels = [*called_levels(scheduler), float(np.exp(-0.5 * scheduler.statistics.log_snr[0]))]

    def density(u: float) -> float:  # in log sigma
        s = float(np.exp(u))
        return s * DENSITIES[cost](s, VELOCITIES[velocity](s))

    lengths = [quad(density, np.log(b), np.log(a))[0] for a, b in pairwise(levels)]
    assert np.max(np.abs(np.array(lengths) / np.mean(lengths) - 1.0)) < 0.03  # 400 intervals, see above
    assert scheduler.path.order == {"corrector": 2, "predictor": 4}[cost]


def test_costs_and_velocities_differ():
    """Or the test above would say little."""
    grids = []
    for grid in (None, EqualCost("predictor"), EqualCost(velocity="unit"), EqualCost(velocity="vp_sigma")):
        scheduler = learned(grid=grid)
        scheduler.set_timesteps(5)
        grids.append(called_levels(scheduler)[2])
    assert len({round(float(np.log(level)), 1) for level in grids}) == 4


# ------------------------------------------------------------------------------------ the solver, on whatever grid


@pytest.mark.parametrize("final", ["zero", "sigma_min"])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("name", FAMILY)
def test_on_equal_levels_it_is_the_other_scheduler_to_the_last_bit(name, normalise, final):
    options = {**FAMILY[name], "final_sigmas_type": final, "guidance_scale": 2.0}
    ours = learned(normalise=normalise, **options)
    ours.set_timesteps(7)
    other = DEISSNScheduler(**SD_BETAS, stats=STATS if normalise else None, **options)
    other.set_timesteps(sigmas=steps_of(ours)[:-1])
    assert called_levels(ours) == called_levels(other) and ours.order == other.order
    assert torch.equal(run(ours, start_noise(3)), run(other, start_noise(3)))


@pytest.mark.parametrize("name", DATA)
def test_so_are_the_data_forms_which_are_not_normalised(name):
    ours = learned(normalise=False, **DATA[name])
    ours.set_timesteps(7)
    other = DEISSNScheduler(**SD_BETAS, **DATA[name])
    other.set_timesteps(sigmas=steps_of(ours)[:-1])
    assert torch.equal(run(ours, start_noise(3)), run(other, start_noise(3)))


def test_normalising_is_optional_and_leaves_the_times_alone():
    ends, times = [], []
    for normalise in (True, False):
        scheduler = learned(normalise=normalise)
        scheduler.set_timesteps(6)
        times.append(scheduler.timesteps)
        ends.append(run(scheduler, start_noise(2)))
    assert torch.equal(*times) and not torch.allclose(*ends, rtol=1e-3)


# ------------------------------------------------------------------------------------------------------- a run


@pytest.mark.parametrize("cost", ["corrector", "predictor"])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_n_steps_are_n_calls_at_falling_times(cost, final):
    scheduler = learned(grid=EqualCost(cost), final_sigmas_type=final)
    for steps in (*range(1, 51), 999, 1000 if final == "zero" else 999):
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) == scheduler.num_inference_steps == steps
        assert scheduler.timesteps.dtype == scheduler.sigmas.dtype == torch.float32
        assert torch.all(scheduler.timesteps[1:] < scheduler.timesteps[:-1])
        levels = steps_of(scheduler)
        assert np.all(np.diff(levels) < 0.0)
        assert levels[0] == SD.top and levels[-1] == (0.0 if final == "zero" else SD.bottom)
        assert levels[-2] >= SD.bottom


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "7"])
def test_other_numbers_of_steps_are_refused(steps):
    refused(TimestepsError, ["`num_inference_steps`", "from 1 to 1000", repr(steps)], learned().set_timesteps, steps)


def test_the_cleanest_level_is_an_end_and_no_call():
    scheduler = learned(final_sigmas_type="sigma_min")
    scheduler.set_timesteps(1000)
    assert scheduler.timesteps[-1] > 0.0 and scheduler.sigmas[-1] == pytest.approx(scheduler.noise.bottom)
    refused(TimestepsError, ["from 1 to 1000", "1001"], scheduler.set_timesteps, 1001)


@pytest.mark.parametrize("start", [1.0, 0.7])
@pytest.mark.parametrize("end", [None, 0.0, 1e-3, 0.05])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_ends_are_where_they_are_asked_for(start, end, steps):
    scheduler = learned(start_time=start, end_time=end)
    scheduler.set_timesteps(steps)
    levels = steps_of(scheduler)
    assert len(levels) == steps + 1
    assert SD.progress(levels[0]) == pytest.approx(start, rel=1e-12)
    assert SD.progress(levels[-1]) == pytest.approx(end or 0.0, abs=1e-9)
    lengths = strides(scheduler)
    assert len(lengths) == steps and np.allclose(lengths, lengths.mean(), rtol=1e-6)


def test_the_last_step_goes_on_from_the_cleanest_measured_level():
    """Below it no score is known: the record begins at t = 4."""
    times = []
    for final in ("zero", "sigma_min"):
        scheduler = learned(final_sigmas_type=final)
        scheduler.set_timesteps(6)
        times.append(scheduler.timesteps)
        position = scheduler.path.position(called_levels(scheduler)[-1])
        assert position == pytest.approx(scheduler.path.path_length / 6, rel=1e-9)
    assert torch.equal(*times)


@pytest.mark.parametrize("begin_index", [None, 0])
def test_another_run_starts_afresh(begin_index):
    scheduler = learned()
    ends = []
    for _ in range(2):
        scheduler.set_timesteps(6)
        if begin_index is not None:
            scheduler.set_begin_index(begin_index)
        ends.append(run(scheduler, start_noise(2)))
        assert scheduler.step_index == 6
    assert torch.equal(*ends)
    with pytest.raises(StepError, match="All 6 steps"):
        scheduler.step(start_noise(2), 4.0, start_noise(2))


# ----------------------------------------------------------------------------------------------- whole training times

SHORT = {"num_train_timesteps": 60, "beta_start": 1e-3, "beta_end": 0.2}


def short(**options: Any) -> ScoreOptimalScheduler:
    """Of a process of 60 times, with costs from the cleanest on."""
    noise, times = vp_schedule(**SHORT), np.linspace(0.0, 59.0, 40)
    stats = statistics_of(noise, times, np.linspace(0.4, 0.8, 40))
    stats = stats.with_costs(**gaussian_costs(stats.log_snr, (SCALE,)))
    return ScoreOptimalScheduler(**SHORT, stats=stats, **options)


@pytest.mark.parametrize("cost", ["corrector", "predictor"])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_whole_times_are_distinct_for_every_number_of_steps(cost, final):
    scheduler, exact = (
        short(grid=EqualCost(cost), final_sigmas_type=final, whole_timesteps=whole) for whole in (True, False)
    )
    for steps in range(1, 61 if final == "zero" else 60):
        scheduler.set_timesteps(steps)
        exact.set_timesteps(steps)
        assert scheduler.timesteps.dtype == torch.int64 and len(scheduler.timesteps) == steps
        assert torch.all(scheduler.timesteps[1:] < scheduler.timesteps[:-1])
        assert 0 <= scheduler.timesteps[-1] and scheduler.timesteps[0] == 59
        assert scheduler.sigmas[-1] == exact.sigmas[-1]
        gaps = -np.diff(exact.timesteps.numpy())
        if np.all(gaps > 1.0):  # rounding brings no two together: the nearest whole times
            assert torch.all((scheduler.timesteps - exact.timesteps).abs() <= 0.5)
    with pytest.raises(TimestepsError):
        scheduler.set_timesteps(61)


def test_more_steps_than_whole_times_are_refused():
    """A tenth of 60 times are left; a run of fractional times goes through them in as many steps as one likes."""
    scheduler = short(start_time=0.1, whole_timesteps=True)
    scheduler.set_timesteps(6)
    assert scheduler.timesteps.tolist() == [5, 4, 3, 2, 1, 0]
    refused(TimestepsError, ["There are 6 whole", "too few for 7", "whole_timesteps=False"], scheduler.set_timesteps, 7)
    short(start_time=0.1).set_timesteps(7)


@pytest.mark.parametrize("solver", sorted(TABLEAUX))
def test_whole_times_are_whole_in_every_stage_or_the_solver_is_refused(solver):
    if solver in ("euler", "heun"):
        scheduler = learned(solver=solver, whole_timesteps=True)
        scheduler.set_timesteps(6)
        assert scheduler.timesteps.dtype == torch.int64
    else:
        refused(ConfigurationError, [solver, "whole_timesteps", "heun"], learned, solver=solver, whole_timesteps=True)


# ------------------------------------------------------------------------------------------------- explicit times


@pytest.mark.parametrize("with_statistics", [True, False])
@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_explicit_times_win_and_are_given_back_exactly(kind, with_statistics):
    scheduler = learned() if with_statistics else ScoreOptimalScheduler(**SD_BETAS)
    for values in ([999.0, 500.0, 20.0], [998.5, 500.0, 20.25]):
        scheduler.set_timesteps(timesteps=kind(values))
        assert scheduler.timesteps.tolist() == values and scheduler.num_inference_steps == 3
    for values in ([12.5, 3.0, 0.25], [12.5, 3.0, 0.25, 0.0]):
        scheduler.set_timesteps(sigmas=kind(values))
        assert scheduler.sigmas.tolist() == [12.5, 3.0, 0.25, 0.0]
    assert torch.all(torch.isfinite(run(scheduler, start_noise(2))))


@pytest.mark.parametrize("given", [{"timesteps": [999, 400, 100]}, {"sigmas": [12.5, 3.0, 0.25]}], ids=str)
@pytest.mark.parametrize("steps", [None, 3, 10])
def test_explicit_times_are_said_to_be_used_in_one_line(given, steps, caplog):
    """Also where the pipeline passes a number of steps beside them."""
    scheduler = learned()
    with caplog.at_level(logging.INFO, "diffusers_deis_sn"):
        scheduler.set_timesteps(5)
        assert messages(caplog) == []
        scheduler.set_timesteps(steps, **given)
        (name,) = given
        assert messages(caplog) == [f"The given {name} are used, and not the grid learned from the model."]
        scheduler.set_timesteps(5)
        assert len(messages(caplog)) == 1


def test_explicit_whole_times_stay_whole_numbers_for_networks_that_take_no_others():
    scheduler = learned(whole_timesteps=True)
    scheduler.set_timesteps(timesteps=[999, 400, 7])
    assert scheduler.timesteps.dtype == torch.int64 and scheduler.timesteps.tolist() == [999, 400, 7]


@pytest.mark.parametrize("options", [{}, {"solver": "heun"}, {"final_sigmas_type": "sigma_min"}])
def test_without_statistics_this_is_plain_deis_on_uniform_times_and_says_so(options, caplog):
    scheduler = ScoreOptimalScheduler(**SD_BETAS, **options, recipe="fixed")
    plain = DEISSNScheduler(**SD_BETAS, **options, recipe="fixed")
    with caplog.at_level("WARNING"):
        scheduler.set_timesteps(10)
        scheduler.set_timesteps(10)
    assert sum("No score statistics" in record.message for record in caplog.records) == 1
    plain.set_timesteps(10)
    assert torch.equal(scheduler.timesteps, plain.timesteps.float()) and torch.equal(scheduler.sigmas, plain.sigmas)
    words = ["statistics with costs", "`deis-sn calibrate", "--cost corrector", "`timesteps=`", "`sigmas=`"]
    refused(ConfigurationError, words, lambda: scheduler.path)
    with pytest.raises(TimestepsError, match="not both"):
        scheduler.set_timesteps(timesteps=[999, 10], sigmas=[3.0, 1.0])


# --------------------------------------------------------------------------------------------- image to image, by hand


def begun(scheduler: ScoreOptimalScheduler, steps: int, begin: int) -> Tensor:
    """What a pipeline does before its loop; the view of the times that it walks through."""
    scheduler.set_timesteps(steps)
    view = scheduler.timesteps[begin * scheduler.order :]
    scheduler.set_begin_index(begin * scheduler.order)
    scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), view[:1])
    return view


def strides(scheduler: ScoreOptimalScheduler, begin: int = 0) -> np.ndarray:
    """Lengths of the steps from step `begin` on, as far as the path is known."""
    return -np.diff(scheduler.path.position(np.maximum(steps_of(scheduler)[begin:], scheduler.path.levels[0])))


@pytest.mark.parametrize("solver", ["multistep", "heun", "kutta3"])
@pytest.mark.parametrize(("steps", "begin"), [(10, 1), (10, 4), (10, 8), (7, 3), (50, 20), (1000, 400)])
def test_a_run_begun_half_way_is_planned_anew(steps, begin, solver):
    scheduler = learned(solver=solver)
    view = begun(scheduler, steps, begin)
    levels = steps_of(scheduler)
    assert SD.progress(levels[begin]) == pytest.approx(1.0 - begin / steps, rel=1e-12)
    assert view.tolist() == scheduler.timesteps[begin * scheduler.order :].tolist()
    assert view[0] == pytest.approx(1000.0 * (1.0 - begin / steps) - 1.0, abs=1e-3)
    assert np.all(np.diff(levels) < 0.0) and len(levels) == steps + 1
    lengths = strides(scheduler, begin)
    assert len(lengths) == steps - begin and np.allclose(lengths, lengths.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "refused_request",
    [{"timesteps": [5, 5, 5]}, {"sigmas": [1.0, 2.0]}, {"num_inference_steps": 0}, {"mu": 1.0}],
    ids=str,
)
def test_a_refused_request_leaves_the_run_to_be_planned_anew(refused_request):
    scheduler, expected = learned(), begun(learned(), 20, 10).tolist()
    scheduler.set_timesteps(20)
    with pytest.raises(ValueError):
        scheduler.set_timesteps(**refused_request)
    view = scheduler.timesteps[10:]
    scheduler.set_begin_index(10)
    scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), view[:1])
    assert view.tolist() == expected and view[0] == pytest.approx(499.0, abs=1e-3)


def test_it_begins_where_trailing_times_do():
    scheduler, named = learned(), DEISSNScheduler(**SD_BETAS, recipe="fixed")
    named.set_timesteps(20)
    for begin in (1, 7, 16):
        assert begun(scheduler, 20, begin)[0] == pytest.approx(float(named.timesteps[begin]), abs=1e-3)
        assert scheduler.sigmas[begin] == pytest.approx(float(named.sigmas[begin]), rel=1e-6)
        noised = [one.add_noise(torch.zeros(1, 2), torch.ones(1, 2), one.timesteps[:1]) for one in (scheduler, named)]
        named.set_begin_index(begin)
        noised[1] = named.add_noise(torch.zeros(1, 2), torch.ones(1, 2), named.timesteps[:1])
        assert torch.allclose(*noised, rtol=1e-6)


def test_the_share_left_is_that_of_the_process_below_the_start():
    scheduler = learned(start_time=0.8)
    begun(scheduler, 10, 5)
    assert SD.progress(steps_of(scheduler)[5]) == pytest.approx(0.4, rel=1e-12)


def test_planning_anew_is_the_run_of_a_scheduler_told_these_levels():
    scheduler = learned()
    begun(scheduler, 10, 4)
    rest = DEISSNScheduler(**SD_BETAS, stats=STATS)
    rest.set_timesteps(sigmas=steps_of(scheduler)[4:])
    assert torch.allclose(run(scheduler, start_noise(2), 4), run(rest, start_noise(2)), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("cost", ["corrector", "predictor"])
def test_whole_times_begin_at_the_share_too(cost):
    scheduler = short(whole_timesteps=True, grid=EqualCost(cost))
    for steps in (5, 31, 60):
        for begin in (*range(1, steps - 1, 4), steps - 1):
            view = begun(scheduler, steps, begin)
            assert view.dtype == torch.int64 and torch.all(scheduler.timesteps[1:] < scheduler.timesteps[:-1])
            assert view[0] == int(60 * (steps - begin) / steps - 1 + 1e-9)
            assert scheduler.timesteps[0] == 59 and view[-1] >= 0


def test_another_begin_is_planned_anew_too_and_the_same_is_not():
    scheduler = learned()
    begun(scheduler, 10, 4)
    first = scheduler.timesteps.clone()
    scheduler.set_begin_index(7)
    scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), scheduler.timesteps[:1])
    again = learned()
    begun(again, 10, 7)
    assert torch.equal(scheduler.timesteps, again.timesteps) and not torch.equal(scheduler.timesteps, first)
    plan = scheduler._plan
    scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), scheduler.timesteps[:1])
    assert scheduler._plan is plan
    scheduler.set_timesteps(10)
    assert torch.equal(run(scheduler, start_noise(1)), run(fresh(10), start_noise(1)))


def fresh(steps: int) -> ScoreOptimalScheduler:
    scheduler = learned()
    scheduler.set_timesteps(steps)
    return scheduler


def test_runs_are_not_planned_anew_without_need():
    """From the start, once the loop has begun, with times of one's own, or without a begin."""
    expected = fresh(10)
    for case in ("start", "no begin", "within the loop"):
        scheduler = fresh(10)
        if case != "no begin":
            scheduler.set_begin_index(0 if case == "start" else 3)
        if case == "within the loop":
            scheduler.step(torch.ones(1, 2), scheduler.timesteps[3], torch.ones(1, 2))
        scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), scheduler.timesteps[4:5])
        assert torch.equal(scheduler.timesteps, expected.timesteps), case
    scheduler = learned()
    scheduler.set_timesteps(timesteps=[999, 700, 300, 100])
    scheduler.set_begin_index(2)
    scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), scheduler.timesteps[2:3])
    assert scheduler.timesteps.tolist() == [999, 700, 300, 100]


def test_a_copy_of_the_old_times_is_an_error_and_not_another_picture():
    scheduler = fresh(10)
    kept = scheduler.timesteps[4:].clone()
    scheduler.set_begin_index(4)
    x = scheduler.add_noise(torch.zeros(1, 2), torch.ones(1, 2), kept[:1])
    refused(StepError, ["anew from step 4", "copy of `scheduler.timesteps`"], scheduler.step, x, kept[0], x)
    scheduler.step(x, scheduler.timesteps[4], x)


def test_noising_before_any_plan_and_at_impossible_begins():
    scheduler = learned()
    scheduler.set_begin_index(3)
    x0, noise = start_noise(2), start_noise(2, seed=1)
    other = DEISSNScheduler(**SD_BETAS)
    assert torch.equal(
        scheduler.add_noise(x0, noise, torch.tensor([500])), other.add_noise(x0, noise, torch.tensor([500]))
    )
    scheduler = learned(solver="heun")
    scheduler.set_timesteps(5)
    scheduler.set_begin_index(3)  # the second stage of a step
    scheduler.add_noise(x0, noise, scheduler.timesteps[3:4])
    with pytest.raises(StepError, match="cannot begin at call 3"):
        scheduler.step(x0, scheduler.timesteps[3], x0)


# ---------------------------------------------------------------------------------------------- saving and swapping


def test_save_and_load_with_the_statistics_beside_the_config(tmp_path):
    original = learned(grid=EqualCost("predictor", "unit"), normalise=False, whole_timesteps=True, solver_order=3)
    original.save_pretrained(tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["scheduler_config.json", "score_statistics/score_statistics.safetensors"]
    loaded = ScoreOptimalScheduler.from_pretrained(tmp_path)
    assert loaded.statistics == STATS and loaded.statistics.cost("predictor") == STATS.cost("predictor")
    public = {key: value for key, value in original.config.items() if not key.startswith("_")}
    assert {key: value for key, value in loaded.config.items() if not key.startswith("_")} == public
    for scheduler in (original, loaded):
        scheduler.set_timesteps(6)
    assert torch.equal(original.timesteps, loaded.timesteps)
    assert torch.equal(run(original, start_noise(2)), run(loaded, start_noise(2)))


def through_json(scheduler: Any) -> dict[str, Any]:
    """The config as a file holds it: every value explicit."""
    return json.loads(scheduler.to_json_string())


OTHERS = [DPMSolverMultistepScheduler, UniPCMultistepScheduler, DEISSNScheduler, EulerDiscreteScheduler]


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("other", OTHERS, ids=lambda cls: cls.__name__)
def test_there_and_back_nothing_is_lost(other, as_file, tmp_path):
    file = STATS.save(tmp_path)
    options = {"grid": EqualCost("predictor", "vp_sigma"), "normalise": False, "whole_timesteps": True}
    options |= {"solver": "ipndm", "solver_order": 3, "prediction_type": "epsilon"}
    ours = ScoreOptimalScheduler.from_config(SD15, stats=file, **options)
    theirs = other.from_config(through_json(ours) if as_file else ours.config)
    theirs.set_timesteps(5)  # what it took over must not break it
    again = ScoreOptimalScheduler.from_config(through_json(theirs) if as_file else theirs.config)
    assert {key: again.options[key] for key in options} == options
    assert again.statistics == STATS
    for scheduler in (ours, again):
        scheduler.set_timesteps(5)
    assert torch.equal(ours.timesteps, again.timesteps)


@pytest.mark.parametrize("other", OTHERS, ids=lambda cls: cls.__name__)
def test_statistics_are_swapped_without_a_word(other, diffusers_log, tmp_path):
    ours = ScoreOptimalScheduler.from_config(SDXL, stats=STATS.save(tmp_path))
    theirs = other.from_config(ours.config)
    again = ScoreOptimalScheduler.from_config(theirs.config)
    assert ours.statistics == again.statistics == STATS
    assert not diffusers_log
    assert theirs.config["_deis_sn"] == ours.config["_deis_sn"] and set(ours.config["_deis_sn"]) == {"stats", "process"}


SD15 = {  # scheduler/scheduler_config.json of Stable Diffusion 1.5
    "_class_name": "PNDMScheduler",
    **SD_BETAS,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "trained_betas": None,
}
SDXL = {  # that of Stable Diffusion XL, and a user's wish
    "_class_name": "EulerDiscreteScheduler",
    **SD_BETAS,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "use_karras_sigmas": True,
}


@pytest.mark.parametrize("config", [SD15, SDXL], ids=["SD 1.5", "SDXL"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_named_grids_of_other_configs_are_kept_and_not_used(config, in_memory):
    theirs = getattr(diffusers, config["_class_name"]).from_config(config)
    ours = ScoreOptimalScheduler.from_config(theirs.config if in_memory else config, stats=STATS)
    ours.set_timesteps(9)
    assert torch.equal(ours.timesteps, fresh(9).timesteps)
    back = EulerDiscreteScheduler.from_config(ours.config)
    for key in ("timestep_spacing", "use_karras_sigmas", "steps_offset"):
        if key in config:
            assert back.config[key] == config[key]


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize(
    ("before", "grid"),
    [
        (EulerDiscreteScheduler(**SD_BETAS, timestep_spacing="leading"), "trailing"),
        (UniPCMultistepScheduler(**SD_BETAS), "trailing"),
        (EulerDiscreteScheduler(**SD_BETAS, timestep_spacing="leading", use_karras_sigmas=True), "karras"),
        (DEISSNScheduler(**SD_BETAS, timestep_spacing="linspace"), "linspace"),
        (DEISSNScheduler(**SD_BETAS, grid=Power("sigma", 7.0)), Power("sigma", 7.0)),
        (DEISSNScheduler.from_config(SDXL, grid=Power("t", 2.0)), Power("t", 2.0)),
        (DEISSNScheduler(**SD_BETAS, grid=Power("sigma", 5.0)), Power("sigma", 5.0)),
        (EDMEulerScheduler(), Power("sigma", 7.0)),
        (EDMDPMSolverMultistepScheduler(sigma_schedule="exponential"), "exponential"),
        (EDMEulerScheduler(rho=5.0), Power("sigma", 5.0)),
    ],
    ids=lambda value: str(value) if isinstance(value, str | Power) else type(value).__name__,
)
def test_the_named_grid_on_the_other_side_is_as_without_us(before, grid, as_file):
    """From any config to `DEISSNScheduler`, by way of this one or not."""

    def config_of(scheduler: Any) -> dict[str, Any]:
        return through_json(scheduler) if as_file else scheduler.config

    direct = DEISSNScheduler.from_config(config_of(before), recipe="fixed")
    ours = ScoreOptimalScheduler.from_config(config_of(before))
    ours = ScoreOptimalScheduler.from_config(config_of(ours))  # and a copy of it
    detour = DEISSNScheduler.from_config(config_of(ours), recipe="fixed")
    assert detour.spacing == direct.spacing == ("Power" if isinstance(grid, Power) else grid)
    assert detour.options["grid"] == direct.options["grid"] == (grid if isinstance(grid, Power) else None)
    for scheduler in (direct, detour):
        scheduler.set_timesteps(6)
    assert torch.equal(direct.timesteps, detour.timesteps)


def test_one_file_serves_both_schedulers(tmp_path):
    file = STATS.save(tmp_path)
    ours = ScoreOptimalScheduler.from_config(SD15, stats=file)
    other = DEISSNScheduler.from_config(ours.config)
    assert other.statistics == ours.statistics == STATS and other.normalised and ours.normalised
    other.set_timesteps(4)
    assert other.timesteps.tolist() == [999, 749, 499, 249]


def test_an_edm_config():
    theirs = EDMEulerScheduler(sigma_max=80.0)
    ours = ScoreOptimalScheduler.from_config(theirs.config, stats=edm_record())
    assert ours.options["process"] == "edm" and ours.order == 1
    ours.set_timesteps(7)
    assert ours.sigmas[0] == 80.0 and ours.sigmas[-1] == 0.0
    assert torch.allclose(ours.timesteps, 0.25 * ours.sigmas[:-1].log(), atol=1e-6)
    assert ours.init_noise_sigma == pytest.approx((80.0**2 + 1.0) ** 0.5)
    lengths = strides(ours)
    assert np.allclose(lengths, lengths.mean(), rtol=1e-6)
    x = start_noise(2)
    assert torch.allclose(ours.scale_model_input(x, ours.timesteps[0]), x / (80.0**2 + 0.25) ** 0.5)
    assert torch.all(torch.isfinite(run(ours, x)))
    back = EDMEulerScheduler.from_config(ours.config)
    assert back.config.sigma_schedule == "karras" and back.config.rho == 7.0


# -------------------------------------------------------------------------------------------------- the contract


def test_the_signatures_that_pipelines_inspect_are_those_of_the_other_scheduler():
    for method in ("set_timesteps", "step", "scale_model_input", "add_noise", "scale_noise", "set_begin_index"):
        ours, other = (inspect.signature(getattr(cls, method)) for cls in (ScoreOptimalScheduler, DEISSNScheduler))
        assert list(ours.parameters) == list(other.parameters)


def test_no_constructor_argument_breaks_other_schedulers():
    parameters = inspect.signature(ScoreOptimalScheduler.__init__).parameters
    assert not {"algorithm_type", "solver_type"} & set(parameters)
    assert not [p for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    assert parameters == inspect.signature(DEISSNScheduler.__init__).parameters


def test_saved_pipelines_find_the_class():
    assert ScoreOptimalScheduler.__module__ == "diffusers_deis_sn"
    assert set(OTHERS[:2]) <= set(learned().compatibles)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("begin", [0, 3])
def test_a_copy_in_the_middle_of_a_run_goes_on_alike(duplicate, begin):
    scheduler = learned()
    begun(scheduler, 8, begin)
    x = start_noise(2)
    for t in scheduler.timesteps[begin : begin + 2]:
        x = scheduler.step(torch.tanh(x), t, x).prev_sample
    twin, y = duplicate(scheduler), x.clone()
    for t in scheduler.timesteps[begin + 2 :]:
        x = scheduler.step(torch.tanh(x), t, x).prev_sample
        y = twin.step(torch.tanh(y), t, y).prev_sample
    assert torch.equal(x, y) and twin.statistics == STATS
    twin.set_timesteps(5)
    assert torch.equal(twin.timesteps, fresh(5).timesteps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_samples_keep_their_dtype(dtype):
    for begin in (0, 3):
        scheduler = learned()
        view = begun(scheduler, 8, begin)
        x = scheduler.add_noise(torch.zeros(2, 4).to(dtype), torch.randn(2, 4), view[:1])
        for t in view:
            x = scheduler.step(torch.tanh(x), t, x).prev_sample
            assert x.dtype == dtype and torch.all(torch.isfinite(x))


@pytest.mark.parametrize("begin_index", [None, 0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalise": False, "solver": Multistep(of="data")},
        {"solver": "kutta3"},
        {"whole_timesteps": True},
        {"solver_order": 4},
    ],
    ids=str,
)
def test_no_step_waits_for_the_device(options, begin_index):
    report = trace(learned(**options), 12, begin_index=begin_index)
    assert not report.blocking("step"), report
    assert sum(report.blocking("first step").values()) <= (2 if begin_index is None else 0), report


class ImageToImage:
    """A pipeline's part of an image-to-image run, for the tracer: only the steps from `begin` on are walked."""

    def __init__(self, scheduler: ScoreOptimalScheduler, begin: int):
        self.scheduler, self.begin = scheduler, begin

    def set_timesteps(self, steps: int, device: str) -> None:
        self.scheduler.set_timesteps(steps, device=device)
        self.timesteps = self.scheduler.timesteps[self.begin :]
        self.scheduler.set_begin_index(self.begin)
        image = torch.zeros(2, 4, 16, 16, device=device)
        self.scheduler.add_noise(image, image, self.timesteps[:1])

    def step(self, *arguments: Any) -> Any:
        return self.scheduler.step(*arguments)


def test_a_run_planned_anew_reads_one_time_and_no_more():
    scheduler = learned()
    report = trace(ImageToImage(scheduler, 5), 12)
    assert len(report.kernels_per_step) == 7 and scheduler.begin_index == 5
    assert SD.progress(steps_of(scheduler)[5]) == pytest.approx(7 / 12)
    assert not report.blocking("step"), report
    assert sum(report.blocking("first step").values()) == 1, report


def test_a_copy_of_the_old_times_is_an_error_on_a_device_too():
    scheduler = learned()
    with FakeCuda():
        scheduler.set_timesteps(10, device="cuda")
        kept, image = scheduler.timesteps[4:].clone(), torch.zeros(1, 2, device="cuda")
        scheduler.set_begin_index(4)
        scheduler.add_noise(image, image, kept[:1])
        with pytest.raises(StepError, match="anew from step 4"):
            scheduler.step(image, kept[0], image)


def test_a_pipeline_may_replace_the_config():
    """Stable Diffusion's pipelines do so in their constructor, to mend old configs; users change options."""
    scheduler = learned()
    scheduler.set_timesteps(6)
    changed = {**scheduler.config, "steps_offset": 1, "clip_sample": False}
    scheduler._internal_dict = diffusers.configuration_utils.FrozenDict(changed)
    scheduler.register_to_config(grid=EqualCost("predictor"), solver="heun")
    scheduler.set_timesteps(6)
    expected = learned(grid=EqualCost("predictor"), solver="heun")
    expected.set_timesteps(6)
    assert torch.equal(scheduler.timesteps, expected.timesteps) and scheduler.order == 2
    scheduler.register_to_config(beta_end=0.02)
    with pytest.raises(StatisticsMismatchError):
        scheduler.set_timesteps(6)
    scheduler.register_to_config(beta_end=SD_BETAS["beta_end"], whole_timesteps="yes")
    refused(ConfigurationError, ["`whole_timesteps`", "'yes'"], scheduler.set_timesteps, 6)


def test_statistics_change_the_grid_from_the_next_plan_on():
    scheduler = learned()
    scheduler.set_timesteps(6)
    before = scheduler.timesteps.clone()
    scheduler.set_stats(costed_record(SD, 1.5))
    assert torch.equal(scheduler.timesteps, before)
    scheduler.set_timesteps(6)
    other = learned(stats=costed_record(SD, 1.5))
    other.set_timesteps(6)
    assert torch.equal(scheduler.timesteps, other.timesteps) and not torch.equal(scheduler.timesteps, before)
    scheduler.set_stats(None)
    scheduler.set_timesteps(6)
    uniform = ScoreOptimalScheduler(**SD_BETAS)
    uniform.set_timesteps(6)
    assert torch.equal(scheduler.timesteps, uniform.timesteps)


def test_nothing_is_said_with_statistics(caplog, diffusers_log):
    scheduler = ScoreOptimalScheduler.from_config(SD15, stats=STATS)
    begun(scheduler, 6, 2)
    run(scheduler, start_noise(2), 2)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING] and not diffusers_log


# ------------------------------------------------------------------------------------------------------- bad input

WITHOUT_DATA = replace(STATS, mean_abs_data=None, mean_abs_data_error=None)


def equal_cost(**said: Any) -> dict[str, Any]:
    """The grid as a file has it: what is at fault is said where it is made a value."""
    return {"grid": {"kind": "equal_cost", **said}}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (equal_cost(cost="forward"), ["`cost`", "corrector, predictor", "'forward'"]),
        (equal_cost(cost=True), ["`cost`", "True"]),
        (equal_cost(spread=1.5), ["`spread`", "0 to 1", "1.5"]),
        ({"normalise": "yes"}, ["`normalise`", "True or False", "'yes'"]),
        ({"normalise": 1}, ["`normalise`", "1"]),
        ({"whole_timesteps": 1}, ["`whole_timesteps`", "1"]),
        ({"whole_timesteps": True, "process": "edm", "stats": None}, ["`whole_timesteps`", "'edm'", "continuum"]),
        ({"final_sigmas_type": "half"}, ["`final_sigmas_type`", "'half'"]),
        ({"start_time": 0.0}, ["`start_time`", "0.0"]),
        ({"start_time": 0.5, "end_time": 0.6}, ["`end_time`", "0.6"]),
        ({"solver": Multistep(of="data"), "stats": WITHOUT_DATA}, DATA_WORDS),
        ({"solver_order": 7}, ["`solver_order`", "7"]),
        ({"process": "flow"}, ["`process`", "'flow'"]),
    ],
    ids=str,
)
def test_bad_options_are_refused_at_once(options, words):
    refused(ConfigurationError, words, learned, **options)


def test_an_unknown_velocity_is_refused_at_once():
    refused(ScheduleError, ["`velocity`", "sigma, vp_sigma, unit", "'fast'"], learned, **equal_cost(velocity="fast"))


@pytest.mark.parametrize(
    "option",
    [
        {"timestep_spacing": "trailing"},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
        {"steps_offset": 1},
    ],
    ids=str,
)
def test_named_grids_are_refused_where_they_are_asked_for(option):
    ((name, value),) = option.items()
    words = ["learns its time grid", f"{name}={value!r}", "DEISSNScheduler", "`timesteps=`"]
    refused(ConfigurationError, words, ScoreOptimalScheduler.from_config, SD15, **option)
    refused(ConfigurationError, words, ScoreOptimalScheduler, **SD_BETAS, **option)
    scheduler = fresh(5)
    refused(ConfigurationError, words, scheduler.register_to_config, **option)
    assert scheduler.options == learned().options
    scheduler.set_timesteps(5)
    assert torch.equal(scheduler.timesteps, fresh(5).timesteps)


def test_options_of_from_config_may_be_arrays_and_switched_off():
    betas = np.linspace(1e-3, 0.02, 50)
    scheduler = ScoreOptimalScheduler.from_config(SD15, trained_betas=betas, use_karras_sigmas=False)
    assert len(scheduler.noise) == 50
    assert ScoreOptimalScheduler.from_config(SD15, return_unused_kwargs=True, colour="red")[1]["colour"] == "red"


def set_stats(stats: ScoreStatistics, **options: Any) -> None:
    learned(stats=None, **options).set_stats(stats)


def test_statistics_without_costs_are_refused_with_the_command_that_measures_them():
    words = ["'solver' cost", "have none", "`deis-sn calibrate MODEL -o FOLDER"]
    refused(MissingCostError, words, set_stats, gaussian_record(SD))
    words = ["'corrector' cost", "have none", "`deis-sn calibrate MODEL --cost corrector"]
    refused(MissingCostError, words, set_stats, gaussian_record(SD), grid=EqualCost("corrector"))
    only = gaussian_record(SD).with_costs(corrector=STATS.cost("corrector"))
    set_stats(only)
    refused(MissingCostError, ["have corrector", "--cost predictor"], set_stats, only, grid=EqualCost("predictor"))
    refused(MissingCostError, ["'solver' cost"], learned, stats=gaussian_record(SD))


def test_a_cost_chosen_later_that_is_not_there_is_an_error_of_the_next_plan():
    scheduler = learned(stats=gaussian_record(SD).with_costs(corrector=STATS.cost("corrector")))
    scheduler.register_to_config(grid=EqualCost("predictor"))
    refused(MissingCostError, ["--cost predictor"], scheduler.set_timesteps, 5)


def test_costs_of_zero_make_no_path():
    none = LocalCost(np.zeros(len(STATS) - 1), np.zeros(len(STATS) - 1), 2, 8)
    refused(ScheduleError, ["All costs are zero", "named spacing"], set_stats, STATS.with_costs(corrector=none))


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf])
def test_costs_that_are_negative_or_not_finite_never_become_statistics(value):
    values = STATS.cost("corrector").values.copy()
    values[7] = value
    words = ["`values`", "finite and not negative", "position 7", "deis-sn calibrate"]
    refused(StatisticsError, words, LocalCost, values, np.zeros_like(values), 2, 8)


def test_statistics_of_another_model_are_refused():
    words = ["another noise schedule", "`deis-sn calibrate`"]
    refused(StatisticsMismatchError, words, set_stats, costed_record(vp_schedule(**DDPM_BETAS)))
    words = ["another prediction type"]
    refused(StatisticsMismatchError, words, set_stats, STATS, prediction_type="v_prediction")
    refused(StatisticsMismatchError, ["another noise schedule"], set_stats, edm_record())


def test_refused_statistics_leave_the_old_ones():
    scheduler = learned()
    for bad in (gaussian_record(SD), edm_record()):
        with pytest.raises(StatisticsError):
            scheduler.set_stats(bad)
    assert scheduler.statistics is STATS
    scheduler.set_timesteps(5)
    assert torch.equal(scheduler.timesteps, fresh(5).timesteps)


def test_data_forms_take_the_grid_of_statistics_and_their_scale_of_data_unless_told_not_to():
    data = Multistep(of="data")
    refused(ConfigurationError, DATA_WORDS, set_stats, WITHOUT_DATA, solver=data, normalise=True)
    plain, scaled = (learned(solver=data, normalise=normalise) for normalise in (False, True))
    for scheduler in (plain, scaled):
        scheduler.set_timesteps(5)
        assert torch.equal(scheduler.timesteps, fresh(5).timesteps)
    assert plain.normaliser.is_flat and not scaled.normaliser.is_flat


def test_runs_beyond_the_measured_levels_are_refused():
    """Such as the statistics of image-to-image runs, which never see the noisiest levels."""
    half = costed_record(SD, SCALE, 50)
    keep = slice(0, 30)
    part = ScoreStatistics(
        half.timesteps[keep],
        half.log_snr[keep],
        half.mean_abs[keep],
        origin=half.origin,
        costs={"corrector": LocalCost(half.cost("corrector").values[:29], half.cost("corrector").error[:29], 2, 8)},
    )
    words = ["known up to", "14.6", "full runs", "start_time"]
    refused(ScheduleError, words, lambda: learned(stats=part))
    below = float(SD.progress(np.exp(-0.5 * part.log_snr[-1])))
    learned(stats=part, start_time=below).set_timesteps(5)


@pytest.mark.parametrize("values", [[10, 500], [999, 999], [1500, 3], [-5], []])
def test_bad_explicit_times_are_refused(values):
    with pytest.raises(TimestepsError):
        learned().set_timesteps(timesteps=values)


def test_bad_betas_are_refused():
    with pytest.raises(NoiseScheduleError):
        ScoreOptimalScheduler(trained_betas=[0.1, 2.0])
