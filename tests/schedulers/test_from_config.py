"""From the config of any scheduler to one of ours: the process, what was not used, and names of other classes."""

from __future__ import annotations

import copy
from contextlib import suppress
from types import SimpleNamespace

import diffusers
import pytest
from diffusers import EDMEulerScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import Corrector, DEISSNScheduler, Multistep, Power, ScoreOptimalScheduler
from diffusers_deis_sn.errors import ConfigurationError, DeisSnError
from oddities import ODD
from records import costed_record
from refusals import refused

OURS = [DEISSNScheduler, ScoreOptimalScheduler]


def test_a_process_may_be_chosen_against_the_config():
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, shift_terminal=0.1, use_dynamic_shifting=True)
    edm = EDMEulerScheduler()
    assert DEISSNScheduler.from_config(flow.config, use_flow_sigmas=False).noise.path == "vp"
    assert DEISSNScheduler.from_config(flow.config, process="edm").noise.path == "ve"
    options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    assert DEISSNScheduler.from_config(edm.config, **options).noise.path == "flow"
    assert DEISSNScheduler.from_config(edm.config, process="vp").noise.path == "vp"
    shifted = DEISSNScheduler.from_config(flow.config, shift=7.0)
    assert shifted.config.flow_shift == 7.0
    assert diffusers.FlowMatchEulerDiscreteScheduler.from_config(shifted.config).config.shift == 7.0


OWN = {"solver": Multistep(3, of="data", corrector=Corrector(3)), "grid": Power("t", 2.0), "guidance_scale": 3.0}
OF_JSON = [one for one in ODD.values() if one is None or type(one) in (bool, int, float, str, list, dict)]
CONFIG = DEISSNScheduler.from_config(SD_BETAS, **OWN).config


def _places(value, before=()):
    """Where the values of a config are, those within others too."""
    for name, one in value.items() if isinstance(value, dict) else ():
        yield (*before, name)
        yield from _places(one, (*before, name))


@settings(max_examples=50)
@given(st.sampled_from(sorted(_places(CONFIG))), st.sampled_from(OF_JSON))
def test_whatever_somebody_wrote_into_a_config_is_taken_or_refused(place, odd):
    """Configs come from strangers, and hold what other classes and other versions wrote."""
    config = copy.deepcopy(dict(CONFIG))
    inner = config
    for name in place[:-1]:
        inner[name] = dict(inner[name])
        inner = inner[name]
    inner[place[-1]] = odd
    with suppress(DeisSnError):
        DEISSNScheduler.from_config(config).set_timesteps(2)


@pytest.mark.parametrize("ours", OURS)
def test_options_that_no_class_knows_are_handed_back(ours):
    scheduler, unused = ours.from_config(SD_BETAS, return_unused_kwargs=True, colour="red")
    assert unused["colour"] == "red" and isinstance(scheduler, ours)


@pytest.mark.parametrize("ours", OURS)
def test_a_folder_in_the_place_of_a_config_is_loaded_as_diffusers_had_it_once(ours, tmp_path):
    stats = costed_record(ours(**SD_BETAS).noise)
    ours.from_config(SD_BETAS, stats=stats).save_pretrained(tmp_path)
    assert ours.from_config(tmp_path).statistics == ours.from_config(str(tmp_path)).statistics == stats
    assert ours.from_config(tmp_path, stats=False).statistics is None


@pytest.mark.parametrize("ours", OURS)
def test_statistics_of_a_config_are_kept_unless_others_or_none_are_given(ours):
    stats = costed_record(ours(**SD_BETAS).noise)
    other = stats.with_origin(seed=1)
    config = ours.from_config(SD_BETAS, stats=stats).config
    assert ours.from_config(config).statistics == stats
    assert ours.from_config(config, stats=other).statistics == other
    assert ours.from_config(config, stats=False).statistics is None


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    ("name", "meant"), [("stat", "stats"), ("statistics", None), ("solver_ordr", "solver_order"), ("colour", None)]
)
def test_an_option_that_nobody_knows_is_refused_with_the_nearest_name(ours, name, meant):
    words = [f"{ours.__name__}.from_config", name, *([f"did you mean {meant}?"] if meant else [])]
    refused(ConfigurationError, words, ours.from_config, SD_BETAS, **{name: 1})


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (SimpleNamespace(scheduler=1), ["class SimpleNamespace", "Pass pipe.scheduler.config"]),
        (EDMEulerScheduler(), ["class EDMEulerScheduler", "Pass its `config`"]),
        (diffusers.StableDiffusionPipeline, ["the class StableDiffusionPipeline", "Load a pipeline"]),
        (3, ["class int", "Pass pipe.scheduler.config"]),
        ([1], ["class list"]),
    ],
)
def test_what_is_no_config_is_called_what_it_is(ours, given, words):
    refused(ConfigurationError, [f"{ours.__name__}.from_config needs the config", *words], ours.from_config, given)


@pytest.mark.parametrize(
    "given", [3, "folder", None, diffusers.StableDiffusionPipeline, SimpleNamespace(scheduler=None)]
)
def test_what_is_no_pipeline_gets_no_scheduler(given):
    refused(ConfigurationError, ["for_pipeline needs a pipeline"], DEISSNScheduler.for_pipeline, given)
