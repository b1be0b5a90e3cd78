"""Recipes of a model in its schedulers: when they are followed, when not, and that nothing else is left behind."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.collect.trying import MENU
from diffusers_deis_sn.core.codec import decode
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Beta, Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.learn.defaults import unmeasured
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.schedulers import _options_to_recipe
from diffusers_deis_sn.schedulers._own_config import OF_GRIDS, RECIPE_OPTIONS, configured, default_options
from diffusers_deis_sn.statistics.trials import Method
from oracles import spaced_levels
from records import costed_record, edm_record, with_trials
from tiny_pipelines.studio import Studio

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

OURS = [DEISSNScheduler, ScoreOptimalScheduler]
BOTH = pytest.mark.parametrize("ours", OURS)
FEW = Method("noise", 3, 2, 0.5, "power_t", 1.5)
MANY = Method("data", 3, 3, None, "power_t", 2.0)
LEARNED_FEW = Method("data", 2, 2, None, "learned")
LEARNED_MANY = Method("noise", 3, 4, 1.5, "learned", start_time=0.97)
RECIPES = {DEISSNScheduler: (FEW, MANY), ScoreOptimalScheduler: (LEARNED_FEW, LEARNED_MANY)}
SD = vp_schedule(**SD_BETAS)


# The first of each kind is better up to seven calls, the second from nine on: they meet at the geometric mean of 4, 16.
STATS = with_trials(
    costed_record(SD), FEW, MANY, LEARNED_FEW, LEARNED_MANY, error=[[1.0, 4.0], [4.0, 1.0], [1.0, 4.0], [4.0, 1.0]]
)


def tried(ours: type, **options: Any) -> Any:
    return ours(**SD_BETAS, stats=STATS, **options)


def by_hand(ours: type, recipe: Method, **options: Any) -> Any:
    """A scheduler that has the options of a recipe in its config."""
    options = {"stats": STATS} | options
    given = _options_to_recipe.options_of(recipe, options["stats"])
    if ours is ScoreOptimalScheduler:  # named grids are none of its options
        given = {name: value for name, value in given.items() if name not in OF_GRIDS}
    return ours(**SD_BETAS, **given | options, recipe="fixed")


def run_by_hand(ours: type, recipe: Method, steps: int, **options: Any) -> Tensor:
    """What such a scheduler makes, at distinct whole times: some networks know no others."""
    scheduler = by_hand(ours, recipe, **options)
    scheduler.set_timesteps(steps)
    levels = SD.whole(np.array(scheduler._plan.levels))
    return run(scheduler, None, timesteps=np.round(SD.time(levels[:-1])))


def options_of(scheduler: Any) -> dict[str, Any]:
    """Those of the config, whatever is followed; grid and solver as values."""
    said = configured(scheduler.config, type(scheduler))
    grid, solver = decode(said["grid"]), decode(said["solver"])
    return said | {"grid": scheduler.default_grid if grid is None else grid, "solver": solver}


def recipe_of(scheduler: Any, steps: int = 4) -> Method | None:
    scheduler.set_timesteps(steps)
    return scheduler.method


def run(scheduler: Any, steps: int | None = 6, **given: Any) -> Tensor:
    scheduler.set_timesteps(steps, **given)
    x = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3.0 * x + float(t) / 500.0), t, x, return_dict=False)[0]
    return x


# ----------------------------------------------------------------------------------------------------- what is followed


@pytest.mark.parametrize(("steps", "place"), [(1, 0), (4, 0), (7, 0), (9, 1), (16, 1), (60, 1)])
@BOTH
def test_the_recipe_is_the_best_for_the_number_of_steps(ours, steps, place):
    scheduler, expected = tried(ours), RECIPES[ours][place]
    assert scheduler.method is None and scheduler.options == ours(**SD_BETAS).options  # before a run
    assert recipe_of(scheduler, steps) == expected == STATS.trials.best(steps, learned=ours is ScoreOptimalScheduler)
    assert scheduler.options == options_of(scheduler) | _options_to_recipe.options_of(expected, STATS)


@pytest.mark.parametrize("recipe", MENU, ids=str)
def test_a_run_that_follows_a_recipe_is_one_with_its_options(recipe):
    ours = ScoreOptimalScheduler if recipe.learned else DEISSNScheduler
    stats = with_trials(costed_record(SD), recipe)
    scheduler = ours(**SD_BETAS, stats=stats)
    for steps in (3, 8, 31):
        assert torch.equal(run(scheduler, steps), run_by_hand(ours, recipe, steps, stats=stats))
        assert scheduler.method == recipe and np.all(scheduler.timesteps.numpy() % 1.0 == 0.0)


def test_each_scheduler_takes_the_kinds_of_recipe_it_can():
    """`DEISSNScheduler` either kind; a grid with a name is none that is learned."""
    for recipes, named, learned in (((FEW,), FEW, None), ((LEARNED_FEW,), LEARNED_FEW, LEARNED_FEW)):
        stats = with_trials(costed_record(SD), *recipes)
        assert recipe_of(DEISSNScheduler(**SD_BETAS, stats=stats)) == named
        assert recipe_of(ScoreOptimalScheduler(**SD_BETAS, stats=stats)) == learned


@BOTH
def test_nothing_is_corrected_in_fewer_calls_than_the_guidance_asks_for(ours):
    for guidance, most in ((1.0, 3), (3.0, 11), (7.5, 29), (None, 11)):
        scheduler = ours(**SD_BETAS, guidance_scale=guidance)
        for steps, corrector, exponent in ((most, 0, 1.5), (most + 1, 2, 2.0)):
            found = recipe_of(scheduler, steps)
            end = "sigma_min" if steps <= 10 else "zero"
            assert found == unmeasured(steps, guidance)
            assert found == Method("data", 2, corrector, None, "power_t", exponent, final_sigmas_type=end)
        assert guidance == 1.0 or recipe_of(scheduler, 4).share < 1.0


@BOTH
def test_with_statistics_but_no_trials_there_is_nothing_to_follow(ours):
    scheduler = ours(**SD_BETAS, stats=costed_record(SD), recipe="measured")
    assert recipe_of(scheduler) is None and scheduler.options == ours(**SD_BETAS, recipe="measured").options


@BOTH
def test_without_statistics_what_is_safest_is_followed(ours):
    scheduler = ours(**SD_BETAS)
    for steps, exponent, end in ((6, 1.5, "sigma_min"), (7, 1.5, "sigma_min"), (14, 2.0, "zero")):
        recipe = recipe_of(scheduler, steps)
        assert recipe == unmeasured(steps) and (recipe.grid_exponent, recipe.final_sigmas_type) == (exponent, end)
        options = _options_to_recipe.options_of(recipe, None)
        times = SD.time(SD.whole(spaced_levels(SD, steps, "power_t", end, exponent=exponent))[:-1]).round()
        by_options = DEISSNScheduler(**SD_BETAS, **options, recipe="fixed")
        assert torch.equal(run(scheduler, steps), run(by_options, None, timesteps=times))
        assert (scheduler.sigmas[-1] > 0.0) == (end == "sigma_min")
    assert not scheduler.normalised
    for choice in ({"recipe": "fixed"}, {"solver_order": 3}):
        assert recipe_of(ours(**SD_BETAS, **choice)) is None


def test_without_statistics_no_correction_is_passed_on():
    """In directions of pure noise predicted data do not move with the sample, so that no step enlarges an error."""
    for steps in (4, 5, 6, 8, 20):
        scheduler = DEISSNScheduler(**SD_BETAS)
        scheduler.set_timesteps(steps)
        table = scheduler._plan.table
        assert scheduler._plan.integrand == "data" and np.all(np.abs(table.transfer) <= 1.0 + 1e-12)


def test_a_learned_recipe_needs_costs_of_the_whole_process():
    stats = with_trials(costed_record(SD), LEARNED_FEW, FEW, error=[[0.1, 0.1], [1.0, 1.0]])
    assert recipe_of(DEISSNScheduler(**SD_BETAS, stats=stats)) == LEARNED_FEW
    assert recipe_of(DEISSNScheduler(**SD_BETAS, stats=replace(stats, costs={}))) == FEW


def test_a_learned_recipe_gives_both_schedulers_the_same_run():
    stats = with_trials(costed_record(SD), replace(LEARNED_FEW, spread=0.25))
    assert torch.equal(*(run(ours(**SD_BETAS, stats=stats), 6) for ours in (DEISSNScheduler, ScoreOptimalScheduler)))


@pytest.mark.parametrize("process", ["edm", "flow"])
def test_models_of_other_processes_follow_theirs(process):
    if process == "edm":
        original, stats = diffusers.EDMEulerScheduler(), with_trials(edm_record(), FEW, LEARNED_FEW)
        stats = replace(stats, mean_abs_data=stats.mean_abs, mean_abs_data_error=None)
    else:
        original, stats = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), flow_statistics(FEW, LEARNED_FEW)
    for ours, expected in ((DEISSNScheduler, FEW), (ScoreOptimalScheduler, LEARNED_FEW)):
        scheduler = ours.from_config(original.config, stats=stats)
        assert recipe_of(scheduler, 6) == expected
        assert len(scheduler.timesteps) == 6 and np.all(np.isfinite(run(scheduler).numpy()))


# ---------------------------------------------------------------------------------------------- what turns them off, on

CHOICES: list[tuple[str, Any]] = [
    ("solver", "ipndm"),
    ("solver", Multistep()),
    ("solver", Multistep(variable="rho")),
    ("solver", Multistep(of="data")),
    ("solver", Multistep(corrector=Corrector(1))),
    ("solver", Multistep(corrector=Corrector(4, 0.25))),
    ("grid", Power("t", 3.0)),
    ("grid", Power("sigma", 7.0)),
    ("grid", EqualCost("predictor")),
    ("grid", EqualCost(velocity="unit")),
    ("grid", EqualCost(spread=0.5)),
    ("solver_order", 3),
    ("lower_order_final", False),
    ("timestep_spacing", "leading"),
    ("start_time", 0.9),
    ("end_time", 1e-3),
    ("final_sigmas_type", "sigma_min"),
    ("use_karras_sigmas", True),
    ("use_exponential_sigmas", True),
    ("use_beta_sigmas", True),
    ("normalise", False),
]
NEEDS_A_GRID = {name: {"grid": Power("t", 2.0)} for name in ("start_time", "end_time")}


def test_there_is_a_choice_of_every_option_of_recipes():
    assert {name for name, _ in CHOICES} == set(RECIPE_OPTIONS)


@pytest.mark.parametrize(("name", "value"), CHOICES, ids=str)
@BOTH
def test_an_option_that_is_chosen_turns_recipes_off(ours, name, value):
    if ours is ScoreOptimalScheduler and name in OF_GRIDS:
        pytest.skip("an option of the other scheduler")
    needs = NEEDS_A_GRID.get(name, {}) if ours is DEISSNScheduler else {}
    choice, defaults = {name: value} | needs, default_options(ours)
    config = ours(**SD_BETAS).config
    for scheduler in (tried(ours, **choice), ours.from_config(config, stats=STATS, **choice)):
        assert recipe_of(scheduler) is None and scheduler.options[name] == value
        assert recipe_of(ours.from_config(scheduler.config)) is None
    same = ours.from_config(config, stats=STATS, **{name: defaults[name]})
    assert recipe_of(same) is None and same.options == ours(**SD_BETAS, recipe="fixed").options
    again = ours.from_config(scheduler.config, recipe="measured")
    assert recipe_of(again) == RECIPES[ours][0]
    told = _options_to_recipe.options_of(RECIPES[ours][0], STATS)
    assert {one: again.options[one] for one in told} == told  # and not what the config says


@pytest.mark.parametrize(
    "options", [{"clip_normalizer_steps": 3}, {"guidance_scale": 4.0}, {"thresholding": True}, SD_BETAS], ids=str
)
@BOTH
def test_options_that_recipes_leave_alone_do_not(ours, options):
    scheduler = ours.from_config(ours(**SD_BETAS).config, stats=STATS, **options)
    assert recipe_of(scheduler) == RECIPES[ours][0]
    assert {name: scheduler.options[name] for name in options} == options


@BOTH
def test_the_option_decides_itself(ours):
    assert recipe_of(tried(ours, recipe="fixed")) is None
    assert recipe_of(tried(ours, recipe="measured", solver_order=3, lower_order_final=False)) == RECIPES[ours][0]
    assert recipe_of(ours.from_config(tried(ours, recipe="fixed").config, recipe="measured")) == RECIPES[ours][0]
    assert recipe_of(ours.from_config(tried(ours).config, recipe="fixed")) is None
    assert recipe_of(ours.from_config(tried(ours, recipe="fixed").config, recipe=None)) == RECIPES[ours][0]
    with pytest.raises(ConfigurationError, match="`recipe` must be one of measured, fixed or None, got 'best'"):
        tried(ours, recipe="best")
    for own in ({"solver": Multistep()}, {"grid": Beta()}):
        with pytest.raises(ConfigurationError, match="recipe='measured' follows methods that were tried"):
            tried(ours, recipe="measured", **own)


FOREIGN: dict[str, Any] = {
    "DPM++ Karras": DPMSolverMultistepScheduler(**SD_BETAS, use_karras_sigmas=True, solver_order=3),
    "DPM++ to sigma_min": DPMSolverMultistepScheduler(**SD_BETAS, final_sigmas_type="sigma_min", solver_order=1),
    "without lower orders": DPMSolverMultistepScheduler(**SD_BETAS, lower_order_final=False),
    "leading": DDIMScheduler(**SD_BETAS, timestep_spacing="leading", steps_offset=1, set_alpha_to_one=False),
    "linspace": EulerDiscreteScheduler(**SD_BETAS, timestep_spacing="linspace", use_exponential_sigmas=True),
    "PNDM": PNDMScheduler(**SD_BETAS, skip_prk_steps=True, steps_offset=1),
    "UniPC": diffusers.UniPCMultistepScheduler(**SD_BETAS, solver_order=3, use_beta_sigmas=True),
}


@pytest.mark.parametrize("theirs", FOREIGN.values(), ids=FOREIGN.keys())
@BOTH
def test_what_another_class_had_chosen_is_no_choice(ours, theirs, tmp_path):
    """And none of it leaks into the run: it is that of the scheduler which has the recipe's options."""
    theirs.save_config(tmp_path)
    for config in (theirs.config, theirs.load_config(tmp_path)):
        scheduler = ours.from_config(config, stats=STATS)
        for steps, recipe in zip((5, 12), RECIPES[ours], strict=True):
            assert torch.equal(run(scheduler, steps), run_by_hand(ours, recipe, steps))
            assert scheduler.method == recipe
        assert recipe_of(ours.from_config(config, stats=STATS, solver_order=2)) is None


