"""Flow-matching models, from noise alone to data: against the closed form, Diffusers, and one network seen twice."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from benchmarks.exact.runs import rms
from benchmarks.mnist_network import SHARED, mnist_tool
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.statistics import StatisticsOrigin
from oracles import named

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
GAIN = 0.75 / 2.0  # that of the default at guidance one
MEAN, STD = 0.7, 0.3


class GaussianFlow:
    """Data N(mean, std^2): velocity and flow in closed form, written in sigma alone, so that sigma = 1 is no limit."""

    def __init__(self, mean: float = MEAN, std: float = STD, view: str = "flow_prediction") -> None:
        self.mean, self.std, self.view = mean, std, view
        self.times: list[float] = []

    def __call__(self, x: Tensor, t: Any) -> Tensor:
        sigma = float(t) / 1000.0
        self.times.append(float(t))
        alpha, variance = 1.0 - sigma, (1.0 - sigma) ** 2 * self.std**2 + sigma**2
        x0 = self.mean + alpha * self.std**2 / variance * (x - alpha * self.mean)
        eps = sigma * (x - alpha * self.mean) / variance
        return {"flow_prediction": eps - x0, "epsilon": eps, "sample": x0}[self.view]

    def exact(self, x: Tensor, start: float = 1.0, end: float = 0.0) -> Tensor:
        """(x - alpha m) / sqrt(alpha^2 s^2 + sigma^2) stays as it is along the flow."""
        (a, v), (b, w) = ((1.0 - s, (1.0 - s) ** 2 * self.std**2 + s**2) for s in (start, end))
        return b * self.mean + (x - a * self.mean) * (w / v) ** 0.5


def run(scheduler: Any, network: Any, x: Tensor, steps: int | None = None, **given: Any) -> Tensor:
    scheduler.set_timesteps(steps, **given)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x, return_dict=False)[0]
    return x


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(steps: int) -> list[float]:
    """What flow pipelines pass as `sigmas`."""
    return np.linspace(1.0, 1.0 / steps, steps).tolist()


# ------------------------------------------------------------------------------------------------------ against Euler


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5, 12.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_output_is_euler_from_noise_alone(steps, shift, dtype):
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    x, network = noise(2, 4, 8).to(dtype), GaussianFlow()
    expected = run(theirs, network, x, sigmas=linear(steps))
    got = run(ours, network, x, sigmas=linear(steps))
    assert got.dtype == dtype
    assert (got - expected).abs().max() <= (2e-6 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps)
    assert torch.allclose(ours.sigmas, theirs.sigmas, atol=1e-6)
    assert torch.allclose(ours.timesteps, theirs.timesteps, atol=1e-3) and ours.timesteps.dtype == torch.float32
    assert network.times[steps] == 1000.0  # of our first call


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize("terminal", [None, 0.1])
@pytest.mark.parametrize("mu", [0.5, 1.15, 3.0])
def test_shifts_by_resolution_are_those_of_diffusers(kind, terminal, mu):
    theirs = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind, shift_terminal=terminal)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(sigmas=linear(7), mu=mu)
    assert torch.allclose(ours.sigmas, theirs.sigmas, atol=1e-6)
    if terminal is not None:
        assert ours.sigmas[-2] == pytest.approx(terminal, abs=1e-6)
    ours.set_timesteps(7, mu=mu)  # its own grid is the pipelines' own
    assert torch.allclose(ours.sigmas, theirs.sigmas, atol=1e-6)


def test_a_shift_by_resolution_does_not_outlive_its_run():
    ours = DEISSNScheduler(**FLOW, use_dynamic_shifting=True)
    ours.set_timesteps(7, mu=3.0)
    before = copy.deepcopy(dict(ours.config))
    ours.set_timesteps(7, mu=0.5)
    direct = DEISSNScheduler(**FLOW, flow_shift=float(np.exp(0.5)))
    direct.set_timesteps(7)
    assert torch.allclose(ours.sigmas, direct.sigmas) and dict(ours.config) == before


def test_mu_is_passed_over_where_the_shift_is_fixed():
    """As Diffusers' own scheduler does: Flux passes it always."""
    ours, plain = DEISSNScheduler(**FLOW, flow_shift=3.0), DEISSNScheduler(**FLOW, flow_shift=3.0)
    ours.set_timesteps(5, mu=1.15)
    plain.set_timesteps(5)
    assert torch.equal(ours.sigmas, plain.sigmas)


