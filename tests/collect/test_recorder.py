"""Costs measured through pipelines: the numbers against closed forms, and what is called for them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.collect.probing import _at_entered
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.run import calibrate, recording
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from oracles import gaussian_corrector_length
from records import gaussian_costs
from refusals import refused
from tiny_pipelines import BUILDERS, image, sd_components

BOTH = ("corrector", "predictor")
CALLS = {(): 0, ("corrector",): 1, ("predictor",): 15, BOTH: 16}
"""Calls for each interval between neighbouring times."""

QUICK: dict[str, Any] = {
    "num_samples": 4,
    "num_inference_steps": 4,
    "batch_size": 2,
    "trials": 0,
    "progress": False,
}


@cache
def _vp_level(betas: tuple[tuple[str, Any], ...], time: float) -> float:
    return float(vp_schedule(**dict(betas)).rho(time))


class ExactPipeline:
    """An unconditional pipeline with the exact network of data N(0, c^2), one scale c for each channel.

    With guidance g the network says eps_1 + g (eps - eps_1), where eps_1 belongs to data of scale one.

    Attributes:
        calls: What each call of the pipeline called its network with: pairs of level and y = x / alpha.
        ends: What each call of the pipeline ended with.
    """

    def __init__(self, scheduler: Any = None, scales: tuple[float, ...] = (0.3, 0.3, 0.3), size: int = 16):
        self.scheduler = DDIMScheduler() if scheduler is None else scheduler
        self.c = torch.tensor(scales, dtype=torch.float64)[:, None, None]
        self.size, self.dtype = size, torch.float64
        self.calls: list[list[tuple[float, Tensor]]] = []
        self.ends: list[Tensor] = []
        self.fail_at: int | None = None

    def network(self, x: Tensor, t: Tensor, guidance: float) -> Tensor:
        """In the coordinates of the process that the scheduler's config names; by formulas written here alone."""
        config, time = self.scheduler.config, float(t)
        options = getattr(self.scheduler, "options", {})
        process = "edm" if "sigma_schedule" in config else options.get("process", "vp")
        if process == "vp":
            betas = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
            rho = _vp_level(tuple((name, config[name]) for name in betas), time)
            alpha = 1.0 / (1.0 + rho**2) ** 0.5
        else:
            rho, alpha = (time if process == "ve" else float(np.exp(4.0 * time))), 1.0
        sigma = rho * alpha
        if process == "edm":  # what the network is given was scaled
            scale = config["sigma_data"]
            x = x * (rho**2 + scale**2) ** 0.5
        y = (x / alpha).double()
        self.calls[-1].append((rho, y))
        eps = rho * y / (self.c**2 + rho**2)
        eps = (1.0 - guidance) * rho * y / (1.0 + rho**2) + guidance * eps
        x0 = y - rho * eps
        if process == "edm":
            total = rho**2 + scale**2
            return (x0 - scale**2 / total * y) / (rho * scale / total**0.5)
        return {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}[config["prediction_type"]]

    @torch.no_grad()
    def __call__(self, batch_size=1, generator=None, num_inference_steps=50, sigmas=None, guidance_scale=1.0):
        self.calls.append([])
        if len(self.calls) == self.fail_at:
            raise RuntimeError("out of memory")
        event = (len(self.c), self.size, self.size)
        generators = generator if isinstance(generator, list) else [generator] * batch_size
        noise = torch.stack([torch.randn(event, generator=one, dtype=torch.float64) for one in generators])
        if sigmas is None:
            self.scheduler.set_timesteps(num_inference_steps)
        else:
            self.scheduler.set_timesteps(sigmas=sigmas)
        x = (noise * self.scheduler.init_noise_sigma).to(self.dtype)
        for t in self.scheduler.timesteps:
            output = self.network(self.scheduler.scale_model_input(x, t), t, guidance_scale)
            x = self.scheduler.step(output.to(self.dtype), t, x).prev_sample
        self.ends.append(x)
        return SimpleNamespace(images=x)


def levels_of(statistics: ScoreStatistics) -> np.ndarray:
    return np.exp(-0.5 * statistics.log_snr)


def euler_factor(sigma: np.ndarray, c: float) -> np.ndarray:
    """m of an Euler step F y = m y from each level to the cleaner one before it, for Gaussian data."""
    entered, left = sigma[:-1], sigma[1:]
    return (c**2 + left * entered) / (c**2 + left**2)


# -------------------------------------------------------------------------------------------- against closed forms


@pytest.fixture(scope="module")
def gaussian() -> ScoreStatistics:
    options = {"num_inference_steps": 200, "tolerance": 0.0, "trials": 0, "progress": False}
    return calibrate(ExactPipeline(), num_samples=8, costs=BOTH, **options)


