"""The promise, on an exact network: a mixture centred on 1797 real images of digits, Stable Diffusion's noise schedule.

RMS distance of the samples to the exact probability flow. r is measured as users measure it, along a 200-step
trajectory from other noise; trailing spacing, down to clean data. benchmarks/mixture.md has the numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.exact.runs import measured_statistics, rms, sample, start_noise
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.solvers import Corrector, Multistep, Solver

MIXTURE = digits_mixture()
NOISE = start_noise(16, seed=2)
UNCORRECTED = Multistep()


@cache
def statistics():
    return measured_statistics(MIXTURE.epsilon, MIXTURE.noise, start_noise(24, seed=1))


@cache
def reference():
    return MIXTURE.flow(NOISE, float(MIXTURE.noise.rho(999.0)))


@cache
def error(steps: int, normalised: bool, solver: str | Solver = UNCORRECTED) -> float:
    scheduler = DEISSNScheduler(**SD_BETAS, solver=solver, stats=statistics() if normalised else None)
    return rms(sample(scheduler, MIXTURE.epsilon, NOISE, steps), reference())


def test_the_reference_is_the_flow():
    finer = MIXTURE.flow(NOISE[:4], float(MIXTURE.noise.rho(999.0)), steps=150)
    assert rms(finer, reference()[:4]) < 5e-5


def test_the_samples_are_digits():
    distances = (reference()[:, None] - MIXTURE.centres[None]).square().mean(dim=2).sqrt()
    assert distances.min(dim=1).values.max() < 0.15  # one image each, give or take the bandwidth


@pytest.mark.parametrize("lower_order_final", [False, True])
@pytest.mark.parametrize(("steps", "gain"), [(10, 0.25), (20, 0.5)])
def test_normalisation_beats_plain_deis(steps, gain, lower_order_final):
    solver = Multistep(lower_order_final=lower_order_final)
    assert error(steps, True, solver) < (1.0 - gain) * error(steps, False, solver)


def test_the_default_setting_is_good_in_few_steps():
    assert error(5, True) < 0.12 and error(10, True) < 0.035 and error(20, True) < 0.022


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_error_falls_with_steps(normalised, order):
    errors = [error(steps, normalised, Multistep(order)) for steps in (5, 10, 20)]
    assert errors == sorted(errors, reverse=True)  # not so for order 4, which overshoots on the steep last step
    assert errors[-1] < 0.6 * errors[0]


def test_more_than_one_output_pays():
    assert max(error(10, True, Multistep(order)) for order in (2, 3)) < 0.5 * error(10, True, Multistep(1))


@pytest.mark.parametrize(("steps", "share"), [(5, 1.1), (8, 1.1), (10, 1.1), (15, 0.95), (20, 0.8)])
def test_the_corrector_pays_from_15_steps_on_and_costs_nothing_before(steps, share):
    """With the limit on its gain that is right here, which is twice the default's."""
    corrected = Multistep(corrector=Corrector(4, gain=1.5 / 2.0))
    assert error(steps, True, corrected) < share * error(steps, True)


def test_the_limit_of_the_default_costs_little_where_none_so_low_is_needed():
    shares = [error(n, True, "multistep") / error(n, True) for n in (5, 8, 10, 12, 15, 20, 30)]
    assert max(shares) < 1.35 and np.exp(np.mean(np.log(shares))) < 1.05