def test_times_beside_sigmas_are_what_the_network_is_called_with():
    """CogView4 passes whole times beside sigmas that are then shifted."""
    theirs = FlowMatchEulerDiscreteScheduler(shift=2.0)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    times = np.linspace(1000, 1, 6).astype(np.int64)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(timesteps=times, sigmas=times / 1000)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist() == times.tolist()
    assert torch.allclose(ours.sigmas, theirs.sigmas, atol=1e-6)
    x = noise(2, 8)
    for t in ours.timesteps:
        x = ours.step(x * 0.0, t, x).prev_sample


# ------------------------------------------------------------------------------------------- against the closed form


def free(order: int, variable: str = "t", of: str = "noise", corrector: int = 0) -> dict[str, Any]:
    """A solver that neither lowers its order nor scales a correction down."""
    return {"solver": Multistep(order, variable, of, Corrector(corrector), lower_order_final=False)}


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"solver_order": 1, "lower_order_final": False}, 1),
        ({"solver_order": 2, "lower_order_final": False}, 2),
        ({"solver_order": 3, "lower_order_final": False}, 3),
        (free(2, "rho"), 2),
        (free(2, corrector=3), 2.6),
        (free(3, corrector=3), 3),
        (free(1, corrector=1), 1),
        (free(1, corrector=2), 2),
        (free(2, of="data"), 1.75),
        ({"solver": "ipndm", "solver_order": 1, "lower_order_final": False}, 1),
    ],
    ids=str,
)
def test_the_order_of_convergence_from_noise_alone(options, order):
    network, x = GaussianFlow(), noise(64)
    truth = network.exact(x)
    errors = [rms(run(DEISSNScheduler(**FLOW, **options), network, x, n), truth) for n in (20, 40, 80)]
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(rates > order - 0.15), (errors, rates)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_normalised_runs_converge_from_noise_alone_to_the_closed_form(shift):
    """With the r of the data itself; it meets its limit like rho^-2, or its integral would not be finite."""
    network, x = GaussianFlow(mean=0.0, std=0.8), noise(64)
    stats = flow_statistics(std=0.8)
    options = {**FLOW, "flow_shift": shift, "stats": stats, "guidance_scale": 1.0}
    normalised = [rms(run(DEISSNScheduler(**options), network, x, n), network.exact(x)) for n in (5, 10, 20, 40)]
    plain = [rms(run(DEISSNScheduler(**FLOW, flow_shift=shift), network, x, n), network.exact(x)) for n in (5, 10, 20)]
    assert all(better < worse for better, worse in zip(normalised, plain, strict=False))
    assert normalised[-1] < 2e-3


def flow_statistics(std: float = STD, times: int = 101) -> ScoreStatistics:
    """r(t) of centred Gaussian data along the flow, exactly."""
    model = FlowSchedule()
    t = np.linspace(1.0, 1000.0, times)
    rho = model.rho(t)
    return ScoreStatistics(
        timesteps=t,
        log_snr=-2.0 * np.log(rho),
        mean_abs=np.sqrt(2.0 / np.pi) * rho / np.sqrt(std**2 + rho**2),
        origin=StatisticsOrigin(fingerprint=model.fingerprint, prediction_type="flow_prediction"),
    )


