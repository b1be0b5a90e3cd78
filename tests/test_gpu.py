"""On a CUDA device: the shipped pipeline in half precision, no step that makes the host wait, offloading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.exact.flows import SD_BETAS
from benchmarks.exact.runs import statistics_of
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, calibrate
from diffusers_deis_sn.errors import StepError

ROOT = Path(__file__).resolve().parents[1]
MODEL, STATISTICS = ROOT / "examples" / "models" / "tiny-sd-digits", ROOT / "stats" / "tiny-sd-digits"
DEVICE = "cuda"
PROMPTS = ["a red seven on a dark blue background", "a yellow two on a black background"]

pytestmark = pytest.mark.gpu
shipped = pytest.mark.skipif(
    not ((MODEL / "model_index.json").exists() and (STATISTICS / "score_statistics.safetensors").exists()),
    reason="the trained pipeline or its statistics are not in this checkout",
)


def load(dtype: torch.dtype = torch.float32) -> Any:
    pipe = DiffusionPipeline.from_pretrained(MODEL).to(dtype)  # the keyword has another name in each Diffusers
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=STATISTICS)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pictures(pipe: Any, **options: Any) -> np.ndarray:
    """Two pictures, numbers from 0 to 1, from the same noise whatever the device and precision."""
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    noise = noise.to(options.pop("device", DEVICE), pipe.unet.dtype)
    result = pipe(PROMPTS, num_inference_steps=10, guidance_scale=3.0, latents=noise, output_type="np", **options)
    return np.asarray(result.images, dtype=np.float64)


@cache
def expected() -> np.ndarray:
    return pictures(load(), device="cpu")


@contextmanager
def no_waiting() -> Iterator[None]:
    """CUDA calls that make the host wait raise an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# RMS difference of pixels to the CPU's float32 pictures. A half-precision network rounds every activation, to 11 bits
# in float16 and to 8 in bfloat16: .0002 and .003 on a CPU. Convolutions in float32 round to 11 bits, too (TF32). The
# scheduler itself sums in float32 and adds one rounding a step.
@shipped
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 0.003), (torch.float16, 0.003), (torch.bfloat16, 0.02)], ids=str
)
def test_pictures_are_those_of_the_cpu(dtype: torch.dtype, tolerance: float) -> None:
    difference = pictures(load(dtype).to(DEVICE)) - expected()
    assert np.sqrt(np.mean(difference**2)) < tolerance


@shipped
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_the_loop_of_a_pipeline_never_waits_after_its_first_step(dtype: torch.dtype) -> None:
    pipe = load(dtype).to(DEVICE)
    seen = []

    def after_each_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(step)
        torch.cuda.set_sync_debug_mode("error" if step < 9 else "default")  # decoding may wait
        return tensors

    try:
        pictures(pipe, callback_on_step_end=after_each_step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert seen == list(range(10))


@shipped
def test_offloading_to_the_cpu() -> None:
    pipe = load()
    pipe.enable_model_cpu_offload(device=DEVICE)
    assert np.sqrt(np.mean((pictures(pipe) - expected()) ** 2)) < 0.003


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("begin", [None, 0, 3])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", ["multistep", "ipndm", "kutta3"])
def test_steps_are_those_of_the_cpu_and_never_wait(
    dtype: torch.dtype, begin: int | None, prediction_type: str, solver: str
) -> None:
    noise = DEISSNScheduler(**SD_BETAS).noise
    stats = statistics_of(
        noise, np.array([0.0, 300.0, 999.0]), np.array([0.5, 0.7, 0.8]), prediction_type=prediction_type
    )
    ends = []
    for device in ("cpu", DEVICE):
        scheduler = DEISSNScheduler(**SD_BETAS, prediction_type=prediction_type, solver=solver, stats=stats)
        scheduler.set_timesteps(12, device=device)
        assert scheduler.timesteps.device.type == device and scheduler.sigmas.device.type == "cpu"
        x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).to(device, dtype)
        outputs = [0.5 * x.roll(n, -1) for n in range(len(scheduler.timesteps))]  # the same rounding on both devices
        if begin is not None:
            scheduler.set_begin_index(begin)
        times = list(scheduler.timesteps[begin or 0 :])
        x = scheduler.step(outputs[0], times[0], x).prev_sample  # may look its index up
        if device == "cpu":
            for output, t in zip(outputs[1:], times[1:], strict=False):
                x = scheduler.step(output, t, x).prev_sample
        else:
            with no_waiting():
                for output, t in zip(outputs[1:], times[1:], strict=False):
                    x = scheduler.step(output, t, x).prev_sample
        assert x.dtype == dtype
        ends.append(x.cpu().double())
    size = ends[0].abs().max().item()
    assert torch.allclose(ends[0], ends[1], rtol=0, atol=72 * torch.finfo(dtype).eps * size)