def test_the_corrector_cost_of_gaussian_data_within_the_error_bars(gaussian):
    """Equation (13) has a closed form, and the probe makes no error but that of its samples.

    Along the flow a Gaussian sample only changes its length, so that all intervals share one deviation: the ratio is
    constant but for what a run of second order makes wrong.
    """
    cost, exact = gaussian.cost("corrector"), gaussian_costs(gaussian.log_snr)["corrector"]
    assert cost.order == 2 and cost.num_samples == 8 and len(cost) == len(gaussian) - 1 == 199
    assert np.max(np.abs(cost.values - exact.values) / cost.error) < 3.5
    assert np.max(cost.error / cost.values) < 0.03  # 8 samples of 768 components: (2 / 6144)^(1/2) = 1.8 percent
    ratio = cost.values / exact.values
    assert np.ptp(ratio) < 0.01


def test_the_predictor_cost_of_gaussian_data_within_the_error_bars(gaussian):
    """At leading order, with the change of eps along the flow from one Euler step.

    For eps = sigma y / V that change is (c^2 / (V V')) y, and the cost sigma'^2 Delta^4 c^4 / (V^3 V'^2): equation (14)
    but for the factor m^2 of the Euler step, which tends to one.
    """
    cost, exact = gaussian.cost("predictor"), gaussian_costs(gaussian.log_snr)["predictor"]
    leading = exact.values * euler_factor(levels_of(gaussian), 0.3) ** 2
    assert cost.order == 4 and cost.num_samples == 8
    assert np.max(np.abs(cost.values - leading) / cost.error) < 3.5
    assert np.ptp(cost.values / leading) < 0.01
    # The fourth root of m^2 is at most a few percent from one where the path has its length.
    lengths, expected = cost.values**0.25, exact.values**0.25
    assert lengths.sum() == pytest.approx(expected.sum(), rel=0.03)
    assert np.cumsum(lengths) / lengths.sum() == pytest.approx(np.cumsum(expected) / expected.sum(), abs=0.01)


@pytest.mark.parametrize("cost", BOTH)
def test_data_of_several_scales(cost):
    """The mean over components of scales that differ 26 times; from noised data, which know no error of a run."""
    scales = (0.5, 1.3, 0.05)
    pipe = ExactPipeline(scales=scales)
    data = pipe.c * torch.randn(16, 3, 16, 16, dtype=torch.float64)
    options = {"num_inference_steps": 30, "num_samples": 16, "tolerance": 0.0, "trials": 0, "progress": False}
    statistics = calibrate(pipe, costs=(cost,), data=data, **options)
    single = [gaussian_costs(statistics.log_snr, (c,))[cost].values for c in scales]
    if cost == "predictor":
        single = [one * euler_factor(levels_of(statistics), c) ** 2 for one, c in zip(single, scales, strict=True)]
    measured = statistics.cost(cost)
    assert np.max(np.abs(measured.values - np.mean(single, axis=0)) / measured.error) < 4.5
    assert measured.values == pytest.approx(np.mean(single, axis=0), rel=0.1)


class BumpsPipeline(ExactPipeline):
    """Components that are half N(-1, 0.3^2), half N(1, 0.3^2)."""

    def network(self, x: Tensor, t: Tensor, guidance: float) -> Tensor:
        rho = float(t)
        self.calls[-1].append((rho, x))
        variance = 0.09 + rho**2
        return rho / variance * (x - torch.tanh(x / variance))


def test_both_costs_of_two_bumps_from_noised_data():
    """Values by quadrature of a step from 0.8 to 0.79: 2.44414 Delta^2 and 2.91792 Delta^4, for Delta = -0.01.

    40,000 components are known to six percent where they bend most; finite differences add one or two.
    """
    bits, width = (torch.randn(16, 1, 50, 50, dtype=torch.float64) for _ in range(2))
    data = torch.sign(bits) + 0.3 * width
    pipe = BumpsPipeline(DEISSNScheduler(process="ve", sigma_min=0.79, sigma_max=1.0), scales=(1.0,), size=50)
    options = {"num_samples": 16, "sigmas": [1.0, 0.8, 0.79], "tolerance": 0.0, "trials": 0}
    options["progress"] = False
    statistics = calibrate(pipe, costs=BOTH, data=data, **options)
    assert levels_of(statistics) == pytest.approx([0.79, 0.8, 1.0])
    for name, expected, systematic in (("corrector", 2.44413636e-4, 0.0), ("predictor", 2.91792302e-8, 0.02)):
        cost = statistics.cost(name)
        assert abs(cost.values[0] - expected) < 3.5 * cost.error[0] + systematic * expected
        assert cost.error[0] < 0.08 * expected


# ------------------------------------------------------------------------------------ one measurement, many processes

