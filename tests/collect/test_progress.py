"""What is shown while samples are drawn: one bar, or nothing, or what the caller makes of it."""

from __future__ import annotations

import json
import logging

import pytest

from diffusers_deis_sn.collect import progress
from diffusers_deis_sn.collect.progress import check_progress, meter, telling
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused


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


def test_after_a_batch_the_bar_has_the_error_of_r_once_it_is_known(capsys):
    with meter(True, 4) as report:
        report.batch(1, float("inf"))
        assert "±" not in capsys.readouterr().err
        report.batch(2, 0.0213)
    assert "2.0/4 samples" in (shown := capsys.readouterr().err) and "r ±2.1%" in shown


def test_the_time_that_remains_counts_what_was_drawn_now_alone(capsys, monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with meter("json", 64, done=32) as report:
        report(33.0)
        assert capsys.readouterr().out == ""  # a line a batch
        report.batch(40, 0.01)
    line = json.loads(capsys.readouterr().out)
    # 10 s for 8 samples, and 24 to go
    assert line == {"event": "batch", "samples": 40, "num_samples": 64, "relative_error": 0.01, "remaining_s": 30.0}


def test_a_bar_that_goes_on_begins_where_it_stopped(capsys):
    with meter(True, 4, done=3) as report:
        report(4.0)
    assert "3.0/4 samples" in (shown := capsys.readouterr().err) and "0.0/4" not in shown


def test_warnings_are_events_within_and_not_after(capsys):
    logger = logging.getLogger("diffusers_deis_sn")
    before = list(logger.handlers)
    with pytest.raises(KeyError), telling("json") as tell:
        logger.warning("rough by %d %%", 7)
        logger.info("not told")
        tell("end", relative_error=float("inf"))
        raise KeyError
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"event": "warning", "message": "rough by 7 %"}, {"event": "end", "relative_error": None}]
    assert logger.handlers == before


@pytest.mark.parametrize("kind", [True, False, print])
def test_without_lines_nothing_is_told(kind, capsys):
    with telling(kind) as tell:
        tell("start", samples=3)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["bar", 3, None])
def test_what_is_no_progress_is_refused(kind):
    refused(CalibrationError, ["`progress`", "'json'", repr(kind)], check_progress, kind)
