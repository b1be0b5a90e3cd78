"""Time grids: those of Diffusers and of the papers, N distinct falling levels always, hand-written ones as they are."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers import DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from diffusers_deis_sn.core.grids import FINAL_SIGMAS, Ends
from diffusers_deis_sn.core.named_grids import INTEGER_SPACINGS, SPACINGS, levels_from_sigmas, levels_from_times
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError, TimestepsError
from oracles import spaced_levels
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

SD = vp_schedule(**SD_BETAS)
SCHEDULES = {
    "sd": SD,
    "ddpm": vp_schedule(**DDPM_BETAS),
    "cosine": vp_schedule(beta_schedule="squaredcos_cap_v2"),
    "zero SNR": vp_schedule(**SD_BETAS, rescale_betas_zero_snr=True),
    "short": vp_schedule(37, 1e-3, 0.2),
    "shortest": vp_schedule(trained_betas=[0.1, 0.3]),
}
CONTINUA = {"sd": SD, "ddpm": SCHEDULES["ddpm"], "edm": SigmaSchedule(), "ve": SigmaSchedule(0.01, 50.0, label="sigma")}


def called_times(levels, noise=SD):
    return noise.time(levels[:-1])


# -------------------------------------------------------------------------------------------- grids known elsewhere


@pytest.mark.parametrize("spacing", INTEGER_SPACINGS)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("steps", [1, 2, 5, 7, 10, 15, 16, 20, 24, 25, 30, 32, 48, 50, 64, 96, 100, 112, 200, 250, 333])
def test_whole_times_are_those_of_diffusers(spacing, offset, steps):
    theirs = DPMSolverMultistepScheduler(**SD_BETAS, timestep_spacing=spacing, steps_offset=offset)
    theirs.set_timesteps(steps)
    levels = spaced_levels(SD, steps, spacing, "zero", offset)
    assert called_times(levels) == pytest.approx(theirs.timesteps.numpy(), abs=1e-6)
    assert levels == pytest.approx(theirs.sigmas.numpy(), rel=1e-4)


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("steps", [2, 5, 10, 25, 50])
@pytest.mark.parametrize("betas", [SD_BETAS, DDPM_BETAS])
def test_sigmas_are_those_of_diffusers(spacing, steps, betas):
    theirs = DPMSolverMultistepScheduler(**betas, **{f"use_{spacing}_sigmas": True}, final_sigmas_type="zero")
    theirs.set_timesteps(steps)
    assert spaced_levels(vp_schedule(**betas), steps, spacing, "zero") == pytest.approx(theirs.sigmas.numpy(), rel=1e-4)


@pytest.mark.parametrize(
    ("steps", "times"),
    [(10, [999, 809, 639, 489, 359, 249, 159, 89, 39, 9]), (6, [999, 693.444, 443.444, 249, 110.111, 26.778])],
)
def test_quadratic_is_the_papers_grid(steps, times):
    assert called_times(spaced_levels(SD, steps, "power_t", "zero")) == pytest.approx(times, abs=5e-4)


def test_log_snr_is_uniform_in_log_rho():
    levels = spaced_levels(SD, 12, "exponential", "sigma_min")
    assert np.diff(np.log(levels)) == pytest.approx(np.log(levels[-1] / levels[0]) / 12, rel=1e-9)
    assert np.array_equal(levels, spaced_levels(SD, 12, "exponential", "sigma_min"))


# ------------------------------------------------------------------------------------- exponents, and other ends

ENDLESS = sorted(set(SPACINGS) - set(INTEGER_SPACINGS))


def between(first, last, steps, k):
    """(first^(1/k) + (n / N) (last^(1/k) - first^(1/k)))^k, as both of DEIS's families of grids are defined."""
    fraction = np.arange(steps + 1) / steps
    return (first ** (1 / k) + fraction * (last ** (1 / k) - first ** (1 / k))) ** k


