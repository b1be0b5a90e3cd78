"""What is said in the log of a run: once, and nothing where there is nothing to say."""

from __future__ import annotations

import logging

import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.following import GAIN, TRUSTED
from diffusers_deis_sn.schedulers._remarks import contradictions, other_size
from records import costed_record, guided_family
from toy_models import Pipe

OURS = [DEISSNScheduler, ScoreOptimalScheduler]
STATS = costed_record(vp_schedule(**SD_BETAS)).with_origin(guidance_scale=3.0)


def test_that_nothing_was_measured_is_said_once(caplog):
    scheduler = DEISSNScheduler(**SD_BETAS)
    with caplog.at_level(logging.INFO, "diffusers_deis_sn"):
        scheduler.set_timesteps(5)
        scheduler.set_timesteps(6)
    assert [record.getMessage() for record in caplog.records if "statistics" in record.getMessage()] == [
        "No score statistics given: a cautious recipe is used. Measure the model with `calibrate`."
    ]


def test_no_recipe_is_spoken_of_where_options_were_chosen(caplog):
    scheduler = DEISSNScheduler(**SD_BETAS, solver_order=3)
    with caplog.at_level(logging.INFO, "diffusers_deis_sn"):
        scheduler.set_timesteps(5)
    (said,) = [text for text in caplog.messages if "statistics" in text]
    assert "recipe" not in said and "calibrate" in said


def test_an_option_that_says_the_guidance_wins_and_is_told_where_it_is_wrong(caplog):
    pipe = Pipe(guidance_scale=3.0)
    scheduler = DEISSNScheduler.for_pipeline(pipe, stats=STATS, recipe="fixed", guidance_scale=2.5)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        for _ in range(2):
            scheduler.set_timesteps(6)
    assert scheduler.recipe.solver.corrector.gain == pytest.approx(GAIN / 2.5)
    assert sum("guidance_scale=2.5" in text and "3" in text for text in caplog.messages) == 1


@pytest.mark.parametrize("ours", OURS)
def test_statistics_of_less_guidance_are_told_once(ours, caplog):
    pipe = Pipe(guidance_scale=7.5)
    scheduler = ours.for_pipeline(pipe, stats=STATS)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        for steps in (6, 8):
            scheduler.set_timesteps(steps)
    told = [text for text in caplog.messages if "measured at guidance 3" in text]
    assert len(told) == 1 and "7.5" in told[0] and "deis-sn calibrate --guidance-scale 7.5" in told[0]


def test_guidance_is_at_odds_with_the_option_or_beyond_the_statistics():
    assert contradictions(None, None, STATS) == contradictions(None, 7.5, None) == contradictions(3.0, 3.0, STATS) == []
    (wrong,) = contradictions(2.0, 3.0, None)
    assert "guidance_scale=2" in wrong and "Leave it out" in wrong
    assert contradictions(None, 3.0 * TRUSTED, STATS) == []
    (beyond,) = contradictions(None, 3.0 * TRUSTED + 0.1, STATS)
    assert "measured at guidance 3" in beyond
    family = guided_family(vp_schedule(**SD_BETAS), (2.0, 9.0))
    for used, nearest in ((1.0, 2), (10.0, 9)):
        (outside,) = contradictions(None, used, family)
        assert "guidance 2 to 9" in outside and f"those of {nearest} are used, as they are" in outside


def test_without_plans_no_size_is_another():
    assert other_size(None, (4, 8, 8)) is other_size(STATS, (4, 8, 8)) is None


def test_a_run_that_would_fail_on_normal_data_says_so_once(caplog):
    wild = {"solver": Multistep(3, "rho", corrector=Corrector(4)), "use_karras_sigmas": True}
    for options, words in ((wild, "Corrector(3, gain=0.375)"), ({"use_beta_sigmas": True}, "'trailing'"), ({}, None)):
        scheduler = DEISSNScheduler(**SD_BETAS, rescale_betas_zero_snr=True, stats=False, **options)
        caplog.clear()
        for _ in range(2):
            scheduler.set_timesteps(10)
        said = [text for text in caplog.messages if "normal data" in text]
        assert [words in text for text in said] == ([] if words is None else [True])
        assert all(record.levelno == logging.WARNING for record in caplog.records)
