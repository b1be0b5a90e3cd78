"""`tune` as people call it: prompts, statistics, budgets, and bad input."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pytest

from diffusers_deis_sn import DEISSNScheduler, calibrate
from diffusers_deis_sn.errors import (
    CalibrationError,
    CalibrationInterruptedError,
    CheckpointError,
    StatisticsError,
    StatisticsMismatchError,
)
from diffusers_deis_sn.tuning import run as running
from diffusers_deis_sn.tuning import tuner as course
from diffusers_deis_sn.tuning.deciding import Jury
from diffusers_deis_sn.tuning.keeping import Fits
from diffusers_deis_sn.tuning.meter import Meter
from diffusers_deis_sn.tuning.outcome import Outcome
from diffusers_deis_sn.tuning.run import check_plans, tune
from refusals import refused
from tiny_pipelines import BUILDERS
from toy_models import TextPipeline, ToyPipeline

FEW: dict[str, Any] = {"num_samples": 4, "num_held_out": 4, "progress": False}


@pytest.fixture(scope="module")
def stats():
    return calibrate(ToyPipeline(), None, 4, 25, trials=0, progress=False)


def test_a_plan_is_used_by_whoever_loads_the_statistics(stats, tmp_path):
    pipe = TextPipeline()
    own = pipe.scheduler
    tuning = tune(pipe, [f"picture {i}" for i in range(8)], 4, statistics=stats, guidance_scale=1.0, **FEW)
    assert pipe.scheduler is own and len(tuning.plans) == 1, str(tuning)
    tuning.statistics.save(tmp_path)
    scheduler = DEISSNScheduler.from_config(own.config, stats=tmp_path)
    scheduler.set_timesteps(4)
    assert scheduler.plan == tuning.plans[0]


def test_what_decides_has_prompts_of_its_own(stats, monkeypatch):
    pipe, seen = TextPipeline(), {}
    asker, ends = course.Asker.__enter__, course.Running.ends

    def watched(name: str, function: Any) -> Any:
        def watching(*arguments: Any, **named: Any) -> Any:
            before = len(pipe.prompts)
            result = function(*arguments, **named)
            seen.setdefault(name, set()).update(pipe.prompts[before:])
            return result

        return watching

    monkeypatch.setattr(course.Asker, "__enter__", watched("fitted", asker))
    monkeypatch.setattr(course.Running, "ends", watched("held out", ends))
    tune(pipe, list("abcdefgh"), 3, statistics=stats, **FEW)
    assert seen == {"fitted": set("abcd"), "held out": set("efgh")}


def test_statistics_are_those_of_the_scheduler_or_measured(stats, monkeypatch):
    pipe, measured = ToyPipeline(), []
    monkeypatch.setattr(running, "calibrate", lambda *a, **o: measured.append((a, o)) or stats)
    tune(pipe, None, 3, **FEW)
    assert len(measured) == 1
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=stats)
    tune(pipe, None, 3, **FEW)
    assert len(measured) == 1


def test_a_budget_that_is_short_ends_searches_early(stats, monkeypatch):
    monkeypatch.setattr(Meter, "seconds", property(lambda meter: float(meter.done)))  # a clock that ticks with calls
    long = tune(ToyPipeline(), None, 8, statistics=stats, **FEW)
    least = long.seconds * 0.45
    short = tune(ToyPipeline(), None, 8, statistics=stats, budget=least, **FEW)
    assert short.asked < long.asked and len(short.outcomes) == 1


@pytest.mark.parametrize("steps", [0, 21, (5, 5), (), 4.0, (4, "5"), True])
def test_numbers_of_steps_that_are_none(stats, steps):
    with pytest.raises((CalibrationError, TypeError)):
        tune(ToyPipeline(), None, steps, statistics=stats, **FEW)


def test_bad_input_is_refused(stats):
    pipe = TextPipeline()
    prompts = list("abcdefgh")
    refused(
        CalibrationError,
        ["prompts", "not fitted on", "at least 4"],
        tune,
        pipe,
        list("abc"),
        4,
        statistics=stats,
        **FEW,
    )
    refused(CalibrationError, ["prompts", "at least 4"], tune, pipe, list("aaaaaaaa"), 4, statistics=stats, **FEW)
    refused(CalibrationError, ["num_held_out"], tune, pipe, prompts, 4, statistics=stats, num_held_out=1)
    refused(CalibrationError, ["no guidance", "guidance_scale"], tune, pipe, prompts, 4, statistics=stats, guidance=2.0)
    refused(CalibrationError, ["`budget`", "s at least"], tune, pipe, prompts, 4, statistics=stats, budget=1e-9, **FEW)
    refused(CalibrationError, ["progress"], tune, pipe, prompts, 4, statistics=stats, progress="loud")
    assert pipe.scheduler.__class__.__name__ == "DDIMScheduler"
    with pytest.raises(StatisticsError):
        tune(pipe, prompts, 4, statistics=calibrate(ToyPipeline("flow"), None, 4, 25, trials=0, progress=False), **FEW)


class Wide(ToyPipeline):
    """Draws samples of another size."""

    shape = (2, 4, 6)


def test_statistics_of_another_size_are_refused_before_anything_is_fitted(stats):
    pipe = Wide()
    refused(StatisticsMismatchError, ["(2, 4, 4)", "(2, 4, 6)"], tune, pipe, None, 4, statistics=stats, **FEW)
    assert pipe.calls <= 4 * 8  # runs without a plan, on the samples held out


def test_plans_are_checked_at_another_size(stats):
    tuning = tune(ToyPipeline(), None, 4, statistics=stats, **FEW)
    found = check_plans(Wide(), statistics=tuning.statistics, num_held_out=4, progress=False)
    assert len(found.plans) == 1 and found.statistics.plans == tuning.statistics.plans


class Interrupted(ToyPipeline):
    """Ctrl-C at one of its calls."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def stepped(self, x: Any, t: Any) -> Any:
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().stepped(x, t)


