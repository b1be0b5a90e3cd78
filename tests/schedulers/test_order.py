"""Order of convergence, and exactness where theory promises it: Gaussian data, whose flow is known in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import SD_BETAS, Gaussian
from benchmarks.exact.runs import rms, start_noise, statistics_of
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics
from diffusers_deis_sn.core.coefficients import INTERPOLATIONS, MAX_ORDER
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from oracles import called_levels, named

START, END = 1.0, 0.05
GAIN = 0.75 / 2.0  # that of the default at guidance one


def smooth_betas() -> list[float]:
    """Betas with the noise share a straight line in time, so that t(rho) has no kinks; rho from 0.05 to above 1."""
    share = END**2 / (1.0 + END**2) * np.arange(1, 203)
    alpha_squared = 1.0 - share
    return (1.0 - alpha_squared / np.append(1.0, alpha_squared[:-1])).tolist()


def error(order: int, interpolation: str, steps: int, exact_history: bool) -> float:
    """Largest error at rho = 0.05 of a run from rho = 1, uniform in log rho."""
    scheduler = DEISSNScheduler(
        num_train_timesteps=202,
        trained_betas=smooth_betas(),
        solver=Multistep(order, interpolation, lower_order_final=False),
        final_sigmas_type="sigma_min",
    )
    levels = np.geomspace(START, END, steps + 1)
    scheduler.set_timesteps(sigmas=levels[:-1])
    data = Gaussian(scheduler.noise)
    start = x = torch.linspace(-1.0, 2.0, 7, dtype=torch.float64)
    for n, t in enumerate(scheduler.timesteps):
        if exact_history and n < order:
            x = data.flow(start, START, levels[n])
        x = scheduler.step(data.epsilon_at(x, levels[n]), t, x).prev_sample
    return (x - data.flow(start, START, END)).abs().max().item()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_with_exact_history_the_order_is_the_number_of_outputs(order, interpolation):
    errors = [error(order, interpolation, steps, exact_history=True) for steps in (120, 240)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.13)
    assert errors[1] < 2e-3


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_run_that_starts_itself_tends_to_order_two(order, interpolation):
    errors = [error(order, interpolation, steps, exact_history=False) for steps in (40, 80, 160, 320)]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert slopes[-1] == pytest.approx(2.0, abs=0.3)
    assert abs(slopes[-1] - 2.0) <= abs(slopes[0] - 2.0) + 0.02


# ------------------------------------------------------------------------------------------- score normalisation

DATA = Gaussian(vp_schedule(**SD_BETAS))
CENTRED = Gaussian(DATA.noise, mean=0.0)
POWER = {"grid": Power("t", 2.0)}


def distance(
    stats: ScoreStatistics | None,
    steps: int,
    order: int,
    interpolation: str = "t",
    data: Gaussian = DATA,
    of: str = "noise",
    corrector: Corrector | None = None,
    grid: dict[str, Any] = POWER,
) -> float:
    """RMS distance to the exact flow after a run down to the cleanest training time.

    The corrector is that of the default if None: there is one for the noise form with statistics.
    """
    if corrector is None:
        corrector = Corrector(MAX_ORDER, GAIN) if stats is not None and of == "noise" else Corrector()
    solver = Multistep(order, interpolation, of, corrector, lower_order_final=False)
    scheduler = DEISSNScheduler(**SD_BETAS, solver=solver, final_sigmas_type="sigma_min", stats=stats, **grid)
    scheduler.set_timesteps(steps)
    levels = [*called_levels(scheduler), data.noise.bottom]
    start = x = start_noise(32)
    for level, t in zip(levels, scheduler.timesteps, strict=False):
        x = scheduler.step(data.epsilon_at(x, level), t, x).prev_sample
    return rms(x, data.flow(start, levels[0], levels[-1]))


def exact_r(per_time: int):
    times = np.arange(0.0, 999.0 + 0.5 / per_time, 1.0 / per_time)
    rho = DATA.noise.rho(times)
    # Of centred data: E |x_0| of the prediction x_0 = std^2 / (std^2 + rho^2) y, y of deviation (std^2 + rho^2)^(1/2).
    nu = np.sqrt(2.0 / np.pi) * DATA.std**2 / np.sqrt(DATA.std**2 + rho**2)
    return replace(statistics_of(DATA.noise, times, DATA.r(rho)), mean_abs_data=nu)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [5, 10])
def test_with_the_exact_r_gaussian_data_are_solved_exactly(interpolation, order, steps):
    normalised = distance(exact_r(per_time=8), steps, order, interpolation)
    assert normalised < 1e-5
    assert normalised < 0.03 * distance(None, steps, order, interpolation)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("steps", "grid"),
    [(1, named("trailing")), (5, POWER), (7, named("exponential")), (10, named("karras")), (12, named("trailing"))],
    ids=str,
)
@pytest.mark.parametrize("corrector_order", [0, 3])
def test_with_the_exact_nu_so_are_centred_data_in_the_data_form(corrector_order, steps, grid, order, interpolation):
    """x_0 = nu(t) times what does not change along the flow, and nu is integrated exactly."""
    options = {"of": "data", "corrector": Corrector(corrector_order, GAIN), "grid": grid}
    normalised = distance(exact_r(8), steps, order, interpolation, CENTRED, **options)
    assert normalised < 2e-5
    assert normalised < 0.03 * distance(None, steps, order, interpolation, CENTRED, **options)


def test_only_ratios_of_nu_matter():
    record = exact_r(1)
    scaled = replace(record, mean_abs_data=0.01 * record.mean_abs_data)
    one, other = (distance(stats, 6, 3, data=CENTRED, of="data") for stats in (record, scaled))
    assert one == pytest.approx(other, rel=1e-6)


def test_the_data_form_is_not_divided_by_what_belongs_to_noise():
    record = exact_r(8)
    other = replace(record, mean_abs=0.5 + 0.0 * record.mean_abs, mean_square=None, mean_square_error=None)
    assert distance(other, 6, 2, data=CENTRED, of="data") < 2e-5


def test_what_is_left_is_the_table_of_r():
    coarse, fine = (distance(exact_r(per_time), 10, 3) for per_time in (1, 4))
    assert fine < coarse / 10.0  # linear interpolation of r: a sixteenth


def test_without_r_more_outputs_are_better():
    errors = [distance(None, 10, order) for order in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True) and errors[-1] > 1e-3