def test_karras_of_edm_is_no_choice():
    stats = replace(edm_record(), mean_abs_data=edm_record().mean_abs)
    original = diffusers.EDMDPMSolverMultistepScheduler(solver_order=3)
    assert recipe_of(DEISSNScheduler.from_config(original.config, stats=with_trials(stats, FEW))) == FEW
    fixed = DEISSNScheduler.from_config(original.config, stats=with_trials(stats, FEW), recipe="fixed")
    assert recipe_of(fixed) is None and fixed.options["grid"] == Power("sigma", 7.0)


@pytest.mark.parametrize(
    ("guidance", "measured", "followed"),
    [
        (None, 4.0, True),
        (1.0, 4.0, True),
        (5.0, 4.0, True),
        (5.01, 4.0, False),
        (0.0, 1.0, True),
        (7.5, 1.0, False),
        (1.3, None, True),  # nobody knows
        (7.5, None, True),
    ],
)
@BOTH
def test_far_more_guidance_than_they_were_tried_with_turns_them_off(ours, guidance, measured, followed):
    stats = STATS.with_origin(guidance_scale=measured)
    scheduler = ours(**SD_BETAS, stats=stats, guidance_scale=guidance)
    assert recipe_of(scheduler) == (RECIPES[ours][0] if followed else None)