def test_noise_is_added_on_the_device() -> None:
    scheduler = DEISSNScheduler(**SD_BETAS)
    x0, eps = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for times in (torch.tensor([999, 20]), torch.tensor([500])):
        on_device = scheduler.add_noise(x0.to(DEVICE), eps.to(DEVICE), times.to(DEVICE))
        assert on_device.device.type == DEVICE
        assert torch.allclose(on_device.cpu(), scheduler.add_noise(x0, eps, times), atol=1e-6)
        assert torch.allclose(scheduler.add_noise(x0.to(DEVICE), eps.to(DEVICE), times), on_device)  # times on the CPU


@shipped
def test_learned_times_give_the_pictures_of_the_cpu() -> None:
    there, here = load().to(DEVICE), load()
    for pipe in (there, here):
        pipe.scheduler = ScoreOptimalScheduler.from_config(pipe.scheduler.config, stats=STATISTICS)
    difference = pictures(there) - pictures(here, device="cpu")
    assert np.sqrt(np.mean(difference**2)) < 0.003  # as above


@shipped
def test_a_run_planned_anew_changes_the_times_that_the_pipeline_holds_on_the_device() -> None:
    scheduler = ScoreOptimalScheduler(**SD_BETAS, stats=STATISTICS)
    scheduler.set_timesteps(10, device=DEVICE)
    held = scheduler.timesteps[4:]
    scheduler.set_begin_index(4)
    x = torch.zeros(2, 4, 8, 8, device=DEVICE)
    scheduler.add_noise(x, torch.ones_like(x), held[:1].repeat(2))
    assert held[0].item() == pytest.approx(599.0)  # where "trailing" is, with six of ten steps to go
    for number, t in enumerate(held):
        if number == 1:
            with no_waiting():
                x = scheduler.step(x, t, x).prev_sample
        else:
            x = scheduler.step(x, t, x).prev_sample
    assert bool(torch.isfinite(x).all())


@shipped
def test_costs_on_the_device_are_those_of_the_cpu() -> None:
    options: dict[str, Any] = {"num_samples": 4, "num_inference_steps": 20, "batch_size": 4, "trials": 0}
    options |= {"costs": ("corrector", "predictor"), "guidance_scale": 3.0, "progress": False}
    there, here = (calibrate(pipe, PROMPTS, **options) for pipe in (load().to(DEVICE), load()))
    for name, tolerance in (("corrector", 1e-3), ("predictor", 2e-2)):
        lengths = [np.sum(one.cost(name).values ** (1.0 / one.cost(name).order)) for one in (there, here)]
        assert lengths[0] == pytest.approx(lengths[1], rel=tolerance)


def test_turns_of_two_runs_are_seen_without_reading_from_the_device() -> None:
    """By where the times lie in memory: the second run's first time is not the one that is due."""
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(6, device="cuda")
    x = torch.ones(2, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        x = scheduler.step(torch.zeros_like(x), scheduler.timesteps[0], x).prev_sample
        with pytest.raises(StepError):
            scheduler.step(torch.zeros_like(x), scheduler.timesteps[0], x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_flows_start_from_noise_alone_as_on_the_cpu() -> None:
    ends = []
    for device in ("cpu", "cuda"):
        scheduler = DEISSNScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
        scheduler.set_timesteps(6, device=device)
        x = torch.linspace(-1.0, 1.0, 64).to(device)
        for t in scheduler.timesteps:
            x = scheduler.step(torch.sin(3.0 * x), t, x).prev_sample
        ends.append(x.cpu())
    assert torch.allclose(*ends, atol=1e-5)