@pytest.mark.parametrize("k", [0.5, 1, 2, 2.5])
@pytest.mark.parametrize("name", CONTINUA)
def test_power_t_is_uniform_in_a_root_of_time(name, k):
    noise = CONTINUA[name]
    for final, end in (("zero", 0.0), ("sigma_min", float(noise.progress(noise.bottom)))):
        levels = spaced_levels(noise, 6, "power_t", final, exponent=k)
        assert noise.progress(levels) == pytest.approx(between(1.0, end, 6, k), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("k", [1, 5, 7, 8.25])
@pytest.mark.parametrize("name", CONTINUA)
def test_power_rho_is_uniform_in_a_root_of_rho(name, k):
    noise = CONTINUA[name]
    to_zero = spaced_levels(noise, 6, "power_rho", "zero", exponent=k)
    assert to_zero[:-1] == pytest.approx(between(noise.top, noise.bottom, 5, k), rel=1e-9) and to_zero[-1] == 0.0
    ended = spaced_levels(noise, 6, "power_rho", "sigma_min", exponent=k)
    assert ended == pytest.approx(between(noise.top, noise.bottom, 6, k), rel=1e-9)


@pytest.mark.parametrize("name", CONTINUA)
@pytest.mark.parametrize("final", FINAL_SIGMAS)
def test_exponents_of_known_names(name, final):
    noise = CONTINUA[name]
    for known, spacing, k in (("karras", "power_rho", 7),):
        expected = spaced_levels(noise, 9, known, final)
        assert np.array_equal(spaced_levels(noise, 9, spacing, final, exponent=k), expected)
        assert np.array_equal(spaced_levels(noise, 9, spacing, final), expected)  # the default
        assert not np.allclose(spaced_levels(noise, 9, spacing, final, exponent=k + 1), expected, rtol=1e-3)
    uniform = spaced_levels(CONTINUA["edm"], 9, "power_t", final, exponent=1)
    assert np.array_equal(uniform, spaced_levels(CONTINUA["edm"], 9, "trailing", final))


@pytest.mark.parametrize("name", CONTINUA)
def test_ever_higher_roots_of_rho_tend_to_its_logarithm(name):
    noise = CONTINUA[name]
    log = spaced_levels(noise, 9, "exponential", "sigma_min")
    grids = [spaced_levels(noise, 9, "power_rho", "sigma_min", exponent=k) for k in (1e2, 1e4)]
    apart = [np.max(np.abs(grid / log - 1.0)) for grid in grids]
    assert apart[1] < 0.011 * apart[0] and apart[1] < 2e-3  # like 1 / k


@pytest.mark.parametrize("spacing", ENDLESS)
def test_ends_are_where_they_were_asked_for(spacing):
    """DEIS ends at 1e-3 or 1e-4; with a thousand training times the one is the cleanest of them, t = 0."""
    levels = spaced_levels(SD, 8, spacing, "zero", end=1e-3)
    assert levels[-1] == SD.rho(0.0) and np.all(levels[:-1] > levels[-1])
    deeper = spaced_levels(SD, 8, spacing, "zero", end=1e-4)
    assert deeper[-1] == SD.rho(-0.9)
    assert spaced_levels(SD, 8, spacing, "sigma_min", end=0.0)[-1] == 0.0
    started = spaced_levels(SD, 8, spacing, "zero", start=0.6)
    assert started[0] == pytest.approx(SD.rho(599.0), rel=1e-12)
    assert spaced_levels(SD, 8, spacing, "sigma_min")[-1] == levels[-1]


@given(
    st.sampled_from(sorted(CONTINUA)),
    st.sampled_from(ENDLESS),
    st.sampled_from([1, 2, 3, 10, 100]) | st.integers(1, 300),
    st.sampled_from([None, 0.0, 1e-4, 1e-3, 0.2]),
    st.floats(0.3, 1.0),
)
def test_no_call_lies_below_the_cleanest_level(name, spacing, steps, end, start):
    noise = CONTINUA[name]
    levels = spaced_levels(noise, steps, spacing, "zero", start=start, end=end)
    assert len(levels) == steps + 1 and np.all(np.diff(levels) < 0.0)
    assert levels[0] <= noise.top * (1.0 + 1e-12) and levels[-2] >= noise.bottom * (1.0 - 1e-9)
    assert levels[-1] == (0.0 if end is None else pytest.approx(noise.level(end), rel=1e-9, abs=1e-300))


@pytest.mark.parametrize("sigma_min", [0.001, 0.002, 0.0065, 0.03])
@pytest.mark.parametrize("spacing", ENDLESS)
def test_an_end_at_the_cleanest_level_is_that_level_whatever_the_rounding(spacing, sigma_min):
    noise = SigmaSchedule(sigma_min)
    levels = spaced_levels(noise, 5, spacing, "zero", end=float(noise.progress(sigma_min)))
    assert np.allclose(levels, spaced_levels(noise, 5, spacing, "sigma_min"), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing": "power_t", "exponent": 0.0}, ["`grid_exponent`", "positive", "0.0"]),
        ({"spacing": "power_t", "exponent": np.nan}, ["`grid_exponent`", "nan"]),
        ({"spacing": "power_rho", "exponent": np.inf}, ["`grid_exponent`", "inf"]),
        ({"spacing": "karras", "exponent": 7}, ["`grid_exponent`", "'karras'", "power_rho", "Leave it out"]),
        ({"spacing": "karras", "start": 0.0}, ["`start_time`", "above 0", "0.0"]),
        ({"spacing": "karras", "start": 1.1}, ["`start_time`", "up to 1", "1.1"]),
        ({"spacing": "karras", "start": 0.5, "end": 0.5}, ["`end_time`", "start_time=0.5", "got 0.5"]),
        ({"spacing": "karras", "end": -0.1}, ["`end_time`", "from 0", "-0.1"]),
        ({"spacing": "trailing", "end": 1e-3}, ["`end_time`", "'trailing'", "grid=Power('t', 1)"]),
        ({"spacing": "leading", "start": 0.9}, ["`start_time`", "'leading'", "grid=Power"]),
        ({"spacing": "karras", "start": 1e-4}, ["`start_time`", "cleanest training level", "0.0001"]),
    ],
    ids=str,
)
def test_ends_and_exponents_that_make_no_grid_are_refused(options, words):
    with pytest.raises(ConfigurationError) as raised:
        spaced_levels(SD, 5, final="zero", **options)
    assert all(word in str(raised.value) for word in words), str(raised.value)


