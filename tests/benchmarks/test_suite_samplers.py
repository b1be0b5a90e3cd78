"""What takes part in the suite: as many calls as asked for, from the same noise, to the same sample."""

from __future__ import annotations

import logging
import re
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS, Gaussian
from benchmarks.suite.extra_problems import Exact, LoopPipeline, in_turn
from benchmarks.suite.measures import rms, sample_errors
from benchmarks.suite.problems import Loop, Problem, Text
from benchmarks.suite.reference import converged
from benchmarks.suite.rival_names import rivals_table
from benchmarks.suite.samplers import family_of, ours, rivals
from benchmarks.suite.settings import FOLDER
from diffusers_deis_sn.core.vp import vp_schedule
from tiny_pipelines import BUILDERS

GAUSSIAN = Gaussian(vp_schedule(**SD_BETAS))
SAMPLES, SEED = 16, 1
PROCESSES = ("vp", "v", "flow", "edm")
ZERO_SNR: dict[str, Any] = {**SD_BETAS, "rescale_betas_zero_snr": True}


def problem_of(process: str) -> Problem:
    """One normal bump as a model of that process."""
    if process != "v":
        return Exact(process, GAUSSIAN, process, 1)
    bump = Gaussian(vp_schedule(**ZERO_SNR))

    def velocity(x: Tensor, t: float, labels: None, guidance: float) -> Tensor:
        rho = float(bump.noise.rho(t))
        alpha, sigma, eps = float(bump.noise.alpha(rho)), float(bump.noise.sigma(rho)), bump.epsilon(x, t)
        return alpha * eps - sigma * (x - sigma * eps) / alpha

    scheduler = DDIMScheduler(**ZERO_SNR, prediction_type="v_prediction", timestep_spacing="trailing")
    pipe = LoopPipeline("v", scheduler, velocity, (1,))
    Loop.shape = (1,)
    return Loop("v", "choosing", pipe, 1.0, "exact")


def truth_of(process: str, noise: Tensor) -> Tensor:
    """Where the exact flow takes unit noise."""
    top = {"vp": GAUSSIAN.noise.top, "edm": 80.0}.get(process)
    if top is None:  # from noise alone
        return GAUSSIAN.mean + GAUSSIAN.std * noise
    start = noise * (1.0 + top**2) ** 0.5
    return GAUSSIAN.mean + (start - GAUSSIAN.mean) * GAUSSIAN.std / (GAUSSIAN.std**2 + top**2) ** 0.5


PROBLEMS = {process: problem_of(process) for process in PROCESSES}
RIVALS = [
    pytest.param(process, name, id=f"{process}: {name}")
    for process, problem in PROBLEMS.items()
    for name in rivals(problem.config, problem.family)
]


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("diffusers").setLevel(logging.ERROR)


@pytest.mark.parametrize(("process", "name"), RIVALS)
def test_a_rival_makes_as_many_calls_as_asked_for(process: str, name: str) -> None:
    problem = PROBLEMS[process]
    sampler = rivals(problem.config, problem.family)[name]
    for calls in (4, 5, 10, 15, 20):
        problem.end(sampler(), sampler.steps(calls), 2, SEED)
        assert problem.calls == sampler.calls(calls)
        assert calls - problem.calls in ((0,) if sampler.stages == 1 else (0, 1))


@pytest.mark.parametrize(("process", "name"), RIVALS)
def test_rivals_converge_to_the_same_sample(process: str, name: str) -> None:
    problem = PROBLEMS[process]
    sampler = rivals(problem.config, problem.family)[name]
    truth = truth_of(process, problem.noise(SAMPLES, SEED).double())
    errors = []
    for calls in (10, 200):
        end = problem.end(sampler(), sampler.steps(calls), SAMPLES, SEED)
        errors.append(rms(sample_errors(end, truth)))
    assert errors[1] < errors[0]
    # Beta's levels are spread over sigma, which zero terminal signal takes up to 4096: few are left for the picture.
    assert errors[1] < (0.1 if (process, name) == ("v", "DPM++ 2M, beta") else 0.01)


@pytest.mark.parametrize(("process", "name"), RIVALS)
def test_rivals_start_from_the_same_noise(process: str, name: str) -> None:
    problem, first = PROBLEMS[process], []
    network = problem.pipe.network

    def listening(x: Tensor, t: float, labels: None, guidance: float) -> Tensor:
        first.append(x)
        return network(x, t, labels, guidance)

    problem.pipe.network = listening
    try:
        sampler = rivals(problem.config, problem.family)[name]
        problem.end(sampler(), sampler.steps(5), SAMPLES, SEED)
    finally:
        problem.pipe.network = network
    assert torch.allclose(first[0], problem.noise(SAMPLES, SEED).double(), rtol=1e-3)


