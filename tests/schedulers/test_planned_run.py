"""What a run was planned from, and what of it ends with the statistics that it followed."""

from __future__ import annotations

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.statistics.trials import Method
from records import costed_record, with_trials

STATS = with_trials(costed_record(vp_schedule(**SD_BETAS)), Method("noise", 3, 2, 0.5, "power_t", 1.5))


def test_a_run_that_follows_a_method_follows_none_with_other_statistics():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=STATS)
    scheduler.set_timesteps(4)
    run = scheduler._run
    assert run.follows and run.own_grid
    left = run.of_other_statistics()
    assert not left.follows and not left.own_grid
    assert (left.plan, left.recipe, left.options) == (run.plan, run.recipe, run.options)
    assert left.of_other_statistics() is left


def test_a_run_by_the_options_has_nothing_to_lose():
    scheduler = DEISSNScheduler(**SD_BETAS, stats=STATS, recipe="fixed")
    scheduler.set_timesteps(4)
    assert not scheduler._run.follows and scheduler._run.of_other_statistics() is scheduler._run
