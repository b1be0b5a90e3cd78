"""What every process answers: the split into signal and noise, its views, scales and levels."""

from __future__ import annotations

import numpy as np
import pytest

from diffusers_deis_sn.core.process import log_rho, log_snr
from diffusers_deis_sn.core.sigma import EDMSchedule
from diffusers_deis_sn.errors import NoiseScheduleError
from noise_processes import PROCESSES
from refusals import refused

PARTS = {"vp": lambda a, s: a**2 + s**2, "ve": lambda a, s: a, "flow": lambda a, s: a + s}  # by path
ALL = pytest.mark.parametrize("kind", PROCESSES)
RHO = np.geomspace(0.05, 10.0, 9)


@ALL
def test_signal_and_noise_are_parts_of_one(kind):
    process = PROCESSES[kind]
    alpha, sigma = process.alpha(RHO), process.sigma(RHO)
    assert PARTS[process.path](alpha, sigma) == pytest.approx(1.0) and sigma / alpha == pytest.approx(RHO)
    assert process.kind == kind and process.numbered == (kind == "vp")


@ALL
def test_both_views_are_of_the_same_sample(kind):
    """x = alpha x_0 + sigma eps for what any output is taken to say, whatever it is."""
    process = PROCESSES[kind]
    alpha, sigma = process.alpha(RHO), process.sigma(RHO)
    output, x = np.random.default_rng(1).normal(size=(2, len(RHO)))
    for prediction in process.predictions:
        (a, b), (c, d) = (process.view(of, prediction, alpha, sigma) for of in ("noise", "data"))
        assert alpha * (c * output + d * x) + sigma * (a * output + b * x) == pytest.approx(x, abs=1e-9)


@ALL
def test_training_levels_rise_from_the_cleanest_to_the_noisiest(kind):
    process = PROCESSES[kind]
    levels = process.training_levels()
    assert len(levels) == len(process) and np.all(np.diff(levels) > 0.0)
    assert levels[[0, -1]] == pytest.approx([process.bottom, process.top], rel=1e-6)


@ALL
def test_only_flows_are_shifted_and_only_numbers_are_rounded(kind):
    process = PROCESSES[kind]
    levels = np.append(RHO[::-1], 0.0)
    assert (process.shifted(levels, 3.0).tolist() == levels.tolist()) == (kind != "flow")
    assert (process.whole(levels).tolist() == levels.tolist()) == (kind != "vp")


def test_only_networks_of_edm_are_given_something_else_and_only_sigmas_start_wider():
    for kind, process in PROCESSES.items():
        scale = process.input_scale(np.array([0.5, 2.0]))
        expected = [(s**2 + 0.25) ** -0.5 for s in (0.5, 2.0)] if kind == "edm" else [1.0, 1.0]
        assert scale == pytest.approx(expected)
        assert process.start_scale(2.0) == pytest.approx(5.0**0.5 if process.path == "ve" else 1.0)


def test_log_snr_and_log_rho_are_one_number():
    assert log_rho(log_snr(RHO)) == pytest.approx(np.log(RHO)) and log_snr(1.0) == 0.0


def test_a_deviation_of_data_that_is_none_is_refused():
    for wrong in (0.0, -1.0, float("nan")):
        refused(NoiseScheduleError, ["`sigma_data`", repr(wrong)], EDMSchedule, sigma_data=wrong)
    refused(NoiseScheduleError, ["log(sigma) / 4", "'sigma'"], EDMSchedule, label="sigma")
