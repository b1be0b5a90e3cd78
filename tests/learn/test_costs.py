"""Costs of single steps against quadrature, closed forms and brute-force derivatives; estimates have no bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.costs import (
    DERIVATIVES,
    answered,
    corrector_cost,
    corrector_probe,
    predictor_cost,
    predictor_probe,
    schedule_costs,
)
from refusals import refused

STDS = torch.tensor([0.5, 1.3, 0.05], dtype=torch.float64)


def gaussian(y, sigma):
    """The exact network of data N(0, diag(STDS^2)), of as many dimensions as y has."""
    return sigma * y / (STDS[: y.shape[-1]] ** 2 + sigma**2)


def sigma_points(sigma, stds=STDS):
    """Samples whose mean of any quadratic form is that of the noised Gaussian data, exactly."""
    spread = torch.diag((len(stds) * (stds**2 + sigma**2)).sqrt())
    return torch.cat([spread, -spread])


def bimodal(y, sigma):
    """The exact network of data 0.5 N(-1, 0.09) + 0.5 N(1, 0.09)."""
    variance = 0.09 + sigma**2
    return sigma * (y - torch.tanh(y / variance)) / variance


def bimodal_mean(cost, sigma, entered, **options):
    """Mean of a cost over such data, by quadrature."""
    y = torch.linspace(-12.0, 12.0, 3001, dtype=torch.float64)
    variance = 0.09 + sigma**2
    weights = torch.logsumexp(-((y + torch.tensor([[-1.0], [1.0]])) ** 2) / (2.0 * variance), 0).softmax(0)
    return float(weights @ cost(bimodal, y[:, None], sigma, entered, **options))


# ------------------------------------------------------------------------------------------------------ golden values


@pytest.mark.parametrize(
    ("sigma", "entered", "golden"), [(0.8, 0.6, 0.422402409969), (0.6, 0.8, 0.443659962203), (10.0, 1.0, 173.408808222)]
)
def test_corrector_cost_of_gaussian_data(sigma, entered, golden):
    each = corrector_cost(gaussian, sigma_points(sigma), sigma, entered)
    assert each.shape == (6,) and each.dtype == torch.float64
    assert 3.0 * float(each.mean()) == pytest.approx(golden, rel=1e-11)  # per component


@pytest.mark.parametrize(
    ("delta", "golden"),
    [(-0.16, 2.90999839), (-0.08, 2.65725657), (-0.04, 2.53393334), (-0.02, 2.47377338), (-0.01, 2.44413636)],
)
def test_corrector_cost_of_a_mixture(delta, golden):
    assert bimodal_mean(corrector_cost, 0.8, 0.8 + delta) / delta**2 == pytest.approx(golden, abs=1e-8)


def test_corrector_cost_of_a_mixture_in_the_limit():
    sides = [bimodal_mean(corrector_cost, 0.8, 0.8 + delta) / delta**2 for delta in (-1e-4, 1e-4)]
    assert np.mean(sides) == pytest.approx(2.4148163, abs=1e-6)


@pytest.mark.parametrize("delta", [-0.16, -0.01, -1e-6])
def test_predictor_cost_of_a_mixture_is_its_leading_order(delta):
    value = bimodal_mean(predictor_cost, 0.8, 0.8 + delta) / delta**4
    assert value * (0.8 / (0.8 + delta)) ** 2 == pytest.approx(2.8974343, rel=3e-8)


def test_predictor_cost_by_finite_differences_is_within_two_percent_of_it_for_small_steps():
    value = bimodal_mean(predictor_cost, 0.8, 0.8 - 1e-4, derivatives="finite") / 1e-16
    assert value * (0.8 / 0.7999) ** 2 == pytest.approx(2.8974343, rel=0.02)


@pytest.mark.parametrize(("entered", "exact"), [(0.7, 1.20802436033e-5), (0.799, None)])
def test_predictor_cost_of_gaussian_data(entered, exact):
    variance, delta = STDS**2 + 0.64, entered - 0.8
    leading = float((entered**2 * delta**4 * STDS**4 / variance**5).sum())
    each = predictor_cost(gaussian, sigma_points(0.8), 0.8, entered)
    assert each.shape == (6,) and each.dtype == torch.float64
    assert 3.0 * float(each.mean()) == pytest.approx(leading, rel=1e-9)
    # What eq. 21 gives for the whole Euler step: the same but for terms of the next order.
    stretch, after = 1.0 + delta * 0.8 / variance, STDS**2 + entered**2
    whole = float((entered**2 * delta**4 * STDS**4 / (stretch**2 * variance**3 * after**2)).sum())
    assert exact is None or whole == pytest.approx(exact, rel=1e-11)
    assert leading == pytest.approx(whole, rel=5.0 * abs(delta))


@pytest.mark.parametrize(
    ("alpha", "entered", "golden"),
    [(0.6, 0.7, 0.480870949637), (0.2, 0.35, 4.17971553285), (0.95, 0.99, 2.72465799115)],
)
def test_variance_preserving_networks_cost_the_same_in_y(alpha, entered, golden):
    """Eq. 16: what eps(x, t) says of x = alpha y, with the input rescaled to alpha' y at the level entered."""

    def preserving(x, a):
        return (1.0 - a**2) ** 0.5 * x / (a**2 * STDS**2 + 1.0 - a**2)

    def in_y(y, rho):
        return preserving(y / (1.0 + rho**2) ** 0.5, 1.0 / (1.0 + rho**2) ** 0.5)

    rho, rho_entered = ((1.0 / a**2 - 1.0) ** 0.5 for a in (alpha, entered))
    points = sigma_points(rho)
    cost = 3.0 * float(corrector_cost(in_y, points, rho, rho_entered).mean())
    assert cost == pytest.approx(golden, rel=1e-11)
    assert cost == pytest.approx(3.0 * float(corrector_cost(gaussian, points, rho, rho_entered).mean()), rel=1e-12)
    # Eq. 13 from scores in x, after alpha^2 |s_x|^2 = |s_y|^2, at the same y.
    scores = [-a * preserving(a * points, a) / (1.0 - a**2) ** 0.5 for a in (alpha, entered)]
    by_scores = float((rho_entered**2 * (scores[1] - scores[0]).square()).sum(1).mean())
    assert cost == pytest.approx(by_scores, rel=1e-12)


