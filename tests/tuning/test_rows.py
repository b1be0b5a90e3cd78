"""Weights by least squares on the student's own states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.step import low_band
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.tuning.judging import score
from diffusers_deis_sn.tuning.rows import fit
from diffusers_deis_sn.tuning.teacher import Teacher
from toy_models import PROCESSES, SHAPE, noise, toy

EACH = pytest.mark.parametrize("name", PROCESSES)


def base(name: str, calls: int = 4, exponent: float = 1.5) -> Tuned:
    process, prediction = PROCESSES[name]
    recipe = Recipe(process, Whole(Power("t", exponent)), Multistep(2, of="data"), prediction=prediction)
    return Tuned.of_recipe(recipe, recipe.levels(calls))


@EACH
@pytest.mark.parametrize("bands", [1, 2])
def test_what_is_kept_runs_to_where_the_fit_ended(name, bands):
    model = toy(name)
    fitted = fit(model, Teacher.of(model, 60), base(name), bands)
    assert fitted.run.bands == bands
    torch.testing.assert_close(model.run(fitted.run), fitted.end, rtol=1e-7, atol=1e-9)


@EACH
def test_it_is_nearer_than_the_formula_on_samples_that_it_has_not_seen(name):
    model, other = toy(name, 16), toy(name, 16, seed=1)
    teacher, fine = Teacher.of(model, 80), Teacher.of(other, 80)
    plain = base(name)
    fitted = fit(model, teacher, plain)
    assert score(other.run(fitted.run), fine.end) < score(other.run(plain), fine.end) - 0.3


def test_what_is_linear_is_solved_exactly_though_the_formula_is_far_off():
    """Of data N(0, s^2) each sample is scaled alone, which weights of one output can do whatever the grid."""
    model = toy("v")
    process, _ = PROCESSES["v"]

    def network(x: torch.Tensor, level: float) -> torch.Tensor:
        alpha, sigma = (float(each([level])[0]) for each in (process.alpha, process.sigma))
        exact = 0.3**2 / (0.3**2 + level**2) * x / alpha
        return (alpha * x - exact) / sigma

    model.network = network
    teacher = Teacher.of(model, 400)
    fitted = fit(model, teacher, base("v", 3), ridge=1e-14)
    torch.testing.assert_close(fitted.end, teacher.end, rtol=1e-4, atol=1e-6)


def test_bands_that_behave_otherwise_have_weights_of_their_own():
    """Three kinds of pictures, each scaled alone: one call has two weights in one band, and three in two."""
    model = toy("v")
    process, _ = PROCESSES["v"]
    scales = torch.tensor([1.0, 0.4], dtype=torch.float64)[:, None, None]  # of constant pictures, by channels

    def network(x: torch.Tensor, level: float) -> torch.Tensor:
        alpha, sigma = (float(each([level])[0]) for each in (process.alpha, process.sigma))
        y = x / alpha
        low = y.mean((-1, -2), keepdim=True)
        exact = scales / (scales + level**2) * low + 0.1**2 / (0.1**2 + level**2) * (y - low)
        return (alpha * x - exact) / sigma

    model.network = network
    high = noise(8)[..., :1, :1] * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(2, 2)
    assert low_band(high).abs().max() < 1e-12
    model.noise = noise(8, 1)[..., :1, :1].expand(-1, *SHAPE) + high
    teacher, plain = Teacher.of(model, 400), base("v", 1)
    ends = {bands: fit(model, teacher, plain, bands, ridge=1e-14).end for bands in (1, 2)}
    errors = {bands: float((end - teacher.end).abs().max()) for bands, end in ends.items()}
    assert errors[2] < 1e-6 and errors[1] > 1e-3


@EACH
def test_shrunk_without_end_it_is_the_formula(name):
    model, plain = toy(name), base(name)
    fitted = fit(model, Teacher.of(model, 40), plain, ridge=1e12)
    np.testing.assert_allclose(fitted.run.weights, plain.weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fitted.run.transfer, plain.transfer, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("same", [0, 1, 3, 4])
def test_calls_at_the_same_levels_are_not_made_again(same):
    model = toy("vp")
    teacher, plain = Teacher.of(model, 40), base("vp")
    known = fit(model, teacher, plain)
    levels = plain.rho.copy()
    levels[same:4] *= 0.97
    process = model.process
    other = replace(plain, rho=levels, times=process.call_times(levels[:-1]), told=process.call_times(levels[:-1]))
    before = model.asked
    again = fit(model, teacher, other, known=known)
    assert model.asked - before == 4 - same
    alone = fit(toy("vp"), teacher, other)
    assert torch.equal(again.end, alone.end) and again.run == alone.run
