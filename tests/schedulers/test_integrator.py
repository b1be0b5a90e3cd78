"""Every member of the family as a scheduler: exact where theory promises it, Diffusers' own where it is one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS, Gaussian, digits_mixture
from benchmarks.exact.runs import measured_statistics, rms, start_noise, statistics_of
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.prediction import PREDICTION_TYPES
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StepError
from flows import TWO_BUMPS, uniform
from oracles import called_levels, ends_of_views

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

GAIN = 0.75 / 2.0  # that of the default at guidance one


def corrected(order: int, newest: int, variable: str = "t", of: str = "noise", **said: Any) -> dict[str, Any]:
    return {"solver": Multistep(order, variable, of, Corrector(newest, GAIN), **said)}


NORMALISED: dict[str, dict[str, Any]] = {
    **{name: {"solver": name} for name in TABLEAUX},
    **{f"ipndm {order}": {"solver": "ipndm", "solver_order": order} for order in (2, 4)},
    "ipndm corrected": corrected(3, 4, equal_steps=True),
    **{f"corrected {p} {q}": corrected(p, q) for p, q in ((1, 2), (2, 3), (3, 3), (4, 4))},
    "corrected in log rho": corrected(2, 2, "log_rho"),
}
DATA: dict[str, dict[str, Any]] = {
    "data": {"solver": Multistep(2, "log_rho", "data")},
    "data in t": {"solver": Multistep(3, of="data")},
    "data corrected": corrected(2, 2, "log_rho", "data"),
    "data ipndm": {"solver": Multistep(of="data", equal_steps=True)},
}
FAMILY = NORMALISED | DATA


def member(name: str, **options: Any) -> DEISSNScheduler:
    return DEISSNScheduler(**SD_BETAS, **FAMILY[name], **options)


# ---------------------------------------------------------------------------------------- score normalisation is exact

BELL = Gaussian(vp_schedule(**SD_BETAS))


def distance(stats, steps: int, **options: Any) -> float:
    """RMS distance to the exact flow after a run down to the cleanest training time."""
    options = {"final_sigmas_type": "sigma_min", "grid": Power("t", 2.0), **options}
    scheduler = DEISSNScheduler(**SD_BETAS, stats=stats, **options)
    scheduler.set_timesteps(steps)
    start = x = start_noise(32)
    for level, t in zip(called_levels(scheduler), scheduler.timesteps, strict=True):
        x = scheduler.step(BELL.epsilon_at(x, level), t, x).prev_sample
    return rms(x, BELL.flow(start, called_levels(scheduler)[0], BELL.noise.bottom))


@pytest.fixture(scope="module")
def exact_r():
    times = np.arange(0.0, 999.05, 0.125)
    return statistics_of(BELL.noise, times, BELL.r(BELL.noise.rho(times)))


@pytest.mark.parametrize("name", NORMALISED)
@pytest.mark.parametrize("steps", [3, 10])
def test_with_the_exact_r_gaussian_data_are_solved_exactly(name, steps, exact_r):
    normalised = distance(exact_r, steps, **FAMILY[name])
    assert normalised < 1e-5
    assert normalised < 0.05 * distance(None, steps, **FAMILY[name])


# ----------------------------------------------------------------------------------------------- order, as a scheduler


def of_one_order(options: dict[str, Any]) -> dict[str, Any]:
    """The same, with all its outputs in the last steps too."""
    if isinstance(options["solver"], Multistep):
        return options | {"solver": replace(options["solver"], lower_order_final=False)}
    return options | {"lower_order_final": False}


@pytest.mark.parametrize(
    ("name", "variable", "steps", "order"),
    [
        ("heun", "log_rho", 40, 2),
        ("ralston3", "log_rho", 40, 3),
        ("rk4", "log_rho", 40, 4),
        ("ipndm 2", "rho", 160, 2),
        ("data", "log_rho", 80, 2),
        ("corrected 1 2", "log_rho", 160, 2),
        ("corrected 2 3", "log_rho", 320, 3),  # so short that no correction is scaled down
        ("data corrected", "log_rho", 160, 2),
    ],
)
def test_orders_of_runs(name, variable, steps, order):
    """The first four samples are exact; tests/core has all orders and all combinations."""
    errors = []
    for number in (steps, 2 * steps):
        levels = uniform(number, variable)
        process = {"process": "ve", "sigma_min": 0.01, "sigma_max": 5.0, "use_karras_sigmas": True}
        end = float(TWO_BUMPS.noise.progress(levels[-1]))
        scheduler = DEISSNScheduler(**process, **of_one_order(FAMILY[name]), end_time=end)
        scheduler.set_timesteps(sigmas=levels[:-1])
        known = 4 if scheduler.order == 1 else 0
        truth = TWO_BUMPS.exact((*levels[: known + 1].tolist(), float(levels[-1])))
        x = TWO_BUMPS.start
        for n, (t, level) in enumerate(zip(scheduler.timesteps, called_levels(scheduler), strict=True)):
            x = truth[n] if n <= known else x
            x = scheduler.step(TWO_BUMPS.epsilon_at(x, level), t, x).prev_sample
        errors.append((x - truth[-1]).abs().max().item())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


@pytest.fixture(scope="module")
def digits():
    """The mixture, its r, noise and where the flow takes it."""
    mixture, x = digits_mixture(), start_noise(4, seed=2)
    stats = measured_statistics(mixture.epsilon, mixture.noise, start_noise(6, seed=1), steps=50)
    return mixture, stats, x, mixture.flow(x, float(mixture.noise.rho(999.0)))


@pytest.mark.parametrize("name", FAMILY)
def test_error_falls_with_steps_on_the_mixture_of_digits(name, digits):
    mixture, measured, x, truth = digits
    stats, errors = measured if name in NORMALISED else None, []
    for steps in (5, 20):
        scheduler, sample = member(name, stats=stats, grid=Power("t", 2.0)), x
        scheduler.set_timesteps(steps)
        for t, level in zip(scheduler.timesteps, called_levels(scheduler), strict=True):
            sample = scheduler.step(mixture.epsilon_at(sample, level), t, sample).prev_sample
        errors.append(rms(sample, truth))
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.1


# ------------------------------------------------------------------------------------------- members known elsewhere


def network(x: torch.Tensor, level: float) -> torch.Tensor:
    """Anything smooth and far from linear, as epsilon, v or sample."""
    return 0.7 * torch.tanh(1.3 * x + 0.2) + 0.3 * torch.cos(x.flip(-1) + np.log(level))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("steps", "karras"), [(1, False), (2, True), (10, True), (7, False)])
def test_heun_is_the_heun_of_diffusers(steps, karras, prediction_type):
    """Theirs lives in y = x / alpha and scales the network's input by alpha; levels are given: only steps differ."""
    options = {**SD_BETAS, "prediction_type": prediction_type}
    spacing = "linspace" if karras else "trailing"  # whose ends they take for those of the Karras grid
    theirs = HeunDiscreteScheduler(**options, use_karras_sigmas=karras, timestep_spacing=spacing)
    ours = DEISSNScheduler(**options, use_karras_sigmas=karras, solver="heun")
    theirs.set_timesteps(steps)
    ours.set_timesteps(steps)
    assert len(ours.timesteps) == len(theirs.timesteps) == 2 * steps - 1
    if not karras:
        assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    levels = called_levels(ours)
    assert theirs.sigmas.tolist() == pytest.approx([*levels, 0.0], rel=1e-4)
    theirs.sigmas = torch.tensor([*levels, 0.0], dtype=torch.float64)
    x, scale = start_noise(3), (1.0 + levels[0] ** 2) ** 0.5
    y = x * scale
    for n, (t, theirs_t) in enumerate(zip(ours.timesteps, theirs.timesteps, strict=True)):
        output = network(theirs.scale_model_input(y, theirs_t), levels[n])
        y = theirs.step(output, theirs_t, y, return_dict=False)[0]
        x = ours.step(network(x, levels[n]), t, x, return_dict=False)[0]
        after = [*levels, 0.0][n + 1]
        assert torch.allclose(x * (1.0 + after**2) ** 0.5, y, rtol=1e-10, atol=1e-10)


