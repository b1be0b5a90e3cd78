"""A last row that keeps the fine run's sharpness: its energy is met, and no row of that energy is nearer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.step import high_band
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.tuning.judging import distances, sharpness
from diffusers_deis_sn.tuning.rows import Fitted, base_row, columns_of, combined, fit, gram, normal_equations
from diffusers_deis_sn.tuning.sharpening import sharpened
from diffusers_deis_sn.tuning.teacher import Teacher
from toy_models import PROCESSES, noise, toy

EACH = pytest.mark.parametrize("name", PROCESSES)
BANDS = pytest.mark.parametrize("bands", [1, 2])


def blurred(name: str, bands: int, unforeseen: float = 0.4) -> tuple[Teacher, Tuned, Fitted]:
    """A fit to a fine run with detail in its end that nothing in the student's run foretells."""
    process, prediction = PROCESSES[name]
    recipe = Recipe(process, Whole(Power("t", 1.5)), Multistep(2, of="data"), prediction=prediction)
    base, model = Tuned.of_recipe(recipe, recipe.levels(4)), toy(name, 12)
    teacher = Teacher.of(model, 40)
    detail = unforeseen * high_band(noise(12, seed=5))
    teacher = replace(teacher, samples=(*teacher.samples[:-1], teacher.end + detail))
    return teacher, base, fit(model, teacher, base, bands)


@EACH
@BANDS
def test_the_end_is_as_sharp_as_the_fine_run_by_the_last_row_alone(name, bands):
    teacher, base, fitted = blurred(name, bands)
    assert sharpness(fitted.end, teacher.end) < 0.97
    sharp = sharpened(fitted, teacher, base, bands)
    assert sharpness(sharp.end, teacher.end) == pytest.approx(1.0, abs=1e-6)
    assert np.array_equal(sharp.run.weights[:-1], fitted.run.weights[:-1])
    assert np.array_equal(sharp.run.transfer[:-1], fitted.run.transfer[:-1])
    assert np.array_equal(sharp.run.rho, fitted.run.rho) and sharp.run.bands == fitted.run.bands


@EACH
@BANDS
def test_what_is_kept_runs_to_where_it_ended(name, bands):
    teacher, base, fitted = blurred(name, bands)
    sharp = sharpened(fitted, teacher, base, bands)
    torch.testing.assert_close(toy(name, 12).run(sharp.run), sharp.end, rtol=1e-7, atol=1e-9)


@EACH
@BANDS
def test_no_row_of_that_energy_is_nearer(name, bands):
    """Of random rows that are brought to the same energy, and of small changes of this one, none is."""
    teacher, base, fitted = blurred(name, bands)
    sharp = sharpened(fitted, teacher, base, bands)
    columns, b0 = columns_of(fitted.samples[-1], fitted.data, bands), base_row(base, 3, bands)
    matrix, right = normal_equations(columns, teacher.end, b0, 1e-5)
    detail = gram(torch.stack([high_band(one.reshape(fitted.end.shape)).flatten(1) for one in columns]))

    def missed(row: Array) -> float:
        return float((row - b0) @ matrix @ (row - b0) - 2.0 * right @ (row - b0))

    low = [] if sharp.run.low is None else [sharp.run.low[-1]]
    best = np.concatenate([sharp.run.transfer[-1:], sharp.run.weights[-1], *low])
    torch.testing.assert_close(combined(columns, best).reshape(sharp.end.shape), sharp.end)
    energy = best @ detail @ best
    draw = np.random.default_rng(0)
    scale = np.abs(eigh(matrix, eigvals_only=True)).max() ** -0.5
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            other = best + size * np.sqrt(energy) * scale * draw.standard_normal(len(best))
            other *= np.sqrt(energy / (other @ detail @ other))
            assert missed(other) >= missed(best) * (1.0 - 1e-9 * np.sign(missed(best)))


def test_it_costs_little_where_little_is_missing():
    """Half of what is unforeseen comes back as a larger distance at most; at a tenth of it hardly anything."""
    for unforeseen, most in ((0.4, 1.5), (0.1, 1.1)):
        teacher, base, fitted = blurred("vp", 2, unforeseen)
        sharp = sharpened(fitted, teacher, base, 2)
        assert distances(sharp.end, teacher.end).mean() < most * distances(fitted.end, teacher.end).mean()


def test_a_fit_that_is_too_rough_is_made_smoother():
    teacher, base, fitted = blurred("vp", 2, 0.0)
    smooth = replace(teacher, samples=(*teacher.samples[:-1], teacher.end - 0.2 * high_band(teacher.end)))
    assert sharpness(fitted.end, smooth.end) > 1.2
    assert sharpness(sharpened(fitted, smooth, base, 2).end, smooth.end) == pytest.approx(1.0, abs=1e-6)


def test_there_is_nothing_to_keep_without_detail():
    teacher, base, fitted = blurred("vp", 2)
    flat = torch.ones_like(teacher.end)
    assert sharpened(fitted, replace(teacher, samples=(*teacher.samples[:-1], flat)), base, 2) is None
