"""Adams-Moulton, the data form and iPNDM: one row a call, against solvers that redo steps and keep what they need."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.coefficients import INTEGRANDS, INTERPOLATIONS, MAX_ORDER, coefficient_table
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from oracles import Definition, spaced_levels
from textbook import BASHFORTH, MOULTON, Textbook, walk

pytestmark = pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")  # of accuracy out of reach

FLAT = Normaliser.flat()
DDPM = vp_schedule()
SD = vp_schedule(**SD_BETAS)
EDM = SigmaSchedule()
BETAS = np.random.default_rng(1).uniform(0.01, 0.3, 25)  # few, so that every kink of t(rho) is a large one
COARSE = vp_schedule(trained_betas=BETAS)
KNOTS, VALUES = np.array([0.4, 2.5, 8.0, 8.1, 21.7]), np.array([0.31, 0.4, 0.7, 0.55, 0.8])
LEVELS = {
    "to zero": np.array([*COARSE.rho([23.0, 20.3, 14.0, 9.2, 4.0, 2.0]), 0.0]),
    "to sigma_min": COARSE.rho([23.0, 20.3, 14.0, 9.2, 4.0, 2.0, 0.0]),
}
START = np.array([0.4, -1.1, 2.3])


def output(x: np.ndarray, rho: float) -> np.ndarray:
    """Anything smooth and not linear, as noise or as data."""
    return np.tanh(0.9 * x + 0.3) + 0.2 * np.cos(1.7 * rho + x)


@cache
def textbook(end: str, interpolation: str, integrand: str, normalised: bool, equal_steps: bool = False) -> Textbook:
    knots = (KNOTS, VALUES) if normalised else (np.zeros(1), np.ones(1))
    process = Definition(np.cumprod(1.0 - BETAS), LEVELS[end], interpolation, knots)
    return Textbook(process, integrand, equal_steps)


def assert_same_path(book: Textbook, end: str, order: int, corrector: int, lower: bool, start: int = 0) -> None:
    normaliser = Normaliser(*book.process.knots)
    table = coefficient_table(
        COARSE,
        normaliser,
        LEVELS[end],
        order,
        book.process.interpolation,
        lower,
        integrand=book.integrand,
        corrector_order=corrector,
        equal_steps=book.equal_steps,
    )
    theirs = book.multistep(output, START, order, corrector, lower, start)
    ours = walk(table, output, START, start)
    assert len(ours) == len(theirs)
    assert np.allclose(ours, theirs, rtol=0.0, atol=1e-9)


# ------------------------------------------------------------------------------------------- predictor and corrector


@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
@pytest.mark.parametrize("corrector", range(MAX_ORDER + 1))
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_a_row_is_the_redone_step_and_the_next_one(integrand, interpolation, corrector, order):
    book = textbook("to zero", interpolation, integrand, normalised=True)
    for lower in (False, True):
        assert_same_path(book, "to zero", order, corrector, lower)


@pytest.mark.parametrize("start", [1, 3, 5])
@pytest.mark.parametrize(("order", "corrector"), [(1, 2), (2, 3), (3, 1), (2, 4), (4, 4)])
@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_a_run_that_begins_half_way_starts_up_afresh(integrand, order, corrector, start):
    book = textbook("to sigma_min", "t", integrand, normalised=True)
    for lower in (False, True):
        assert_same_path(book, "to sigma_min", order, corrector, lower, start)


def test_the_corrector_changes_the_run_but_not_its_first_step():
    levels = spaced_levels(SD, 8, "trailing", "zero")
    plain, corrected = (coefficient_table(SD, FLAT, levels, 2, corrector_order=q) for q in (0, 2))
    assert corrected.order == plain.order + 1
    assert np.array_equal(corrected.weights[2, 0, :1], plain.weights[1, 0, :1])
    assert np.all(np.abs(corrected.weights[2, 1:-1, 0] - plain.weights[1, 1:-1, 0]) > 1e-3)


def test_an_output_that_follows_the_predictors_polynomial_is_not_corrected():
    """Two outputs on a straight line in t: the step is exact already, and the redone one finds the same."""
    levels = spaced_levels(SD, 8, "trailing", "zero")
    eps = 0.3 + 0.5 * SD.progress(levels[:-1])
    plain = coefficient_table(SD, FLAT, levels, 2, "t")
    corrected = coefficient_table(SD, FLAT, levels, 2, "t", corrector_order=2)
    for n in range(3, 8):  # the steps before n - 1 have two outputs, too
        ours, theirs = (table.rows[table.order - 1][n] for table in (corrected, plain))
        history = eps[n::-1]
        value = sum(w * f for w, f in zip(ours, history, strict=False))
        assert value == pytest.approx(sum(w * f for w, f in zip(theirs, history, strict=False)), abs=1e-12)


@pytest.mark.parametrize("corrector", [2, 3, 4])
@pytest.mark.parametrize("limit", [0.05, 0.1, 0.3])
def test_a_correction_is_scaled_down_to_the_limit_on_its_gain(limit, corrector):
    """|weight of the newest output| / sigma; alpha is one, and a predictor of one output has nothing to scale down."""
    levels = spaced_levels(EDM, 12, "karras", "zero")
    plain, free, limited = (
        coefficient_table(EDM, FLAT, levels, 1, corrector_order=q, gain_limit=most)
        for q, most in ((0, np.inf), (corrector, np.inf), (corrector, limit))
    )
    at_hand = free.order
    for n in range(1, 12):
        row = np.append(plain.weights[0, n], np.zeros(at_hand - 1))
        correction = free.weights[at_hand - 1, n] - row
        share = min(1.0, limit * levels[n] / abs(correction[0]))
        assert limited.weights[at_hand - 1, n] == pytest.approx(row + share * correction, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_short_steps_have_no_gain_to_limit(order):
    levels = np.geomspace(80.0, 0.002, 4000)
    free, limited = (
        coefficient_table(EDM, FLAT, levels, order, "log_rho", corrector_order=4, gain_limit=most)
        for most in (np.inf, 0.1)
    )
    assert np.allclose(limited.weights, free.weights, rtol=1e-9, atol=1e-15)


# --------------------------------------------------------------------------------------------------------- data form


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("outputs", range(1, MAX_ORDER + 1))
@pytest.mark.parametrize("noise", [COARSE, EDM], ids=["coarse", "edm"])
def test_data_weights_are_their_integrals(noise: NoiseSchedule, outputs, interpolation):
    """sigma_{n+1} int l_j(u) d(1 / rho), taken in 1 / rho itself."""
    levels = LEVELS["to sigma_min"] if noise is COARSE else spaced_levels(EDM, 6, "karras", "sigma_min")
    table = coefficient_table(noise, FLAT, levels, MAX_ORDER, interpolation, integrand="data")
    kinks = 1.0 / COARSE.rho(np.arange(25.0)) if noise is COARSE else np.zeros(0)
    u = {"t": noise.progress, "rho": float, "log_rho": np.log}[interpolation]
    for n in range(outputs - 1, len(levels) - 1):
        nodes = [u(levels[n - k]) for k in range(outputs)]
        ends = 1.0 / levels[n], 1.0 / levels[n + 1]
        edges = [ends[0], *np.sort(kinks[(kinks > ends[0]) & (kinks < ends[1])]), ends[1]]
        for j in range(outputs):

            def basis(inverse: float, j: int = j, nodes: list[float] = nodes) -> float:
                here = u(1.0 / inverse)
                return float(np.prod([(here - v) / (nodes[j] - v) for k, v in enumerate(nodes) if k != j]))

            area = sum(quad(basis, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in pairwise(edges))
            expected = float(noise.sigma(levels[n + 1])) * area
            assert table.weights[outputs - 1, n, j] == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("interpolation", ["t", "rho"])
@pytest.mark.parametrize("noise", [SD, EDM], ids=["sd", "edm"])
def test_the_data_form_tends_to_its_limit_at_clean_data(noise, interpolation):
    """As the end falls to rho = 0, sigma_{n+1} int l_j d(1 / rho) becomes alpha l_j at the end."""
    before = spaced_levels(noise, 6, "karras", "zero")[:-1]
    limit = coefficient_table(noise, FLAT, np.append(before, 0.0), 3, interpolation, integrand="data")
    apart = []
    for end in (1e-3, 1e-4):
        levels = np.append(before, before[-1] * end)
        near = coefficient_table(noise, FLAT, levels, 3, interpolation, integrand="data")
        apart.append(np.max(np.abs(near.weights[2, -1] - limit.weights[2, -1])))
    assert limit.transfer[-1] == 0.0 and limit.weights[2, -1].sum() == pytest.approx(1.0, rel=1e-12)
    assert apart[1] < 0.15 * apart[0] and apart[1] < 1e-2


def test_a_polynomial_in_log_rho_has_no_value_at_clean_data():
    """So the last step there takes the newest predicted data as they are: what Diffusers' DPM-Solver++ does, too."""
    levels = spaced_levels(SD, 6, "trailing", "zero")
    table = coefficient_table(SD, FLAT, levels, 3, "log_rho", integrand="data")
    assert table.rows[2][-1] == pytest.approx((1.0,), rel=1e-12) and table.transfers[-1] == 0.0