def test_forgetting_to_rescale_the_input_is_another_cost():
    a, b = 0.2, 0.35
    x = a * sigma_points((1.0 / a**2 - 1.0) ** 0.5)
    scores = [-x / (alpha**2 * STDS**2 + 1.0 - alpha**2) for alpha in (a, b)]
    wrong = float(((1.0 - b**2) * (scores[1] - scores[0]).square()).sum(1).mean())
    assert wrong == pytest.approx(0.014585, rel=1e-4)  # trap 11, instead of 4.1797


# ------------------------------------------------------------------------------------------------------- local orders


@pytest.mark.parametrize(("cost", "order"), [(corrector_cost, 2.0), (predictor_cost, 4.0)])
@pytest.mark.parametrize("of", ["gaussian", "mixture"])
def test_halving_a_step_divides_its_cost_by_two_to_the_order(cost, order, of):
    def value(delta):
        if of == "mixture":
            return bimodal_mean(cost, 0.8, 0.8 + delta)
        return float(cost(gaussian, sigma_points(0.8), 0.8, 0.8 + delta).mean())

    values = np.array([value(-0.02 / 2**k) for k in range(6)])
    slopes = np.log2(values[:-1] / values[1:])
    assert slopes == pytest.approx(np.full(5, order), abs=0.05)
    assert abs(slopes[-1] - order) < 0.1 * abs(slopes[0] - order)


# ------------------------------------------------------------------------------------------------ Hutchinson's estimate


