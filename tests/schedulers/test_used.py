"""What a scheduler says of itself is of its present run, and before the first of its options."""

from __future__ import annotations

import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.schedulers._used import Used
from diffusers_deis_sn.statistics.trials import Method
from records import costed_record, guided_family, with_trials
from toy_models import Pipe

OURS = [DEISSNScheduler, ScoreOptimalScheduler]
NOISE = vp_schedule(**SD_BETAS)
STATS = with_trials(costed_record(NOISE), Method("noise", 3, 2, 0.5, "power_t", 1.5))
FAMILY = guided_family(NOISE, (1.0, 3.0, 9.0))


def test_before_a_run_it_is_what_the_options_say_and_then_what_the_run_follows():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=STATS)
    before = Used(scheduler._planner, None)
    assert (before.options, before.spacing) == (scheduler._planner.options, "trailing")
    scheduler.set_timesteps(4)
    used = Used(scheduler._planner, scheduler._run)
    assert used.recipe is scheduler._run.recipe and used.options.solver == scheduler._run.options.solver
    assert (used.spacing, used.by_name["grid"]) == ("Power", Power("t", 1.5))
    assert used.by_name["num_train_timesteps"] == 1000  # which is of the config alone
    assert used.normaliser(STATS.timesteps) == pytest.approx(STATS.mean_abs)


def test_what_a_run_uses_can_be_printed():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=costed_record(NOISE), grid=Power("t", 2.0))
    scheduler.set_timesteps(6)
    told = str(scheduler.recipe)
    for part in ("Multistep(corrector=Corrector(order=4", "Power()", "epsilon", "vp, 1000 times", "divided by r(t)"):
        assert part in told
    assert len(told) < 300


@pytest.mark.parametrize("ours", OURS)
def test_what_a_scheduler_says_of_itself_is_of_the_present_run(ours):
    pipe = Pipe(guidance_scale=2.0)
    scheduler = ours.for_pipeline(pipe, stats=FAMILY, recipe="fixed")
    scheduler.set_timesteps(6)
    r = FAMILY.at(2.0)
    assert scheduler.normaliser(r.timesteps) == pytest.approx(r.mean_abs)
    assert scheduler.path.path_length == pytest.approx(ours.for_pipeline(pipe, stats=r).path.path_length)
