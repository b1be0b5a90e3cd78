"""Variance-exploding processes: two times, each the inverse of a level, and what diff-sampler fits to them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from diffusers_deis_sn.core.coefficients import coefficient_table
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.sigma import LABELS, SigmaSchedule
from diffusers_deis_sn.errors import NoiseScheduleError

PROCESSES = {
    "edm": SigmaSchedule(),
    "ve": SigmaSchedule(0.01, 50.0, label="sigma"),
    "narrow": SigmaSchedule(0.3, 0.5),
}
LEVELS = np.geomspace(1e-4, 79.0, 60)


@pytest.mark.parametrize("name", PROCESSES)
def test_alpha_is_one_and_sigma_is_rho(name):
    noise = PROCESSES[name]
    assert np.array_equal(noise.alpha(LEVELS), np.ones(60)) and np.array_equal(noise.sigma(LEVELS), LEVELS)
    assert (noise.path, len(noise), len(noise.knots)) == ("ve", 1000, 1)


@pytest.mark.parametrize("name", PROCESSES)
def test_both_times_are_inverses_of_the_level(name):
    noise = PROCESSES[name]
    assert noise.rho(noise.time(LEVELS)) == pytest.approx(LEVELS, rel=1e-13)
    assert noise.level(noise.progress(LEVELS)) == pytest.approx(LEVELS, rel=1e-9)
    assert np.all(np.diff(noise.time(LEVELS)) > 0.0) and np.all(np.diff(noise.progress(LEVELS)) > 0.0)
    assert (float(noise.progress(0.0)), float(noise.level(0.0))) == (0.0, 0.0)
    assert noise.progress(noise.top) == pytest.approx(1.0, rel=1e-15)


def test_labels_are_what_networks_are_called_with():
    assert PROCESSES["edm"].time(LEVELS) == pytest.approx(0.25 * np.log(LEVELS), rel=1e-15)
    assert np.array_equal(PROCESSES["ve"].time(LEVELS), LEVELS)
    called = PROCESSES["edm"].call_times(np.array([90.0, 1.0, 1e-3]))
    assert called == pytest.approx(0.25 * np.log([80.0, 1.0, 0.002]), rel=1e-6)  # within the training range
    assert np.array_equal(called, called.astype(np.float32))


def test_tau_is_nearly_the_time_that_diff_sampler_fits():
    """log(1 + sigma^2) = 17.538 t^2 / 2 - 0.00477 t, its variance-preserving time for sigma from 0.002 to 80."""
    for sigma in (0.05, 0.5, 5.0, 80.0):
        t = (0.00477 + (0.00477**2 + 2.0 * 17.538 * np.log1p(sigma**2)) ** 0.5) / 17.538
        assert PROCESSES["edm"].progress(sigma) == pytest.approx(t, abs=4e-4)


def test_fingerprints_tell_processes_apart():
    prints = {noise.fingerprint for noise in PROCESSES.values()}
    prints |= {SigmaSchedule(0.002, 80.0, label="sigma").fingerprint, SigmaSchedule(0.002, 81.0).fingerprint}
    assert len(prints) == 5
    assert SigmaSchedule(0.002, 80.0, num_train_timesteps=500).fingerprint == PROCESSES["edm"].fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sigma_min": 0.0}, ["`sigma_min`", "positive", "0.0"]),
        ({"sigma_min": 80.0}, ["rise", "80.0"]),
        ({"sigma_max": np.inf}, ["inf"]),
        ({"sigma_min": np.nan}, ["nan"]),
        ({"label": "index"}, ["`label`", *LABELS, "'index'"]),
    ],
    ids=str,
)
def test_what_is_no_process_is_refused(options, words):
    with pytest.raises(NoiseScheduleError) as raised:
        SigmaSchedule(**options)
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_sigma_as_a_label_is_not_negative():
    with pytest.raises(NoiseScheduleError, match="not negative"):
        PROCESSES["ve"].rho([-0.1])


@pytest.mark.parametrize("levels", [[80.0, 40.0, 0.0], [50.0, 1.5, 0.0], [3.0, 0.4, 0.0]], ids=str)
def test_one_long_step_to_clean_data_keeps_its_digits(levels):
    """tau is a root of a logarithm: smooth on the axis, but not far from it."""
    noise = SigmaSchedule(0.01, 80.0, label="sigma")
    table = coefficient_table(noise, Normaliser.flat(), np.array(levels), 2, "t")
    before, here = (float(noise.progress(level)) for level in levels[:2])
    pieces = [*np.geomspace(levels[1], 1e-3, 12), 0.0]
    area = sum(
        quad(lambda rho: (float(noise.progress(rho)) - before) / (here - before), a, b, epsrel=1e-13)[0]
        for a, b in pairwise(pieces)
    )
    assert table.weights[1, 1, 0] == pytest.approx(area, rel=1e-11)