TIMES = np.array([*range(999, 39, -60), 27, 15, 8, 3, 0], dtype=float)
SD = vp_schedule(**SD_BETAS)
SIGMAS = SD.rho(TIMES).tolist()
RANGE = {"sigma_min": SD.bottom, "sigma_max": SD.top}
SCHEDULERS = {
    "vp": lambda: DDIMScheduler(**SD_BETAS),
    "vp, v": lambda: DDIMScheduler(**SD_BETAS, prediction_type="v_prediction"),
    "vp, sample": lambda: DDIMScheduler(**SD_BETAS, prediction_type="sample"),
    "ve": lambda: DEISSNScheduler(process="ve", **RANGE),
    "edm": lambda: EDMEulerScheduler(**RANGE, sigma_data=0.7),
}


def at_equal_levels(process: str, **options: Any) -> ScoreStatistics:
    pipe = ExactPipeline(SCHEDULERS[process](), scales=(0.5, 1.3), size=4)
    return calibrate(pipe, costs=BOTH, num_samples=8, sigmas=SIGMAS, trials=0, progress=False, **options)


@pytest.mark.parametrize("process", [name for name in SCHEDULERS if name != "vp"])
def test_costs_are_those_of_the_data_and_not_of_the_process(process):
    """In y = x / alpha, with v = sigma / alpha, every process is variance exploding: equal levels, equal costs.

    From noised data the samples are the same numbers; what differs is rounding, of float32 times above all.
    """
    data = torch.randn(8, 2, 4, 4, dtype=torch.float64)
    one, other = (at_equal_levels(name, data=data) for name in ("vp", process))
    assert levels_of(other) == pytest.approx(levels_of(one), rel=1e-6)
    np.testing.assert_allclose(other.mean_abs, one.mean_abs, rtol=1e-5)
    for name in BOTH:
        np.testing.assert_allclose(other.cost(name).values, one.cost(name).values, rtol=1e-3)
        np.testing.assert_allclose(other.cost(name).error, one.cost(name).error, rtol=1e-3)


@pytest.mark.parametrize("process", ["ve", "edm"])
def test_so_are_costs_along_trajectories(process):
    """Their samples start from the same numbers; a run of 21 steps in other variables ends nearby."""
    one, other = (at_equal_levels(name) for name in ("vp", process))
    for name in BOTH:
        np.testing.assert_allclose(other.cost(name).values, one.cost(name).values, rtol=0.15)
        assert other.cost(name).values[8:] == pytest.approx(one.cost(name).values[8:], rel=0.01)


def test_without_rescaling_the_sample_the_costs_would_be_others():
    """Data of unit variance: x_t of a variance-preserving process has the same score at all times, and y has not."""
    pipe = ExactPipeline(scales=(1.0,), size=4)
    cost = calibrate(pipe, costs=("corrector",), **(QUICK | {"num_inference_steps": 20})).cost("corrector")
    assert np.max(cost.values) > 0.1


def test_v_prediction_gives_what_epsilon_gives():
    """Along trajectories of the pipeline's own times."""
    statistics, reference = (
        calibrate(ExactPipeline(DDIMScheduler(prediction_type=name), size=4), costs=BOTH, **QUICK)
        for name in ("v_prediction", "epsilon")
    )
    for name in BOTH:
        np.testing.assert_allclose(statistics.cost(name).values, reference.cost(name).values, rtol=1e-6)
    assert statistics.origin.prediction_type == "v_prediction"


# -------------------------------------------------------------------------------------- what is called, and what not


@pytest.mark.parametrize("costs", [(), ("corrector",), BOTH])
def test_r_and_trajectories_are_the_same_to_the_last_bit_with_and_without_costs(costs):
    """At 200 steps, which no level has to be put between."""
    plain, probed = ExactPipeline(size=4), ExactPipeline(size=4)
    options = {"num_samples": 2, "num_inference_steps": 200, "batch_size": 2, "trials": 0, "progress": False}
    without, measured = calibrate(plain, **options), calibrate(probed, costs=costs, **options)
    for name in ("timesteps", "log_snr", "mean_abs", "mean_abs_error", "mean_square", "mean_square_error"):
        assert np.array_equal(getattr(measured, name), getattr(without, name)), name
    assert all(torch.equal(one, other) for one, other in zip(plain.ends, probed.ends, strict=True))
    assert measured.origin == without.origin
    assert tuple(measured.costs) == (*costs, "solver")  # which is seen along the trajectories, and is the same, too
    assert without.costs == {"solver": measured.cost("solver")}
    mains = [len(calls) for calls in plain.calls]
    assert mains == [200]  # the last of them at the cleanest level
    assert [len(calls) for calls in probed.calls] == [200 + 199 * CALLS[costs]]