@pytest.mark.parametrize(
    "options", [{}, {"stats": flow_statistics()}, {"solver": Multistep(4, corrector=Corrector(4, GAIN))}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_half_a_picture_is_not_lost_at_the_start(options, dtype, steps):
    """Rounding at sigma = 1 must not be magnified by 1 / alpha: against the same run in float64."""
    network, x = GaussianFlow(), noise(256).to(dtype)
    options = {**FLOW, "guidance_scale": 1.0, **options}
    exact = run(DEISSNScheduler(**options), network, x.double(), steps)
    rounded = run(DEISSNScheduler(**options), network, x, steps)
    assert rounded.dtype == dtype and torch.isfinite(rounded).all()
    assert (rounded.double() - exact).abs().max() < (1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("view", ["epsilon", "sample"])
@pytest.mark.parametrize("integrand", ["noise", "data"])
def test_views_of_one_flow_give_one_path(view, integrand):
    x, sigmas = noise(16), [0.97, 0.7, 0.4, 0.2, 0.05]
    ends = []
    for prediction in ("flow_prediction", view):
        scheduler = DEISSNScheduler(use_flow_sigmas=True, prediction_type=prediction, solver=Multistep(of=integrand))
        ends.append(run(scheduler, GaussianFlow(view=prediction), x, sigmas=sigmas))
    assert torch.allclose(*ends, atol=1e-12)


@pytest.mark.parametrize(
    "grid",
    [
        named("trailing"),
        {"grid": Power("t", 2.0)},
        {"grid": Power("sigma", 7.0)},
        *(named(one) for one in ("karras", "exponential", "beta")),
    ],
    ids=str,
)
def test_named_grids_fall_from_noise_alone(grid):
    scheduler = DEISSNScheduler(**FLOW, **grid)
    scheduler.set_timesteps(9)
    assert scheduler.sigmas[0] == 1.0 and scheduler.sigmas[-1] == 0.0 and scheduler.sigmas[-2] >= 0.001 * (1 - 1e-6)
    assert torch.all(scheduler.sigmas.diff() < 0.0) and len(scheduler.timesteps) == 9
    assert torch.allclose(scheduler.timesteps, 1000.0 * scheduler.sigmas[:-1])
    assert torch.isfinite(run(scheduler, GaussianFlow(), noise(8), 9)).all()


# ------------------------------------------------------------------------------------------------------ image to image


@pytest.mark.parametrize("begin", [0, 3, 7])
def test_noise_is_scaled_as_diffusers_does(begin):
    theirs, ours = FlowMatchEulerDiscreteScheduler(shift=3.0), None
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    clean, eps = noise(2, 2, 4, seed=1)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(sigmas=linear(8))
        scheduler.set_begin_index(begin)
    time = ours.timesteps[begin : begin + 1].repeat(2)
    expected = theirs.scale_noise(clean.float(), time, eps.float())
    assert torch.allclose(ours.scale_noise(clean.float(), time, eps.float()), expected, atol=1e-6)
    sigma = float(ours.sigmas[begin])
    assert torch.allclose(ours.add_noise(clean, eps, time), (1.0 - sigma) * clean + sigma * eps, atol=1e-6)


def test_a_run_from_the_middle_starts_up_afresh():
    network, ours = GaussianFlow(), DEISSNScheduler(**FLOW, solver_order=2)
    ours.set_timesteps(40)
    ours.set_begin_index(20)
    x = noise(32)
    start = float(ours.sigmas[20])
    truth = network.exact(x, start)
    for t in ours.timesteps[20:]:
        x = ours.step(network(x, t), t, x).prev_sample
    assert rms(x, truth) < 1e-2


# -------------------------------------------------------------------------------------------------- the way of configs


@pytest.mark.parametrize("cls", [DEISSNScheduler, ScoreOptimalScheduler])
@pytest.mark.parametrize(
    "theirs",
    [
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        FlowMatchEulerDiscreteScheduler(),
        FlowMatchHeunDiscreteScheduler(shift=3.0),
        UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0),
        DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("as_file", [False, True])
def test_configs_of_flows_are_understood(cls, theirs, as_file, tmp_path):
    config = theirs.config
    if as_file:
        theirs.save_config(tmp_path)
        config = type(theirs).load_config(tmp_path)
    ours = cls.from_config(config)
    assert ours.noise.path == "flow" and ours.config.prediction_type == "flow_prediction"
    shift = config.get("shift", config.get("flow_shift", 1.0))
    assert ours.config.flow_shift == shift
    for again in (
        cls.from_config(ours.config),
        cls.from_config(UniPCMultistepScheduler.from_config(ours.config).config),
    ):
        assert again.noise.path == "flow" and again.config.flow_shift == shift
    back = type(theirs).from_config(ours.config)
    assert {key: back.config[key] for key in ("shift", "flow_shift") if key in theirs.config} == {
        key: theirs.config[key] for key in ("shift", "flow_shift") if key in theirs.config
    }


def test_statistics_of_a_flow_do_not_serve_betas_nor_the_other_way_round():
    from diffusers_deis_sn.errors import StatisticsMismatchError
    from records import gaussian_record

    stats = flow_statistics()
    assert DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler().config, stats=stats).statistics is stats
    with pytest.raises(StatisticsMismatchError):
        DEISSNScheduler(**SD_BETAS, stats=stats)
    with pytest.raises(StatisticsMismatchError):
        DEISSNScheduler(**FLOW, stats=gaussian_record(DEISSNScheduler(**SD_BETAS).noise))


# -------------------------------------------------------------------------------------------- one network, seen twice


@pytest.mark.skipif(not (SHARED / "tools" / "mnist_vit.py").is_file(), reason="needs the network in ../shared")
@pytest.mark.parametrize(
    "options",
    [
        {"solver_order": 1},
        {"solver": Multistep(3, "rho")},
        {"solver": Multistep(3, "log_rho")},
        {"solver": Multistep(2, "log_rho", corrector=Corrector(3, GAIN))},
        {"solver": "heun"},
    ],
    ids=str,
)
def test_a_pretrained_flow_gives_the_same_pictures_as_a_variance_preserving_model(options):
    """At the same sigma / alpha, with polynomials in it: the process is a change of variables."""
    tool = mnist_tool()
    net, labels = tool.load_mnist_vit(), torch.arange(10) % 10
    vp = DEISSNScheduler(**SD_BETAS, **options)
    rho = np.geomspace(14.0, 0.05, 9)
    epsilon = tool.EpsilonView(net, vp.alphas_cumprod, labels)

    @torch.no_grad()
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        sigma = float(t) / 1000.0
        clean = net(x.float(), torch.full((len(x),), 1.0 - sigma), labels).double()
        return (x - clean) / sigma

    start = noise(10, 1, 28, 28)
    flow = DEISSNScheduler(**FLOW, **options)
    alpha_vp, alpha_flow = 1.0 / (1.0 + rho[0] ** 2) ** 0.5, 1.0 / (1.0 + rho[0])
    as_vp = run(vp, epsilon, start, sigmas=rho)
    as_flow = run(flow, velocity, start * (alpha_flow / alpha_vp), sigmas=rho / (1.0 + rho))
    assert rms(as_vp, as_flow) < 2e-3 * float(as_vp.std())
    assert as_vp.std() > 0.2  # pictures of digits, and not their mean


# ---------------------------------------------------------------------------------------------------- zero terminal SNR


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_models_of_zero_terminal_snr_start_exactly_at_order_one(prediction_type, dtype):
    """x_1 = alpha_1 x_0 + sigma_1 eps_0, from the network's output at the first call alone."""
    scheduler = DEISSNScheduler(
        **SD_BETAS,
        rescale_betas_zero_snr=True,
        prediction_type=prediction_type,
        solver_order=1,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(4)
    x, x0 = noise(512).to(dtype), (0.5 * noise(512, seed=1)).to(dtype)
    rho = scheduler._plan.levels
    alpha = [1.0 / (1.0 + level**2) ** 0.5 for level in rho]
    sigma = [level * a for level, a in zip(rho, alpha, strict=True)]
    eps = (x.double() - alpha[0] * x0.double()) / sigma[0]
    output = x0 if prediction_type == "sample" else (alpha[0] * eps - sigma[0] * x0.double()).to(dtype)
    if prediction_type == "v_prediction":  # what was rounded is what the network says
        x0 = alpha[0] * x.double() - sigma[0] * output.double()
        eps = alpha[0] * output.double() + sigma[0] * x.double()
    expected = alpha[1] * x0.double() + sigma[1] * eps
    got = scheduler.step(output, scheduler.timesteps[0], x).prev_sample
    assert (got.double() - expected).abs().max() < (2e-6 if dtype == torch.float32 else 2e-3)


def test_models_of_zero_terminal_snr_end_where_ddim_does():
    options = {**SD_BETAS, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    theirs = DDIMScheduler(**options, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    v = [noise(64, seed=n).float() for n in range(10)]
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
        x = noise(64, seed=99).float()
        for n, t in enumerate(scheduler.timesteps):
            x = scheduler.step(v[n], t, x).prev_sample
        ends.append(x)
    assert torch.allclose(*ends, atol=2e-3)  # Diffusers' alpha is exactly zero at the first level, ours 2^-12