@pytest.mark.parametrize("noise", [SD, EDM], ids=["sd", "edm"])
def test_two_data_outputs_in_log_rho_are_the_closed_form(noise):
    """With l = -log rho, h = l_{n+1} - l_n, h' = l_n - l_{n-1}: the exponential integrator of second order,

    x_{n+1} = (sigma_{n+1} / sigma_n) x_n + alpha_{n+1} [ (1 - e^-h) x_0 + (e^-h - 1 + h) (x_0 - x_0') / h' ].

    DPM-Solver++ (2M) and UniPC have (1 - e^-h) h / 2 in place of e^-h - 1 + h, which agrees to second order.
    """
    levels = spaced_levels(noise, 9, "karras", "sigma_min")
    table = coefficient_table(noise, FLAT, levels, 2, "log_rho", integrand="data")
    h = -np.diff(np.log(levels))
    before, h, alpha = h[:-1], h[1:], noise.alpha(levels[2:])
    slope = alpha * (np.expm1(-h) + h) / before
    assert table.weights[1, 1:, 0] == pytest.approx(alpha * -np.expm1(-h) + slope, rel=1e-10)
    assert table.weights[1, 1:, 1] == pytest.approx(-slope, rel=1e-10)
    assert table.transfer == pytest.approx(noise.sigma(levels[1:]) / noise.sigma(levels[:-1]), rel=1e-14)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_one_output_is_the_same_step_in_both_forms(interpolation):
    """DDIM: what is constant, noise or data, does not matter when x ties them together."""
    levels = spaced_levels(SD, 9, "power_t", "zero")
    noise, data = (coefficient_table(SD, FLAT, levels, 1, interpolation, integrand=form) for form in INTEGRANDS)
    alpha, sigma = SD.alpha(levels[:-1]), SD.sigma(levels[:-1])
    assert data.transfer + data.weights[0, :, 0] / alpha == pytest.approx(noise.transfer, rel=1e-10)  # x, eps = 0
    assert -data.weights[0, :, 0] * sigma / alpha == pytest.approx(noise.weights[0, :, 0], rel=1e-10)  # x = 0, eps = 1


