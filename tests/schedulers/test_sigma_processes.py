"""Models conditioned on sigma: Diffusers' EDM schedulers, there and back, and raw variance-exploding networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler
from torch import Tensor

from benchmarks.exact.flows import Gaussian
from benchmarks.exact.runs import rms, start_noise, statistics_of
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.solvers import Multistep, RungeKutta
from diffusers_deis_sn.errors import ConfigurationError, StatisticsMismatchError, StepError
from oracles import called_levels, named
from records import gaussian_record

EDM_CLASSES = [EDMEulerScheduler, EDMDPMSolverMultistepScheduler]
CONFIGS: dict[str, dict[str, Any]] = {
    "karras": {},
    "rho 5": {"rho": 5.0},
    "exponential": {"sigma_schedule": "exponential", "sigma_max": 20.0},
    "other range": {"sigma_min": 0.01, "sigma_max": 50.0, "sigma_data": 1.0},
    "v": {"prediction_type": "v_prediction", "sigma_data": 0.7},
}


def from_theirs(theirs: Any, **options: Any) -> DEISSNScheduler:
    return DEISSNScheduler.from_config(theirs.config, **options)


class EDMNetwork:
    """F of a preconditioned network whose denoiser is exact for a Gaussian: D = c_skip x + c_out F (EDM, table 1)."""

    def __init__(self, data: Gaussian, sigma_data: float = 0.5, prediction_type: str = "epsilon"):
        self.data, self.sigma_data = data, sigma_data
        self.sign = 1.0 if prediction_type == "epsilon" else -1.0

    def __call__(self, model_input: Tensor, sigma: float) -> Tensor:
        total = sigma**2 + self.sigma_data**2
        x = model_input * total**0.5
        denoised = x - sigma * self.data.epsilon_at(x, sigma)
        c_skip, c_out = self.sigma_data**2 / total, sigma * self.sigma_data / total**0.5
        return self.sign * (denoised - c_skip * x) / c_out


def run(scheduler: Any, network: EDMNetwork, x: Tensor, levels: list[float]) -> list[Tensor]:
    """The loop of a pipeline: the sample that each call is given, then the result."""
    path = [x]
    for t, level in zip(scheduler.timesteps, levels, strict=True):
        output = network(scheduler.scale_model_input(path[-1], t), level)
        path.append(scheduler.step(output, t, path[-1], return_dict=False)[0])
    return path


# ------------------------------------------------------------------------------------------- Diffusers' EDM schedulers


@pytest.mark.parametrize("theirs", EDM_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("steps", [2, 7, 30])
def test_times_levels_and_scales_are_theirs(steps, name, theirs):
    theirs = theirs(**CONFIGS[name])
    ours = from_theirs(theirs, recipe="fixed")
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(steps)
    assert torch.allclose(ours.sigmas, theirs.sigmas, rtol=2e-5, atol=0.0)
    assert ours.timesteps.dtype == torch.float32
    assert torch.allclose(ours.timesteps, theirs.timesteps, rtol=0.0, atol=1e-5)
    assert ours.init_noise_sigma == pytest.approx(theirs.init_noise_sigma, rel=1e-12)
    x = start_noise(2)
    for n, (t, theirs_t) in enumerate(zip(ours.timesteps, theirs.timesteps, strict=True)):
        expected = theirs.scale_model_input(x, theirs_t).double()
        assert torch.allclose(ours.scale_model_input(x, t), expected, rtol=1e-5, atol=0.0), n
        ours.step(x, t, x)
        theirs.step(x, theirs_t, x)


@pytest.mark.parametrize("name", CONFIGS)
def test_one_output_is_euler(name):
    theirs = EDMEulerScheduler(**CONFIGS[name])
    ours = from_theirs(theirs, solver=Multistep(1))
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(9)
    levels = called_levels(ours)
    network = EDMNetwork(Gaussian(ours.noise), theirs.config.sigma_data, theirs.config.prediction_type)
    start = start_noise(4) * ours.init_noise_sigma
    for mine, other, level in zip(
        run(ours, network, start, levels), run(theirs, network, start, levels), [*levels, 0.0], strict=True
    ):
        assert torch.allclose(mine, other.double(), rtol=1e-4, atol=1e-5 * (1.0 + level))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
@pytest.mark.parametrize(
    ("options", "order"),
    [({"solver": "heun"}, 2), ({"solver": Multistep(2)}, 2), ({"solver": Multistep(of="data")}, 2)],
    ids=["heun", "noise", "data"],
)
def test_runs_converge_to_the_exact_flow(options, order, sigma_data, prediction_type):
    """On the grid that a model is used with, down to the cleanest level; the preconditioning cancels."""
    theirs = EDMEulerScheduler(sigma_max=20.0, sigma_data=sigma_data, prediction_type=prediction_type)
    errors = []
    for steps in (40, 80):
        ours = from_theirs(theirs, final_sigmas_type="sigma_min", **options)
        data = Gaussian(ours.noise)
        ours.set_timesteps(steps)
        start = start_noise(4) * ours.init_noise_sigma
        levels = called_levels(ours)
        end = run(ours, EDMNetwork(data, sigma_data, prediction_type), start, levels)[-1]
        errors.append(rms(end, data.flow(start, levels[0], ours.noise.bottom)))
    assert np.log2(errors[0] / errors[1]) > order - 0.35
    assert errors[1] < 0.02


# ------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("theirs", EDM_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("saved", [False, True], ids=["in memory", "from disk"])
def test_the_way_there_and_back(saved, name, theirs, tmp_path):
    before = theirs(**CONFIGS[name])
    if saved:
        before.save_pretrained(tmp_path)
        before = theirs.from_pretrained(tmp_path)
    ours = from_theirs(before)
    again = DEISSNScheduler.from_config(ours.config)
    ours.save_pretrained(tmp_path / "ours")
    loaded = DEISSNScheduler.from_pretrained(tmp_path / "ours")
    for scheduler in (ours, again, loaded):
        assert (scheduler.options["process"], scheduler.spacing) == ("edm", ours.spacing)
        assert scheduler.options["grid"] == ours.options["grid"]
        assert scheduler.noise.fingerprint == ours.noise.fingerprint
        after = theirs.from_config(scheduler.config)
        for key in (key for key in theirs().config if not key.startswith("_")):
            assert after.config[key] == before.config[key], key


def test_a_grid_that_is_asked_for_wins_over_theirs():
    """Also where theirs has an exponent, which other grids do not know."""
    power = Power("t", 2.0)
    for spacing, grid in (("karras", None), ("Power", power), ("exponential", None), ("trailing", None)):
        ours = from_theirs(EDMEulerScheduler(rho=5.0), **(named(spacing) if grid is None else {"grid": grid}))
        assert (ours.spacing, ours.options["grid"], ours.options["process"]) == (spacing, grid, "edm")
        ours.set_timesteps(4)
    kept = DEISSNScheduler.from_config(from_theirs(EDMEulerScheduler(rho=5.0)).config, solver="heun")
    assert (kept.spacing, kept.options["grid"], kept.options["solver"]) == ("Power", Power("sigma", 5.0), "heun")


def test_a_scheduler_with_other_labels_is_not_taken_for_theirs():
    """CosineDPMSolverMultistepScheduler, whose class needs another library: its config as it lies in memory."""
    options = {"sigma_min": 0.3, "sigma_max": 500, "sigma_data": 1.0, "sigma_schedule": "exponential", "rho": 7.0}
    options |= {"num_train_timesteps": 1000, "solver_order": 2, "prediction_type": "v_prediction"}
    options |= {"solver_type": "midpoint", "lower_order_final": True, "euler_at_final": False}
    with pytest.raises(ConfigurationError, match="Keep the pipeline's own scheduler"):
        DEISSNScheduler.from_config({**options, "final_sigmas_type": "zero"})


# ------------------------------------------------------------------------------------------------ noise and times


@pytest.mark.parametrize("process", ["edm", "ve"])
def test_noise_is_added_without_scaling_the_data(process):
    scheduler = DEISSNScheduler(process=process, use_karras_sigmas=True)
    x0, noise = start_noise(3), start_noise(3, seed=1)
    levels = torch.tensor([70.0, 1.0, 0.003], dtype=torch.float64)
    times = scheduler.noise.time(levels.numpy())
    expected = x0 + levels[:, None] * noise
    added = scheduler.add_noise(x0, noise, torch.from_numpy(times))
    assert torch.allclose(added, expected, rtol=1e-6, atol=1e-6)  # scales are float32 where each sample has its own
    scheduler.set_timesteps(6)  # times of the plan are float32, and stand for its exact levels
    at_plan = scheduler.add_noise(x0, noise, scheduler.timesteps[[0, 2, 5]])
    exact = torch.tensor(called_levels(scheduler), dtype=torch.float64)[[0, 2, 5]]
    assert torch.allclose(at_plan, x0 + exact[:, None] * noise, rtol=1e-6, atol=1e-6)
    scheduler.set_begin_index(3)
    begun = scheduler.scale_noise(x0, scheduler.timesteps[3:4], noise)
    assert torch.allclose(begun, x0 + called_levels(scheduler)[3] * noise, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("process", ["edm", "ve"])
@pytest.mark.parametrize("sigma_max", [20.0, 50.3, 99.9])
def test_a_run_can_be_planned_from_the_times_of_another(sigma_max, process):
    """float32 times, the first of which may have been rounded to above the noisiest level."""
    scheduler = DEISSNScheduler(process=process, sigma_max=sigma_max, use_karras_sigmas=True)
    scheduler.set_timesteps(7)
    times, sigmas = scheduler.timesteps.clone(), scheduler.sigmas.clone()
    scheduler.set_timesteps(timesteps=times.tolist())
    assert torch.equal(scheduler.timesteps, times)
    assert torch.allclose(scheduler.sigmas, sigmas, rtol=1e-6, atol=0.0)
    scheduler.set_timesteps(sigmas=sigmas.tolist())
    assert torch.equal(scheduler.sigmas, sigmas)


@pytest.mark.parametrize("process", ["edm", "ve"])
def test_a_run_starts_from_noise_of_its_first_level(process):
    """Data of unit variance and that much noise, wherever the run starts."""
    scheduler = DEISSNScheduler(process=process, use_karras_sigmas=True, start_time=0.6)
    scheduler.set_timesteps(5)
    assert scheduler.init_noise_sigma == pytest.approx((called_levels(scheduler)[0] ** 2 + 1.0) ** 0.5, rel=1e-12)
    scheduler.set_timesteps(sigmas=[7.0, 1.0, 0.1])
    assert scheduler.init_noise_sigma == pytest.approx(50.0**0.5, rel=1e-12)


def test_scaling_needs_a_level_and_before_a_run_takes_that_of_the_time():
    scheduler, x = DEISSNScheduler(process="edm", use_karras_sigmas=True), start_noise(1)
    theirs = EDMEulerScheduler()
    for time in theirs.timesteps[[0, 300, -1]]:
        torch.testing.assert_close(scheduler.scale_model_input(x, time), theirs.scale_model_input(x, time))
        theirs = EDMEulerScheduler()  # whose index would stay where it was
    for _ in range(2):
        with pytest.raises(StepError, match="needs `timestep`"):
            scheduler.scale_model_input(x)
        scheduler.set_timesteps(3)
    raw = DEISSNScheduler(process="ve", use_karras_sigmas=True)
    assert torch.equal(raw.scale_model_input(x, 0.5), x)


# --------------------------------------------------------------------------------- raw networks, and score statistics

BELL = Gaussian(SigmaSchedule(0.02, 40.0, label="sigma"))


@pytest.mark.parametrize(
    "options", [{"solver": "kutta3"}, {"solver_order": 3}, {"solver": Multistep(of="data")}], ids=str
)
def test_views_of_a_raw_network_give_one_path_to_the_exact_flow(options):
    ends = []
    for prediction_type in ("epsilon", "sample"):
        scheduler = DEISSNScheduler(
            process="ve", sigma_min=0.02, sigma_max=40.0, prediction_type=prediction_type, **options
        )
        scheduler.set_timesteps(60)
        x = start = start_noise(4) * scheduler.init_noise_sigma
        labels = np.maximum(called_levels(scheduler), 0.02)  # stages on the way to clean data are below the range
        assert scheduler.timesteps.tolist() == pytest.approx(labels, rel=1e-6)
        for t, level in zip(scheduler.timesteps, called_levels(scheduler), strict=True):
            noise = BELL.epsilon_at(scheduler.scale_model_input(x, t), level)
            x = scheduler.step(noise if prediction_type == "epsilon" else x - level * noise, t, x).prev_sample
        ends.append(x)
    assert torch.allclose(ends[0], ends[1], rtol=0.0, atol=1e-9)
    assert rms(ends[0], BELL.flow(start, 40.0, 0.0)) < 5e-3


@pytest.mark.parametrize("process", ["edm", "ve"])
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"solver_order": 2}, 6),
        ({"solver": "heun"}, 24),  # in fewer it leaps, which is done in predicted data for the sake of other scales
        ({"solver": RungeKutta("heun", np.inf)}, 6),
        ({"solver": "ipndm"}, 6),
    ],
    ids=str,
)
def test_with_the_exact_r_gaussian_data_are_solved_exactly(options, steps, process):
    settings = {"process": process, "sigma_min": 0.02, "sigma_max": 40.0, "final_sigmas_type": "sigma_min", **options}
    settings |= {"use_karras_sigmas": True}
    noise = DEISSNScheduler(**settings).noise
    times = noise.time(np.geomspace(0.02, 40.0, 6000))
    errors = []
    for stats in (None, statistics_of(noise, times, BELL.r(noise.rho(times)))):
        scheduler = DEISSNScheduler(**settings, stats=stats)
        scheduler.set_timesteps(steps)
        start = start_noise(4) * scheduler.init_noise_sigma
        x, network = start, EDMNetwork(BELL)
        for t, level in zip(scheduler.timesteps, called_levels(scheduler), strict=True):
            scaled = scheduler.scale_model_input(x, t)
            output = network(scaled, level) if process == "edm" else BELL.epsilon_at(scaled, level)
            x = scheduler.step(output, t, x).prev_sample
        errors.append(rms(x, BELL.flow(start, 40.0, 0.02)))
    assert errors[1] < 1e-5 and errors[1] < 1e-3 * errors[0]


def test_statistics_are_those_of_one_process():
    ours = DEISSNScheduler(process="edm", use_karras_sigmas=True, sigma_min=0.02)
    times = ours.noise.time(np.geomspace(0.02, 80.0, 9))
    fitting = statistics_of(ours.noise, times, np.linspace(0.3, 0.8, 9))
    ours.set_stats(fitting)
    with pytest.raises(StatisticsMismatchError, match="another noise schedule"):
        ours.set_stats(gaussian_record(DEISSNScheduler().noise))
    with pytest.raises(StatisticsMismatchError, match="another prediction type"):
        DEISSNScheduler.from_config(ours.config, prediction_type="v_prediction", stats=fitting)
    with pytest.raises(StatisticsMismatchError, match=r"sigma 0\.02 to 80"):  # the same levels under other labels
        DEISSNScheduler(process="ve", use_karras_sigmas=True, sigma_min=0.02, stats=fitting)
    assert ours.statistics is fitting
    ours.set_timesteps(4)
    ours.register_to_config(process="ve")
    with pytest.raises(StatisticsMismatchError, match="another noise schedule"):
        ours.set_timesteps(4)