@pytest.mark.parametrize("process", ["vp", "ve", "edm"])
def test_the_corrector_asks_about_the_same_sample_at_the_next_level(process):
    pipe = ExactPipeline(SCHEDULERS[process](), size=4)
    calibrate(pipe, costs=("corrector",), sigmas=SIGMAS, **QUICK)
    calls = pipe.calls[0]
    assert len(calls) == 2 * len(SIGMAS) - 1
    for n, sigma in enumerate(SIGMAS[:-1]):
        (here, y), (there, probed), (after, moved) = calls[2 * n : 2 * n + 3]
        assert (here, there, after) == pytest.approx((sigma, SIGMAS[n + 1], SIGMAS[n + 1]), rel=1e-6)
        assert torch.allclose(probed, y, rtol=1e-6, atol=0.0)  # which float32 times of EDM models allow
        assert not torch.allclose(moved, y, rtol=1e-3)


def test_the_predictor_asks_about_samples_a_tenth_of_sigma_away():
    """At either level, along the score, along the change of eps, and to both sides of two vectors of signs."""
    pipe = ExactPipeline(SCHEDULERS["vp"](), scales=(0.5, 1.3), size=4)
    calibrate(pipe, costs=("predictor",), sigmas=SIGMAS, **QUICK)
    calls = pipe.calls[0]
    for n, (sigma, entered) in enumerate(pairwise(SIGMAS)):
        (_, y), *probes = calls[16 * n : 16 * (n + 1)]
        levels = np.array([level for level, _ in probes])
        here = [shifted for level, shifted in probes if level == pytest.approx(sigma, rel=1e-6)]
        assert len(here) == 8 and np.sum(np.isclose(levels, entered, rtol=1e-6)) == 7
        distances = torch.stack([(shifted - y).square().mean((1, 2, 3)).sqrt() / sigma for shifted in here])
        assert torch.allclose(distances, torch.full_like(distances, 0.1), rtol=1e-9)
        assert all(torch.allclose(here[k] + here[k + 1], 2.0 * y, atol=1e-9 * sigma) for k in (0, 2, 4, 6))
        signs = [(here[k] - y) / (0.1 * sigma) for k in (4, 6)]
        assert all(torch.allclose(one.abs(), torch.ones_like(one)) for one in signs)
        assert not torch.allclose(signs[0], signs[1])


def test_probing_stops_where_the_tolerance_is_met():
    """Two batches of four make the eight samples that an error is believed from; the length is known to two percent."""
    pipe = ExactPipeline()
    options = {"num_inference_steps": 50, "num_samples": 16, "batch_size": 4, "trials": 0, "progress": False}
    statistics = calibrate(pipe, costs=BOTH, tolerance=0.02, **options)
    intervals = len(statistics) - 1
    assert [len(calls) for calls in pipe.calls] == [intervals * 17 + 1] * 2 + [intervals + 1] * 2
    assert {statistics.cost(name).num_samples for name in BOTH} == {8}
    assert statistics.cost("solver").num_samples == 16
    assert np.all(statistics.num_samples == 16)
    assert all(statistics.cost(name).uncertainty <= 0.02 for name in BOTH)


def test_costs_stop_one_by_one_and_a_tolerance_of_zero_stops_none():
    """L^(1/4) is known twice as well as L^(1/2) from the same samples."""
    for tolerance, extra in ((0.005, [16, 16, 1, 1]), (0.0, [16, 16, 16, 16]), (1e-9, [16, 16, 16, 16])):
        pipe = ExactPipeline()
        options = {"num_inference_steps": 20, "num_samples": 16, "batch_size": 4, "trials": 0, "progress": False}
        statistics = calibrate(pipe, costs=BOTH, tolerance=tolerance, **options)
        intervals = len(statistics) - 1
        assert [len(calls) for calls in pipe.calls] == [intervals + 1 + intervals * probes for probes in extra]
        assert statistics.cost("corrector").num_samples == 16
        assert statistics.cost("predictor").num_samples == (8 if tolerance == 0.005 else 16)


def test_fewer_samples_than_an_error_is_believed_from_are_all_probed():
    pipe = ExactPipeline()
    calibrate(pipe, costs=("corrector",), tolerance=0.9, **(QUICK | {"num_samples": 7, "batch_size": 1}))
    assert len({len(calls) for calls in pipe.calls}) == 1 and len(pipe.calls) == 7


def test_the_split_into_batches_does_not_matter():
    options = QUICK | {"num_samples": 7, "costs": BOTH, "tolerance": 0.0}
    records = [calibrate(ExactPipeline(size=4), **(options | {"batch_size": size})) for size in (1, 3, 100)]
    for record in records[1:]:
        assert record.origin == records[0].origin
        for name in BOTH:
            one, other = record.cost(name), records[0].cost(name)
            np.testing.assert_allclose(one.values, other.values, rtol=1e-9)
            np.testing.assert_allclose(one.error, other.error, rtol=1e-6)
            assert one.num_samples == other.num_samples == 7