@pytest.mark.parametrize(
    ("guidance", "measured", "expected"),
    [(None, None, 0.1), (None, 3.0, 0.25), (None, 1.0, 0.375), (1.0, 3.0, 0.375), (0.0, 3.0, 0.375), (6.0, 3.0, 0.125)],
)
@BOTH
def test_the_limit_on_the_gain_is_divided_by_the_guidance_and_by_two_at_least(ours, guidance, measured, expected):
    plain = costed_record(SD).with_origin(guidance_scale=measured)
    scheduler = ours(**SD_BETAS, stats=plain, guidance_scale=guidance)
    assert scheduler.recipe.solver.corrector.gain == pytest.approx(expected)
    own = Multistep(corrector=Corrector(4, gain=1.5))  # which says its limit itself
    assert ours(**SD_BETAS, stats=plain, solver=own, guidance_scale=guidance).recipe.solver.corrector.gain == 1.5


def test_the_limit_of_a_recipe_is_divided_likewise():
    for guidance in (None, 2.0, 5.0):  # by that with which it was tried
        scheduler = tried(DEISSNScheduler, guidance_scale=guidance)
        assert recipe_of(scheduler) == FEW and scheduler.recipe.solver.corrector.gain == FEW.corrector_gain / 4.0
    stats = STATS.with_origin(guidance_scale=1.0)
    unguided = DEISSNScheduler(**SD_BETAS, stats=stats)
    assert recipe_of(unguided) == FEW and unguided.recipe.solver.corrector.gain == FEW.corrector_gain / 2.0