@pytest.mark.parametrize("process", PROCESSES)
def test_ours_converge_to_it_too(process: str) -> None:
    problem = PROBLEMS[process]
    truth = truth_of(process, problem.noise(SAMPLES, SEED).double())
    for sampler in ours(problem.config, None).values():
        assert rms(sample_errors(problem.end(sampler(), 200, SAMPLES, SEED), truth)) < 0.01


def test_there_are_enough_rivals_and_order_3_of_unipc_is_for_no_guidance() -> None:
    config = DDIMScheduler(**SD_BETAS).config
    assert len(rivals(config, "vp")) >= 24 <= len(rivals(config, "v")) and len(rivals(config, "edm")) >= 10
    assert "UniPC 3, Karras" in rivals(config, "vp") and "UniPC 3, Karras" not in rivals(config, "vp", guided=True)


def test_a_flow_model_s_own_shift_takes_part() -> None:
    assert "DPM++ 2M, shift 5" in rivals(FlowMatchEulerDiscreteScheduler(shift=5.0).config, "flow")


def test_families_are_told_by_the_model_s_own_scheduler() -> None:
    assert family_of(DDIMScheduler()) == "vp"
    assert family_of(DDIMScheduler(prediction_type="v_prediction")) == "v"
    assert family_of(FlowMatchEulerDiscreteScheduler()) == "flow"
    assert family_of(EDMEulerScheduler()) == "edm"


def test_classes_that_know_no_zero_terminal_signal_get_its_betas() -> None:
    config = PROBLEMS["v"].config
    found = rivals(config, "v")
    theirs, lent = found["DPM++ 2M"]().alphas_cumprod, found["DEIS 2"]().alphas_cumprod
    assert torch.allclose(theirs, lent, rtol=1e-3, atol=1e-9)


def test_recipes_change_with_options_and_with_the_model() -> None:
    one, other = (rivals(DDIMScheduler(beta_end=end).config, "vp") for end in (0.02, 0.012))
    assert len({sampler.recipe for sampler in one.values()}) == len(one)
    assert one["DDIM"].recipe != other["DDIM"].recipe


@pytest.mark.parametrize("family", ["sd", "sd3"])
def test_pipelines_of_diffusers_are_problems_too(family: str) -> None:
    pipe, _ = BUILDERS[family]()
    prompts = in_turn(["a red apple", "a cat", "a blue house"])
    problem = Text("tiny", "reporting", pipe, 3.0, "random", prompts)
    samplers = rivals(problem.config, problem.family, guided=True) | ours(problem.config, None)
    for sampler in samplers.values():
        end = problem.end(sampler(), sampler.steps(5), 2, SEED)
        assert problem.calls == sampler.calls(5) and end.shape == (2, *problem.shape)
    assert problem.pictures(end).shape[:2] == (2, 3)


def test_the_first_samples_of_a_seed_do_not_depend_on_how_many_there_are() -> None:
    problem, draw = PROBLEMS["vp"], in_turn(["one", "two", "three"])
    assert torch.equal(problem.noise(3, SEED), problem.noise(9, SEED)[:3])
    assert draw(2, SEED) == draw(9, SEED)[:2]
    assert sorted(draw(3, SEED)) == ["one", "three", "two"]


def test_two_solvers_agree_on_a_converged_run() -> None:
    for process in PROCESSES:
        problem = PROBLEMS[process]
        found = converged(problem, 8, SEED)
        assert found.disagreement < 1e-3
        truth = truth_of(process, problem.noise(8, SEED).double())
        assert rms(sample_errors(found.end, truth)) < 1e-3


def test_what_the_table_of_names_says_can_be_set() -> None:
    """Every row's class takes its options, from the config that a pipeline of its kind comes with."""
    text = rivals_table()
    assert (FOLDER / "rivals.md").read_text() == text
    configs = [DDIMScheduler().config, FlowMatchEulerDiscreteScheduler().config, EDMEulerScheduler().config]
    for config, part in zip(configs, text.split("\n**")[1:], strict=True):
        found = re.findall(r"^\| (.+?) \| `(\w+)` \| (.*?) \| (.*?) \|$", part, re.MULTILINE)
        assert len(found) >= 10
        for _, name, words, mended in found:
            if mended.startswith("no options"):
                continue
            options = eval(f"dict({words.replace('`', '')})")
            made = getattr(diffusers, name).from_config(config, **options)
            assert {key: made.config[key] for key in options} == options