def test_the_seed_decides_the_signs_as_well():
    """On a network whose cost depends on them: two components that look at one another."""

    class Coupled(ExactPipeline):
        def network(self, x: Tensor, t: Tensor, guidance: float) -> Tensor:
            return super().network(x, t, guidance) * torch.tanh(x.sum((1, 2, 3), keepdim=True))

    options = QUICK | {"costs": ("predictor",), "sigmas": SIGMAS}
    first, again, other = (
        calibrate(Coupled(SCHEDULERS["vp"](), size=2), seed=seed, **options).cost("predictor") for seed in (5, 5, 6)
    )
    assert first == again and not np.allclose(first.values, other.values, rtol=1e-3)
    batched = calibrate(Coupled(SCHEDULERS["vp"](), size=2), seed=5, **(options | {"batch_size": 4}))
    np.testing.assert_allclose(batched.cost("predictor").values, first.values, rtol=1e-6)


@pytest.mark.parametrize("costs", [("corrector",), ("predictor",)])
def test_the_global_generator_is_left_alone(costs):
    """Also by the first measurement of a process, and where somebody calls the pipeline without generators."""
    _at_entered.cache_clear()
    before = torch.random.get_rng_state()
    calibrate(ExactPipeline(size=2), costs=costs, **QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)
    ends = []
    for measured in ((), costs):
        pipe = ExactPipeline(SCHEDULERS["vp"](), size=2)
        torch.manual_seed(0)
        with recording(pipe, costs=measured):
            for _ in range(2):
                pipe(batch_size=2, sigmas=SIGMAS)
        ends.append(torch.stack(pipe.ends))
    assert torch.equal(*ends)


@pytest.mark.parametrize("cost", BOTH)
def test_standard_errors_are_honest(cost):
    """The spread over measurements with other seeds is what each of them said, on the average."""
    values, errors = [], []
    ends = {"sigma_min": SIGMAS[9], "sigma_max": SIGMAS[6]}
    options = {"num_samples": 8, "sigmas": SIGMAS[6:10], "tolerance": 0.0, "trials": 0, "progress": False}
    for seed in range(0, 4000, 100):
        pipe = ExactPipeline(DEISSNScheduler(process="ve", **ends), (0.5, 1.3), 2)
        measured = calibrate(pipe, costs=(cost,), seed=seed, **options).cost(cost)
        values.append(measured.values)
        errors.append(measured.error)
    spread = np.std(values, axis=0, ddof=1)
    said = np.sqrt(np.mean(np.square(errors), axis=0))
    assert spread == pytest.approx(said, rel=0.35)  # 40 measurements know their spread to a tenth


# ------------------------------------------------------------------------------------------------- from noised data


@pytest.mark.parametrize("cost", BOTH)
def test_costs_from_noised_data(cost):
    """Fresh noise at every level: independent deviations, each within its error."""
    data = 0.3 * torch.randn(16, 3, 16, 16, dtype=torch.float64)
    options = {"num_samples": 16, "num_inference_steps": 60, "tolerance": 0.0, "trials": 0, "progress": False}
    statistics = calibrate(ExactPipeline(), costs=(cost,), data=data, **options)
    exact = gaussian_costs(statistics.log_snr)[cost].values
    if cost == "predictor":
        exact = exact * euler_factor(levels_of(statistics), 0.3) ** 2
    measured = statistics.cost(cost)
    z = (measured.values - exact) / measured.error
    assert np.max(np.abs(z)) < 5.0 and 0.5 < np.sqrt(np.mean(z**2)) < 1.7
    assert statistics.origin.solver.startswith("noised data at times uniform in t^(1/2)")
    r = np.sqrt(2.0 / np.pi) * levels_of(statistics) / np.sqrt(0.09 + levels_of(statistics) ** 2)
    assert np.max(np.abs(statistics.mean_abs - r) / statistics.mean_abs_error) < 5.0


def test_data_are_used_in_turn_whatever_the_batches():
    """Sample i is number i, and has its own noise."""
    data = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    options = QUICK | {"num_samples": 5, "costs": ("corrector",), "tolerance": 0.0}
    in_turn = calibrate(ExactPipeline(size=4), data=data, **options)
    for other, size in ((data[[0, 1, 2, 0, 1]], 3), (data, 1)):
        again = calibrate(ExactPipeline(size=4), data=other, **(options | {"batch_size": size}))
        np.testing.assert_allclose(again.cost("corrector").values, in_turn.cost("corrector").values, rtol=1e-9)
    others = calibrate(ExactPipeline(size=4), data=data.flip(0), **options)
    assert not np.allclose(others.cost("corrector").values, in_turn.cost("corrector").values, rtol=1e-3)


def test_data_without_costs_are_for_r_alone():
    data = 0.3 * torch.randn(8, 3, 16, 16, dtype=torch.float64)
    statistics = calibrate(ExactPipeline(), data=data, num_samples=8, num_inference_steps=20, trials=0, progress=False)
    assert statistics.costs == {} and "noised data" in statistics.origin.solver
    assert len(statistics) == 20 + 1 and statistics.timesteps[[0, -1]].tolist() == [0.0, 999.0]


