"""Runge-Kutta in rho: order conditions by rooted trees, stage levels by quadrature, rows against a y_n that is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.core.named_grids import SPACINGS
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.runge_kutta import ABOVE_DATA, ABOVE_MODELS, LEAP, TABLEAUX, Tableau, runge_kutta_table
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.solvers import named_solver
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CoefficientError
from oracles import Definition, spaced_levels
from textbook import Textbook, walk

pytestmark = pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")  # of accuracy out of reach

FLAT = Normaliser.flat()
SD = vp_schedule(**SD_BETAS)
BETAS = np.random.default_rng(1).uniform(0.01, 0.3, 25)  # few, so that every kink of t(rho) is a large one
COARSE = vp_schedule(trained_betas=BETAS)
KNOTS, VALUES = np.array([0.4, 2.5, 8.0, 8.1, 21.7]), np.array([0.31, 0.4, 0.7, 0.55, 0.8])
LEVELS = {
    "to zero": np.array([*COARSE.rho([23.0, 17.3, 9.2, 4.0, 2.0]), 0.0]),
    "to sigma_min": COARSE.rho([23.0, 17.3, 9.2, 4.0, 2.0, 0.0]),
}
STAGES = {name: len(tableau) for name, tableau in TABLEAUX.items()}
PUBLISHED = {  # DEIS's code has all of these but Runge's midpoint
    "euler": (1, 1),
    "midpoint": (2, 2),
    "heun": (2, 2),
    "kutta3": (3, 3),
    "heun3": (3, 3),
    "ralston3": (3, 3),
    "ssprk3": (3, 3),
    "vdh3": (3, 3),
    "rk4": (4, 4),
}

# ------------------------------------------------------------------------------------------------- order conditions

Tree = tuple  # a rooted tree is the sorted tuple of the trees that hang from its root


@cache
def trees(nodes: int) -> list[Tree]:
    """All rooted trees with so many nodes: 1, 1, 2, 4, 9, ..."""
    return sorted({tuple(sorted(forest)) for forest in forests(nodes - 1)})


def forests(nodes: int) -> Iterator[tuple[Tree, ...]]:
    if nodes == 0:
        yield ()
        return
    for largest in range(1, nodes + 1):
        for count in range(1, nodes // largest + 1):
            for rest in forests_below(nodes - count * largest, largest):
                for chosen in combinations_with_replacement(trees(largest), count):
                    yield (*chosen, *rest)


def forests_below(nodes: int, largest: int) -> Iterator[tuple[Tree, ...]]:
    return (forest for forest in forests(nodes) if all(size(tree) < largest for tree in forest))


def size(tree: Tree) -> int:
    return 1 + sum(map(size, tree))


def density(tree: Tree) -> int:
    """gamma: the size of the tree times the densities of what hangs from its root."""
    product = size(tree)
    for child in tree:
        product *= density(child)
    return product


def fraction(value: float) -> Fraction:
    exact = Fraction(value).limit_denominator(60)
    assert float(exact) == pytest.approx(value, rel=1e-15)
    return exact


def misses(tableau: Tableau, order: int) -> list[Tree]:
    """Trees with `order` nodes whose condition sum_i b_i Phi_i(tree) = 1 / gamma(tree) fails, in exact fractions."""
    a = [[fraction(value) for value in row] for row in tableau.stages]
    b = [fraction(value) for value in tableau.weights]

    def inner(i: int, tree: Tree) -> Fraction:
        product = Fraction(1)
        for child in tree:
            product *= sum((value * inner(j, child) for j, value in enumerate(a[i])), Fraction(0))
        return product

    def weight(tree: Tree) -> Fraction:
        return sum((b[i] * inner(i, tree) for i in range(len(b))), Fraction(0))

    return [tree for tree in trees(order) if weight(tree) != Fraction(1, density(tree))]


def test_there_are_as_many_rooted_trees_as_cayley_counted():
    assert [len(trees(nodes)) for nodes in range(1, 7)] == [1, 1, 2, 4, 9, 20]


def test_the_tableaux_are_those_of_the_paper():
    assert {name: (tableau.order, len(tableau)) for name, tableau in TABLEAUX.items()} == PUBLISHED
    assert {name: named_solver(name).calls_per_step for name in TABLEAUX} == STAGES
    assert named_solver("multistep").calls_per_step == named_solver("ipndm").calls_per_step == 1


@pytest.mark.parametrize("name", TABLEAUX)
def test_each_tableau_has_its_order_and_no_more(name):
    tableau = TABLEAUX[name]
    for order in range(1, tableau.order + 1):
        assert misses(tableau, order) == []
    assert misses(tableau, tableau.order + 1) != []
    for c, row in zip(tableau.nodes, tableau.stages, strict=True):
        assert sum(map(fraction, row), Fraction(0)) == fraction(c)


@pytest.mark.parametrize("name", TABLEAUX)
def test_the_last_step_to_clean_data_calls_no_network_there_and_keeps_the_order(name):
    last = TABLEAUX[name].at_clean
    assert last is not None or 1.0 not in TABLEAUX[name].nodes
    if last is not None:
        assert 1.0 not in TABLEAUX[last].nodes
        assert TABLEAUX[last].order >= TABLEAUX[name].order - 1  # of a single step: the error of one order more


@pytest.mark.parametrize("name", TABLEAUX)
def test_a_wrong_tableau_is_refused(name):
    tableau = TABLEAUX[name]
    wrong = [{"weights": tuple(w + 1e-9 if i == j else w for i, w in enumerate(tableau.weights))} for j in range(1)]
    for i, row in enumerate(tableau.stages):
        for j in range(len(row)):
            changed = tuple(value + 1e-9 if j == k else value for k, value in enumerate(row))
            wrong.append({"stages": (*tableau.stages[:i], changed, *tableau.stages[i + 1 :])})
    if tableau.order < 4:
        wrong.append({"order": tableau.order + 1})
    for change in wrong:
        with pytest.raises(CoefficientError, match="not of order"):
            dataclasses.replace(tableau, **change)


@given(st.floats(0.1, 0.95))
def test_the_one_family_of_two_stages_is_accepted_and_its_neighbours_are_not(c):
    """Order two: b_2 c_2 = 1/2."""
    Tableau(2, (0.0, c), ((), (c,)), (1.0 - 0.5 / c, 0.5 / c))
    with pytest.raises(CoefficientError, match="not of order 2"):
        Tableau(2, (0.0, c), ((), (c,)), (1.0 - 0.6 / c, 0.6 / c))


# ----------------------------------------------------------------------------------------------------- stage levels


def zigzag() -> Normaliser:
    """A normaliser with a kink at every training time."""
    return Normaliser(np.arange(1000), np.random.default_rng(0).uniform(0.4, 0.9, 1000))


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
@pytest.mark.parametrize("above", [ABOVE_MODELS, ABOVE_DATA])
def test_without_normalisation_the_stages_divide_a_step_in_rho_and_a_leap_in_its_inverse(solver, spacing, final, above):
    levels = spaced_levels(SD, 7, spacing, final)
    table = runge_kutta_table(SD, FLAT, levels, solver, above)
    call = 0
    for n, (top, bottom) in enumerate(pairwise(levels)):
        name = (TABLEAUX[solver].at_clean or solver) if bottom == 0.0 else solver
        c = np.array(TABLEAUX[name].nodes)
        expected = top / (1.0 + c * (top / bottom - 1.0)) if 0.0 < bottom < top / LEAP and top > above else 0.0
        expected = expected if np.any(expected) and len(c) > 1 else top + c * (bottom - top)
        assert table.levels[call : call + len(expected)] == pytest.approx(expected, rel=1e-13), n
        assert table.needs[call : call + len(expected)].tolist() == list(range(1, len(expected) + 1))
        call += len(expected)
    assert call == len(table) and table.levels[-1] == levels[-1]


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("end", LEVELS)
def test_with_it_they_divide_the_integral_of_r(solver, end):
    """int r drho = c h, from the step's beginning to the stage."""
    table = runge_kutta_table(COARSE, Normaliser(KNOTS, VALUES), LEVELS[end], solver)
    book = Textbook(Definition(np.cumprod(1.0 - BETAS), LEVELS[end], "t", (KNOTS, VALUES)))
    begins = np.flatnonzero(table.needs == 1)
    for n, begin in enumerate(begins):
        top, bottom = LEVELS[end][n], LEVELS[end][n + 1]
        whole = book.area(lambda _: 1.0, top, bottom)
        last = end == "to zero" and n == len(begins) - 1
        for stage, c in enumerate(TABLEAUX[(TABLEAUX[solver].at_clean or solver) if last else solver].nodes):
            level = table.levels[begin + stage]
            assert book.area(lambda _: 1.0, top, level) == pytest.approx(c * whole, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("solver", ["heun3", "rk4"])
def test_a_kink_at_every_training_time_is_no_obstacle(solver):
    levels, r = spaced_levels(SD, 5, "karras", "zero"), zigzag()
    table = runge_kutta_table(SD, r, levels, solver)
    top, level, bottom = table.levels[0], table.levels[1], levels[1]
    kinks = SD.rho(np.arange(1000.0))

    def area(a: float, b: float) -> float:
        edges = np.unique([a, b, *kinks[(kinks < a) & (kinks > b)]])
        f = [quad(lambda rho: r(SD.time(rho)), *pair, epsrel=1e-12)[0] for pair in pairwise(edges)]
        return sum(f)

    assert area(top, level) == pytest.approx(TABLEAUX[solver].nodes[1] * area(top, bottom), rel=1e-11)


@pytest.mark.parametrize("solver", ["heun", "kutta3", "rk4"])
@pytest.mark.parametrize("steps", range(2, 40))
def test_a_stage_at_the_end_of_a_step_is_where_the_next_begins_to_the_last_bit(solver, steps):
    levels = spaced_levels(SD, steps, "karras", "zero")
    table = runge_kutta_table(SD, FLAT, levels, solver)
    begins = np.flatnonzero(table.needs == 1)
    assert np.array_equal(table.levels[begins], levels[:-1])
    assert np.array_equal(table.levels[begins[1:] - 1], levels[1:-1])


# ------------------------------------------------------------------------------------------------------------- rows


def slope(x: np.ndarray, rho: float) -> np.ndarray:
    return np.tanh(0.9 * x + 0.3) + 0.2 * np.cos(1.7 * rho + x)


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("normalised", [False, True], ids=["flat", "normalised"])
@pytest.mark.parametrize("end", LEVELS)
def test_rows_are_the_method_that_keeps_its_samples(solver, normalised, end):
    knots = (KNOTS, VALUES) if normalised else (np.zeros(1), np.ones(1))
    process = Definition(np.cumprod(1.0 - BETAS), LEVELS[end], "t", knots)
    tableaux = [TABLEAUX[solver]] * (len(LEVELS[end]) - 1)
    if end == "to zero":
        tableaux[-1] = TABLEAUX[TABLEAUX[solver].at_clean or solver]
    start = np.array([0.4, -1.1, 2.3])
    theirs = Textbook(process).runge_kutta(slope, start, tableaux)
    ours = walk(runge_kutta_table(COARSE, Normaliser(*knots), LEVELS[end], solver), slope, start)
    assert len(ours) == len(theirs)
    assert np.allclose(ours, theirs, rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("solver", TABLEAUX)
def test_a_run_that_begins_at_a_later_step_has_the_rows_of_one_planned_from_there(solver):
    levels = spaced_levels(SD, 6, "karras", "zero")
    whole, rest = (runge_kutta_table(SD, zigzag(), levels[start:], solver) for start in (0, 2))
    begin = int(np.flatnonzero(whole.needs == 1)[2])
    theirs = walk(rest, slope, np.array([0.4, -1.1]))
    assert np.allclose(walk(whole, slope, np.array([0.4, -1.1]), begin), theirs, rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("solver", ["heun", "midpoint"])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_two_stages_and_n_steps_to_clean_data_are_2n_minus_one_calls(solver, steps):
    table = runge_kutta_table(SD, FLAT, spaced_levels(SD, steps, "trailing", "zero"), solver)
    assert len(table) == 2 * steps - 1 and sum(table.needs == 1) == steps
    ended = runge_kutta_table(SD, FLAT, spaced_levels(SD, steps, "trailing", "sigma_min"), solver)
    assert len(ended) == 2 * steps


@pytest.mark.parametrize("solver", TABLEAUX)
@pytest.mark.parametrize("process", [SD, SigmaSchedule()], ids=["vp", "edm"])
def test_only_ratios_of_r_matter(solver, process):
    levels = spaced_levels(process, 6, "karras", "zero")
    times = process.time(np.geomspace(process.bottom, process.top, 60))
    values = np.random.default_rng(0).uniform(0.4, 0.9, 60)
    one, other = (runge_kutta_table(process, Normaliser(times, c * values), levels, solver) for c in (1.0, 37.0))
    assert np.allclose(one.weights, other.weights, rtol=1e-10, atol=1e-14)
    assert np.allclose(one.levels, other.levels, rtol=1e-11, atol=0.0)
