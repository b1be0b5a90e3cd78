"""Recipes and what was left of the distance to a fine run when they were tried: which one is followed for which N."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.collect.trying import LOST, MENU
from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.schedulers._options_to_recipe import options_of
from diffusers_deis_sn.schedulers._own_config import RECIPE_OPTIONS
from diffusers_deis_sn.statistics.trials import MOST_GRAIN, Method, Trials
from records import gaussian_record, tiny_record

NOISE = Method("noise", 2, 4, 0.375, "power_t", 1.0)
DATA = Method("data", 2, 2, None, "power_t", 2.0)
LEARNED = Method("noise", 2, 4, None, "learned")


def trials(
    error: Any, recipes: tuple[Method, ...] = (NOISE, DATA), calls: tuple[int, ...] = (4, 20), **tables: Any
) -> Trials:
    """Trials with these errors, equal root mean squares and no grain where none are given."""
    rest = {"rms": error, "grain": np.ones(np.shape(error)), "num_samples": 8} | tables
    return Trials(recipes, calls, error, **rest)


# --------------------------------------------------------------------------------------------------- which is followed


@given(
    powers=st.lists(st.floats(0.5, 4.0), min_size=2, max_size=4, unique=True),
    sizes=st.lists(st.floats(0.1, 10.0), min_size=4, max_size=4),
    steps=st.integers(4, 20),
)
def test_errors_that_are_powers_of_the_number_of_calls_are_known_between(powers, sizes, steps):
    """c N^-p: the recipe of least error at any N, though only 4, 9 and 20 were tried."""
    pairs = list(zip(sizes, powers, strict=False))
    recipes = tuple(Method(timestep_spacing="power_t", grid_exponent=1.0 + k) for k in range(len(pairs)))

    def errors(n: Any) -> np.ndarray:
        return np.array([c * np.asarray(n, dtype=float) ** -p for c, p in pairs])

    one = trials(errors((4, 9, 20)), recipes, (4, 9, 20))
    least = errors(steps)
    followed = least[recipes.index(one.best(steps))]
    assert followed == pytest.approx(least.min(), rel=1e-9)
    assert one.ranking(steps)[0][1] == pytest.approx(least.min(), rel=1e-9)
    assert [error for _, error in one.ranking(steps)] == pytest.approx(sorted(least), rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, NOISE), (4, NOISE), (8, NOISE), (9, DATA), (20, DATA), (900, DATA)]
)
def test_the_nearest_number_decides_beyond_those_that_were_tried(steps, expected):
    assert trials([[1.0, 0.5], [2.0, 0.25]]).best(steps) == expected  # equal where N = 4 * 5^(1/2)


def test_the_scale_of_samples_does_not_matter():
    table = np.random.default_rng(0).uniform(0.1, 1.0, (len(MENU), 5))
    for n in range(3, 30):
        followed = {trials(scale * table, MENU, (4, 6, 8, 12, 20)).best(n) for scale in (1e-3, 1.0, 1e4)}
        assert len(followed) == 1


@pytest.mark.parametrize(("grain", "expected"), [(1.0, NOISE), (MOST_GRAIN, NOISE), (1.2, DATA), (5.0, DATA)])
def test_grain_is_weighed_from_where_it_is_seen(grain, expected):
    one = trials([[0.9], [1.0]], calls=(5,), grain=[[grain], [0.2]])
    assert one.best(5) == expected


def test_a_few_lost_samples_count():
    assert trials([[0.9], [1.0]], calls=(5,), rms=[[1.0], [1.05]]).best(5) == NOISE
    assert trials([[0.9], [1.0]], calls=(5,), rms=[[9.0], [1.05]]).best(5) == DATA


def test_a_free_correction_of_noise_has_to_be_clearly_better():
    free, limited = Method("noise", 2, 4, None, "power_t", 1.0), NOISE
    for share, expected in ((0.9, free), (0.94, free), (0.96, limited), (1.1, limited)):
        assert trials([[share], [1.0]], (free, limited), calls=(5,)).best(5) == expected
    assert trials([[0.96], [1.0]], (free, limited), calls=(5,)).ranking(5)[1] == (free, pytest.approx(0.96))
    for other in (Method("noise", 2, 0, None), DATA):  # without a corrector, or of data, there is nothing to limit
        assert trials([[0.99], [1.0]], (other, limited), calls=(5,)).best(5) == other


def test_what_was_lost_is_never_followed():
    for steps in (4, 7, 20):
        assert trials([[LOST, LOST], [1e3, 1e3]], grain=[[LOST, LOST], [50.0, 50.0]]).best(steps) == DATA
    assert trials([[0.1, LOST], [1.0, 1.0]]).best(5) == DATA  # lost at 20 makes 5 suspect, too


def test_one_kind_of_grid_can_be_asked_for():
    both = trials([[1.0, 1.0], [0.5, 0.5], [0.1, 0.1]], (NOISE, DATA, LEARNED))
    assert (both.best(8), both.best(8, learned=False), both.best(8, learned=True)) == (LEARNED, DATA, LEARNED)
    assert trials([[1.0, 1.0], [0.5, 0.5]]).best(8, learned=True) is None
    assert trials([[1.0, 1.0]], (LEARNED,)).best(8, learned=False) is None


def test_of_equals_the_first():
    assert trials(np.ones((2, 2))).best(8) == NOISE
    assert trials(np.ones((2, 2)), (DATA, NOISE)).best(8) == DATA


# ------------------------------------------------------------------------------------------------------------ a recipe


@pytest.mark.parametrize("recipe", [*MENU, Method(), Method(start_time=0.5, timestep_spacing="karras")], ids=str)
def test_a_recipe_comes_back_from_its_dict(recipe):
    assert Method.from_dict(recipe.as_dict()) == recipe
    assert Method.from_dict(Method().as_dict()) == Method() and Method().as_dict() == {}


def test_every_option_that_recipes_decide_is_told():
    """So that neither the trial nor a later run depends on what the scheduler's config says of any of them."""
    assert set(options_of(Method(), None)) == set(RECIPE_OPTIONS) - {"solver_order", "lower_order_final"}  # of names


