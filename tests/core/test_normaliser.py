"""The normaliser r(t): a piecewise linear curve, flat outside its knots and below its cut-off."""

from __future__ import annotations

import numpy as np
import pytest

from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.errors import StatisticsError

TIMES, VALUES = np.array([2.0, 10.0, 30.0]), np.array([0.4, 0.6, 0.8])


@pytest.mark.parametrize(("t", "r"), [(-1.0, 0.4), (2.0, 0.4), (6.0, 0.5), (10.0, 0.6), (25.0, 0.75), (99.0, 0.8)])
def test_linear_between_its_knots_and_flat_outside(t, r):
    assert Normaliser(TIMES, VALUES)(t) == pytest.approx(r, rel=1e-15)


@pytest.mark.parametrize(("t", "r"), [(-1.0, 0.5), (2.0, 0.5), (6.0, 0.5), (8.0, 0.55), (25.0, 0.75)])
def test_flat_below_the_cutoff(t, r):
    assert Normaliser(TIMES, VALUES, cutoff=6.0)(t) == pytest.approx(r, rel=1e-15)


def test_every_kink_is_a_knot():
    r, t = Normaliser(TIMES, VALUES, cutoff=6.0), np.linspace(-1.0, 40.0, 4101)
    bends = np.abs(np.diff(r(t), 2)) > 1e-9
    assert np.allclose(t[1:-1][bends], np.sort(r.knots), atol=1e-9)


def test_shape_is_kept():
    assert Normaliser(TIMES, VALUES)(np.zeros((2, 3))).shape == (2, 3)


def test_flat_is_one():
    flat = Normaliser.flat()
    assert flat.is_flat and np.all(flat([-1.0, 0.0, 500.0]) == 1.0)
    assert not Normaliser(TIMES, VALUES).is_flat


def test_frozen_and_its_own_copy():
    values = VALUES.copy()
    r = Normaliser(TIMES, values)
    values[0] = 9.0
    assert r(0.0) == 0.4
    with pytest.raises(ValueError, match="read-only"):
        r.values[0] = 1.0


@pytest.mark.parametrize(
    ("times", "values", "cutoff", "words"),
    [
        ([0.0, 1.0], [0.5], 0.0, ["one value for each time", "(2,)", "(1,)"]),
        ([], [], 0.0, ["one value for each time"]),
        ([[0.0]], [[0.5]], 0.0, ["one value for each time"]),
        ([1.0, 1.0], [0.5, 0.6], 0.0, ["rise strictly"]),
        ([2.0, 1.0], [0.5, 0.6], 0.0, ["rise strictly"]),
        ([0.0, 1.0], [0.5, 0.0], 0.0, ["positive and finite", "from 0 to 0.5"]),
        ([0.0, 1.0], [0.5, -0.1], 0.0, ["positive and finite", "-0.1"]),
        ([0.0, 1.0], [0.5, np.nan], 0.0, ["positive and finite"]),
        ([0.0, 1.0], [0.5, np.inf], 0.0, ["positive and finite"]),
        ([0.0, 1.0], [0.5, 0.6], np.nan, ["`cutoff`", "nan"]),
    ],
)
def test_curves_that_are_no_scale_are_refused(times, values, cutoff, words):
    with pytest.raises(StatisticsError) as raised:
        Normaliser(np.array(times), np.array(values), cutoff)
    for word in words:
        assert word in str(raised.value)
