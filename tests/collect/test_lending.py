"""A pipeline that was lent is its owner's again: scheduler and progress bar as they were, whatever happened."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diffusers_deis_sn.collect.lending import lent, silenced


class Pipeline:
    """Has the progress bar of a Diffusers pipeline."""

    def set_progress_bar_config(self, **options):
        self._progress_bar_config = options


def test_a_pipeline_has_its_own_scheduler_again_whatever_happens():
    mine = object()
    pipe = SimpleNamespace(scheduler=mine)
    with lent(pipe):
        pipe.scheduler = object()
    assert pipe.scheduler is mine
    with pytest.raises(KeyboardInterrupt), lent(pipe):
        pipe.scheduler = object()
        raise KeyboardInterrupt
    assert pipe.scheduler is mine


def test_the_pipelines_own_bar_is_off_within_and_afterwards_as_it_was_whatever_happens():
    pipe = Pipeline()
    pipe.set_progress_bar_config(desc="mine", disable=False)
    with pytest.raises(KeyError), silenced(pipe):
        assert pipe._progress_bar_config == {"desc": "mine", "disable": True}
        raise KeyError
    assert pipe._progress_bar_config == {"desc": "mine", "disable": False}


def test_a_pipeline_without_a_bar_is_left_alone():
    pipe = object()
    with silenced(pipe):
        assert not hasattr(pipe, "_progress_bar_config")


def test_a_bar_that_was_never_configured_is_not_configured_afterwards_either():
    pipe = Pipeline()
    with silenced(pipe):
        assert pipe._progress_bar_config == {"disable": True}
    assert vars(pipe) == {}