class Mixture:
    """Data of two Gaussians that are no products, in d dimensions: Hessians and Laplacians have mixed terms."""

    def __init__(self, dimensions):
        draw = torch.Generator().manual_seed(dimensions)
        self.means = torch.randn(2, dimensions, generator=draw, dtype=torch.float64)
        roots = 0.6 * torch.randn(2, dimensions, dimensions, generator=draw, dtype=torch.float64)
        self.covariances = roots @ roots.mT

    def log_density(self, y, sigma):
        away, precisions = y - self.means, self._precisions(sigma)
        forms = torch.einsum("ki,kij,kj->k", away, precisions, away)
        return torch.logsumexp(0.5 * (torch.logdet(precisions) - forms), -1)

    def epsilon(self, y, sigma):
        precisions = self._precisions(sigma)
        pulls = torch.einsum("kij,bkj->bki", precisions, y[:, None] - self.means)
        forms = (pulls * (y[:, None] - self.means)).sum(-1)
        weights = torch.softmax(0.5 * (torch.logdet(precisions) - forms), -1)
        return sigma * (weights[..., None] * pulls).sum(1)

    def _precisions(self, sigma):
        return torch.linalg.inv(self.covariances + sigma**2 * torch.eye(self.means.shape[1], dtype=self.means.dtype))

    def leading_order(self, y, sigma, entered):
        """Eq. 20 at one point, all of it by automatic differentiation of the log density."""
        level = torch.tensor(sigma, dtype=y.dtype)
        score = torch.func.grad(self.log_density)

        def noise(z, s):
            return -s * score(z, s)

        def change(z):
            along = torch.func.jacrev(noise, 0)(z, level) @ noise(z, level)
            return torch.func.jacrev(noise, 1)(z, level) + along

        def residual(z):
            return torch.trace(torch.func.jacrev(change)(z)) + score(z, level) @ change(z)

        gradient = torch.func.grad(residual)(y)
        return 0.25 * entered**2 * (entered - sigma) ** 4 * float(gradient.square().mean())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_estimates_of_single_samples_scatter_about_brute_force_without_bias(dimensions):
    mixture, draws = Mixture(dimensions), 20000
    point = torch.tensor([0.3, -0.4, 0.7], dtype=torch.float64)[:dimensions]
    truth = mixture.leading_order(point, 0.7, 0.6)
    signs = torch.Generator().manual_seed(0)
    each = predictor_cost(mixture.epsilon, point.expand(draws, -1).clone(), 0.7, 0.6, [signs])
    spread = float(each.std()) / truth
    assert 0.1 < spread < 20.0  # there is something to average, and the average means something
    assert float(each.mean()) / truth == pytest.approx(1.0, abs=4.0 * spread / draws**0.5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_square_of_one_estimate_would_be_biased(dimensions, monkeypatch):
    """What the product of two independent estimates is for: with the same signs twice the mean is far too high."""
    mixture = Mixture(dimensions)
    point = torch.tensor([0.3, -0.4, 0.7], dtype=torch.float64)[:dimensions].expand(4000, -1).clone()
    v = torch.randint(0, 2, point.shape, generator=torch.Generator().manual_seed(0)).to(point) * 2.0 - 1.0
    monkeypatch.setattr("diffusers_deis_sn.learn.costs._signs", lambda *_: v)
    each = predictor_cost(mixture.epsilon, point, 0.7, 0.6)
    truth = mixture.leading_order(point[0], 0.7, 0.6)
    assert float(each.mean()) - truth > 20.0 * float(each.std()) / 4000**0.5


def test_in_one_dimension_signs_are_of_no_matter():
    y = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)[:, None]
    one, other = (predictor_cost(bimodal, y, 0.8, 0.7, [torch.Generator().manual_seed(seed)]) for seed in (0, 1))
    assert one.tolist() == pytest.approx(other.tolist(), rel=1e-12)
    assert torch.all(one >= 0.0)


