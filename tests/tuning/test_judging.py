"""What runs are worth, and what is objected to a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusers_deis_sn.core.step import low_band
from diffusers_deis_sn.tuning.judging import TINY, Judged, distances, score
from toy_models import noise

FINE = noise(10, shape=(3, 8, 8))


def test_distances_are_the_root_mean_squares_of_each_sample():
    off = FINE + torch.arange(1.0, 11.0)[:, None, None, None]
    np.testing.assert_allclose(distances(off, FINE), np.arange(1.0, 11.0), rtol=1e-9)
    judged = Judged.of(off, FINE)
    assert judged.geometric == pytest.approx(np.exp(np.log(np.arange(1, 11)).mean()))
    assert judged.rms == pytest.approx(np.sqrt(np.square(np.arange(1, 11)).mean()))
    assert judged.trimmed == pytest.approx(np.sqrt(np.square(np.arange(1, 10)).mean()))
    assert score(off, FINE) == pytest.approx(0.85 * np.log(judged.geometric) + 0.15 * np.log(judged.rms))


def test_the_fine_run_itself_is_perfect():
    judged = Judged.of(FINE, FINE)
    assert judged.rms <= TINY**0.5 and judged.sharpness == 1.0 and judged.tint == 0.0


def test_what_is_not_finite_is_worth_nothing():
    ends = FINE.clone()
    ends[3, 0, 0, 0] = torch.nan
    assert score(ends, FINE) == np.inf and Judged.of(ends, FINE).rms == np.inf
    assert Judged.of(ends, FINE).objections(GOOD)


def test_sharpness_is_the_energy_of_the_high_band():
    blurred = low_band(FINE) + 0.9 * (FINE - low_band(FINE))
    high = (FINE - low_band(FINE)).square().mean()
    ours = (blurred - low_band(blurred)).square().mean()
    assert Judged.of(blurred, FINE).sharpness == pytest.approx(float(ours / high)) and ours < high
    flat = noise(5, shape=(7,))
    assert Judged.of(0.5 * flat, flat).sharpness == 1.0 and Judged.of(flat + 1.0, flat).tint == 0.0


def test_a_tint_is_that_of_the_worst_channel():
    tinted = FINE + torch.tensor([0.0, 0.0, 0.3])[:, None, None]
    assert Judged.of(tinted, FINE).tint == pytest.approx(0.3 / float(FINE.square().mean().sqrt()))


GOOD = Judged(1.0, 2.0, 1.5)
CASES = {
    "better by everything": (Judged(0.9, 1.9, 1.4), 0),
    "equal": (Judged(1.0, 2.0, 1.5), 0),
    "a larger mean": (Judged(1.01, 1.0, 1.0), 1),
    "a little more RMS": (Judged(0.9, 2.03, 1.52), 0),
    "more RMS": (Judged(0.9, 2.05, 1.5), 1),
    "more of the most": (Judged(0.9, 2.0, 1.54), 1),
    "sharp enough": (Judged(0.9, 1.9, 1.4, 0.975), 0),
    "blurred": (Judged(0.9, 1.9, 1.4, 0.96), 1),
    "grainy": (Judged(0.9, 1.9, 1.4, 1.04), 1),
    "tinted": (Judged(0.9, 1.9, 1.4, 1.0, 0.04), 1),
    "worse by everything": (Judged(2.0, 3.0, 2.0, 0.5, 1.0), 5),
}


@pytest.mark.parametrize("case", CASES)
def test_objections(case):
    judged, number = CASES[case]
    assert len(judged.objections(GOOD)) == number
    assert len(judged.objections(Judged(9.0, 9.0, 9.0), [Judged(5.0, 5.0, 5.0), GOOD])) == number


def test_rivals_count_one_by_one_and_those_that_are_lost_not():
    plan = Judged(0.9, 1.9, 1.4)
    least = Judged(0.8, 4.0, 4.0), Judged(4.0, 1.0, 4.0)
    assert len(plan.objections(GOOD, least)) == 2
    lost = replace(GOOD, geometric=np.inf, rms=np.inf, trimmed=np.inf)
    assert plan.objections(lost) == [] and plan.objections(GOOD, [lost]) == []


def test_a_picture_may_be_as_far_from_the_fine_runs_as_it_was_before():
    soft = replace(GOOD, sharpness=0.9, tint=0.1)
    assert Judged(0.9, 1.9, 1.4, 0.91, 0.09).objections(soft) == []
    assert Judged(0.9, 1.9, 1.4, 1.09, 0.0).objections(soft) == []
    assert len(Judged(0.9, 1.9, 1.4, 0.88, 0.11).objections(soft)) == 2