def test_so_it_is_as_shipped_within_float32_rounding():
    theirs = HeunDiscreteScheduler(**SD_BETAS, use_karras_sigmas=True)
    ours = DEISSNScheduler.from_config(theirs.config, solver="heun")
    assert ours.order == theirs.order == 2

    def run(scheduler) -> torch.Tensor:
        scheduler.set_timesteps(10)
        x = start_noise(3).float() * (1.0 if scheduler is ours else (scheduler.sigmas[0] ** 2 + 1.0) ** 0.5)
        for t in scheduler.timesteps:
            model_input = scheduler.scale_model_input(x, t)
            x = scheduler.step(0.8 * torch.tanh(1.3 * model_input), t, x, return_dict=False)[0]
        return x

    assert torch.allclose(run(ours), run(theirs), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("normalised", [False, True], ids=["flat", "normalised"])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
@pytest.mark.parametrize(
    "other", [{"solver": Multistep(1)}, {"solver": "ipndm", "solver_order": 1}], ids=["multistep", "ipndm"]
)
def test_euler_is_one_output(other, final, normalised, exact_r):
    stats = exact_r if normalised else None
    options = {"stats": stats, "final_sigmas_type": final, "use_karras_sigmas": True}
    one = DEISSNScheduler(**SD_BETAS, **other, **options)
    ends = []
    for scheduler in (DEISSNScheduler(**SD_BETAS, solver="euler", **options), one):
        scheduler.set_timesteps(8)
        x = start_noise(3)
        for t, level in zip(scheduler.timesteps, called_levels(scheduler), strict=True):
            x = scheduler.step(network(x, level), t, x).prev_sample
        ends.append(x)
    assert torch.allclose(ends[0], ends[1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("form", [{"solver": "euler"}, {"solver": Multistep(1, of="data")}], ids=["euler", "data"])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES["vp"])
def test_euler_and_one_output_of_data_are_ddim(prediction_type, form):
    options = {**SD_BETAS, "prediction_type": prediction_type, "timestep_spacing": "trailing"}
    theirs, ours = DDIMScheduler(**options, clip_sample=False), DEISSNScheduler(**options, **form)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(20)
    assert theirs.timesteps.tolist() == ours.timesteps.tolist()
    theirs.alphas_cumprod = torch.from_numpy(ours.noise.alpha(ours.noise.rho(np.arange(1000.0))) ** 2)
    x = y = start_noise(3)
    for t, level in zip(ours.timesteps, called_levels(ours), strict=True):
        x = ours.step(network(x, level), t, x, return_dict=False)[0]
        y = theirs.step(network(y, level), t, y, return_dict=False)[0]
        assert torch.allclose(x, y, rtol=1e-10, atol=1e-10)


# ------------------------------------------------------------------------------------------------ runs, from outside


@pytest.mark.parametrize("name", FAMILY)
def test_views_of_one_model_give_one_path(name):
    """The same denoiser as epsilon, v or sample."""
    ends = ends_of_views(lambda view: member(name, prediction_type=view), 5)
    assert torch.allclose(ends[0], ends[1], rtol=0, atol=1e-10)
    assert torch.allclose(ends[0], ends[2], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", FAMILY)
def test_a_run_is_the_same_again_and_has_its_number_of_calls(name):
    scheduler, ends = member(name), []
    stages = len(TABLEAUX.get(FAMILY[name].get("solver"), "1"))
    for _ in range(2):
        scheduler.set_timesteps(5)
        assert scheduler.order == stages and scheduler.num_inference_steps == 5
        assert 4 * stages < len(scheduler.timesteps) <= 5 * stages
        x = start_noise(2)
        for t in scheduler.timesteps:
            x = scheduler.step(torch.tanh(x), t, x).prev_sample
        ends.append(x)
    assert torch.equal(*ends)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_half_precision_is_near_to_double(name, dtype):
    scheduler, x, exact = member(name), start_noise(16).to(dtype), start_noise(16).to(dtype).double()
    for precision in ("given", "double"):
        scheduler.set_timesteps(6)
        for t in scheduler.timesteps:
            if precision == "given":
                x = scheduler.step(torch.tanh(x), t, x).prev_sample
            else:
                exact = scheduler.step(torch.tanh(exact), t, exact).prev_sample
    assert x.dtype == dtype and torch.all(torch.isfinite(x))
    assert rms(x, exact) < 60.0 * torch.finfo(dtype).eps * exact.abs().max().item()


@pytest.mark.parametrize("solver", sorted(set(TABLEAUX) - {"euler"}))
def test_a_run_cannot_begin_within_a_step(solver):
    stages, x = len(TABLEAUX[solver]), start_noise(2)
    scheduler = DEISSNScheduler(**SD_BETAS, solver=solver)
    scheduler.set_timesteps(4)
    for begin in range(stages, 2 * stages):
        scheduler.set_begin_index(begin)
        if begin == stages:
            assert torch.all(torch.isfinite(scheduler.step(x, scheduler.timesteps[begin], x).prev_sample))
            continue
        with pytest.raises(StepError) as raised:
            scheduler.step(x, scheduler.timesteps[begin], x)
        for word in (f"call {begin}", f"stage {begin - stages + 1}", f"begins at call {stages}", "'multistep'"):
            assert word in str(raised.value)


@pytest.mark.parametrize("solver", ["heun", "kutta3", "rk4"])
def test_of_a_time_that_occurs_twice_a_run_begins_with_the_step(solver):
    """The last stage of one step lies where the next one begins."""
    scheduler, x = DEISSNScheduler(**SD_BETAS, solver=solver), start_noise(2)
    scheduler.set_timesteps(5)
    stages = len(TABLEAUX[solver])
    t = scheduler.timesteps[2 * stages]
    assert t == scheduler.timesteps[2 * stages - 1]
    assert scheduler.index_for_timestep(t) == 2 * stages
    scheduler.step(x, t, x)
    assert scheduler.step_index == 2 * stages + 1


@pytest.mark.parametrize("name", FAMILY)
def test_a_run_that_begins_at_a_later_step_adds_the_noise_of_that_level(name):
    scheduler, x0, noise = member(name), start_noise(2), start_noise(2, seed=3)
    scheduler.set_timesteps(6)
    begin = 2 * scheduler.order
    scheduler.set_begin_index(begin)
    level = called_levels(scheduler)[begin]
    expected = (x0 + level * noise) / (1.0 + level**2) ** 0.5
    x = scheduler.add_noise(x0, noise, scheduler.timesteps[begin : begin + 1])
    assert torch.allclose(x, expected, rtol=1e-12, atol=1e-12)
    for t, rho in zip(scheduler.timesteps[begin:], called_levels(scheduler)[begin:], strict=True):
        # A network that knows the data: every consistent solver arrives at them, in whatever number of steps.
        alpha, sigma = 1.0 / (1.0 + rho**2) ** 0.5, rho / (1.0 + rho**2) ** 0.5
        x = scheduler.step((x - alpha * x0) / sigma, t, x).prev_sample
    assert torch.allclose(x, x0, rtol=1e-9, atol=1e-9)