@pytest.mark.parametrize("derivatives", DERIVATIVES)
def test_seeds_decide_the_signs(derivatives):
    mixture = Mixture(3)
    y = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    options = {"derivatives": derivatives}
    first, again, other = (
        predictor_cost(mixture.epsilon, y, 0.7, 0.69, [torch.Generator().manual_seed(seed)], **options)
        for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()


def test_with_a_generator_each_samples_do_not_depend_on_their_neighbours():
    mixture = Mixture(3)
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def costs(rows):
        generators = [torch.Generator().manual_seed(row) for row in rows]
        return predictor_cost(mixture.epsilon, y[rows], 0.7, 0.69, generators).tolist()

    assert costs([2, 0])[0] == pytest.approx(costs([0, 1, 2, 3])[2], rel=1e-12)
    assert costs([3])[0] == pytest.approx(costs([0, 1, 2, 3])[3], rel=1e-12)


def test_finite_differences_agree_with_exact_derivatives_for_the_same_signs():
    mixture = Mixture(3)
    y = 1.5 * torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact, finite = (
        predictor_cost(mixture.epsilon, y, 0.7, 0.7 - 1e-5, [torch.Generator().manual_seed(0)], derivatives=name)
        for name in DERIVATIVES
    )
    assert float(finite.mean()) == pytest.approx(float(exact.mean()), rel=0.05)
    assert float(torch.corrcoef(torch.stack([exact, finite]))[0, 1]) > 0.995


# --------------------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("cost", [corrector_cost, predictor_cost])
def test_costs_are_per_component_of_samples_of_any_shape(cost):
    y = torch.randn(6, 2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scaled = lambda z, sigma: sigma * z / (0.25 + sigma**2)  # noqa: E731
    each = cost(scaled, y, 0.8, 0.7)
    flat = cost(scaled, y.reshape(6, 12), 0.8, 0.7)
    assert each.shape == (6,) and each.tolist() == pytest.approx(flat.tolist(), rel=1e-12)
    twice = cost(scaled, torch.cat([y, y], 1), 0.8, 0.7)
    assert twice.tolist() == pytest.approx(each.tolist(), rel=1e-12)


@pytest.mark.parametrize("cost", [corrector_cost, predictor_cost])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_costs_are_summed_in_float64_whatever_the_network_computes_in(cost, dtype):
    y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    scaled = lambda z, sigma: (sigma * z / (0.25 + sigma**2)).to(z.dtype)  # noqa: E731
    each = cost(scaled, y.to(dtype), 0.8, 0.6)
    assert each.dtype == torch.float64
    assert each.tolist() == pytest.approx(cost(scaled, y, 0.8, 0.6).tolist(), rel=0.2, abs=1e-3)


# --------------------------------------------------------------------------------------------------------------- probes


def test_probes_ask_once_for_the_corrector_and_fifteen_times_for_the_predictor():
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for probe, calls, entered in ((corrector_probe, 1, 1), (predictor_probe, 15, 7)):
        asked = []

        def answer(where, is_entered, asked=asked):
            asked.append(is_entered)
            return gaussian(where, 0.6 if is_entered else 0.8)

        answered(probe(y, gaussian(y, 0.8), 0.8, 0.6), answer)
        assert len(asked) == calls and sum(asked) == entered


@given(st.floats(0.05, 5.0), st.floats(0.5, 0.999))
def test_a_probe_says_what_the_function_says(sigma, ratio):
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entered = ratio * sigma

    def answer(where, is_entered):
        return gaussian(where, entered if is_entered else sigma)

    by_probe = answered(corrector_probe(y, gaussian(y, sigma), sigma, entered), answer)
    assert by_probe.tolist() == corrector_cost(gaussian, y, sigma, entered).tolist()
    signs = [torch.Generator().manual_seed(0) for _ in range(2)]
    by_probe = answered(predictor_probe(y, gaussian(y, sigma), sigma, entered, signs[:1]), answer)
    by_function = predictor_cost(gaussian, y, sigma, entered, signs[1:], derivatives="finite")
    assert by_probe.tolist() == by_function.tolist()


def test_the_corrector_asks_at_the_same_y():
    y = torch.randn(4, 3, dtype=torch.float64)
    where, is_entered = next(corrector_probe(y, gaussian(y, 0.8), 0.8, 0.6))
    assert where is y and is_entered is True


def test_points_without_a_score_cost_what_they_should():
    """At a mode of a mixture score and change vanish, and directions along them are none."""
    y = torch.zeros(2, 1, dtype=torch.float64)
    for derivatives in DERIVATIVES:
        each = predictor_cost(bimodal, y, 0.8, 0.79, derivatives=derivatives)
        assert torch.all(each.isfinite()) and each.tolist() == pytest.approx([0.0, 0.0], abs=1e-20)


# ------------------------------------------------------------------------------------------------------ whole schedules


@pytest.mark.parametrize(("cost", "order"), [("corrector", 2), ("predictor", 4)])
def test_costs_of_a_schedule_are_those_of_its_steps(cost, order):
    levels = np.geomspace(3.0, 0.1, 5)
    local = schedule_costs(gaussian, sigma_points, levels, cost)
    function = {"corrector": corrector_cost, "predictor": predictor_cost}[cost]
    for k, (sigma, entered) in enumerate(zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True)):
        each = function(gaussian, sigma_points(sigma), sigma, entered)
        assert local.values[k] == pytest.approx(float(each.mean()), rel=1e-12)
        assert local.error[k] == pytest.approx(float(each.std()) / 6**0.5, rel=1e-9)
    assert (len(local), local.order, local.num_samples) == (4, order, 6)


def test_a_single_sample_has_no_known_error_and_negative_means_count_as_zero():
    mixture = Mixture(3)
    y = 1.5 * torch.randn(400, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signs = torch.Generator().manual_seed(0)
    each = predictor_cost(mixture.epsilon, y, 0.7, 0.6, [signs])
    lowest = y[[int(each.argmin())]]
    assert float(each.min()) < 0.0
    seeds = (torch.Generator().manual_seed(seed) for seed in range(100))
    seed = next(s for s in seeds if float(predictor_cost(mixture.epsilon, lowest, 0.7, 0.6, [s])[0]) < 0.0)
    again = torch.Generator().manual_seed(seed.initial_seed())
    local = schedule_costs(mixture.epsilon, lambda _: lowest, np.array([0.7, 0.6]), "predictor", generators=[again])
    assert local.values.tolist() == [0.0] and local.error.tolist() == [0.0] and local.num_samples == 1


def test_estimated_costs_are_within_their_errors():
    draw = torch.Generator().manual_seed(0)

    def samples(sigma):
        return (STDS**2 + sigma**2).sqrt() * torch.randn(4000, 3, generator=draw, dtype=torch.float64)

    levels = np.geomspace(3.0, 0.1, 9)
    exact = schedule_costs(gaussian, sigma_points, levels)
    estimated = schedule_costs(gaussian, samples, levels)
    away = (estimated.values - exact.values) / estimated.error
    assert np.max(np.abs(away)) < 3.5 and np.max(np.abs(away)) > 0.2
    assert np.all(estimated.error < 0.05 * exact.values)


def test_no_gradients_are_kept():
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    local = schedule_costs(lambda y, sigma: weight * gaussian(y, sigma), sigma_points, np.array([1.0, 0.5]))
    assert np.all(local.values > 0.0) and weight.grad is None


# ------------------------------------------------------------------------------------------------------------ refusals


def test_unknown_derivatives_are_refused():
    words = ["`derivatives`", "exact, finite", "'guessed'"]
    refused(ScheduleError, words, predictor_cost, gaussian, sigma_points(0.8), 0.8, 0.7, derivatives="guessed")


def test_unknown_costs_are_refused():
    words = ["`cost`", "corrector, predictor", "'energy'"]
    refused(ScheduleError, words, schedule_costs, gaussian, sigma_points, np.array([1.0, 0.5]), "energy")


@pytest.mark.parametrize("derivatives", DERIVATIVES)
def test_levels_of_each_sample_give_the_cost_of_each_sample(derivatives):
    """As `AdaptiveSchedule.draw` has them: (B, 1) beside samples (B, D)."""
    sigma = torch.tensor([[0.5], [0.8], [1.3]], dtype=torch.float64)
    y = torch.tensor([[0.3, -1.0], [0.7, 0.2], [-0.4, 1.1]], dtype=torch.float64)

    def epsilon(z, s):
        return s * torch.tanh(z) / (0.3 + s**2)

    def each(cost, **options):
        rows = zip(y, sigma.flatten().tolist(), strict=True)
        return torch.cat([cost(epsilon, z[None], s, 0.98 * s, **options) for z, s in rows])

    # A network of one component each has nothing that signs could mix up.
    found = predictor_cost(epsilon, y, sigma, 0.98 * sigma, derivatives=derivatives)
    torch.testing.assert_close(found, each(predictor_cost, derivatives=derivatives), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(corrector_cost(epsilon, y, sigma, 0.98 * sigma), each(corrector_cost))
