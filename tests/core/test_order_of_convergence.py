"""Measured orders of convergence of the whole family, on a flow in closed form and on one that is not linear.

A predictor with p outputs and a corrector with q of them, all evaluated at predicted samples, have order min(p + 1, q):
the redone step errs by h^(q + 1) of its own and by h times the predictor's h^(p + 1), the last sample is predicted once
from corrected ones. The first outputs are exact here, so that the start-up does not limit what is measured.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import Mixture
from diffusers_deis_sn.core.coefficients import INTEGRANDS
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.solvers import Corrector
from flows import FLAT, ONE_BUMP, TWO_BUMPS, error, measured_order, uniform

ORDERS = (1, 2, 3, 4)
# r(sigma) = 0.4 + 0.1 sigma, so that int r drho is known: without kinks, as every order needs.
SLOPE, LEVEL = 0.1, 0.4
SMOOTH_R = Normaliser(np.array([0.0, 5.0]), LEVEL + SLOPE * np.array([0.0, 5.0]))


def expected_order(p: int, q: int) -> int:
    return min(p + 1, q) if q else p


def test_two_bumps_are_a_mixture():
    x = torch.linspace(-3.0, 3.0, 31, dtype=torch.float64)[:, None]
    for rho in (2.0, 0.5, 0.1):
        assert torch.allclose(
            TWO_BUMPS.epsilon_at(x, rho), Mixture.epsilon_at(TWO_BUMPS, x, rho), rtol=1e-12, atol=1e-13
        )


# --------------------------------------------------------------------------------------------------------- multistep


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("q", (0, *ORDERS))
@pytest.mark.parametrize("interpolation", ["t", "log_rho"])
@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_predictor_p_and_corrector_q_have_order_min_p_plus_one_q(integrand, interpolation, q, p):
    options = {"order": p, "corrector": Corrector(q), "variable": interpolation, "of": integrand}
    # Where both orders are the same, the next term of the error is not yet negligible.
    tolerance = 0.4 if p == q else 0.2
    measured = measured_order(TWO_BUMPS, 80, known=4, **options)
    assert measured == pytest.approx(expected_order(p, q), abs=tolerance)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_polynomials_in_rho_have_the_order_of_their_outputs(integrand, p):
    options = {"order": p, "variable": "rho", "of": integrand}
    assert measured_order(TWO_BUMPS, 80, known=4, **options) == pytest.approx(p, abs=0.25)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("q", (0, *ORDERS))
def test_so_they_have_on_the_closed_form(q, p):
    """At least: errors of a Gaussian may cancel."""
    assert measured_order(ONE_BUMP, 80, known=4, order=p, corrector=Corrector(q)) > expected_order(p, q) - 0.12


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("interpolation", ["t", "log_rho"])
def test_normalisation_keeps_the_order(interpolation, corrected, p):
    q = min(p + 1, 4) if corrected else 0
    options = {"order": p, "corrector": Corrector(q), "variable": interpolation, "r": SMOOTH_R}
    tolerance = 0.5 if p == q else 0.3
    assert measured_order(TWO_BUMPS, 80, known=4, **options) == pytest.approx(expected_order(p, q), abs=tolerance)


@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_a_corrector_makes_two_outputs_better(integrand):
    options = {"order": 2, "variable": "log_rho", "of": integrand}
    plain, corrected = (
        error(TWO_BUMPS, uniform(40, "log_rho"), known=4, corrector=Corrector(q), **options) for q in (0, 3)
    )
    assert corrected < 0.25 * plain


# ------------------------------------------------------------------------------------------------------------- iPNDM


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(("integrand", "variable"), [("noise", "rho"), ("data", "1 / rho")], ids=INTEGRANDS)
def test_ipndm_has_its_order_where_steps_are_equal(integrand, variable, p):
    options = {"equal_steps": True, "order": p, "of": integrand}
    assert measured_order(TWO_BUMPS, 160, variable, known=4, **options) == pytest.approx(p, abs=0.25)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("q", [2, 3, 4])
def test_corrected_ipndm_likewise(q, p):
    options = {"equal_steps": True, "order": p, "corrector": Corrector(q)}
    measured = measured_order(TWO_BUMPS, 160, "rho", known=4, **options)
    assert measured == pytest.approx(expected_order(p, q), abs=0.25)


@pytest.mark.parametrize("p", [2, 3, 4])
def test_elsewhere_ipndm_is_of_order_two_at_most(p):
    options = {"equal_steps": True, "order": p}
    assert measured_order(TWO_BUMPS, 80, "log_rho", known=4, **options) == pytest.approx(2.0, abs=0.15)


def normalised_steps(steps: int) -> np.ndarray:
    """Levels from 2 to 0.2, uniform in z = int r drho."""
    z = np.linspace(*(LEVEL * rho + 0.5 * SLOPE * rho**2 for rho in (2.0, 0.2)), steps + 1)
    return (np.sqrt(LEVEL**2 + 2.0 * SLOPE * z) - LEVEL) / SLOPE


@pytest.mark.parametrize("p", ORDERS)
def test_with_normalisation_equal_steps_are_equal_integrals_of_r(p):
    options = {"equal_steps": True, "order": p, "r": SMOOTH_R, "known": 4}
    errors = [error(TWO_BUMPS, normalised_steps(steps), **options) for steps in (160, 320)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(p, abs=0.3)


# ------------------------------------------------------------------------------------------------------- Runge-Kutta


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("normalised", [False, True], ids=["flat", "normalised"])
def test_runge_kutta_has_the_order_of_its_tableau(normalised, solver):
    measured = measured_order(TWO_BUMPS, 40, solver=solver, r=SMOOTH_R if normalised else FLAT)
    assert measured == pytest.approx(TABLEAUX[solver].order, abs=0.12)


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("normalised", [False, True], ids=["flat", "normalised"])
def test_so_it_has_on_the_closed_form(normalised, solver):
    """At least: the midpoint rule has one more there."""
    measured = measured_order(ONE_BUMP, 80, solver=solver, r=SMOOTH_R if normalised else FLAT)
    assert measured > TABLEAUX[solver].order - 0.12


@pytest.mark.parametrize("solver", sorted(set(TABLEAUX) - {"euler"}))
def test_a_run_to_clean_data_keeps_the_order_where_its_last_step_shrinks(solver):
    """Levels uniform in rho: the last step, one order lower at most, is taken once and is as short as the others."""
    errors = [error(ONE_BUMP, np.linspace(2.0, 0.0, steps + 1), solver=solver) for steps in (80, 160)]
    assert np.log2(errors[0] / errors[1]) > TABLEAUX[solver].order - 0.15
