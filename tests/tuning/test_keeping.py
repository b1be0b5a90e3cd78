"""What was fitted, as a state: bit for bit the same again, and refused where it is another run's or none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.errors import CalibrationInterruptedError, CheckpointError
from diffusers_deis_sn.tuning.keeping import Fit, Fits, run_facts
from diffusers_deis_sn.tuning.teacher import Goal
from records import tiny_record
from refusals import refused
from toy_models import ToyPipeline
from tunings import planned

FACTS = {"seed": 0, "arguments": {"height": 64}}
GOAL = Goal(80, 0.1)


def found(calls: int) -> dict[str, Fit]:
    run = planned(calls).run
    other = replace(run, low=0.1 * run.weights, told=run.told - 0.25, shift=1.5)
    return {"weights": Fit(run, 2), "times": Fit(other, 0)}


def fits(path, resume: bool = False, **facts) -> Fits:
    return Fits(Keeper(path, resume), FACTS | facts)


def test_what_was_fitted_is_there_again(tmp_path):
    path = tmp_path / "state.safetensors"
    one = fits(path)
    for calls in (5, 3):
        one.keep(calls, found(calls), Goal(80 * calls, 0.1 / calls))
    one.keep(8, {}, Goal(80, 0.1))  # nothing was found
    again = fits(path, resume=True)
    again.resume()
    assert set(again.found) == {3, 5, 8} and again.goals == one.goals
    for calls in (5, 3):
        for name, fit in found(calls).items():
            assert again.found[calls][name].run == fit.run and again.found[calls][name].place == fit.place
    assert list(again.found[5]) == ["weights", "times"]
    assert again.state().to_bytes() == one.state().to_bytes()


def test_without_a_file_nothing_is_kept_and_nothing_stops():
    alone = Fits(signals=SimpleNamespace(wanted="SIGINT"))
    alone.resume()
    alone.keep(5, found(5), GOAL)
    alone.stop()
    alone.pause()
    alone.share()
    assert list(alone.found) == [5]


def test_the_state_of_another_run_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "state.safetensors"
    fits(path).keep(5, found(5), GOAL)
    refused(CheckpointError, ["seed was 0, now 7", "--force"], fits(path, True, seed=7).resume)
    refused(CheckpointError, ["--resume"], fits, path)


@pytest.mark.parametrize(
    "spoilt",
    [
        Checkpoint(FACTS, {}, {}),
        Checkpoint(FACTS, {"found": {"5": [["times", 0, "data", 1.0]]}, "goals": {"5": [80, 0.1]}}, {}),
        Checkpoint(FACTS, {"found": {"5": 3}, "goals": {}}, {}),
        Checkpoint(FACTS, {"found": {}, "goals": {"5": 80}}, {}),
        Checkpoint(FACTS, {"found": {}}, {}),
    ],
)
def test_a_file_that_holds_no_such_state_is_refused(tmp_path, spoilt):
    path = tmp_path / "state.safetensors"
    path.write_bytes(spoilt.to_bytes())
    refused(CheckpointError, ["no state of tuning"], fits(path, True).resume)


def test_a_signal_stops_and_says_how_to_go_on(tmp_path):
    one = fits(tmp_path / "state.safetensors")
    one.signals = SimpleNamespace(wanted=None)
    one.stop()
    one.pause()
    one.keep(5, found(5), GOAL)
    one.keep(8, found(8), GOAL)
    one.signals = SimpleNamespace(wanted="SIGTERM")
    for stopping in (one.stop, one.pause):
        refused(CalibrationInterruptedError, ["SIGTERM", "5, 8 steps", "state.safetensors", "--resume"], stopping)


def test_facts_are_of_what_decides_the_numbers():
    pipe, size = ToyPipeline(), ([0, 1], [2, 3], 4, 0)
    facts = run_facts(pipe, ["a"], {"height": 8}, tiny_record(), size)
    assert facts == run_facts(ToyPipeline(), ["a"], {"height": 8}, tiny_record(), size)
    others = (
        run_facts(pipe, ["b"], {"height": 8}, tiny_record(), size),
        run_facts(pipe, ["a"], {"height": 9}, tiny_record(), size),
        run_facts(pipe, ["a"], {"height": 8}, tiny_record().with_origin(seed=5), size),
        run_facts(pipe, ["a"], {"height": 8}, tiny_record(), ([0, 1], [2, 3], 4, 1)),
        run_facts(ToyPipeline("v"), ["a"], {"height": 8}, tiny_record(), size),
    )
    assert all(other != facts for other in others)
