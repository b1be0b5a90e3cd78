"""Runge-Kutta steps that leap from far above the data: taken in predicted data, of full order, no worse than DDIM."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS, Gaussian
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Ends
from diffusers_deis_sn.core.named_grids import named_grid
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.runge_kutta import ABOVE_MODELS, LEAP, TABLEAUX, against_ddim, runge_kutta_table
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.solvers import Multistep, RungeKutta, Solver
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.learn.path import VELOCITIES
from records import costed_record
from refusals import refused

SEVERAL = [name for name, tableau in TABLEAUX.items() if len(tableau) > 1]
PROCESSES: dict[str, NoiseSchedule] = {
    "sd": vp_schedule(**SD_BETAS),
    "ddpm": vp_schedule(**DDPM_BETAS),
    "cosine": vp_schedule(beta_schedule="squaredcos_cap_v2"),
    "zero snr": vp_schedule(**SD_BETAS, rescale_betas_zero_snr=True),
    "edm": SigmaSchedule(),
    "flow": FlowSchedule(),
}
FLAT = Normaliser.flat()
START = np.linspace(-2.0, 2.0, 9)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def clean(y: np.ndarray, rho: float) -> np.ndarray:
    """E[x_0 | y] of two bumps, by one hyperbolic tangent: no digit of it is lost in noise alone."""
    variance = 0.25 + rho**2
    mean = 0.75 * np.tanh((0.75 / variance) * (y + 0.05)) - 0.05
    return (0.25 * y + rho**2 * mean) / variance


@cache
def exact(top: float, end: float) -> np.ndarray:
    """y at the level `end` of samples that are `START` times `top`, by SciPy in z = y / rho and s = 1 / rho."""
    last = max(end, 1e-3)
    options = {"method": "DOP853", "rtol": 1e-9, "atol": 1e-10}
    z = solve_ivp(lambda s, z: clean(z / s, 1.0 / s), (1.0 / top, 1.0 / last), START, **options).y[:, -1]
    y = z * last
    return y if last == end else y - 0.5 * (y - clean(y, last))  # eps falls to zero like rho


def final(process: NoiseSchedule, solver: Solver, levels: np.ndarray, scale: Normaliser = FLAT) -> np.ndarray:
    """Where the rows of a run lead, in y = x / alpha."""
    table, y = solver.table(process, scale, levels), START * levels[0]
    alpha, history = process.alpha(table.levels), []
    for n, rho in enumerate(table.levels[:-1].tolist()):
        history = [(y - clean(y, rho)) / rho, *history][: table.order]
        row = table.rows[len(history) - 1][n]
        y = alpha[n] / alpha[n + 1] * table.transfers[n] * y
        y = y + sum(weight * eps for weight, eps in zip(row, history, strict=False)) / alpha[n + 1]
    return y


def error(process: NoiseSchedule, solver: Solver, levels: np.ndarray, scale: Normaliser = FLAT) -> float:
    return float(np.max(np.abs(final(process, solver, levels, scale) - exact(float(levels[0]), float(levels[-1])))))


@pytest.mark.parametrize("solver", SEVERAL)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_leap_is_the_method_of_predicted_data_that_keeps_its_samples(solver, name):
    process, tableau = PROCESSES[name], TABLEAUX[solver]
    top, bottom = process.top, 0.4
    z, h, slopes = START, 1.0 / bottom - 1.0 / top, []
    for c, row in zip(tableau.nodes, tableau.stages, strict=True):
        s = 1.0 / top + c * h
        slopes.append(clean((z + h * sum(a * k for a, k in zip(row, slopes, strict=True))) / s, 1.0 / s))
    expected = bottom * (z + h * sum(b * k for b, k in zip(tableau.weights, slopes, strict=True)))
    found = final(process, RungeKutta(solver, 3.0), np.array([top, bottom]))
    assert np.allclose(found, expected, rtol=0.0, atol=1e-14 * top + 1e-12)


@pytest.mark.parametrize("solver", SEVERAL)
def test_the_error_of_a_leap_is_of_one_order_more_than_the_solver(solver):
    """In z = y / rho, by the length of the step in 1 / rho."""
    top, order = PROCESSES["flow"].top, TABLEAUX[solver].order
    one, half = (error(PROCESSES["flow"], RungeKutta(solver), np.array([top, rho])) / rho for rho in (6.0, 12.0))
    assert np.log2(one / half) > order + 0.8


@given(
    name=st.sampled_from(sorted(PROCESSES)),
    solver=st.sampled_from(SEVERAL),
    steps=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    end=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_whatever_the_levels_no_error_is_larger_than_that_of_ddim(name, solver, steps, seed, end):
    process, cuts = PROCESSES[name], np.random.default_rng(seed).uniform(0.05, 1.0, steps)
    inverse = np.append(0.0, np.cumsum(cuts))[: steps + 1]
    angles = np.arctan(1.0 / process.top) + (np.arctan(1.0 / max(end, 0.02)) - np.arctan(1.0 / process.top)) * (
        inverse / (inverse[-1] if end else inverse[-1] * 1.02)
    )
    levels = 1.0 / np.tan(angles)
    levels[0], levels[-1] = process.top, end
    ours, ddim = (error(process, one, levels) for one in (RungeKutta(solver, 3.0), Multistep(1)))
    assert ours <= 1.5 * ddim + 1e-6


@pytest.mark.parametrize("solver", ["heun", "kutta3", "rk4"])
@pytest.mark.parametrize("cost", ["predictor", "corrector"])
@pytest.mark.parametrize("velocity", VELOCITIES)
def test_on_every_learned_path_errors_fall_and_none_is_larger_than_that_of_ddim(solver, cost, velocity):
    """The predictor's cost with unit velocity has nearly all of its length within the data: it leaps there at once.

    To about N^(2/3) times the data's scale, and on by steps whose ratios are the same for all N: so far errors fall.
    """
    process = PROCESSES["ddpm"]
    grid = EqualCost(cost, velocity).of(costed_record(process, 0.5, 200), process)
    errors = {}
    for steps in (5, 20, 80, 160):
        levels = grid.path.run(steps, process.top, 0.1)
        errors[steps] = error(process, RungeKutta(solver, 3.0), levels)
        assert errors[steps] <= 1.3 * error(process, Multistep(1), levels) + 1e-6
    assert errors[160] < errors[20] / 4.0


# -------------------------------------------------------------------------------------------------- through a scheduler


@pytest.mark.parametrize("solver", SEVERAL)
@pytest.mark.parametrize("prediction", ["v_prediction", "sample", "epsilon"])
@pytest.mark.parametrize(
    "options", [{**SD_BETAS, "rescale_betas_zero_snr": True}, {"beta_schedule": "squaredcos_cap_v2"}]
)
def test_half_precision_survives_few_steps_from_noise_alone(solver, prediction, options):
    """A zero-terminal-SNR model, three steps, float16: finite, and where double precision ends."""
    if prediction == "epsilon" and "rescale_betas_zero_snr" in options:
        return  # the noise in noise alone tells nothing of the data, in any precision
    ends = [run(DEISSNScheduler(**options, prediction_type=prediction, solver=solver), 3, dtype) for dtype in DTYPES]
    assert all(torch.all(torch.isfinite(end)) for end in ends)
    far = [float((end - ends[0]).abs().max()) for end in ends]
    assert far[1] < 1e-3 and (prediction == "epsilon" or (far[2] < 0.02 and far[3] < 0.2))  # of rounded outputs


def run(scheduler: Any, steps: int, dtype: torch.dtype) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    data, plan = Gaussian(scheduler.noise, 0.3, 0.6), scheduler._plan
    x = torch.linspace(-3.0, 3.0, 25, dtype=torch.float64).reshape(1, 1, 5, 5).to(dtype)
    for n, t in enumerate(scheduler.timesteps):
        alpha, sigma, wide = plan.alpha[n], plan.sigma[n], x.double()
        variance = alpha**2 * data.std**2 + sigma**2
        x0 = (alpha * data.std**2 * wide + sigma**2 * data.mean) / variance
        eps = sigma * (wide - alpha * data.mean) / variance
        output = {"v_prediction": alpha * eps - sigma * x0, "sample": x0, "epsilon": eps}.get(
            scheduler.config.prediction_type, eps - x0
        )
        x = scheduler.step(output.to(dtype), t, x).prev_sample
    return x.double()


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("steps", [1, 3, 12])
def test_flows_start_from_noise_alone(solver, steps):
    options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    for shift, kind in product((1.0, 3.0), (DEISSNScheduler, ScoreOptimalScheduler)):
        stats = None
        if kind is ScoreOptimalScheduler:
            noise = FlowSchedule()
            record = costed_record(noise, times=np.concatenate([np.linspace(4.0, 990.0, 60), [995.0, 999.0, 1000.0]]))
            stats = record.with_origin(prediction_type="flow_prediction", fingerprint=noise.fingerprint)
        scheduler = kind(**options, flow_shift=shift, solver=solver, stats=stats)
        double, single = (run(scheduler, steps, dtype) for dtype in (torch.float64, torch.float32))
        assert torch.allclose(double, single, atol=1e-4)
        ddim = run(DEISSNScheduler(**options, flow_shift=shift, solver_order=1), steps, torch.float64)
        scheduler.set_timesteps(steps)
        x = torch.linspace(-3.0, 3.0, 25, dtype=torch.float64).reshape(1, 1, 5, 5)
        truth = Gaussian(scheduler.noise, 0.3, 0.6).flow(x, scheduler._plan.levels[0], 0.0)
        assert (double - truth).abs().max() <= 1.05 * (ddim - truth).abs().max() or kind is ScoreOptimalScheduler


def test_stages_of_a_leap_divide_the_inverse_of_the_level():
    levels = np.array([14.6, 1.6, 0.4, 0.0])
    for solver in SEVERAL:
        inverse = 1.0 / runge_kutta_table(PROCESSES["sd"], FLAT, levels, solver, 3.0).levels[: len(TABLEAUX[solver])]
        c = np.array(TABLEAUX[solver].nodes)
        assert inverse == pytest.approx(1.0 / 14.6 + c * (1.0 / 1.6 - 1.0 / 14.6), rel=1e-13)


def test_where_leaps_begin_is_for_the_solver_to_say():
    levels = np.array([14.6, 1.6, 0.4, 0.0])
    published, other = (RungeKutta("heun", above).table(PROCESSES["sd"], FLAT, levels) for above in (np.inf, 3.0))
    assert np.array_equal(RungeKutta("heun").table(PROCESSES["sd"], FLAT, levels).weights, published.weights)
    assert not np.allclose(published.weights, other.weights)
    refused(ConfigurationError, ["`above`", "'high'"], RungeKutta, "heun", "high")
    scheduler = ScoreOptimalScheduler(**SD_BETAS, solver="heun", stats=costed_record(PROCESSES["sd"]))
    scheduler.set_timesteps(6)
    assert scheduler._run.recipe.solver == RungeKutta("heun", 3.0)


# -------------------------------------------------------------------------------------------------- steps of any length


def spread(process: NoiseSchedule, solver: Solver, levels: np.ndarray, c: float) -> float:
    """How far data N(0, c^2) end from their deviation, in deviations: in closed form."""
    table, y = solver.table(process, FLAT, levels), 1.0
    alpha, history = process.alpha(table.levels), []
    for n, rho in enumerate(table.levels[:-1].tolist()):
        history = [rho / (c**2 + rho**2) * y, *history][: table.order]
        row = table.rows[len(history) - 1][n]
        y = alpha[n] / alpha[n + 1] * table.transfers[n] * y
        y = y + sum(weight * eps for weight, eps in zip(row, history, strict=False)) / alpha[n + 1]
    return float(abs(y * np.sqrt((c**2 + levels[0] ** 2) / (c**2 + levels[-1] ** 2)) - 1.0))


@given(
    name=st.sampled_from(sorted(PROCESSES.keys() - {"sd"})),
    grid=st.sampled_from(["trailing", "karras", "exponential", "beta", "power_t"]),
    solver=st.sampled_from(SEVERAL),
    steps=st.integers(1, 8),
    ends=st.sampled_from([Ends("zero"), Ends("sigma_min"), Ends("zero", 0.95)]),
    c=st.floats(0.01, 3.0),
)
def test_no_grid_of_few_steps_makes_a_run_worse_than_ddim_on_data_of_any_scale(name, grid, solver, steps, ends, c):
    process = PROCESSES[name]
    if grid == "trailing" and ends.moved:
        return
    levels = named_grid(grid).levels(process, steps, ends)
    if levels[0] > ABOVE_MODELS:
        ours, ddim = (spread(process, one, levels, c) for one in (RungeKutta(solver), Multistep(1)))
        assert ours <= 1.1 * ddim + 1e-6


@pytest.mark.parametrize("solver", SEVERAL)
def test_in_predicted_data_no_step_is_worse_than_ddim_and_in_rho_no_short_one(solver):
    process = PROCESSES["edm"]
    for ratio in np.geomspace(1.05, 1e4, 40):
        assert ratio > LEAP or against_ddim(TABLEAUX[solver], ratio, 1.0, np.geomspace(1e-3, 1e3, 200)) <= 1.0
        for c in (0.1, 3.0, 100.0):
            ours, ddim = (
                spread(process, one, np.array([ratio, 1.0]), c) for one in (RungeKutta(solver, 0.0), Multistep(1))
            )
            assert ours <= ddim + 1e-12
    levels = 4096.0 * 0.51 ** np.arange(20)
    ours, published = (RungeKutta(solver, above).table(PROCESSES["zero snr"], FLAT, levels) for above in (3.0, np.inf))
    assert np.array_equal(ours.weights, published.weights) and np.array_equal(ours.levels, published.levels)


@pytest.mark.parametrize("solver", ["heun", "kutta3", "ssprk3", "rk4"])
def test_a_stage_at_the_end_of_a_leap_blew_up_within_the_data_too(solver):
    levels, process = np.array([80.0, 3.0, 0.03]), PROCESSES["edm"]
    ddim = spread(process, Multistep(1), levels, 0.1)
    assert (
        spread(process, RungeKutta(solver, np.inf), levels, 0.1)
        > 5.0 * ddim
        > 5.0 * spread(process, RungeKutta(solver), levels, 0.1)
    )