def test_trajectories_are_said_to_be_trajectories(gaussian):
    assert gaussian.origin.solver.startswith("DEIS order 2") and "noised" not in gaussian.origin.solver


@pytest.mark.parametrize("shape", [(4, 3, 4, 5), (4, 1, 4, 4), (4, 48)])
def test_data_of_another_shape_are_refused(shape):
    pipe = ExactPipeline(size=4)
    scheduler = pipe.scheduler
    with pytest.raises(CalibrationError, match=r"`data` must be samples as the scheduler sees them.*\(2, 3, 4, 4\)"):
        calibrate(pipe, data=torch.zeros(shape), **QUICK)
    assert pipe.scheduler is scheduler


# ----------------------------------------------------------------------------------------------------------- guidance


def test_the_guided_output_is_what_costs_are_of():
    """A linear network k(sigma) y, guided: L_c = (k' - (sigma' / sigma) k)^2 (c^2 + sigma^2) at noised data."""
    data = 0.3 * torch.randn(16, 3, 16, 16, dtype=torch.float64)
    options = {"num_samples": 16, "num_inference_steps": 60, "tolerance": 0.0, "trials": 0, "progress": False}
    statistics = calibrate(ExactPipeline(), costs=("corrector",), data=data, guidance_scale=4.0, **options)
    sigma = levels_of(statistics)
    k = sigma * (4.0 / (0.09 + sigma**2) - 3.0 / (1.0 + sigma**2))
    entered, left = sigma[:-1], sigma[1:]
    exact = (k[:-1] - entered / left * k[1:]) ** 2 * (0.09 + left**2)
    cost = statistics.cost("corrector")
    assert np.max(np.abs(cost.values - exact) / cost.error) < 5.0
    assert statistics.origin.guidance_scale == 4.0


def tiny(name: str, **options: Any) -> ScoreStatistics:
    pipe, call_kwargs = BUILDERS[name]()
    for key in ("prompt", "output_type"):
        call_kwargs.pop(key, None)
    return calibrate(pipe, ["a red seven", "a blue two"], **(QUICK | call_kwargs | options))


def test_stable_diffusion_with_guidance():
    options = {"costs": ("corrector",), "num_samples": 2}
    plain, guided = (tiny("sd", guidance_scale=scale, **options) for scale in (1.0, 9.0))
    assert np.all(np.isfinite(guided.cost("corrector").values)) and np.all(guided.cost("corrector").values > 0.0)
    ratio = guided.cost("corrector").values / plain.cost("corrector").values
    assert np.max(np.abs(ratio - 1.0)) > 1e-2


# ------------------------------------------------------------------------------------- pipelines of other manners


@pytest.mark.parametrize("costs", [("corrector",), BOTH])
def test_image_to_image_begins_with_a_step_and_measures_what_it_visits(costs):
    """Strength 0.4 of five steps; a visited time is a call, and the first of them is no probe."""
    pipe, arguments = BUILDERS["sd_img2img"]()
    calls: list[float] = []
    pipe.unet.register_forward_pre_hook(lambda _, args: calls.append(float(args[1])))
    options = QUICK | {"num_inference_steps": 5, "num_samples": 2}
    statistics = calibrate(pipe, ["x"], costs=costs, image=arguments["image"], strength=0.4, **options)
    assert statistics.timesteps[-1] == calls[0] == 399.0
    assert {0.0, 199.0, 399.0} < set(statistics.timesteps)
    intervals = len(statistics) - 1
    assert len(calls) == 1 + intervals * (1 + CALLS[costs])
    for name in costs:
        cost = statistics.cost(name)
        assert len(cost) == intervals and np.all(cost.values >= 0.0) and np.any(cost.values > 0.0)
    # A scheduler can use them from the level on that they begin at.
    ScoreOptimalScheduler(**SD_BETAS, stats=statistics, start_time=0.4).set_timesteps(4)


def test_image_to_image_begins_at_a_multiple_of_the_calls_of_a_step():
    pipe, arguments = BUILDERS["sd_img2img"]()
    with recording(pipe, costs=("corrector",)) as recorder:
        pipe("x", image=arguments["image"], strength=0.4, num_inference_steps=5, output_type="latent")
    assert recorder.order == 2 and recorder.begin_index == 3 * 2
    assert recorder.step_index == len(recorder.timesteps)


def inpainting(mask: float) -> dict[str, Any]:
    return {"image": image(), "mask_image": torch.full((1, 1, 32, 32), mask), "height": 32, "width": 32}