# -------------------------------------------------------------------------------------------------- times by the caller


@pytest.mark.parametrize("given", [{"timesteps": [980, 700, 420, 90]}, {"sigmas": [12.0, 3.0, 0.8, 0.1]}], ids=str)
@BOTH
def test_runs_at_given_times_follow_the_options(ours, given):
    scheduler = tried(ours)
    assert recipe_of(scheduler) == RECIPES[ours][0]
    assert torch.equal(run(scheduler, None, **given), run(tried(ours, recipe="fixed"), None, **given))
    assert scheduler.method is None and scheduler.options == options_of(scheduler)
    assert torch.equal(run(scheduler, 4), run(tried(ours), 4)) and scheduler.method == RECIPES[ours][0]


# ----------------------------------------------------------------------------------------------------- refused requests

REFUSED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no step": {"num_inference_steps": 0},
    "half a step": {"num_inference_steps": 7.5},
    "too many": {"num_inference_steps": 5000},
    "not a number": {"num_inference_steps": float("nan")},
    "infinitely many": {"num_inference_steps": float("inf")},
    "a text": {"num_inference_steps": "12"},
    "a bool": {"num_inference_steps": True},
    "a shift of flows": {"num_inference_steps": 12, "mu": 1.0},
    "times and sigmas": {"timesteps": [900, 100], "sigmas": [10.0, 1.0]},
    "rising times": {"timesteps": [100, 900]},
    "times out of range": {"timesteps": [2000, 900]},
    "rising sigmas": {"sigmas": [1.0, 10.0]},
    "sigmas out of range": {"sigmas": [1e9, 1.0]},
    "no sigmas": {"sigmas": []},
    "sigmas that are texts": {"sigmas": ["high", "low"]},
    "no such device": {"num_inference_steps": 12, "device": "fpga"},
    "given times on no such device": {"timesteps": [900, 100], "device": "fpga"},
}
STATE = ("recipe", "method", "options", "num_inference_steps", "order", "step_index", "begin_index", "init_noise_sigma")


