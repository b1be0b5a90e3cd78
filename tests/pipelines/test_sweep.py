"""Every pipeline class of the installed Diffusers: run with its own scheduler and both of ours, as it was judged."""

from __future__ import annotations

import warnings

import pytest

from sweep import calibrating
from sweep.classes import pipeline_classes
from sweep.judged import NO, NOT_BUILT, UNMEASURED
from sweep.measuring import OURS, STEPS, Room, measure
from sweep.outcomes import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sweep,
    pytest.mark.filterwarnings("ignore"),  # deprecated classes warn, and so do their parts
]


def room_of(name: str) -> tuple[Room, int]:
    """A tiny pipeline, and the calls of its network in a run with its own scheduler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        room = Room(name)
        return room, len(room.run(room.own, STEPS)) - 1


def fault_of(room: Room, scheduler: str) -> str:
    """What is wrong with one of ours, be it that a run fails; whatever a pipeline makes of what it cannot use."""
    try:
        return measure(room, scheduler).fault
    except Exception as error:
        return str(error) or type(error).__name__


@pytest.mark.parametrize("name", [name for name in pipeline_classes() if name not in NOT_BUILT | NO])
def test_it_runs_with_both_order_one_is_that_of_diffusers_and_it_is_measured_or_says_why_not(name, record_property):
    room, own_calls = room_of(name)
    found = {scheduler: measure(room, scheduler) for scheduler in OURS}
    assert {scheduler: one.fault for scheduler, one in found.items()} == dict.fromkeys(OURS, "")
    unmeasured = calibrating.fault(room)
    assert bool(unmeasured) == (name in UNMEASURED), unmeasured
    calls, error = found["DEISSNScheduler"].calls, max(one.error for one in found.values())
    own = type(next(iter(room.own.values()))).__name__
    record_property("sweep", Row(name, own, (own_calls, calls), error).told())


@pytest.mark.parametrize("name", [name for name in pipeline_classes() if name in NO])
def test_it_runs_with_its_own_and_not_with_both_of_ours(name, record_property):
    record_property("sweep", Row(name).told())
    try:
        room, _ = room_of(name)
    except Exception as error:  # of these some need more than the tiny parts that are made here
        pytest.skip(f"not built here: {error}")
    record_property("sweep", Row(name, type(next(iter(room.own.values()))).__name__).told())
    assert any(fault_of(room, scheduler) for scheduler in OURS), f"{name} runs with both: judge it anew"


@pytest.mark.parametrize("name", [name for name in pipeline_classes() if name in NOT_BUILT])
def test_it_is_not_built_here(name, record_property):
    record_property("sweep", Row(name).told())
    pytest.skip(NOT_BUILT[name])
