"""Integrals over steps of a grid against SciPy's adaptive quadrature and closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.core.quadrature import step_quadrature
from oracles import integral

KNOTS = np.geomspace(0.011, 9.0, 17)


def kinked(rho):
    """Piecewise linear in the noise share, as r and t are, with a different slope between any two knots."""
    share = KNOTS**2 / (1.0 + KNOTS**2)
    return np.interp(rho**2 / (1.0 + rho**2), share, np.random.default_rng(3).uniform(0.2, 1.0, len(share)))


INTEGRANDS = {
    "r": kinked,
    "r t^3": lambda rho: kinked(rho) * kinked(rho) ** 3,
    "r rho^3": lambda rho: kinked(rho) * (rho - 0.3) ** 3,
    "r log(rho)^3": lambda rho: kinked(rho) * (np.log(rho) + 1.0) ** 3,
}


@pytest.mark.parametrize("name", INTEGRANDS)
@pytest.mark.parametrize("end", [0.0, 0.011, 0.02])
def test_agrees_with_adaptive_quadrature(name, end):
    f, levels = INTEGRANDS[name], np.array([8.0, 7.5, 2.0, 0.6, 0.1, 0.05, end])
    rule = step_quadrature(levels, KNOTS, log_tail="log" in name)
    ours = rule.integrate(f(rule.nodes), len(levels) - 1)
    theirs = [integral(f, a, b, KNOTS) for a, b in pairwise(levels)]
    assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_polynomials_are_exact(power):
    levels = np.array([157.0, 11.0, 3.0, 0.4, 0.01, 0.0])
    rule = step_quadrature(levels, np.array([0.01, 0.2, 4.0]))
    exact = np.diff(levels ** (power + 1)) / (power + 1)
    assert np.allclose(rule.integrate(rule.nodes**power, 5), exact, rtol=1e-12, atol=0)


def test_logarithms_are_exact_down_to_zero():
    top = 0.3
    rule = step_quadrature(np.array([top, 0.0]), np.array([0.1]), log_tail=True)
    antiderivative = {1: np.log(top) - 1.0, 2: np.log(top) ** 2 - 2.0 * np.log(top) + 2.0}
    antiderivative[3] = np.log(top) ** 3 - 3.0 * antiderivative[2]
    for power, value in antiderivative.items():
        ours = rule.integrate(np.log(rule.nodes) ** power, 1)
        assert ours == pytest.approx([-top * value], rel=1e-12)


@pytest.mark.parametrize("power", [0, 1, 3])
def test_an_r_that_changes_down_to_clean_data_keeps_its_digits(power):
    """Linear in the noise share below the last knot, as DEIS-SN's own reading of its files is; times log(rho)^k."""

    def f(rho):
        return (0.3 + 0.7 * rho**2 / (1.0 + rho**2) / 0.08) * np.log(rho) ** power

    levels = np.array([0.5, 0.2, 0.0])
    rule = step_quadrature(levels, np.array([0.2]), log_tail=power > 0)
    theirs = [integral(f, a, b, np.zeros(0)) for a, b in pairwise(levels)]
    assert rule.integrate(f(rule.nodes), 2) == pytest.approx(theirs, rel=1e-11)


def test_a_step_of_the_width_of_rounding_is_nothing_and_its_neighbours_stay_whole():
    for level in np.geomspace(0.02, 7.9, 200):  # whether a node falls into it is a matter of luck
        levels = np.array([2.0 * level, level, np.nextafter(level, 0.0), 0.5 * level])
        rule = step_quadrature(levels, KNOTS)
        expected = [-level, 0.0, -0.5 * level]
        assert rule.integrate(np.ones(len(rule.nodes)), 3) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_vectors_are_integrated_column_by_column():
    levels = np.array([2.0, 1.0, 0.5])
    rule = step_quadrature(levels, np.array([0.7]))
    both = rule.integrate(np.stack([rule.nodes, 0 * rule.nodes + 1.0], axis=1), 2)
    assert both == pytest.approx(np.array([[-1.5, -1.0], [-0.375, -0.5]]), rel=1e-13)


@given(
    st.lists(st.floats(0.0, 20.0), min_size=2, max_size=12, unique=True),
    st.lists(st.floats(0.001, 30.0), min_size=1, max_size=12),
    st.booleans(),
)
def test_each_step_has_its_own_nodes_and_its_own_length(levels, knots, log_tail):
    levels = np.array(sorted(levels, reverse=True))
    levels = levels[np.append(True, levels[1:] < levels[:-1] * (1 - 1e-6))]
    levels = levels[(levels == 0.0) | (levels > 1e-6)]
    if len(levels) < 2:
        return
    rule = step_quadrature(levels, np.array(knots), log_tail)
    steps = len(levels) - 1
    assert np.array_equal(np.unique(rule.step), np.arange(steps))
    assert np.all(rule.weights < 0.0)  # rho falls while sampling
    assert np.all((rule.nodes <= levels[rule.step]) & (rule.nodes >= levels[rule.step + 1]))
    assert np.allclose(rule.integrate(0 * rule.nodes + 1.0, steps), np.diff(levels), rtol=1e-12, atol=1e-14 * levels[0])


@pytest.mark.parametrize("ulps", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("end", [0.029167158244119905, 0.010000500037503126])
def test_a_knot_within_rounding_of_a_level_does_no_harm(ulps, end):
    levels = np.array([14.614641228, 1.7, end])
    near = levels * (1.0 + ulps * 2.3e-16)
    rule = step_quadrature(levels, near)
    assert np.allclose(rule.integrate(0 * rule.nodes + 1.0, 2), np.diff(levels), rtol=1e-12, atol=1e-14 * levels[0])
    assert rule.step.max() <= 1  # a node below the end would belong to no step