def state(scheduler: Any) -> tuple[Any, ...]:
    """All that a run is planned by; the objects themselves, for a plan is frozen."""
    plan = (id(scheduler._plan), id(scheduler.timesteps), id(scheduler.sigmas), id(scheduler._cursor.grid))
    return (*(getattr(scheduler, name) for name in STATE), plan, id(scheduler._run))


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
@BOTH
def test_a_refused_request_changes_nothing(ours, request_):
    scheduler = tried(ours)
    scheduler.set_timesteps(5)
    scheduler.set_begin_index(2)
    before = state(scheduler)
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        scheduler.set_timesteps(**request_)
    assert state(scheduler) == before


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("given", [{"num_inference_steps": 5}, {"timesteps": [900, 600, 300, 150, 50]}], ids=str)
@BOTH
def test_a_run_goes_on_after_a_refused_request(ours, given, request_):
    scheduler, ends = tried(ours), []
    for number in (0, 1):
        scheduler.set_timesteps(**given)
        x = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
        for n, t in enumerate(scheduler.timesteps):
            if number and n == 2:
                with pytest.raises((ValueError, TypeError, RuntimeError)):
                    scheduler.set_timesteps(**request_)
            x = scheduler.step(torch.sin(3.0 * x), t, x).prev_sample
        ends.append(x)
    assert torch.equal(*ends)


