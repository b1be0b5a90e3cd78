"""From options and statistics to the factors of a recipe: the scale, the limit of a correction, the tried method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.schedulers._factors import (
    LEAST_GUIDANCE,
    TRUSTED,
    UNKNOWN_GUIDANCE,
    gain_limit,
    scale_of,
    tried_method,
)
from diffusers_deis_sn.schedulers._options import Options
from diffusers_deis_sn.statistics.trials import Method, Trials
from oracles import SD_BETAS
from records import gaussian_record

ONE, TWO = Method("noise", 2, 4, 0.375, "power_t", 1.0), Method("noise", 2, 4, None, "learned")
TRIED = Trials((ONE, TWO), (4, 16), [[1.0, 4.0], [2.0, 2.0]], [[1.0, 4.0], [2.0, 2.0]], np.ones((2, 2)), 8)
STATS = gaussian_record().with_trials(TRIED).with_origin(guidance_scale=4.0)


def options(**given: Any) -> Options:
    return replace(DEISSNScheduler(**SD_BETAS)._planner.options, **given)


@pytest.mark.parametrize("steps", [None, "6", float("nan"), True])
def test_a_run_of_no_known_number_of_steps_follows_no_method(steps):
    assert tried_method(options(), True, STATS, steps, None) is None


def test_the_best_method_for_the_number_of_steps_is_followed_of_the_kind_that_may_be():
    for steps, learned, expected in ((4, None, ONE), (16, None, TWO), (4, True, TWO), (16, False, ONE)):
        assert tried_method(options(), True, STATS, steps, learned) == expected
        assert tried_method(options(), False, STATS, steps, learned) is None


def test_statistics_without_trials_have_no_method_and_no_statistics_have_a_safe_one():
    assert tried_method(options(), True, gaussian_record(), 6, None) is None
    assert isinstance(tried_method(options(), True, None, 6, None), Method)


def test_methods_are_trusted_up_to_a_quarter_more_guidance():
    for factor, expected in ((1.0, ONE), (TRUSTED, ONE), (TRUSTED + 0.01, None)):
        assert tried_method(options(guidance_scale=4.0 * factor), True, STATS, 4, None) == expected


def test_the_limit_falls_with_guidance_as_its_inverse_but_not_below_the_least():
    limits = [gain_limit(options(guidance_scale=scale), None) for scale in (0.0, LEAST_GUIDANCE, 4.0, 8.0)]
    assert limits[0] == limits[1] == 2.0 * limits[2] == 4.0 * limits[3] > 0.0


def test_guidance_is_that_of_the_call_or_of_the_statistics_or_a_safe_guess():
    assert gain_limit(options(), STATS) == gain_limit(options(guidance_scale=4.0), None)
    assert gain_limit(options(), None) == gain_limit(options(guidance_scale=UNKNOWN_GUIDANCE), None)
    assert gain_limit(options(guidance_scale=8.0), STATS, tried=True) == gain_limit(options(), STATS)


def test_the_scale_is_that_of_the_statistics_and_flat_without_them():
    times = np.array([4.0, 300.0, 999.0])
    record = gaussian_record(times=times)
    assert np.allclose(scale_of(options(), record)(times), record.mean_abs, rtol=1e-12)
    for flat in (scale_of(options(), None), scale_of(options(normalise=False), record)):
        assert np.all(flat(times) == flat(times)[0])