def test_a_finished_number_of_steps_is_not_fitted_again(stats, tmp_path, monkeypatch):
    keep, through = Fits.keep, []
    whole = ToyPipeline()
    with monkeypatch.context() as patched:
        patched.setattr(Fits, "keep", lambda self, *found: through.append(whole.calls) or keep(self, *found))
        expected = tune(whole, None, (3, 4), statistics=stats, **FEW)
    state = tmp_path / "state.safetensors"
    pipe = Interrupted(through[0] + 20)
    with pytest.raises(CalibrationInterruptedError, match="for 3 steps is kept"):
        tune(pipe, None, (3, 4), statistics=stats, checkpoint=state, **FEW)
    refused(CheckpointError, ["--resume"], tune, pipe, None, (3, 4), statistics=stats, checkpoint=state, **FEW)
    pipe.calls, pipe.at = 0, -1
    tuning = tune(pipe, None, (3, 4), statistics=stats, checkpoint=state, resume=True, **FEW)
    assert tuning.statistics == expected.statistics and str(tuning) == str(expected)
    assert pipe.calls < whole.calls - 50  # those of the search for 3 steps
    pipe.calls = 0
    again = tune(pipe, None, (3, 4), statistics=stats, checkpoint=state, resume=True, **FEW)
    assert again.statistics == expected.statistics and pipe.calls < through[0]  # nothing but what decides
    refused(CalibrationError, ["`checkpoint`"], tune, pipe, None, 4, statistics=stats, resume=True, **FEW)


@pytest.fixture
def strict(monkeypatch):
    """Nothing is accepted of fewer than eight samples held out, at four steps."""
    outcome = Jury.outcome

    def judged(self: Jury, before: Any, *rest: Any) -> Outcome:
        told = outcome(self, before, *rest)
        sure = len(self.running.calls) > 1 or len(before.run) != 4
        return told if sure else replace(told, plan=None, objections=("by so few",))

    monkeypatch.setattr(Jury, "outcome", judged)


def test_where_nothing_is_accepted_more_samples_decide(stats, strict, caplog):
    few = FEW | {"batch_size": 4}
    with caplog.at_level("INFO", "diffusers_deis_sn"):
        tuning = tune(ToyPipeline(), None, (3, 4), statistics=stats, **few)
    assert [one.num_samples for one in tuning.plans] == [4, 8] and [one.calls for one in tuning.outcomes] == [3, 4]
    assert {one.calls for one in tuning.statistics.plans.entries} == {3, 4}
    assert any("4 steps" in one and "twice" in one for one in caplog.messages)
    more = tune(ToyPipeline(), None, 4, statistics=stats, **few | {"num_samples": 8, "num_held_out": 8})
    assert more.plans == tuning.plans[1:] and tuning.asked > more.asked


def test_there_is_no_second_fit_without_time_for_it(stats, strict, monkeypatch):
    monkeypatch.setattr(Meter, "seconds", property(lambda meter: float(meter.done)))
    few = FEW | {"batch_size": 4}
    once = tune(ToyPipeline(), None, 4, statistics=stats, budget=3000.0, **few)
    assert once.plans == () and once.outcomes[0].undecided and once.seconds < 3000.0
    assert len(tune(ToyPipeline(), None, 4, statistics=stats, budget=12_000.0, **few).plans) == 1


def test_fits_on_more_samples_are_kept_too(stats, strict, tmp_path, monkeypatch):
    state, few = tmp_path / "state.safetensors", FEW | {"batch_size": 4}
    expected = tune(ToyPipeline(), None, 4, statistics=stats, checkpoint=state, **few)
    assert {one.name for one in tmp_path.iterdir()} == {"state.safetensors", "state.more.safetensors"}
    pipe = ToyPipeline()
    with monkeypatch.context() as patched:
        patched.setattr(course, "candidates", lambda *_: pytest.fail("fitted again"))
        again = tune(pipe, None, 4, statistics=stats, checkpoint=state, resume=True, **few)
    assert again.statistics == expected.statistics
    state.unlink()
    refused(CheckpointError, ["state.more", "--resume"], tune, pipe, None, 4, statistics=stats, checkpoint=state, **few)