def wrong_option(scheduler: Any) -> None:
    scheduler.register_to_config(solver="magic")


def wrong_betas(scheduler: Any) -> None:
    scheduler.register_to_config(beta_end=0.5)


def no_data_scale(scheduler: Any) -> None:
    """As of statistics that were put together by hand: the recipe is of the data form, and its scale is not there."""
    scheduler.statistics = replace(STATS, mean_abs_data=None, mean_abs_data_error=None)


@pytest.mark.parametrize("spoil", [wrong_option, wrong_betas, no_data_scale])
@BOTH
def test_so_does_one_that_is_refused_for_what_became_of_the_scheduler(ours, spoil):
    scheduler, steps = tried(ours), 4 if ours is ScoreOptimalScheduler else 12  # those of a recipe of the data form
    scheduler.set_timesteps(8)
    plan, recipe = scheduler._plan, scheduler.method
    spoil(scheduler)
    with pytest.raises(ValueError):
        scheduler.set_timesteps(steps)
    assert scheduler._plan is plan and scheduler.method == recipe


def test_a_flow_without_its_shift_is_refused_likewise():
    scheduler = DEISSNScheduler(**FLOW, use_dynamic_shifting=True, stats=flow_statistics(FEW))
    scheduler.set_timesteps(5, mu=1.0)
    before = state(scheduler)
    for wrong in ({"num_inference_steps": 9}, {"num_inference_steps": 9, "mu": float("nan")}):
        with pytest.raises(ValueError):
            scheduler.set_timesteps(**wrong)
        assert state(scheduler) == before and scheduler.method == FEW


# ----------------------------------------------------------------------------------------------------- other statistics


@BOTH
def test_other_statistics_end_what_those_before_began(ours):
    scheduler = tried(ours)
    assert recipe_of(scheduler, 12 if ours is DEISSNScheduler else 4).integrand == "data"
    poorer = replace(costed_record(SD), mean_abs_data=None, mean_abs_data_error=None)
    scheduler.set_stats(poorer)  # which the noise form of the options can do with
    assert scheduler.method is None and scheduler.options == options_of(scheduler)
    assert torch.equal(run(scheduler), run(ours(**SD_BETAS, stats=poorer)))
    scheduler.set_stats(STATS)
    assert recipe_of(scheduler) == RECIPES[ours][0]
    with pytest.raises(ValueError, match="another noise schedule"):
        scheduler.set_stats(costed_record(vp_schedule()))
    assert scheduler.method == RECIPES[ours][0] and scheduler.statistics == STATS
    scheduler.set_stats(None)
    assert recipe_of(scheduler) == unmeasured(4)


# ----------------------------------------------------------------------------------------------------- life of a config


def swapped(scheduler: Any, _: Any) -> Any:
    return type(scheduler).from_config(EulerDiscreteScheduler.from_config(scheduler.config).config)


def saved(scheduler: Any, folder: Any) -> Any:
    scheduler.save_pretrained(folder)
    return type(scheduler).from_pretrained(folder)


