"""The solver's cost: second differences along a run, the closed form of Gaussian data, and the grid made of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.exact.runs import sample, start_noise
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.collect.bends import IN_TAU, OF_TAU, Bends, solver_cost
from diffusers_deis_sn.collect.run import calibrate, recording
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.grid import EqualCost
from exact_pipelines import ExactPipeline, gaussian_network

SD = vp_schedule(**SD_BETAS)
SCALES = [0.3, 1.0]


# --------------------------------------------------------------------------------------------------- second differences


def bends_of(taus: list[float], clean: Callable[[float], Tensor]) -> dict[int, np.ndarray]:
    """What a run that is called at these times tells: by the number of a call, mean squares of its samples."""
    bends = Bends()
    told = [bends.square(step, tau, clean(tau)) for step, tau in enumerate(taus)]
    return dict(one for one in told if one is not None)


@given(
    steps=st.lists(st.floats(1e-3, 0.2), min_size=12, max_size=40),
    curve=st.tuples(*[st.floats(-3.0, 3.0)] * 3),
)
def test_the_bend_of_a_quadratic_is_exact_whatever_the_spacing(steps, curve):
    """Numbers are float32: a second difference over `apart` has the rounding of 1e-7 / apart^2."""
    taus = (1.0 - np.cumsum([0.0, *steps]) / (np.sum(steps) * 1.02)).tolist()
    line, square = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[1.0, 2.0], [-3.0, 0.0]])
    told = bends_of(taus, lambda tau: curve[0] + curve[1] * tau * line + curve[2] * tau**2 * square)
    assert told and list(told) == sorted(told) and 0 not in told
    for step, squares in told.items():
        rounding = 1e-5 / min(IN_TAU, OF_TAU * taus[step + 1]) ** 2  # of numbers up to ten
        assert np.sqrt(squares) == pytest.approx(abs(2.0 * curve[2]) * np.sqrt([2.5, 4.5]), abs=rounding, rel=1e-4)


def test_points_that_are_far_enough_apart_each_have_one_but_the_first_and_last():
    assert list(bends_of([1.0, 0.9, 0.8, 0.7, 0.5], lambda tau: torch.full((2, 3), tau))) == [1, 2, 3]
    assert bends_of([1.0, 0.9], lambda tau: torch.ones(2, 3)) == {}
    assert bends_of([1.0, 0.99, 0.98, 0.97, 0.96, 0.95], lambda tau: torch.ones(2, 3)) == {}


def test_memory_does_not_grow_with_the_number_of_steps():
    most = 0
    for number in (100, 1000, 4000):
        bends = Bends()
        for step, tau in enumerate(np.linspace(1.0, 1e-3, number)):
            bends.square(step, float(tau), torch.zeros(1, 1))
            most = max(most, len(bends._points))
    assert most < 60


def test_samples_are_told_apart():
    told = bends_of([1.0, 0.9, 0.8], lambda tau: torch.tensor([[tau**2, tau**2], [tau, 3.0]]))
    assert told[1] == pytest.approx([4.0, 0.0], abs=1e-3)


def test_intervals_without_a_bend_have_that_of_the_nearest():
    levels, progress = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.2, 0.3, 0.4])
    unknown = np.array([np.nan, 2.0, np.nan])
    cost = solver_cost(unknown, 0.1 * unknown, levels, progress, 1.5, 7)
    weight = 2.25 / (2.25 + levels[:-1] ** 2) * (1.0 - levels[:-1] / levels[1:]) ** 2 * 1e-4
    assert cost.values == pytest.approx(2.0 * weight, rel=1e-9) and cost.error == pytest.approx(0.2 * weight, rel=1e-9)
    assert (cost.order, cost.num_samples) == (6, 7)
    assert solver_cost(np.full(3, np.nan), np.full(3, np.nan), levels, progress, 1.5, 7) is None


# ------------------------------------------------------------------------------------------- Gaussian data, closed form


@cache
def measured(scale: float) -> ScoreStatistics:
    pipe = ExactPipeline(gaussian_network(SD, scale), (3, 16, 16))
    return calibrate(pipe, num_samples=8, trials=0, progress=False)


def bend(tau: np.ndarray, c: float) -> np.ndarray:
    """f'' for f = c^2 / sqrt(c^2 + rho(tau)^2); x_0 = A f along the flow of N(0, c^2), A normal."""

    def f(t: np.ndarray) -> np.ndarray:
        return c**2 / np.sqrt(c**2 + SD.level(t) ** 2)

    h = 1e-3  # a training time: t(rho) has a kink at each
    return (f(tau + h) - 2.0 * f(tau) + f(tau - h)) / h**2


def weights(rho: np.ndarray, c: float) -> np.ndarray:
    survives = c**2 / (c**2 + rho[:-1] ** 2)
    return survives * (1.0 - rho[:-1] / rho[1:]) ** 2 * np.diff(SD.progress(rho)) ** 4


@pytest.mark.parametrize("c", SCALES)
def test_each_cost_is_that_of_a_bend_within_the_points_it_is_made_of(c):
    """A second difference is a second derivative in between: so between the least and the largest there."""
    record = measured(c)
    rho = np.exp(-0.5 * record.log_snr)
    tau, cost = SD.progress(rho)[:-1], record.cost("solver").values / weights(rho, c)
    checked = 0
    for here, value in zip(tau, cost, strict=True):
        apart = min(IN_TAU, OF_TAU * here)
        window = here + np.linspace(-1.5 * apart - 0.01, 1.5 * apart + 0.01, 60)
        if window[0] > 0.01 and window[-1] < 0.99:  # below, kinks of t(rho); above, too few points
            seen = bend(window, c) ** 2
            least = 0.0 if np.any(np.diff(np.sign(bend(window, c)))) else seen.min()
            assert 0.93 * least <= value <= 1.07 * seen.max(), here
            checked += 1
    assert checked > 30


@pytest.mark.parametrize("c", SCALES)
def test_the_path_is_that_of_the_closed_form(c):
    record = measured(c)
    rho = np.exp(-0.5 * record.log_snr)
    exact = (weights(rho, c) * bend(np.maximum(SD.progress(rho)[:-1], 2e-3), c) ** 2) ** (1 / 6)
    lengths = record.cost("solver").values ** (1 / 6)
    assert lengths.sum() == pytest.approx(exact.sum(), rel=0.08)
    shares, expected = np.cumsum(lengths) / lengths.sum(), np.cumsum(exact) / exact.sum()
    assert shares == pytest.approx(expected, abs=0.03)


def test_the_mean_magnitude_of_predicted_data_too():
    """nu = (2 / pi)^(1/2) c^2 / (c^2 + rho^2)^(1/2): all times share the deviation of one set of normal numbers."""
    record = measured(0.3)
    exact = np.sqrt(2.0 / np.pi) * 0.09 / np.sqrt(0.09 + np.exp(-record.log_snr))
    assert np.max(np.abs(record.mean_abs_data - exact) / record.mean_abs_data_error) < 3.0
    assert np.ptp(record.mean_abs_data / exact) < 5e-3


# ----------------------------------------------------------------------------------------------------------- recordings


def test_every_recording_of_trajectories_has_it_and_makes_no_call_for_it():
    pipe = ExactPipeline(gaussian_network(SD, 0.5), (1, 4, 4))
    with recording(pipe) as recorder:
        for seed in (0, 1):
            pipe(generator=torch.Generator().manual_seed(seed), num_inference_steps=50)
    assert len(pipe.rows) == 2 * 51
    assert recorder.measured().cost("solver").num_samples == 2
    probed = calibrate(pipe, num_samples=2, num_inference_steps=50, costs=("corrector",), trials=0, progress=False)
    assert list(probed.costs) == ["corrector", "solver"]
    plain = calibrate(pipe, num_samples=2, num_inference_steps=50, trials=0, progress=False)
    assert list(plain.costs) == ["solver"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_split_into_batches_does_not_matter(size):
    options = {"num_samples": 5, "num_inference_steps": 40, "trials": 0, "progress": False}
    one, other = (
        calibrate(ExactPipeline(gaussian_network(SD, 0.5), (1, 4, 4)), batch_size=b, **options) for b in (5, size)
    )
    assert one.cost("solver").values == pytest.approx(other.cost("solver").values, rel=1e-6)
    assert one.cost("solver").error == pytest.approx(other.cost("solver").error, rel=1e-5)


def test_samples_that_have_nothing_to_do_with_each_other_have_none():
    pipe = ExactPipeline(gaussian_network(SD, 0.5), (1, 4, 4))
    data = 0.5 * torch.randn(4, 1, 4, 4, dtype=torch.float64)
    record = calibrate(pipe, num_samples=4, num_inference_steps=40, data=data, trials=0, progress=False)
    assert record.costs == {} and record.mean_abs_data is not None


def test_runs_that_are_all_too_short_have_none():
    pipe = ExactPipeline(gaussian_network(SD, 0.5), (1, 4, 4))
    with recording(pipe) as recorder:
        pipe(generator=[torch.Generator().manual_seed(0)] * 2, num_inference_steps=1)
    record = recorder.measured()
    assert len(record) == 2 and record.costs == {}


# ---------------------------------------------------------------------------------------------------------------- grids


@cache
def digits() -> ScoreStatistics:
    pipe = ExactPipeline(digits_mixture().epsilon, (1, 8, 8), DDIMScheduler(**SD_BETAS))
    return calibrate(pipe, num_samples=24, batch_size=24, seed=100, trials=0, progress=False)


def gaussian_with_all() -> ScoreStatistics:
    pipe = ExactPipeline(gaussian_network(SD, 0.5), (1, 4, 4))
    return calibrate(pipe, num_samples=4, num_inference_steps=50, costs=("corrector",), trials=0, progress=False)


def test_the_scheduler_prefers_it():
    runs, record = {}, gaussian_with_all()
    for cost in (None, "solver", "corrector"):
        scheduler = ScoreOptimalScheduler(**SD_BETAS, stats=record, grid=EqualCost(cost))
        scheduler.set_timesteps(8)
        runs[cost] = scheduler._plan.levels
        assert scheduler.path.order == {"corrector": 2}.get(cost, 6)
    assert runs[None] == runs["solver"] != runs["corrector"]
    other = ScoreOptimalScheduler(
        **SD_BETAS, stats=record, grid=EqualCost(velocity="unit")
    )  # a wish about the paper's costs
    assert other.path.order == 2


def test_its_grid_beats_trailing_times_on_the_exact_mixture():
    """Geometric mean over samples of the distance to the exact flow, order two without a corrector."""
    mixture, starts = digits_mixture(), start_noise(24, seed=2)
    exact = mixture.flow(starts, SD.top)

    def error(ours: type, steps: int) -> float:
        scheduler = ours(**SD_BETAS, stats=digits(), solver=Multistep(2))
        distance = sample(scheduler, mixture.epsilon, starts, steps) - exact
        return float(distance.square().mean(1).log().mean().mul(0.5).exp())

    shares = [error(ScoreOptimalScheduler, n) / error(DEISSNScheduler, n) for n in (5, 8, 12, 20)]
    assert np.exp(np.mean(np.log(shares))) < 0.85 and shares[0] < 0.5  # of twenty calls too many are near clean data