def test_several_guidances_are_tuned_one_after_another(stats, tmp_path, caplog):
    pipe, prompts = TextPipeline(), list("abcdefgh")
    state = tmp_path / "state.safetensors"
    options: dict[str, Any] = {"statistics": stats, "checkpoint": state, **FEW}
    with caplog.at_level("WARNING", "diffusers_deis_sn"):
        both = tune(pipe, prompts, 3, guidance_scale=[7.5, 3.0], **options)
    assert sum("guidance_scale=7.5" in one for one in caplog.messages) == 1  # for this pipeline does not tell it
    assert list(both.by_guidance) == [3.0, 7.5] and len(both.statistics.plans) == 2
    assert {one.name for one in tmp_path.iterdir()} == {"state.g3.safetensors", "state.g7.5.safetensors"}
    one = tune(pipe, prompts, 3, guidance_scale=7.5, statistics=stats, **FEW)
    assert one.plans == (both.by_guidance[7.5][0].plan,)
    calls = pipe.calls
    kept = tune(pipe, prompts, 3, guidance_scale=[3.0, 7.5], statistics=both.statistics, anew=False, **FEW)
    assert kept.outcomes == () and kept.statistics is both.statistics and pipe.calls == calls
    refused(CalibrationError, ["guidance_scale"], tune, pipe, prompts, 3, guidance_scale=[3.0, 3.0], **options)


@pytest.mark.parametrize("at", [2, 30, 80, 130, 200])
def test_ctrl_c_gives_the_pipeline_back(stats, at):
    pipe, before = Interrupted(at), signal.getsignal(signal.SIGINT)
    own = pipe.scheduler
    with pytest.raises(KeyboardInterrupt):
        tune(pipe, None, 4, statistics=stats, **FEW)
    assert pipe.scheduler is own and signal.getsignal(signal.SIGINT) is before
    pipe.calls, pipe.at = 0, -1
    assert len(tune(pipe, None, 4, statistics=stats, **FEW).outcomes) == 1


def test_a_guidance_of_the_pipeline_is_that_of_the_plan(stats):
    tuning = tune(TextPipeline(), list("abcdefgh"), 4, statistics=stats, guidance_scale=1.5, **FEW)
    assert [one.guidance for one in tuning.outcomes] == [1.5] == [one.guidance for one in tuning.plans]


def test_pipelines_without_generators_or_schedulers_are_refused(stats):
    class Blind(ToyPipeline):
        def __call__(self, batch_size: int = 1, num_inference_steps: int = 50) -> Any:
            return None

    refused(CalibrationError, ["`generator`"], tune, Blind(), None, 4, statistics=stats, **FEW)
    pipe = ToyPipeline()
    pipe.scheduler = None
    refused(CalibrationError, ["`scheduler`"], tune, pipe, None, 4, statistics=stats, **FEW)


def test_images_to_start_from_are_refused():
    pipe, options = BUILDERS["sd_img2img"]()
    stats = calibrate(pipe, list("abcd"), 2, 4, trials=0, progress=False, image=options["image"], strength=1.0)
    options = {name: value for name, value in options.items() if name in ("image", "strength")}
    refused(CalibrationError, ["text-to-image"], tune, pipe, list("abcd"), 4, statistics=stats, **FEW, **options)


def test_plans_are_checked_on_another_model(stats):
    pipe = ToyPipeline()
    tuning = tune(pipe, None, (3, 4), statistics=stats, **FEW)
    assert len(tuning.plans) == 2, str(tuning)
    few = {"num_held_out": 4, "progress": False}
    same = check_plans(pipe, statistics=tuning.statistics, **few)
    assert [one.freedom for one in same.outcomes] == ["as it is"] * 2 and len(same.plans) == 2
    assert same.statistics.plans == tuning.statistics.plans
    spoilt = replace(tuning.plans[0], run=replace(tuning.plans[0].run, weights=1.5 * tuning.plans[0].run.weights))
    worse = tuning.statistics.with_plans(tuning.statistics.plans.with_plans(spoilt))
    found = check_plans(pipe, statistics=worse, **few)
    assert [one.plan is None for one in found.outcomes] == [True, False] and found.outcomes[0].objections
    assert [one.calls for one in found.statistics.plans.entries] == [4]
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=tuning.statistics)
    assert len(check_plans(pipe, **few).plans) == 2
    refused(CalibrationError, ["no plans", "`statistics`"], check_plans, ToyPipeline(), statistics=stats, **few)
    refused(CalibrationError, ["no plans"], check_plans, ToyPipeline(), **few)