def test_a_pipeline_that_paints_within_a_mask_is_refused():
    from diffusers import StableDiffusionInpaintPipeline

    pipe = StableDiffusionInpaintPipeline(**sd_components())
    pipe.set_progress_bar_config(disable=True)
    scheduler = pipe.scheduler
    with pytest.raises(CalibrationError, match=r"paint within a mask.*plain text-to-image pipeline.*costs=\(\)"):
        calibrate(pipe, ["x"], costs=("corrector",), **inpainting(0.0), **QUICK)
    assert pipe.scheduler is scheduler
    assert set(calibrate(pipe, ["x"], **inpainting(0.0), **QUICK).costs) <= {"solver"}  # which asks for nothing


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_fine_for_the_corrector_and_not_for_the_predictor(dtype):
    pipe = ExactPipeline()
    pipe.dtype = dtype
    options = QUICK | {"num_samples": 8, "batch_size": 8, "num_inference_steps": 20}
    statistics = calibrate(pipe, costs=("corrector",), **options)
    assert statistics.origin.dtype == str(dtype).removeprefix("torch.")
    exact = gaussian_costs(statistics.log_snr)["corrector"].values
    length = np.sqrt(statistics.cost("corrector").values).sum()
    assert length == pytest.approx(np.sqrt(exact).sum(), rel=0.03)
    with pytest.raises(CalibrationError, match=r"predictor's cost .* torch.\w*float16 .*costs=\('corrector',\)"):
        calibrate(pipe, costs=BOTH, **options)
    assert isinstance(pipe.scheduler, DDIMScheduler)


@pytest.mark.parametrize("names", [("forward",), ("corrector", "Predictor")])
def test_unknown_costs_are_refused_before_anything_is_called(names):
    pipe = ExactPipeline()
    with pytest.raises(CalibrationError, match="`costs` may hold corrector and predictor, got '"):
        calibrate(pipe, costs=names, **QUICK)
    assert pipe.calls == [] and isinstance(pipe.scheduler, DDIMScheduler)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, "small", None, True, float("nan")])
def test_bad_tolerances_are_refused_before_anything_is_called(tolerance):
    pipe = ExactPipeline()
    with pytest.raises(CalibrationError, match="`tolerance`"):
        calibrate(pipe, costs=("corrector",), tolerance=tolerance, **QUICK)
    assert pipe.calls == []


def test_a_cost_named_twice_is_measured_once():
    pipe = ExactPipeline(size=2)
    statistics = calibrate(pipe, costs=["corrector", "corrector"], **QUICK)
    assert set(statistics.costs) - {"solver"} == {"corrector"}
    assert len(pipe.calls[0]) == 2 * len(statistics) - 1


def test_outputs_that_are_not_finite_are_refused_in_probes_too():
    class Breaking(ExactPipeline):
        def network(self, x: Tensor, t: Tensor, guidance: float) -> Tensor:
            output = super().network(x, t, guidance)
            return output * float("nan") if len(self.calls[-1]) == 4 else output  # a probe

    pipe = Breaking()
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate(pipe, costs=("corrector",), **QUICK)
    assert isinstance(pipe.scheduler, DDIMScheduler)


@pytest.mark.parametrize("fail_at", [1, 2])
def test_the_scheduler_is_put_back_after_an_error(fail_at):
    pipe = ExactPipeline()
    scheduler, pipe.fail_at = pipe.scheduler, fail_at
    with pytest.raises(RuntimeError, match="out of memory"):
        calibrate(pipe, costs=BOTH, **QUICK)
    assert pipe.scheduler is scheduler


# ------------------------------------------------------------------------------------- levels between those asked for


def test_few_steps_give_the_length_of_many():
    """Four steps asked for, from 157 to 0.01: levels between make their cost local, a fifth too long at most."""
    coarse = calibrate(ExactPipeline(), costs=("corrector",), **(QUICK | {"num_samples": 8, "batch_size": 8}))
    length = np.sqrt(coarse.cost("corrector").values).sum()
    sigma = levels_of(coarse)[[0, -1]]
    exact = np.diff(gaussian_corrector_length(sigma, 0.3))[0]
    assert exact < length < 1.2 * exact


# ---------------------------------------------------------------------------------------------------- by hand, and use


def test_people_may_call_the_pipeline_themselves():
    pipe = ExactPipeline(size=4)
    expected = calibrate(pipe, costs=("corrector",), tolerance=0.0, **QUICK)
    scheduler = pipe.scheduler
    with recording(pipe, guidance_scale=1.0, seed=0, costs=("corrector",), dense=True) as recorder:
        assert isinstance(pipe.scheduler, RecordingScheduler) and recorder.uncertainty("corrector") == float("inf")
        for seed in range(4):
            pipe(generator=torch.Generator().manual_seed(seed), num_inference_steps=4)
        assert recorder.num_samples == 4 and 0.0 < recorder.uncertainty("corrector") < 1.0
    assert pipe.scheduler is scheduler
    measured = recorder.measured()
    assert measured.origin == expected.origin
    np.testing.assert_allclose(measured.cost("corrector").values, expected.cost("corrector").values, rtol=1e-9)
    np.testing.assert_allclose(measured.cost("corrector").error, expected.cost("corrector").error, rtol=1e-6)


