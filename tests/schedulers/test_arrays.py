"""The arrays that schedulers show: what training code looks up in them, and what comes of writing into them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import (
    ConfigurationError,
    NoiseScheduleError,
    StatisticsMismatchError,
    StepError,
    TimestepsError,
)
from diffusers_deis_sn.schedulers._arrays import NoiseTable, Watched, lasting
from records import gaussian_record
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
PROCESSES: dict[str, dict[str, Any]] = {
    "vp": SD_BETAS,
    "zero snr": {**SD_BETAS, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    "flow": FLOW,
    "flow, shifted": {**FLOW, "flow_shift": 3.0},
    "flow, by resolution": {**FLOW, "use_dynamic_shifting": True, "flow_shift": 3.0},
    "edm": {"process": "edm"},
    "edm, exponential": {"process": "edm", "use_exponential_sigmas": True},
    "ve": {"process": "ve"},
}

# ----------------------------------------------------------------------------------------------------- before any run


@pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])
@pytest.mark.parametrize("process", PROCESSES)
def test_every_level_belongs_to_its_time(ours, process):
    options = {name: value for name, value in PROCESSES[process].items() if name != "use_exponential_sigmas"}
    scheduler = ours(**(PROCESSES[process] if ours is DEISSNScheduler else options))
    times, sigmas = scheduler.timesteps, scheduler.sigmas
    assert len(times) == 1000 and len(sigmas) == (1000 if "flow" in process else 1001)
    assert torch.all(sigmas.diff() < 0.0) and torch.all(times.diff() < 0)
    known = scheduler.noise.as_sigma(scheduler.noise.rho(times.double().numpy()))
    assert sigmas[:1000].numpy() == pytest.approx(known, rel=2e-5)


@pytest.mark.parametrize(
    "theirs",
    [
        EulerDiscreteScheduler(**SD_BETAS),
        FlowMatchEulerDiscreteScheduler(),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        FlowMatchEulerDiscreteScheduler(shift=0.5),
        FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        EDMDPMSolverMultistepScheduler(),
        EDMDPMSolverMultistepScheduler(sigma_schedule="exponential", sigma_max=40.0),
    ],
    ids=lambda one: f"{type(one).__name__} {one.config.get('shift', '')}",
)
def test_the_arrays_are_those_of_diffusers(theirs):
    ours = DEISSNScheduler.from_config(theirs.config)
    assert ours.timesteps.double().numpy() == pytest.approx(theirs.timesteps.double().numpy(), rel=1e-5, abs=1e-5)
    assert ours.sigmas.double().numpy() == pytest.approx(theirs.sigmas.double().numpy(), rel=2e-5)


def test_levels_of_a_shifted_flow_at_three_places():
    scheduler = DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler(shift=3.0).config)
    assert scheduler.sigmas[[100, 500, 900]].tolist() == pytest.approx([0.964, 0.75, 0.25], abs=5e-4)
    assert torch.allclose(scheduler.timesteps, 1000.0 * scheduler.sigmas)


@pytest.mark.parametrize(
    "theirs",
    [FlowMatchEulerDiscreteScheduler(shift=3.0), EDMEulerScheduler(), EulerDiscreteScheduler(**SD_BETAS)],
    ids=lambda one: type(one).__name__,
)
def test_the_lines_of_training_scripts_find_their_levels(theirs):
    """`get_sigmas` of train_dreambooth_lora_sd3.py, _flux.py and _sdxl.py, after drawing `timesteps[indices]`."""

    def get_sigmas(scheduler: Any, timesteps: Tensor) -> Tensor:
        places = [(scheduler.timesteps == t).nonzero().item() for t in timesteps]
        return scheduler.sigmas[places]

    ours = DEISSNScheduler.from_config(theirs.config)
    indices = torch.tensor([0, 100, 499, 900, 999])
    levels = get_sigmas(ours, ours.timesteps[indices])
    assert levels.numpy() == pytest.approx(ours.noise.as_sigma(ours.noise.rho(ours.timesteps[indices])), rel=1e-5)
    if not isinstance(theirs, EDMEulerScheduler):  # which has one time more
        assert torch.allclose(levels, get_sigmas(theirs, theirs.timesteps[indices]), rtol=2e-5)


# ------------------------------------------------------------------------------------------------------------ velocity


@pytest.mark.parametrize("theirs", [DDIMScheduler, DDPMScheduler])  # that of Euler counts its table from the wrong end
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_velocities_are_those_of_diffusers(theirs, dtype):
    x, eps = torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    times = torch.tensor([0, 10, 500, 999])
    expected = theirs(**SD_BETAS).get_velocity(x.float(), eps.float(), times)
    got = DEISSNScheduler(**SD_BETAS).get_velocity(x, eps, times)
    assert got.dtype == dtype and torch.allclose(got.float(), expected, atol=1e-5 if dtype == torch.float32 else 3e-2)


def test_velocities_of_flows_are_what_their_networks_say_and_other_processes_have_none():
    x, eps = torch.randn(2, 3, 4)
    times = torch.tensor([1000.0, 500.0, 1.0])
    assert torch.equal(DEISSNScheduler(**FLOW).get_velocity(x, eps, times), eps - x)
    with pytest.raises(ConfigurationError, match="process='edm'"):
        DEISSNScheduler(process="edm").get_velocity(x, eps, times)


# -------------------------------------------------------------------------------------------------------- noise tables


def run(scheduler: Any, steps: int = 5) -> Tensor:
    scheduler.set_timesteps(steps)
    x = torch.linspace(-1.0, 1.0, 12)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3.0 * x), t, x).prev_sample
    return x


def last_without_signal(scheduler: Any) -> None:
    scheduler.alphas_cumprod[-1] = 2**-24


def another_schedule(scheduler: Any) -> None:
    scheduler.alphas_cumprod = torch.cumprod(1.0 - torch.linspace(1e-4, 0.03, 1000), 0)


def all_three(scheduler: Any) -> None:
    """As public code rescales to zero terminal SNR."""
    scheduler.betas = torch.linspace(2e-4, 0.03, 1000)
    scheduler.alphas = 1.0 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, dim=0)


def within_inference(scheduler: Any) -> None:
    with torch.inference_mode():
        scheduler.alphas_cumprod[500:] *= 0.9


def through_numpy(scheduler: Any) -> None:
    scheduler.alphas_cumprod.numpy()[500:] *= 0.9


def through_data(scheduler: Any) -> None:
    scheduler.alphas_cumprod.data[500:] *= 0.9


@pytest.mark.parametrize(
    "edit", [last_without_signal, another_schedule, all_three, within_inference, through_numpy, through_data]
)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_written_into_a_noise_table_counts_as_in_diffusers(edit, first):
    options = {**SD_BETAS, "solver_order": 1, "timestep_spacing": "trailing"}
    theirs, ours = DPMSolverMultistepScheduler(**options, algorithm_type="dpmsolver++"), DEISSNScheduler(**options)
    for scheduler in (theirs, ours):
        if first:
            scheduler.set_timesteps(3)
        edit(scheduler)
    assert torch.allclose(run(ours), run(theirs), atol=2e-4, rtol=2e-4)
    assert torch.allclose(ours.sigmas, theirs.sigmas, rtol=1e-4)
    back = copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))
    assert all(torch.equal(run(one), run(ours)) for one in back)


@pytest.mark.parametrize("at", [0, 2])
def test_a_table_that_is_written_after_a_run_was_planned_is_refused_there(at):
    """DDIM reads it in every step, and the other classes of Diffusers in `set_timesteps` alone."""
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(4)
    x = torch.ones(3)
    for t in scheduler.timesteps[:at]:
        x = scheduler.step(x, t, x).prev_sample
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to("cpu", torch.float32).clone()
    x = scheduler.step(x, scheduler.timesteps[at], x).prev_sample
    last_without_signal(scheduler)
    assert scheduler.noise.name.endswith("edited")  # who looks at it does not hide it
    refused(
        StepError, ["`scheduler.alphas_cumprod`", "after", "again"], scheduler.step, x, scheduler.timesteps[at + 1], x
    )
    run(scheduler)


def test_noise_is_added_by_what_was_written():
    scheduler, theirs = DEISSNScheduler(**SD_BETAS), DDPMScheduler(**SD_BETAS)
    for one in (scheduler, theirs):
        another_schedule(one)
    x, eps, t = torch.ones(3), torch.full((3,), 2.0), torch.tensor([3, 500, 998])
    assert torch.allclose(scheduler.add_noise(x, eps, t), theirs.add_noise(x, eps, t), atol=1e-5)
    assert torch.allclose(scheduler.get_velocity(x, eps, t), theirs.get_velocity(x, eps, t), atol=1e-5)


@pytest.mark.parametrize(
    "move", [lambda a: a.clone(), lambda a: a.half(), lambda a: a.to(torch.bfloat16), lambda a: a.double(), np.array]
)
def test_another_dtype_or_place_is_no_edit(move):
    scheduler = DEISSNScheduler(**SD_BETAS)
    before = run(scheduler)
    scheduler.alphas_cumprod, scheduler.betas = move(scheduler.alphas_cumprod), move(scheduler.betas)
    assert torch.equal(run(scheduler), before)


def test_levels_that_were_not_written_stay_exact():
    scheduler = DEISSNScheduler(**SD_BETAS)
    exact = scheduler.noise.rho(range(1000))
    last_without_signal(scheduler)
    assert np.allclose(scheduler.noise.rho(range(999)), exact[:999], rtol=1e-13)
    assert scheduler.noise.top == pytest.approx(4096.0, rel=1e-6)
    scheduler.alphas_cumprod[-1] = 0.0  # is held there
    assert scheduler.noise.top == pytest.approx(4096.0, rel=1e-6)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.betas.mul_(2.0), "`scheduler.betas` were changed"),
        (lambda s: s.alphas_cumprod.fill_(0.5), "Noise must grow"),
        (lambda s: s.alphas_cumprod[3:4].fill_(1.5), "share of the signal"),
        (lambda s: s.alphas_cumprod[3:4].fill_(float("nan")), "share of the signal"),
        (lambda s: setattr(s, "alphas_cumprod", torch.linspace(0.9, 0.1, 10)), "1000 training times"),
        (lambda s: setattr(s, "alphas_cumprod", "none"), "must be a tensor"),
    ],
)
def test_what_makes_no_schedule_is_refused(edit, message):
    scheduler = DEISSNScheduler(**SD_BETAS)
    edit(scheduler)
    with pytest.raises(NoiseScheduleError, match=message):
        scheduler.set_timesteps(5)


@pytest.mark.parametrize("name", ["alphas", "alpha_t", "sigma_t", "lambda_t", "final_alpha_cumprod"])
@pytest.mark.parametrize("in_place", [True, False])
def test_what_follows_from_a_table_cannot_be_written(name, in_place):
    scheduler = DEISSNScheduler(**SD_BETAS)
    if in_place:
        getattr(scheduler, name).mul_(0.5)
    else:
        setattr(scheduler, name, 0.5 * getattr(scheduler, name))
    with pytest.raises(NoiseScheduleError, match=f"`scheduler.{name}` was written"):
        scheduler.set_timesteps(5)
    scheduler.set_timesteps(5)  # it is as it was


def test_what_follows_from_a_table_follows_it():
    scheduler = DEISSNScheduler(**SD_BETAS)
    before = {name: getattr(scheduler, name).clone() for name in ("alphas", "alpha_t", "sigma_t", "lambda_t")}
    scheduler.alpha_t = scheduler.alpha_t.half()  # moved, not edited
    scheduler.set_timesteps(5)
    another_schedule(scheduler)
    scheduler.set_timesteps(5)
    assert torch.allclose(scheduler.alpha_t, scheduler.alphas_cumprod.sqrt(), rtol=1e-5)
    assert not torch.equal(scheduler.lambda_t, before["lambda_t"])


def test_the_end_that_ddim_reads_can_be_written():
    theirs = DDIMScheduler(**SD_BETAS, timestep_spacing="trailing", clip_sample=False)
    ours = DEISSNScheduler(**SD_BETAS, timestep_spacing="trailing", solver_order=1)
    for end in (lambda one: one.alphas_cumprod[0], lambda one: torch.tensor(1.0)):
        for scheduler in (theirs, ours):
            scheduler.final_alpha_cumprod = end(scheduler)
        assert torch.allclose(run(ours), run(theirs), atol=1e-4, rtol=1e-4)
        assert torch.allclose(ours.final_alpha_cumprod, end(ours))


def test_statistics_of_the_schedule_before_are_refused():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=gaussian_record(vp_schedule(**SD_BETAS)))
    another_schedule(scheduler)
    with pytest.raises(StatisticsMismatchError):
        scheduler.set_timesteps(5)


def test_edited_betas_of_the_config_are_shown():
    scheduler = DEISSNScheduler()
    scheduler.config.beta_end = 0.03
    scheduler.set_timesteps(5)
    assert torch.allclose(scheduler.alphas_cumprod, DDPMScheduler(beta_end=0.03).alphas_cumprod, rtol=1e-5)
    scheduler.register_to_config(use_flow_sigmas=True, prediction_type="flow_prediction")
    scheduler.set_timesteps(5)
    assert not hasattr(scheduler, "alphas_cumprod")


# ------------------------------------------------------------------------------------------------------- lists of a run


def edited_run(scheduler: Any, edit: Any, at: int = 0) -> Tensor:
    scheduler.set_timesteps(6)
    x = torch.linspace(-1.0, 1.0, 12)
    for n in range(6):
        if n == at:
            edit(scheduler)
        if n >= len(scheduler.timesteps):
            break
        t = scheduler.timesteps[n]
        x = scheduler.step(torch.sin(3.0 * x + t / 1000.0), t, x).prev_sample
    return x


def less_noise(scheduler: Any) -> None:
    scheduler.sigmas = scheduler.sigmas * 0.9


def less_noise_through_numpy(scheduler: Any) -> None:
    scheduler.sigmas.numpy()[:-1] *= 0.9


def one_level(scheduler: Any) -> None:
    scheduler.sigmas[3] *= 0.9


def to_the_cleanest(scheduler: Any) -> None:
    scheduler.sigmas[-1] = scheduler.sigmas[-2]


def later_times(scheduler: Any) -> None:
    scheduler.timesteps = scheduler.timesteps + 1.5


def later_times_in_place(scheduler: Any) -> None:
    scheduler.timesteps -= 3.0


def both_cut(scheduler: Any) -> None:
    scheduler.sigmas, scheduler.timesteps = scheduler.sigmas[2:], scheduler.timesteps[2:]


def nothing(scheduler: Any) -> None:
    scheduler.sigmas, scheduler.timesteps = scheduler.sigmas.clone(), scheduler.timesteps.double()


@pytest.mark.parametrize(
    ("edit", "at"),
    [
        (less_noise, 0),
        (less_noise, 2),
        (less_noise_through_numpy, 0),
        (one_level, 0),
        (one_level, 1),
        (to_the_cleanest, 0),
        (later_times, 0),
        (later_times, 3),
        (later_times_in_place, 0),
        (later_times_in_place, 2),
        (both_cut, 0),
        (nothing, 2),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_what_is_written_into_the_lists_of_a_run_counts_as_in_diffusers(edit, at, inference):
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    theirs.set_timesteps(sigmas=np.linspace(1.0, 1.0 / 6.0, 6))
    grid = theirs.sigmas, theirs.timesteps
    theirs.set_timesteps = lambda n: None  # our grid
    theirs.sigmas, theirs.timesteps = (one.clone() for one in grid)
    with torch.inference_mode(inference):
        assert torch.allclose(edited_run(ours, edit, at), edited_run(theirs, edit, at), atol=2e-5)
    assert len(ours.timesteps) == len(theirs.timesteps)


def test_a_list_of_times_alone_that_is_cut_is_walked_through():
    scheduler = DEISSNScheduler(**SD_BETAS, solver_order=1)
    scheduler.set_timesteps(6)
    whole = scheduler._plan
    scheduler.timesteps = scheduler.timesteps[2:]
    x = torch.ones(4)
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x).prev_sample
    assert scheduler._plan is whole and scheduler.step_index == 6


@pytest.mark.parametrize(
    ("options", "edit", "at", "error"),
    [
        ({}, lambda s: setattr(s, "sigmas", s.sigmas[1:]), 0, StepError),
        ({}, both_cut, 1, StepError),
        ({}, lambda s: setattr(s, "timesteps", s.timesteps.tolist()), 0, StepError),
        ({}, lambda s: setattr(s, "sigmas", None), 0, StepError),
        ({"solver": "heun"}, less_noise, 0, StepError),
        ({}, lambda s: s.sigmas[2:3].fill_(100.0), 0, TimestepsError),
        ({}, lambda s: s.timesteps[2:3].fill_(999), 0, TimestepsError),
    ],
)
def test_lists_that_make_no_run_are_refused(options, edit, at, error):
    with pytest.raises(error):
        edited_run(DEISSNScheduler(**{**SD_BETAS, "timestep_spacing": "leading", **options}), edit, at)


def test_a_watched_tensor_tells_writing_without_being_read():
    tensor = lasting([1.0, 2.0], torch.float32)
    watched = Watched(tensor)
    assert not watched.touched(tensor) and watched.touched(tensor.clone())
    with torch.inference_mode():
        tensor[0] = 3.0
    assert watched.touched(tensor)


def test_a_table_is_one_object_while_nobody_writes():
    table = NoiseTable(vp_schedule(**SD_BETAS))
    assert table.edited(table.alphas_cumprod, table.betas) is None
    table.alphas_cumprod[-1] = 2**-24
    edited = table.edited(table.alphas_cumprod, table.betas)
    assert edited is not None and table.edited(table.alphas_cumprod, table.betas) is edited


def test_lists_of_one_that_were_turned_round_are_taken():
    """NumPy calls them contiguous, and PyTorch refuses their negative stride."""
    assert lasting(np.ones(1)[::-1], torch.float32).tolist() == [1.0]
