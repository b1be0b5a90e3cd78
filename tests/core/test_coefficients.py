"""The solver's coefficients against their definition by adaptive quadrature, published numbers and closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from diffusers_deis_sn.core.coefficients import INTERPOLATIONS, MAX_ORDER, coefficient_table
from diffusers_deis_sn.core.grids import FINAL_SIGMAS
from diffusers_deis_sn.core.named_grids import SPACINGS
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CoefficientError
from oracles import Definition, integral, spaced_levels

FLAT = Normaliser.flat()
SD = vp_schedule(**SD_BETAS)

COARSE_BETAS = np.random.default_rng(1).uniform(0.01, 0.3, 25)  # few, so that every kink of t(rho) is a large one
COARSE = vp_schedule(trained_betas=COARSE_BETAS)
KNOTS = np.array([0.4, 1.0, 2.5, 3.3, 8.0, 8.1, 15.0, 21.7])
VALUES = np.array([0.31, 0.5, 0.4, 0.62, 0.7, 0.55, 0.79, 0.8])


def zigzag(times: int, seed: int = 0, cutoff: float = 0.0) -> Normaliser:
    """A normaliser with a kink at every training time."""
    return Normaliser(np.arange(times), np.random.default_rng(seed).uniform(0.4, 0.9, times), cutoff)


def row_size(row: np.ndarray) -> float:
    return float(np.max(np.abs(row)))


# ------------------------------------------------------------------------------------- the definition, by quadrature


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("outputs", range(1, MAX_ORDER + 1))
@pytest.mark.parametrize("cutoff", [0.0, 1.5])
def test_table_is_its_definition(interpolation, outputs, cutoff):
    levels = np.array([*COARSE.rho([23.0, 20.3, 14.0, 9.2, 4.0, 2.0]), 0.0])
    table = coefficient_table(COARSE, Normaliser(KNOTS, VALUES, cutoff), levels, MAX_ORDER, interpolation)
    oracle = Definition(np.cumprod(1.0 - COARSE_BETAS), levels, interpolation, (KNOTS, VALUES), cutoff)
    for n in range(outputs - 1, len(levels) - 1):
        expected = oracle.coefficients(n, outputs)
        row = table.weights[outputs - 1, n]
        assert np.allclose(row[:outputs], expected, rtol=0, atol=1e-10 * row_size(expected)), n
        assert np.all(row[outputs:] == 0.0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("cutoff", [0, 5])
def test_last_step_to_clean_data_is_its_definition_on_a_real_schedule(interpolation, cutoff):
    levels = spaced_levels(SD, 20, "trailing", "zero")  # the last step crosses 50 training times, a kink at each
    normaliser = zigzag(1000, cutoff=cutoff)
    table = coefficient_table(SD, normaliser, levels, 3, interpolation)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    knots = (normaliser.timesteps, normaliser.values)
    expected = Definition(np.cumprod(1.0 - betas), levels, interpolation, knots, cutoff).coefficients(19, 3)
    assert np.allclose(table.weights[2, 19], expected, rtol=0, atol=1e-10 * row_size(expected))


# ------------------------------------------------------------------------------------------------ published numbers

DDPM_TABLE = {
    0: (5.68033578, [-4.68087247]),
    2: (2.35314183, [-2.24037321, 1.18490104, -0.32355463]),
    9: (1.00094875, [-0.05618257, 0.01502889, -0.00241687]),  # to clean data
}


@pytest.mark.parametrize("step", DDPM_TABLE)
def test_numbers_of_ten_quadratic_steps_on_the_ddpm_schedule(step):
    noise = vp_schedule(**DDPM_BETAS)
    table = coefficient_table(noise, FLAT, spaced_levels(noise, 10, "power_t", "zero"), 3, "t")
    transfer, weights = DDPM_TABLE[step]
    assert table.transfer[step] == pytest.approx(transfer, abs=0.6e-8)
    assert table.weights[2, step, : len(weights)] == pytest.approx(weights, abs=0.6e-8)


# Continuous linear VP, beta 0.1 to 20, from t = 1 to 0.001, ten quadratic steps, four outputs; all digits known.
CONTINUOUS_TRANSFER = {0: 5.3334567019, 1: 3.3720627395, 3: 1.7613968113, 9: 1.0021271777}
CONTINUOUS_TABLES = {
    "tAB": {
        0: [-4.3339559505],
        1: [-3.1958592236, 0.8188595243],
        3: [-1.5387333853, 1.2236739535, -0.6328196703, 0.1285664395],
        9: [-0.0800697791, 0.0335712584, -0.0105326019, 0.0014194565],
    },
    "SN": {
        0: [-4.3338633645],
        1: [-3.1953841434, 0.8186069734],
        3: [-1.5342420424, 1.2166866553, -0.6288360704, 0.1277392913],
        9: [-0.0761374163, 0.0274708539, -0.0076166606, 0.0009461537],
    },
    "rhoAB": {
        0: [-4.3339559505],
        1: [-2.5703069387, 0.1933072393],
        3: [-0.9990142217, 0.1896909033, -0.0100306361, 0.0000412919],
        9: [-0.0810360076, 0.0342996597, -0.0100190723, 0.0011437541],
    },
}


class ContinuousLinear:
    """Continuous linear VP in the role of a NoiseSchedule: log(1 + rho^2) = 0.1 t + 19.9 t^2 / 2."""

    def __init__(self):
        self.knots = self.rho(np.linspace(1e-3, 1.0, 50))  # only splits the integrals

    def rho(self, t):
        return np.sqrt(np.expm1(0.1 * t + 9.95 * t**2))

    def time(self, rho):
        return (np.sqrt(0.01 + 39.8 * np.log1p(rho**2)) - 0.1) / 19.9

    progress = time

    def alpha(self, rho):
        return 1.0 / np.sqrt(1.0 + rho**2)


class SmoothNormaliser:
    """r(t) = 0.8 (1 - 0.4 exp(-t / 0.1)) in the role of a Normaliser."""

    knots = np.zeros(0)

    def __call__(self, t):
        return 0.8 * (1.0 - 0.4 * np.exp(-t / 0.1))


@pytest.mark.parametrize("method", CONTINUOUS_TABLES)
def test_numbers_of_the_continuous_linear_schedule(method):
    noise = ContinuousLinear()
    levels = noise.rho(np.linspace(1.0, 1e-3**0.5, 11) ** 2)
    normaliser = SmoothNormaliser() if method == "SN" else FLAT
    table = coefficient_table(noise, normaliser, levels, 4, "rho" if method == "rhoAB" else "t")
    for step, expected in CONTINUOUS_TABLES[method].items():
        assert table.transfer[step] == pytest.approx(CONTINUOUS_TRANSFER[step], abs=0.6e-10)
        assert table.weights[3, step, : len(expected)] == pytest.approx(expected, abs=0.6e-10)


# ----------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("final", FINAL_SIGMAS)
def test_one_output_is_ddim(interpolation, spacing, final):
    levels = spaced_levels(SD, 12, spacing, final)
    table = coefficient_table(SD, FLAT, levels, 1, interpolation)
    alpha, sigma = SD.alpha(levels), SD.sigma(levels)
    assert table.transfer == pytest.approx(alpha[1:] / alpha[:-1], rel=1e-14)
    assert table.weights[0, :, 0] == pytest.approx(sigma[1:] - alpha[1:] / alpha[:-1] * sigma[:-1], rel=1e-11)


@pytest.mark.parametrize("final", FINAL_SIGMAS)
def test_two_outputs_in_rho_are_the_closed_form(final):
    levels = spaced_levels(SD, 9, "karras", final)
    table = coefficient_table(SD, FLAT, levels, 2, "rho")
    h, before = np.diff(levels)[1:], np.diff(levels)[:-1]
    alpha = SD.alpha(levels[2:])
    assert table.weights[1, 1:, 0] == pytest.approx(alpha * (h + h**2 / (2.0 * before)), rel=1e-11)
    assert table.weights[1, 1:, 1] == pytest.approx(alpha * (-(h**2) / (2.0 * before)), rel=1e-11)


def test_two_outputs_in_log_rho_are_the_closed_form():
    levels = spaced_levels(SD, 9, "exponential", "zero")
    table = coefficient_table(SD, FLAT, levels, 2, "log_rho")
    for n in range(1, 9):
        this, before, after = levels[n], levels[n - 1], levels[n + 1]
        gap = np.log(this / before)  # the integral of log(rho / before) / gap; rho log rho is 0 at 0
        upper = after * (np.log(after / before) - 1.0) if after else 0.0
        newest = (upper - this * (np.log(this / before) - 1.0)) / gap
        expected = SD.alpha(after) * np.array([newest, after - this - newest])
        assert table.weights[1, n] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("degree", range(MAX_ORDER))
def test_outputs_that_are_a_polynomial_times_r_are_integrated_exactly(interpolation, degree):
    """If eps = r(t) u^degree, then sum c eps_j = alpha int r u^degree drho, whatever the grid."""
    levels = spaced_levels(COARSE, 8, "trailing", "zero")
    normaliser = zigzag(25)
    knots = (normaliser.timesteps, normaliser.values)
    oracle = Definition(np.cumprod(1.0 - COARSE_BETAS), levels, interpolation, knots)

    def output(rho):
        return oracle.r(oracle.time(rho)) * oracle.u(rho) ** degree

    table = coefficient_table(COARSE, normaliser, levels, degree + 1, interpolation)
    eps = np.array([output(rho) for rho in levels[:-1]])
    for n in range(degree, 8):
        exact = oracle.alpha(levels[n + 1]) * integral(output, levels[n], levels[n + 1], oracle.kinks())
        terms = table.weights[degree, n] * eps[n - degree : n + 1][::-1]
        assert abs(terms.sum() - exact) < 1e-10 * row_size(terms)


# --------------------------------------------------------------------------------------------------------- the laws


@settings(max_examples=20)
@given(
    st.sampled_from(SPACINGS),
    st.sampled_from(FINAL_SIGMAS),
    st.sampled_from(INTERPOLATIONS),
    st.integers(1, 4),
    st.integers(1, 60),
    st.booleans(),
)
def test_weights_are_a_partition_of_unity(spacing, final, interpolation, order, steps, lower):
    levels = spaced_levels(SD, steps, spacing, final)
    table = coefficient_table(SD, FLAT, levels, order, interpolation, lower)
    sigma = SD.sigma(levels)
    expected = sigma[1:] - table.transfer * sigma[:-1]
    for m in range(order):
        size = np.abs(table.weights[m]).sum(axis=1)
        assert np.all(np.abs(table.weights[m].sum(axis=1) - expected) < 1e-10 * size)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("constant", [1e-3, 0.37, 41.0])
def test_only_ratios_of_r_matter(interpolation, constant):
    levels, r = spaced_levels(SD, 10, "trailing", "zero"), zigzag(1000)
    scaled = Normaliser(r.timesteps, constant * r.values)
    one = coefficient_table(SD, r, levels, 4, interpolation).weights
    other = coefficient_table(SD, scaled, levels, 4, interpolation).weights
    assert np.allclose(other, one, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_constant_r_is_plain_deis(interpolation):
    levels = spaced_levels(SD, 10, "trailing", "zero")
    constant = Normaliser(np.array([0.0, 400.0, 999.0]), np.full(3, 0.79))
    plain = coefficient_table(SD, FLAT, levels, 4, interpolation).weights
    assert np.allclose(coefficient_table(SD, constant, levels, 4, interpolation).weights, plain, rtol=1e-9, atol=1e-13)
    assert not np.allclose(coefficient_table(SD, zigzag(1000), levels, 4, interpolation).weights, plain, rtol=1e-3)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("start", [1, 4, 8])
def test_a_run_that_begins_half_way_has_the_rows_of_a_run_planned_from_there(spacing, start):
    levels, r = spaced_levels(SD, 10, spacing, "zero"), zigzag(1000)
    whole = coefficient_table(SD, r, levels, 4, "t", lower_order_final=True)
    rest = coefficient_table(SD, r, levels[start:], 4, "t", lower_order_final=True)
    for n in range(start, 10):
        at_hand = min(n - start + 1, 4)
        expected = rest.weights[3, n - start]
        assert np.allclose(whole.weights[at_hand - 1, n], expected, rtol=0, atol=1e-12 * row_size(expected))


def test_first_steps_use_what_is_at_hand():
    table = coefficient_table(SD, FLAT, spaced_levels(SD, 10, "trailing", "zero"), 4)
    used = (table.weights[3] != 0.0).sum(axis=1)
    assert used.tolist() == [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]
    for m in (1, 2, 3):
        assert (table.weights[m - 1] != 0.0).sum(axis=1).max() == m


def test_last_steps_use_fewer_outputs_when_asked():
    levels = spaced_levels(SD, 10, "trailing", "zero")
    table = coefficient_table(SD, zigzag(1000), levels, 4, lower_order_final=True)
    full = coefficient_table(SD, zigzag(1000), levels, 4, lower_order_final=False)
    assert (table.weights[3] != 0.0).sum(axis=1).tolist() == [1, 2, 3, 4, 4, 4, 4, 3, 2, 1]
    for n, m in enumerate([1, 2, 3, 4, 4, 4, 4, 3, 2, 1]):
        assert table.weights[3, n, :m] == pytest.approx(full.weights[m - 1, n, :m], rel=1e-12)


def test_one_step_is_one_row():
    table = coefficient_table(SD, FLAT, np.array([14.0, 0.0]), 4)
    assert len(table) == 1 and table.order == 4
    assert table.rows[3][0] == pytest.approx((-14.0,), rel=1e-12)


def test_rows_are_python_floats_without_padding():
    table = coefficient_table(SD, FLAT, spaced_levels(SD, 6, "trailing", "zero"), 3)
    assert [len(row) for row in table.rows[2]] == [1, 2, 3, 3, 3, 3]
    assert [len(row) for row in table.rows[0]] == [1] * 6
    assert {type(value) for rows in table.rows for row in rows for value in row} == {float}
    assert {type(value) for value in table.transfers} == {float}
    assert table.rows[1][4] == tuple(table.weights[1, 4, :2])


def test_table_is_the_same_every_time():
    levels = spaced_levels(SD, 10, "trailing", "zero")
    one, other = (coefficient_table(SD, zigzag(1000), levels, 4) for _ in range(2))
    assert one.weights.tobytes() == other.weights.tobytes()


# ------------------------------------------------------------------------------------------- a broken table is refused


def good_table(r: Normaliser | None = None) -> CoefficientTable:
    return coefficient_table(SD, r or zigzag(1000), spaced_levels(SD, 6, "trailing", "zero"), 3)


@pytest.mark.parametrize("place", [(2, 3, 0), (2, 5, 2), (0, 0, 0), (1, 2, 1)])
@pytest.mark.parametrize("change", [1.0 + 1e-6, -1.0, 0.0])
def test_a_wrong_weight_breaks_the_partition_of_unity(place, change):
    table = good_table()
    weights = table.weights.copy()
    weights[place] *= change
    with pytest.raises(CoefficientError, match="partition of unity"):
        dataclasses.replace(table, weights=weights)


def test_a_wrong_scale_breaks_the_partition_of_unity():
    table = good_table()
    with pytest.raises(CoefficientError, match="partition of unity"):
        dataclasses.replace(table, node_scale=table.node_scale * 1.001)


@pytest.mark.parametrize("place", [(0, 3, 1), (1, 0, 2)])
def test_a_weight_on_an_output_that_is_not_there_is_refused(place):
    table = good_table()
    weights = table.weights.copy()
    weights[place] = 1e-30
    with pytest.raises(CoefficientError, match="not there"):
        dataclasses.replace(table, weights=weights)


@pytest.mark.parametrize("name", ["transfer", "weights", "node_scale", "row_sum"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(name, value):
    table = good_table()
    array = getattr(table, name).copy()
    array.flat[-1] = value
    with pytest.raises(CoefficientError, match="not finite"):
        dataclasses.replace(table, **{name: array})


def test_table_is_frozen():
    table = good_table()
    with pytest.raises(ValueError, match="read-only"):
        table.weights[2, 3, 0] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.transfer = table.transfer
