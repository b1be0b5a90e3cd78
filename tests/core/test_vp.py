"""Laws of the noise schedules: inverse maps, one path, Diffusers' own numbers, a fingerprint that tells them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from diffusers_deis_sn.core.vp import SMALLEST_ALPHA_SQUARED, TableSchedule, vp_schedule
from diffusers_deis_sn.errors import NoiseScheduleError

NAMED: list[dict[str, Any]] = [
    DDPM_BETAS,
    SD_BETAS,
    {"beta_schedule": "squaredcos_cap_v2"},
    {**SD_BETAS, "rescale_betas_zero_snr": True},
    {**DDPM_BETAS, "rescale_betas_zero_snr": True},  # its last level but one has less signal than Diffusers' last
    {**DDPM_BETAS, "num_train_timesteps": 100},
]


@st.composite
def noise_schedules(draw: st.DrawFn) -> TableSchedule:
    total = draw(st.integers(2, 1100))
    kind = draw(st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2", "trained"]))
    zero_snr = draw(st.booleans()) if total > 4 else False
    if kind == "trained":
        betas = np.random.default_rng(draw(st.integers(0, 99))).uniform(1e-4, 0.03, total)
        return vp_schedule(trained_betas=betas, rescale_betas_zero_snr=zero_snr)
    start, end = draw(st.floats(1e-5, 5e-3)), draw(st.floats(6e-3, 0.03))
    return vp_schedule(total, start, end, kind, rescale_betas_zero_snr=zero_snr)


@given(noise_schedules(), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_time_and_level_are_inverse_at_fractional_times(noise, fractions):
    times = -1.0 + np.array(fractions) * len(noise)  # from clean data to the noisiest training time
    levels = noise.rho(times)
    assert np.allclose(noise.time(levels), times, rtol=0, atol=1e-7)
    assert np.allclose(noise.rho(noise.time(levels)), levels, rtol=1e-11, atol=1e-7)  # of zero: a root of rounding


@given(noise_schedules(), st.floats(0.0, 0.05))
def test_a_level_just_beyond_the_last_keeps_its_value(noise, excess):
    level = np.exp(noise.log_rho[-1]) * (1.0 + excess)
    assert noise.time(level) >= noise.last - 1e-9
    assert noise.rho(noise.time(level)) == pytest.approx(level, rel=1e-11)


@given(noise_schedules())
def test_noise_grows_with_time(noise):
    times = np.unique(np.concatenate([np.arange(-1.0, len(noise)), np.linspace(-1.0, noise.last, 777)]))
    times = times[np.append(True, np.diff(times) > 1e-6)]
    assert np.all(np.diff(noise.rho(times)) > 0.0)
    assert np.all(np.diff(noise.time(noise.rho(times))) > 0.0)


@given(noise_schedules(), st.floats(-1.0, 1.0))
def test_variance_is_preserved(noise, place):
    rho = noise.rho((place + 1.0) / 2.0 * noise.last)
    assert noise.alpha(rho) ** 2 + noise.sigma(rho) ** 2 == pytest.approx(1.0, abs=1e-15)
    assert noise.sigma(rho) / noise.alpha(rho) == pytest.approx(rho, rel=1e-14)


def test_data_are_clean_at_minus_one():
    noise = vp_schedule(**SD_BETAS)
    assert noise.rho(-1.0) == 0.0 and noise.time(0.0) == -1.0
    assert noise.alpha(0.0) == 1.0 and noise.sigma(0.0) == 0.0


@pytest.mark.parametrize("config", NAMED, ids=str)
def test_noise_share_is_linear_between_training_times(config):
    noise = vp_schedule(**config)
    share = 1.0 - noise.alpha(noise.rho(np.arange(-1.0, len(noise)))) ** 2
    quarter = 1.0 - noise.alpha(noise.rho(np.arange(-1.0, noise.last) + 0.25)) ** 2
    assert np.allclose(quarter, 0.75 * share[:-1] + 0.25 * share[1:], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("config", NAMED, ids=str)
def test_levels_are_those_of_diffusers(config):
    theirs = DDIMScheduler(**config).alphas_cumprod.double().numpy()
    noise = vp_schedule(**config)
    ours = noise.alpha(noise.rho(np.arange(len(noise)))) ** 2
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-7)  # theirs are products of a thousand float32 numbers


def test_levels_are_the_product_of_the_betas():
    betas = np.random.default_rng(0).uniform(1e-4, 0.05, 57)
    noise = vp_schedule(trained_betas=betas)
    alpha_squared = 1.0
    for t, beta in enumerate(betas):
        alpha_squared *= 1.0 - beta
        assert noise.alpha(noise.rho(float(t))) ** 2 == pytest.approx(alpha_squared, rel=1e-12)


def test_zero_terminal_snr_is_held_where_diffusers_holds_it():
    noise = vp_schedule(**SD_BETAS, rescale_betas_zero_snr=True)
    first = vp_schedule(**SD_BETAS)
    assert noise.alpha(noise.rho(noise.last)) ** 2 == pytest.approx(SMALLEST_ALPHA_SQUARED, rel=1e-9)
    assert noise.rho(0.0) == pytest.approx(first.rho(0.0), rel=1e-12)


# -------------------------------------------------------------------------------------------------- the fingerprint


@pytest.mark.parametrize("total", [10, 1000])
def test_fingerprint_is_of_the_levels_not_of_how_they_were_written(total):
    named = vp_schedule(total, 1e-4, 0.02, "linear")
    betas = np.linspace(1e-4, 0.02, total)
    assert vp_schedule(trained_betas=betas).fingerprint == named.fingerprint
    assert vp_schedule(7, 0.3, 0.4, "scaled_linear", trained_betas=betas.tolist()).fingerprint == named.fingerprint
    assert TableSchedule(named.log_rho + 1e-9).fingerprint == named.fingerprint  # another machine's logarithm


def test_fingerprint_tells_schedules_apart():
    others = [{**SD_BETAS, "beta_end": 0.0121}, {**SD_BETAS, "beta_schedule": "linear"}]
    assert len({vp_schedule(**config).fingerprint for config in NAMED + others}) == len(NAMED + others)


def test_fingerprints_of_published_statistics_stay_valid():
    assert vp_schedule(**SD_BETAS).fingerprint == "5e70464b0967d3b9"
    assert vp_schedule(**DDPM_BETAS).fingerprint == "2910e793cc0a47ea"


def test_text_names_the_schedule_and_its_fingerprint():
    noise = vp_schedule(**SD_BETAS)
    assert "scaled_linear betas 0.00085 to 0.012" in str(noise) and noise.fingerprint in str(noise)


def test_schedule_is_frozen_and_keeps_its_own_copy():
    table = np.linspace(-3.0, 3.0, 5)
    noise = TableSchedule(table)
    table[0] = -9.0
    assert noise.log_rho[0] == -3.0
    with pytest.raises(ValueError, match="read-only"):
        noise.log_rho[0] = 0.0


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"beta_schedule": "cubic"}, ["'cubic'", "scaled_linear", "trained_betas"]),
        ({"trained_betas": [0.1, 0.0]}, ["strictly between 0 and 1", "0.1", "model's own scheduler config"]),
        ({"trained_betas": [0.1, 1.0]}, ["strictly between 0 and 1"]),
        ({"trained_betas": [0.1, -0.1]}, ["strictly between 0 and 1", "-0.1"]),
        ({"trained_betas": [0.1, float("nan")]}, ["strictly between 0 and 1", "nan"]),
        ({"trained_betas": [0.1]}, ["at least two", "got 1"]),
        ({"trained_betas": []}, ["at least two", "got 0"]),
        ({"trained_betas": [[0.1, 0.2]]}, ["strictly between 0 and 1"]),
        ({"num_train_timesteps": 1}, ["at least two"]),
        ({"beta_start": -0.1}, ["-0.1", "linear"]),
        ({"beta_end": 1.5}, ["1.5"]),
    ],
)
def test_unusable_betas_are_refused(arguments, words):
    with pytest.raises(NoiseScheduleError) as raised:
        vp_schedule(**arguments)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([0.0, 1.0, 1.0], ["must grow", "t = 1", "t = 2"]),
        ([0.0, -1.0], ["must grow", "-1"]),
        ([0.0, np.inf], ["finite"]),
        ([0.0, np.nan, 1.0], ["finite"]),
        ([0.0], ["at least two"]),
        ([[0.0, 1.0]], ["shape (1, 2)"]),
    ],
)
def test_levels_that_are_no_schedule_are_refused(table, words):
    with pytest.raises(NoiseScheduleError) as raised:
        TableSchedule(np.array(table), name="mine")
    for word in [*words, "'mine'", "Check the betas"]:
        assert word in str(raised.value)


def test_unknown_path_is_refused():
    with pytest.raises(NoiseScheduleError, match="'spiral'"):
        TableSchedule(np.array([0.0, 1.0]), path="spiral")


def test_times_and_levels_outside_the_process_are_refused():
    noise = vp_schedule()
    with pytest.raises(NoiseScheduleError, match=r"-1 \(clean data\), got -1.5"):
        noise.rho([3.0, -1.5])
    with pytest.raises(NoiseScheduleError, match="not negative, got -2"):
        noise.time([1.0, -2.0])