def test_recipes_on_the_menu_differ_and_have_names():
    assert len(set(MENU)) == len({str(recipe) for recipe in MENU}) == len(MENU)
    assert str(NOISE) == "noise 2+4, gain 0.375, power_t 1" and str(LEARNED) == "noise 2+4, learned"
    assert str(Method(start_time=0.5, timestep_spacing="karras", final_sigmas_type="sigma_min")) == (
        "noise 2+0, karras from 0.5 to sigma_min"
    )


# ------------------------------------------------------------------------------------------------------------- a value


def test_trials_are_a_value():
    table = np.array([[1.0, 0.5], [2.0, 0.25]])
    one = trials(table)
    table[0, 0] = 7.0
    assert one.error[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        one.error[0, 0] = 7.0
    assert one == trials([[1.0, 0.5], [2.0, 0.25]]) and one != trials([[1.0, 0.5], [2.0, 0.3]]) and one != 3
    assert hash(one) == hash(trials([[1.0, 0.5], [2.0, 0.25]]))
    for again in (copy.deepcopy(one), pickle.loads(pickle.dumps(one)), copy.copy(one)):
        assert again == one and not again.error.flags.writeable


def test_a_record_holds_them():
    record, one = tiny_record(), trials([[1.0, 0.5], [2.0, 0.25]])
    tried = record.with_trials(one)
    assert tried.trials == one and record.trials is None and tried != record
    assert tried.with_trials(None) == record
    assert pickle.loads(pickle.dumps(tried)) == copy.deepcopy(tried) == tried
    assert tried.with_origin(seed=3).trials == one
    with pytest.raises(StatisticsError, match="must be Trials or None, got dict"):
        record.with_trials({})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"recipes": ()}, "at least one Method"),
        ({"recipes": (NOISE, "data")}, "at least one Method"),
        ({"calls": ()}, "rising whole numbers"),
        ({"calls": (20, 4)}, "rising whole numbers"),
        ({"calls": (4, 4)}, "rising whole numbers"),
        ({"error": np.ones((3, 2))}, r"each recipe and number of calls, \(2, 2\), got \(3, 2\)"),
        ({"error": [[1.0, np.nan], [1.0, 1.0]]}, "`error` of trials must be finite"),
        ({"error": [[1.0, 0.0], [1.0, 1.0]]}, "`error` of trials must be positive"),
        ({"rms": [[1.0, 0.9], [1.0, 1.0]]}, "`rms` of trials must be at least `error`"),
        ({"grain": [[1.0, -0.1], [1.0, 1.0]]}, "`grain` of trials must be finite and not negative"),
        ({"num_samples": 0}, "whole number above zero"),
    ],
    ids=str,
)
def test_what_makes_no_trials_is_refused(change, rule):
    sound = {"recipes": (NOISE, DATA), "calls": (4, 20), "num_samples": 8}
    sound |= {name: np.ones((2, 2)) for name in ("error", "rms", "grain")}
    with pytest.raises(StatisticsError, match=rule):
        Trials(**(sound | change))


# ---------------------------------------------------------------------------------------------------------------- text


def test_inspect_tells_for_each_number_of_calls_what_is_followed_and_the_second_best():
    text = (
        gaussian_record().with_trials(trials([[1.0, 0.5], [2.0, 0.25], [4.0, 0.1]], (NOISE, DATA, LEARNED))).inspect()
    )
    lines = [" ".join(line.split()) for line in text.splitlines() if "best in" in line]
    assert lines == [
        "best in 4 calls noise 2+4, gain 0.375, power_t 1, error 1; second data 2+2, power_t 2, error 2",
        "best in 20 calls noise 2+4, learned, error 0.1; second data 2+2, power_t 2, error 0.25",
    ]
    assert "best in" not in gaussian_record().inspect()
    alone = gaussian_record().with_trials(trials([[0.5]], (LEARNED,), (6,))).inspect()
    assert "noise 2+4, learned, error 0.5\n" in alone


@pytest.mark.parametrize("share", [-0.1, 1.1, "half", None, True])
def test_a_share_is_a_share(share):
    with pytest.raises(StatisticsError, match="`share`"):
        Method(share=share)
    assert Method.from_dict(Method("data", share=0.5).as_dict()) == Method("data", share=0.5)
    assert "share 0.5" in str(Method("data", share=0.5)) and "share" not in str(Method("data"))
