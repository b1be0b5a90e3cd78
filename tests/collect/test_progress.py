"""What is shown while samples are drawn: one bar, or nothing, or what the caller makes of it."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.collect.progress import meter, silenced


class Pipeline:
    """Has the progress bar of a Diffusers pipeline."""

    def set_progress_bar_config(self, **options):
        self._progress_bar_config = options


def test_a_bar_ends_at_the_total_however_much_is_reported(capsys):
    with meter(True, 4, "Trying") as report:
        for done in (0.5, 4.0, 9.0):
            report(done)
    shown = capsys.readouterr().err
    assert "Trying" in shown and "4.0/4 samples" in shown and "9.0" not in shown


def test_without_progress_nothing_is_shown(capsys):
    with meter(False, 4) as report:
        report(2.0)
    assert capsys.readouterr() == ("", "")


def test_the_callers_function_is_told_instead_of_a_bar_and_never_more_than_the_total(capsys):
    seen = []
    with meter(lambda done, total: seen.append((done, total)), 4) as report:
        for done in (1.5, 5.0):
            report(done)
    assert seen == [(1.5, 4), (4, 4)] and capsys.readouterr().err == ""


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