LIVES: dict[str, Callable[[Any, Any], Any]] = {
    "saved": saved,
    "swapped": swapped,
    "swapped twice": lambda one, folder: swapped(swapped(one, folder), folder),
    "the other of ours": lambda one, _: type(one).from_config(
        (ScoreOptimalScheduler if type(one) is DEISSNScheduler else DEISSNScheduler).from_config(one.config).config
    ),
    "its own config": lambda one, _: type(one).from_config(one.config),
    "deepcopy": lambda one, _: copy.deepcopy(one),
    "pickle": lambda one, _: pickle.loads(pickle.dumps(one)),
}
FIRST: dict[str, Callable[[type], Any]] = {
    "default": lambda ours: tried(ours),
    "chosen": lambda ours: tried(ours, solver_order=3),
    "a solver": lambda ours: tried(ours, solver=Multistep(3, corrector=Corrector(4, 0.125))),
    "a grid": lambda ours: tried(ours, grid=EqualCost(velocity="unit", spread=0.5)),
    "fixed": lambda ours: tried(ours, recipe="fixed"),
    "measured": lambda ours: tried(ours, recipe="measured", solver_order=1),
    "of DPM++": lambda ours: ours.from_config(FOREIGN["DPM++ Karras"].config, stats=STATS),
    "of leading times": lambda ours: ours.from_config(FOREIGN["leading"].config, stats=STATS),
    "a default that was chosen": lambda ours: ours.from_config(FOREIGN["PNDM"].config, stats=STATS, solver_order=2),
}


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES.keys())
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST.keys())
@BOTH
def test_the_choice_survives(ours, first, life, tmp_path):
    scheduler = first(ours)
    expected = run(scheduler, 5), run(scheduler, 12)
    again = life(scheduler, tmp_path)
    assert torch.equal(run(again, 5), expected[0]) and torch.equal(run(again, 12), expected[1])
    assert again.method == scheduler.method and again.options == scheduler.options


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver_order": 3},
        {"solver": Multistep(3)},
        {"grid": Power("t", 1.5)},
        {"recipe": "fixed"},
        {"recipe": "measured"},
    ],
    ids=str,
)
@BOTH
def test_so_it_does_where_copies_are_made_by_hand(ours, options):
    """`Scheduler(**scheduler.config)`, as some code makes them."""
    scheduler = tried(ours, **options)
    again = ours(**scheduler.config)
    assert torch.equal(run(again, 5), run(scheduler, 5)) and again.method == scheduler.method


@BOTH
def test_a_copy_in_the_middle_of_a_run_goes_on_by_its_recipe(ours):
    scheduler = tried(ours)
    scheduler.set_timesteps(5)
    x = torch.linspace(-1.0, 1.0, 12).reshape(1, 3, 4)
    for t in scheduler.timesteps[:2]:
        x = scheduler.step(torch.sin(3.0 * x), t, x).prev_sample
    again, ends = pickle.loads(pickle.dumps(scheduler)), []
    assert again.method == scheduler.method and again.options == scheduler.options
    for one in (scheduler, again):
        y = x
        for t in one.timesteps[2:]:
            y = one.step(torch.sin(3.0 * y), t, y).prev_sample
        ends.append(y)
    assert torch.equal(*ends)


# ------------------------------------------------------------------------------------------------------- image to image

MOST = 12.0  # guidance of any of these pipelines by default, and more


@cache
def room(name: str) -> Studio:
    return Studio(name)


@pytest.mark.parametrize("name", ["sd3_img2img", "flux_img2img"])
def test_flow_pipelines_likewise(name):
    studio, stats = room(name), flow_statistics(MANY)
    recipe, fixed = (
        DEISSNScheduler.from_config(studio.config, stats=stats, recipe=kind) for kind in ("measured", "fixed")
    )
    for steps, strength in ((5, 0.6), (10, 0.3)):
        assert torch.equal(studio.run(recipe, steps, strength=strength), studio.run(fixed, steps, strength=strength))
        assert recipe.method is None
    first = studio.run(recipe, 5, strength=1.0)
    assert recipe.method == MANY and not torch.equal(first, studio.run(fixed, 5, strength=1.0))


# ---------------------------------------------------------------------------------------------------------------- flows