@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_a_continuum_has_no_whole_training_times(spacing):
    words = ["whole training times", "karras", "trailing", "sigma 0.002 to 80"]
    refused(ConfigurationError, words, spaced_levels, SigmaSchedule(), 5, spacing, "zero")


# ------------------------------------------------------------------------------------------------------------ the laws


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.sampled_from(SPACINGS),
    st.sampled_from(FINAL_SIGMAS),
    st.sampled_from([1, 2, 3, 10, 31, 32, 33, 36, 37, 500, 999, 1000]) | st.integers(1, 1000),
    st.integers(0, 3),
)
def test_n_steps_have_n_distinct_calls_and_each_one_moves_the_sample(name, spacing, final, steps, offset):
    noise = SCHEDULES[name]
    steps = min(steps, len(noise) - (final == "sigma_min"))
    levels = spaced_levels(noise, steps, spacing, final, offset)
    assert levels.shape == (steps + 1,)
    assert np.all(np.diff(levels) < 0.0)  # so the last call is not wasted either
    assert levels[-1] == (0.0 if final == "zero" else noise.rho(0.0))
    assert levels[0] <= np.exp(noise.log_rho[-1]) * (1 + 1e-12)
    assert levels[-2] >= np.exp(noise.log_rho[0]) * (1 - 1e-12)
    if spacing in INTEGER_SPACINGS:
        times = called_times(levels, noise)
        assert times == pytest.approx(np.round(times), abs=1e-6)


@pytest.mark.parametrize("spacing", sorted(set(SPACINGS) - {"leading"}))
@pytest.mark.parametrize("final", FINAL_SIGMAS)
@pytest.mark.parametrize("steps", [1, 4, 10, 50])
def test_a_run_starts_from_pure_noise(spacing, final, steps):
    assert spaced_levels(SD, steps, spacing, final)[0] == pytest.approx(SD.rho(999.0), rel=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("final", "steps"), [("zero", 37), ("sigma_min", 36), ("sigma_min", 37)])
def test_as_many_steps_as_training_times_or_one_less_call_nearly_all_of_them(spacing, final, steps):
    """Down to the level of the first training time, which is no call then, as many fall between whole times."""
    noise = SCHEDULES["short"]
    levels = spaced_levels(noise, steps, spacing, final)
    if spacing in INTEGER_SPACINGS:
        between = final == "sigma_min" and steps == 37
        times = np.linspace(36.0, 0.0, 38)[:-1] if between else np.arange(36, 36 - steps, -1)
        assert called_times(levels, noise) == pytest.approx(times, abs=1e-5 if between else 1e-9)
    assert np.all(np.diff(levels) < 0.0) and len(levels) == steps + 1


# ---------------------------------------------------------------------------------------------- hand-written grids


