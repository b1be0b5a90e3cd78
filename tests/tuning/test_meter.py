"""How far tuning is, and when its time is spent."""

from __future__ import annotations

import json

import pytest

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning import meter as metering
from diffusers_deis_sn.tuning.meter import Meter, search_calls
from refusals import refused


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass by hand."""
    now = [100.0]
    monkeypatch.setattr(metering.time, "monotonic", lambda: now[0])
    return now


def test_a_function_is_told_and_never_more_than_all():
    told: list[tuple[float, int]] = []
    meter = Meter(lambda done, total: told.append((done, total)), 8, 4, (5,), 3)
    meter(10)
    meter(10**9)
    assert told == [(10, meter.total), (meter.total, meter.total)]
    assert meter.least < meter.total


def test_lines_are_json(capsys):
    meter = Meter("json", 8, 4, (5,), 3)
    meter(7)
    meter.say("better", steps=5, error=0.25)
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["done"], line["steps"], line["error"]) == ("tuning", 7, 5, 0.25)


def test_a_bar_ends_where_all_is_done(capsys):
    meter = Meter(True, 8, 4, (5,), 3)
    meter(10**9)
    meter.say("0.1")
    meter.close()
    assert "Tuning" in capsys.readouterr().err


def test_a_budget_too_small_for_anything_says_what_it_takes(clock):
    meter = Meter(False, 8, 4, (5,), 3, budget=60.0)
    meter.check()  # nothing is known yet
    clock[0] += 1.0
    meter(10)  # a tenth of a second each
    refused(CalibrationError, ["`budget` is 60 s", f"{0.1 * meter.least:.3g} s at least", "fewer `steps`"], meter.check)
    Meter(False, 8, 4, (5,), 3).check()


def test_searches_share_what_is_left_and_leave_enough_to_decide(clock):
    meter = Meter(False, 8, 4, (5, 10), 3, budget=1000.0)
    clock[0] += 1.0
    meter(10)
    left = 1000.0 - 1.0 - 0.1 * 4 * 15 * metering.HELD_OUT
    share = search_calls(5) / (search_calls(5) + search_calls(10))
    assert meter.deadline(0) == pytest.approx(1.0 + left * share)
    assert meter.deadline(1) == pytest.approx(1.0 + left)
    clock[0] += 5000.0
    assert meter.deadline(1) == pytest.approx(5001.0)
    assert Meter(False, 8, 4, (5,), 3).deadline(0) == float("inf")
