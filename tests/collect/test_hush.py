"""Other libraries within a call of ours: no chatter, errors as ever, and nothing of it left afterwards."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from diffusers.utils import logging as of_diffusers
from transformers.utils import logging as of_transformers

from diffusers_deis_sn.collect.hush import hushed
from tiny_pipelines import BUILDERS

LIBRARIES = (of_diffusers, of_transformers)
# As users have it: the tests themselves silence other libraries.
TALKATIVE = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
PROGRAM = """
import sys
how, folder = sys.argv[1:]
if how == "ours":
    from diffusers_deis_sn.collect.loading import Loading
    Loading(folder, device="cpu").load()
else:
    from diffusers import DiffusionPipeline
    DiffusionPipeline.from_pretrained(folder).to("cpu")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "sd"
    BUILDERS["sd"]()[0].save_pretrained(place)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ours", "theirs"])
def test_our_loading_says_nothing_where_that_of_diffusers_does(how, folder):
    program = [sys.executable, "-c", PROGRAM, how, str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=TALKATIVE)
    assert (done.stdout + done.stderr == "") is (how == "ours"), done.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_errors_are_let_through_and_warnings_are_not(library):
    name = library.__name__.partition(".")[0]
    logger, lines = library.get_logger(f"{name}.models"), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    before = library.get_verbosity()
    library.set_verbosity_warning()
    try:
        with hushed():
            logger.warning("needs torchvision")
            logger.error("broken")
        logger.warning("after")
    finally:
        library.set_verbosity(before)
        logger.removeHandler(handler)
    assert lines == ["broken", "after"]


@pytest.mark.parametrize("bars", [True, False])
def test_afterwards_all_is_as_it_was_whatever_happens(bars):
    before = [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in LIBRARIES]
    try:
        of_diffusers.set_verbosity_info()
        of_transformers.disable_progress_bar()
        of_diffusers.enable_progress_bar()
        wanted = [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in LIBRARIES]
        with pytest.raises(KeyError), hushed(bars):
            assert {one.get_verbosity() for one in LIBRARIES} == {of_diffusers.ERROR}
            assert of_diffusers.is_progress_bar_enabled() is not bars
            raise KeyError
        assert [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in LIBRARIES] == wanted
    finally:
        for one, (verbosity, enabled) in zip(LIBRARIES, before, strict=True):
            one.set_verbosity(verbosity)
            (one.enable_progress_bar if enabled else one.disable_progress_bar)()


@pytest.mark.parametrize("enabled", [True, False])
def test_logs_may_stay_while_bars_are_off(enabled):
    before, bars = of_diffusers.get_verbosity(), of_diffusers.is_progress_bar_enabled()
    try:
        (of_diffusers.enable_progress_bar if enabled else of_diffusers.disable_progress_bar)()
        with hushed(logs=False):
            assert of_diffusers.get_verbosity() == before and not of_diffusers.is_progress_bar_enabled()
        assert of_diffusers.is_progress_bar_enabled() == enabled  # as it was, whoever had set it
    finally:
        (of_diffusers.enable_progress_bar if bars else of_diffusers.disable_progress_bar)()