def test_a_run_that_was_broken_off_has_no_cost_of_what_it_left_out():
    pipe = ExactPipeline(size=4)
    with recording(pipe, costs=("corrector",)) as recorder:
        pipe.scheduler.set_timesteps(4)
        x = torch.ones(2, 3, 4, 4, dtype=torch.float64)
        for t in pipe.scheduler.timesteps[:5]:  # two steps with their probes, and a third without
            x = pipe.scheduler.step(0.5 * x, t, x).prev_sample
    statistics = recorder.measured()
    assert len(statistics) == 3 and len(statistics.cost("corrector")) == 2


def test_a_record_makes_the_times_that_the_exact_costs_make(gaussian, tmp_path):
    """From a file, through the scheduler: one deviation in all intervals leaves equal shares equal."""
    exact = gaussian.with_costs(**gaussian_costs(gaussian.log_snr))
    for cost, apart in (("corrector", 2e-3), ("predictor", 1e-2)):
        scheduler = ScoreOptimalScheduler(grid=EqualCost(cost), stats=gaussian.save(tmp_path))
        scheduler.set_timesteps(12)
        path = ScoreOptimalScheduler(grid=EqualCost(cost), stats=exact).path
        shares = path.position(scheduler.noise.rho(scheduler.timesteps.double().numpy())) / path.path_length
        assert shares == pytest.approx(np.linspace(1.0, 0.0, 13)[:-1], abs=apart)


def test_what_is_measured_does_not_depend_on_the_scheduler_that_was_there(gaussian):
    options = QUICK | {"costs": BOTH}
    expected = calibrate(ExactPipeline(size=4), **options)
    changes = {
        "solver": "heun",
        "start_time": 0.5,
        "final_sigmas_type": "sigma_min",
        "grid": EqualCost(velocity="unit"),
    }
    for there in (
        ScoreOptimalScheduler(stats=gaussian, whole_timesteps=True, **changes),
        ScoreOptimalScheduler(normalise=False, solver=Multistep(of="data"), grid=EqualCost("predictor")),
        DEISSNScheduler(stats=gaussian, use_exponential_sigmas=True),
    ):
        pipe = ExactPipeline(there, size=4)
        assert calibrate(pipe, **options) == expected
        assert pipe.scheduler is there


# ------------------------------------------------------------------------------------- what a measurement leaves behind


def test_a_tolerance_that_was_missed_is_said_with_what_it_would_take(caplog):
    options = {"num_samples": 8, "num_inference_steps": 20, "trials": 0, "progress": False, "costs": ("corrector",)}
    calibrate(ExactPipeline(), tolerance=1e-6, **options)
    assert len(caplog.records) == 1 and "tolerance=1e-06" in caplog.text and "8 samples" in caplog.text
    caplog.clear()
    calibrate(ExactPipeline(), tolerance=0.0, **options)
    calibrate(ExactPipeline(), tolerance=0.5, **options)
    assert not caplog.records


@pytest.mark.parametrize("costs", [("corrector",), ("predictor",)])
def test_tf32_is_off_while_the_predictor_is_measured_and_back_as_it_was(costs):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        with recording(ExactPipeline(), costs=costs):
            assert torch.backends.cudnn.allow_tf32 is (costs == ("corrector",))
        assert torch.backends.cudnn.allow_tf32 is True
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.zeros(0, 4), "(0, 4)"),
        (np.zeros((2, 4)), "ndarray"),
        (torch.zeros(3), "(3,)"),
        (torch.full((2, 4), torch.nan), "finite"),
    ],
)
def test_data_that_are_no_samples_are_refused_before_the_pipeline_is_called(data, words):
    refused(CalibrationError, ["`data`", words], calibrate, ExactPipeline(), data=data)


def test_one_name_is_no_tuple_of_costs():
    words, pipe = ["`costs`", "corrector and predictor", "tuple of names", "'corrector'"], ExactPipeline()
    refused(CalibrationError, words, calibrate, pipe, costs="corrector", progress=False)
    assert pipe.calls == [] and isinstance(pipe.scheduler, DDIMScheduler)


def test_a_run_cut_within_the_probes_of_a_step_is_refused_by_that_name():
    scheduler = ExactPipeline().scheduler
    recorder = RecordingScheduler.measuring(scheduler.config, StatisticsOrigin(), ("corrector",))
    recorder.set_timesteps(10)
    x = torch.zeros(1, 4)
    recorder.set_begin_index(3)  # the second call of the second step
    refused(CalibrationError, ["call 3", "`order`", "strength=1"], recorder.step, x, recorder.timesteps[3], x)
    recorder.set_begin_index(2)
    recorder.step(x, recorder.timesteps[2], x)
