"""Flows as other pipelines have them: called with sigma itself, from lists that end anywhere, or upside down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.core.grids import Beta, Power
from diffusers_deis_sn.errors import TimestepsError
from diffusers_deis_sn.statistics import StatisticsOrigin

LTX_098 = [1000.0, 993.0, 987.0, 981.0, 975.0, 909.0, 725.0, 0.03]  # what the distilled LTX Video 0.9.8 is called with
FLOW: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def run(scheduler: Any, scale: float = 1000.0, seed: int = 0) -> tuple[Tensor, list[float]]:
    """A network's whole run, and the times that it was called at."""
    x, times = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(seed)), []
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3.0 * x + 2.0 * float(t) / scale), t, x, return_dict=False)[0]
        times.append(float(t))
    return x, times


def alike(config: dict[str, Any], **request: Any) -> None:
    """Order one is Euler's method of Diffusers, at the same times and levels."""
    theirs = FlowMatchEulerDiscreteScheduler(**config)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(**request)
        ends.append(run(scheduler, config.get("num_train_timesteps", 1000)))
    assert torch.allclose(ours.sigmas, theirs.sigmas, atol=2e-6)
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-5, abs=2e-4)
    assert torch.allclose(ends[0][0], ends[1][0], atol=2e-5)


# ------------------------------------------------------------------------------------------------------- where they end


@pytest.mark.parametrize("times", [LTX_098, [1000.0, 1.0, 0.5], [0.75, 0.1], [0.01]], ids=str)
def test_times_may_go_down_to_whatever_a_network_knows(times):
    alike({}, timesteps=times)
    scheduler = DEISSNScheduler(**FLOW)
    scheduler.set_timesteps(timesteps=times)
    assert scheduler.timesteps.tolist() == pytest.approx(times, rel=1e-6)
    x, seen = run(scheduler)
    assert torch.isfinite(x).all() and seen == scheduler.timesteps.tolist()


@given(st.lists(st.floats(1e-3, 0.999), min_size=1, max_size=8, unique=True), st.sampled_from([0.2, 1.0, 7.0]))
def test_sigmas_may_end_anywhere(sigmas, shift):
    falling = sorted(sigmas, reverse=True)
    if len(falling) == 1 or np.min(-np.diff(falling)) > 1e-3:
        alike({"shift": shift}, sigmas=falling)


# ------------------------------------------------------------------------------------------- called with sigma itself


@pytest.mark.parametrize("sigmas", [[1.0, 0.75, 0.5, 0.25], [0.98, 0.4, 0.031, 2e-4], [1.0]], ids=str)
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("times", [1, 50, 1000])
def test_a_network_called_with_sigma_itself_is_a_flow_like_others(times, shift, sigmas):
    """ACE-Step, Stable Audio 3."""
    alike({"num_train_timesteps": times, "shift": shift}, sigmas=sigmas)


@pytest.mark.parametrize(
    "options", [{}, {"use_karras_sigmas": True}, {"grid": Power("t", 2.0)}, {"grid": Beta()}], ids=str
)
def test_every_grid_of_such_a_flow_is_that_of_the_others(options):
    one, other = (DEISSNScheduler(**FLOW, **options, num_train_timesteps=times) for times in (1, 1000))
    for steps in (1, 2, 9, 300):
        for scheduler in (one, other):
            scheduler.set_timesteps(steps)
        assert torch.allclose(one.sigmas, other.sigmas, rtol=1e-5)
        assert torch.allclose(1000.0 * one.timesteps, other.timesteps, rtol=1e-4)
        assert torch.allclose(run(one, 1.0)[0], run(other)[0], atol=1e-4)


def test_noise_is_added_at_the_times_of_such_a_flow():
    scheduler = DEISSNScheduler(**FLOW, num_train_timesteps=1)
    x0, noise = torch.randn(3, 4), torch.randn(3, 4)
    got = scheduler.scale_noise(x0, torch.tensor([0.25, 0.5, 1.0]), noise)
    share = torch.tensor([[0.25], [0.5], [1.0]])
    assert torch.allclose(got, (1.0 - share) * x0 + share * noise, atol=1e-6)


# ------------------------------------------------------------------------------------------- levels once they are final


@given(
    st.floats(0.05, 8.0),
    st.one_of(st.none(), st.floats(0.02, 0.98)),
    st.floats(0.3, 1.0),
    st.one_of(st.none(), st.floats(0.0, 0.25)),
    st.sampled_from([None, Power("t", 1.0), Power("t", 2.0), Power("sigma", 3.0), Beta()]),
    st.sampled_from([{"num_inference_steps": n} for n in (1, 2, 5, 12)] + [{"sigmas": [0.9, 0.5, 0.12]}]),
    st.sampled_from(["zero", "sigma_min"]),
)
def test_no_run_ever_goes_up_in_noise(shift, terminal, start, end, grid, request_, final):
    """Whatever made the levels: they fall to the end of the run, or it is refused."""
    ends = {} if grid is None else {"start_time": start, "end_time": end}
    scheduler = DEISSNScheduler(
        **FLOW, **ends, flow_shift=shift, shift_terminal=terminal, grid=grid, final_sigmas_type=final
    )
    try:
        scheduler.set_timesteps(**request_)
    except TimestepsError as error:
        said = "ends the run" if end is None or "sigmas" not in request_ else f"end_time={end!r} ends the run"
        assert any(words in str(error) for words in ("shift", "noisiest", "the same time", said))
        return
    sigmas = scheduler.sigmas.double().numpy()
    assert np.all(np.diff(sigmas) < 0.0) and sigmas[-1] >= 0.0
    assert np.all(np.diff(scheduler.timesteps.double().numpy()) < 0.0)