# ------------------------------------------------------------------------------------------------------------- iPNDM


@pytest.mark.parametrize("spacing", ["trailing", "karras"])
@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_ipndm_has_the_published_weights_whatever_the_grid(order, spacing):
    levels = spaced_levels(SD, 9, spacing, "zero")
    table = coefficient_table(SD, FLAT, levels, order, equal_steps=True)
    size = SD.alpha(levels[1:]) * np.diff(levels)
    for n in range(9):
        fractions = BASHFORTH[min(n, order - 1)]
        assert table.rows[order - 1][n] == pytest.approx(tuple(size[n] * np.array(fractions)), rel=1e-10)


@pytest.mark.parametrize("corrector", range(1, MAX_ORDER + 1))
def test_its_corrector_has_the_weights_of_adams_and_moulton(corrector):
    levels = spaced_levels(EDM, 9, "karras", "zero")  # alpha is one
    h = np.diff(levels)
    plain = coefficient_table(EDM, FLAT, levels, 2, equal_steps=True)
    table = coefficient_table(EDM, FLAT, levels, 2, equal_steps=True, corrector_order=corrector)
    for n in range(5, 9):
        expected = np.zeros(table.order)
        expected[:2] += h[n] * np.array(BASHFORTH[1])
        expected[:corrector] += h[n - 1] * np.array(MOULTON[corrector - 1])
        expected[1:3] -= h[n - 1] * np.array(BASHFORTH[1])
        assert table.weights[-1, n] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert plain.order == 2 and table.order == max(3, corrector)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("corrector", [0, 2, 4])