def test_hand_written_times_are_honoured_exactly():
    times = [998.5, 700.25, 3.125]
    assert called_times(levels_from_times(SD, times, Ends("zero"))) == pytest.approx(times, abs=1e-9)
    assert levels_from_times(SD, [999, 0], Ends("zero"))[-1] == 0.0
    assert levels_from_times(SD, [999, 1], Ends("sigma_min"))[-1] == SD.rho(0.0)


@pytest.mark.parametrize("values", [[14.6, 3.0, 0.5], [14.6, 3.0, 0.5, 0.0]])
def test_hand_written_sigmas_are_honoured_to_the_last_bit(values):
    assert levels_from_sigmas(SD, values, Ends("zero")).tolist() == [14.6, 3.0, 0.5, 0.0]
    assert levels_from_sigmas(SD, np.array(values, dtype=np.float32), Ends("zero"))[0] == np.float32(14.6)


def test_sigmas_without_an_end_get_the_configured_one():
    assert levels_from_sigmas(SD, [10.0, 1.0], Ends("sigma_min")).tolist() == [10.0, 1.0, SD.rho(0.0)]


def test_the_levels_of_diffusers_with_their_float32_rounding_are_taken():
    theirs = DPMSolverMultistepScheduler(**SD_BETAS, use_karras_sigmas=True)
    theirs.set_timesteps(8)
    assert levels_from_sigmas(SD, theirs.sigmas.numpy(), Ends("zero")).tolist() == theirs.sigmas.double().tolist()


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("steps", [0, -3, 1001, 2.5, True, np.nan, np.inf, "10", "ten", None, [10]])
def test_a_number_of_steps_out_of_range_is_refused(steps):
    words = ["`num_inference_steps`", "1 to 1000", repr(steps)]
    refused(TimestepsError, words, spaced_levels, SD, steps, "trailing", "zero")


def test_more_steps_than_training_times_are_refused_wherever_the_run_ends():
    refused(TimestepsError, ["1 to 1000", "1001"], spaced_levels, SD, 1001, "trailing", "sigma_min")


def test_unknown_names_are_refused():
    refused(ConfigurationError, ["'cubic'", "trailing", "karras"], spaced_levels, SD, 5, "cubic", "zero")
    refused(ConfigurationError, ["'never'", "zero", "sigma_min"], spaced_levels, SD, 5, "trailing", "never")


@pytest.mark.parametrize(
    ("times", "final", "words"),
    [
        ([500, 500, 3], "zero", ["fall strictly", "number 0 is 500", "number 1 is 500", "drop repeated"]),
        ([3, 500], "zero", ["fall strictly", "Sort them"]),
        ([1000, 3], "zero", ["between 0 and 999", "1000"]),
        ([500, -1], "zero", ["between 0 and 999", "-1"]),
        ([500, np.nan], "zero", ["finite", "nan"]),
        ([], "zero", ["at least one", "[]"]),
        ([[500, 3]], "zero", ["list"]),
        ([500, 0], "sigma_min", ["change nothing", "Leave 0 out"]),
    ],
)
def test_hand_written_times_that_cannot_be_walked_are_refused(times, final, words):
    refused(TimestepsError, ["`timesteps`", *words], levels_from_times, SD, times, Ends(final))


@pytest.mark.parametrize(
    ("sigmas", "final", "words"),
    [
        ([3.0, 3.0], "zero", ["fall strictly", "number 0 is 3"]),
        ([1.0, 3.0], "zero", ["fall strictly", "Sort them"]),
        ([15.0, 3.0], "zero", ["between 0.02917 and 14.61", "15"]),
        ([3.0, 0.02], "zero", ["between 0.02917 and 14.61"]),
        ([3.0, 0.02, 0.0], "zero", ["between 0.02917 and 14.61"]),
        ([3.0, -1.0], "zero", ["between", "-1"]),
        ([-1.0], "zero", ["between", "-1"]),
        ([0.0], "zero", ["between", "0"]),
        ([3.0, np.inf], "zero", ["finite", "inf"]),
        ([], "zero", ["at least one"]),
        ([3.0, 0.029], "sigma_min", ["0.029", "Leave that level out"]),
    ],
)
def test_hand_written_sigmas_that_cannot_be_walked_are_refused(sigmas, final, words):
    refused(TimestepsError, ["`sigmas`", *words], levels_from_sigmas, SD, sigmas, Ends(final))