def test_what_shifts_levels_below_the_end_of_a_run_is_named():
    scheduler = DEISSNScheduler(**FLOW, grid=Power("t", 2.0), start_time=0.99, end_time=0.1, flow_shift=0.5)
    with pytest.raises(TimestepsError, match=r"once they are shifted: sigma .*`flow_shift`"):
        scheduler.set_timesteps(8)
    with pytest.raises(TimestepsError, match=r"once they are shifted: sigma 0.8182, 0.3333, 0.08108, 0.1"):
        scheduler.set_timesteps(sigmas=[0.9, 0.5, 0.15])


# ------------------------------------------------------------------------------------------------------- upside down

INVERTED = {"invert_sigmas": True}


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.4])
@pytest.mark.parametrize(
    "request_",
    [{"sigmas": np.linspace(1.0, 0.0, 8)[:-1]}, {"sigmas": [1.0, 0.9, 0.3, 0.05]}, {"sigmas": [0.8, 0.2]}],
    ids=str,
)
def test_an_inverted_flow_is_the_same_read_from_its_end(shift, request_):
    """OmniGen, Mochi, LongCat-Audio."""
    alike({**INVERTED, "shift": shift}, **request_)


def test_a_run_handed_back_to_an_inverted_flow_is_the_same_run():
    one, other = (DEISSNScheduler(**FLOW, **INVERTED, flow_shift=3.0, recipe="fixed") for _ in range(2))
    one.set_timesteps(7)
    assert torch.all(one.timesteps[1:] > one.timesteps[:-1]) and one.sigmas[-1] == 1.0 and one.timesteps[0] == 0.0
    expected = run(one)[0]
    other.set_timesteps(timesteps=one.timesteps.tolist())
    assert torch.allclose(other.timesteps, one.timesteps, atol=1e-3) and torch.allclose(
        run(other)[0], expected, atol=1e-4
    )
    for t in one.timesteps:
        assert one.index_for_timestep(t) == one.timesteps.tolist().index(float(t))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    "options", [{}, {"use_karras_sigmas": True}, {"thresholding": True}, {"grid": Power("t", 2.0)}], ids=str
)
def test_of_every_solver_and_grid_an_inverted_flow_is_the_mirror_of_a_plain_one(options, order):
    plain, mirrored = (DEISSNScheduler(**FLOW, **one, **options, solver_order=order) for one in ({}, INVERTED))
    x = y = torch.randn(2, 4, 8)
    for scheduler in (plain, mirrored):
        scheduler.set_timesteps(6)
    assert torch.allclose(mirrored.sigmas, 1.0 - plain.sigmas)
    for t, s in zip(plain.timesteps, mirrored.timesteps, strict=True):
        assert float(s) == pytest.approx(1000.0 - float(t), abs=1e-4)
        x = plain.step(torch.sin(3.0 * x + float(t) / 500.0), t, x).prev_sample
        y = mirrored.step(-torch.sin(3.0 * y + float(t) / 500.0), s, y).prev_sample
    assert torch.allclose(x, y, atol=1e-5)


def test_noise_is_added_to_an_inverted_flow_at_its_own_times():
    scheduler, x0, noise = DEISSNScheduler(**FLOW, **INVERTED), torch.randn(3, 4), torch.randn(3, 4)
    got = scheduler.add_noise(x0, noise, torch.tensor([250.0, 500.0, 900.0]))
    share = torch.tensor([[0.75], [0.5], [0.1]])
    assert torch.allclose(got, (1.0 - share) * x0 + share * noise, atol=1e-6)


def test_statistics_of_an_inverted_flow_are_measured_and_used():
    """As any other: the clock that the network is told by is nothing that they depend on."""
    config = FlowMatchEulerDiscreteScheduler(**INVERTED).config
    found = []
    for inverted in (False, True):
        recorder = RecordingScheduler.measuring({**config, "invert_sigmas": inverted}, StatisticsOrigin())
        for seed in range(2):
            x = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(seed))
            recorder.set_timesteps(20)
            for t in recorder.timesteps:
                sigma = 1.0 - float(t) / 1000.0 if inverted else float(t) / 1000.0
                velocity = torch.sin(x + sigma)
                x = recorder.step(-velocity if inverted else velocity, t, x).prev_sample
        found.append(recorder.measured())
    assert np.allclose(found[0].timesteps, found[1].timesteps, atol=1e-3)
    assert np.allclose(found[0].mean_abs, found[1].mean_abs, rtol=1e-5)
    scheduler = DEISSNScheduler.from_config(config, stats=found[1])
    scheduler.set_timesteps(5)
    assert scheduler.normalised and torch.isfinite(run(scheduler)[0]).all()


def test_an_inverted_flow_comes_back_through_its_own_scheduler():
    theirs = FlowMatchEulerDiscreteScheduler(**INVERTED, shift=2.0)
    ours = DEISSNScheduler.from_config(theirs.config)
    back = FlowMatchEulerDiscreteScheduler.from_config(ours.config)
    assert back.config.invert_sigmas and back.config.shift == 2.0
    assert DEISSNScheduler.from_config(back.config).noise.inverted