@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_ipndm_is_its_textbook(integrand, corrector, order):
    book = textbook("to zero", "t", integrand, normalised=integrand == "noise", equal_steps=True)
    for start in (0, 2):
        assert_same_path(book, "to zero", order, corrector, lower=True, start=start)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("integrand", INTEGRANDS)
def test_ipndm_knows_no_variable_of_interpolation(integrand, interpolation):
    levels = spaced_levels(SD, 6, "power_t", "zero")
    one, other = (
        coefficient_table(SD, FLAT, levels, 3, u, integrand=integrand, equal_steps=True) for u in ("t", interpolation)
    )
    assert np.allclose(one.weights, other.weights, rtol=1e-9, atol=1e-12)


# ----------------------------------------------------------------------------------- errors in directions of pure noise


def growth(steps: int, k: float, integrand: str, limit: float = np.inf, corrector: int = 4) -> float:
    """The most by which a chain of steps enlarges an error in a direction of pure noise, relative to sigma.

    There eps = x / sigma in any network: data do not reach into that direction. Exact steps keep x / sigma.
    """
    levels = spaced_levels(DDPM, steps, "power_t", "zero", exponent=k)
    table = coefficient_table(
        DDPM, FLAT, levels, 2, "t", True, integrand=integrand, corrector_order=corrector, gain_limit=limit
    )
    sigma, largest = DDPM.sigma(levels), 0.0
    for place in range(steps):
        x, history = 0.0, []
        for n in range(steps):
            x += sigma[n] if n == place else 0.0
            output = x / sigma[n] if integrand == "noise" else 0.0  # x_0 does not see the error
            history = [output, *history][: table.order]
            row = table.rows[len(history) - 1][n]
            x = table.transfers[n] * x + sum(w * f for w, f in zip(row, history, strict=False))
            if place <= n < steps - 1:
                largest = max(largest, abs(x) / sigma[n + 1])
    return largest


@pytest.mark.parametrize("steps", [4, 5, 6, 8])
@pytest.mark.parametrize("k", [1.0, 1.5])
def test_a_limited_corrector_does_not_enlarge_errors_of_pure_noise_and_a_free_one_does(steps, k):
    assert growth(steps, k, "noise") > 20.0  # seen as grain
    assert growth(steps, k, "noise", limit=0.375) < 2.0


@pytest.mark.parametrize("steps", [4, 8, 20])
def test_the_data_form_needs_no_limit_for_that(steps):
    assert growth(steps, 1.5, "data") == pytest.approx(1.0, abs=1e-9)


def test_long_runs_need_none_either():
    assert growth(50, 1.0, "noise") < 1.25