FLOW: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def flow_statistics(*recipes: Method) -> ScoreStatistics:
    noise = FlowSchedule()
    record = costed_record(noise, times=np.concatenate([np.linspace(4.0, 990.0, 100), [995.0, 999.0, 1000.0]]))
    record = record.with_origin(prediction_type="flow_prediction", fingerprint=noise.fingerprint, guidance_scale=12.0)
    return with_trials(record, *recipes, guidance=MOST) if recipes else record


def equal_steps(number: int) -> list[float]:
    """What many pipelines of flow models always pass."""
    return np.linspace(1.0, 1.0 / number, number).tolist()


@pytest.mark.parametrize(
    "options", [{}, {"use_karras_sigmas": True}, {"flow_shift": 3.0}, {"grid": Power("t", 2.0)}], ids=str
)
@pytest.mark.parametrize("form", [list, np.array, torch.tensor, lambda one: np.array(one, dtype=np.float32)])
def test_equal_steps_of_sigma_choose_nothing_but_their_number(options, form):
    one, other = (DEISSNScheduler(**FLOW, **options, stats=flow_statistics(FEW)) for _ in "ab")
    for number in (1, 2, 7):
        one.set_timesteps(sigmas=form(equal_steps(number)))
        other.set_timesteps(number)
        assert one._plan.levels == other._plan.levels and one.method == other.method
        assert len(one.timesteps) == number
        one.set_timesteps(40, sigmas=form(equal_steps(number)))
        assert one._plan.levels == other._plan.levels
    assert (one.method == FEW) == (not options or "flow_shift" in options)


def test_learned_times_serve_pipelines_that_always_pass_sigmas():
    scheduler = ScoreOptimalScheduler(**FLOW, stats=flow_statistics())
    scheduler.set_timesteps(6)
    levels = scheduler._plan.levels
    scheduler.set_timesteps(sigmas=equal_steps(6))
    assert scheduler._plan.levels == levels and scheduler._run.own_grid


@pytest.mark.parametrize(
    "sigmas", [[1.0, 0.75, 0.5, 0.2], [0.9, 0.6, 0.3], equal_steps(5)[1:], [*equal_steps(4), 0.0]], ids=str
)
@BOTH
def test_other_lists_are_used_exactly(ours, sigmas):
    scheduler = ours(**FLOW, stats=flow_statistics(FEW, LEARNED_FEW))
    scheduler.set_timesteps(sigmas=sigmas)
    assert scheduler.method is None
    assert scheduler.sigmas.tolist() == pytest.approx([one for one in sigmas if one] + [0.0], abs=1e-6)


def test_equal_numbers_are_a_choice_where_they_are_levels_of_noise():
    """sigma / alpha of models of betas, whose grid is nothing like that."""
    scheduler = tried(DEISSNScheduler)
    scheduler.set_timesteps(sigmas=equal_steps(4))
    assert scheduler.method is None and scheduler.sigmas.tolist() == pytest.approx([*equal_steps(4), 0.0], abs=1e-6)


@pytest.mark.parametrize("name", ["flux", "sd3", "sana"])
def test_grids_reach_the_networks_of_flow_pipelines(name):
    studio = room(name)
    ways = {
        "recipe": (DEISSNScheduler, {"stats": flow_statistics(FEW)}),
        "karras": (DEISSNScheduler, {"use_karras_sigmas": True}),
        "learned": (ScoreOptimalScheduler, {"stats": flow_statistics()}),
        "plain": (DEISSNScheduler, {"guidance_scale": 1.0}),
    }
    told = {}
    for way, (ours, options) in ways.items():
        scheduler = ours.from_config(studio.config, **options)
        studio.run(scheduler, 6)
        assert len(studio.times) == 6 and (scheduler.method == FEW) == (way == "recipe")
        scale = scheduler.timesteps[0].item() / studio.times[0]
        assert [scale * time for time in studio.times] == pytest.approx(scheduler.timesteps.tolist(), rel=1e-4)
        told[way] = tuple(studio.times)
    assert len(set(told.values())) == len(ways)
