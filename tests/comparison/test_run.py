"""`compare` on an exact pipeline: who is nearest, the same again, the pipeline as it was, what it refuses."""

from __future__ import annotations

import json
import os
import signal

import pytest
from diffusers import DDIMScheduler

from benchmarks.exact.flows import SD_BETAS
from comparisons import pipeline, planned, statistics
from diffusers_deis_sn import Comparison, DEISSNScheduler, calibrate, compare
from diffusers_deis_sn.comparison import preparing
from diffusers_deis_sn.comparison import run as running
from diffusers_deis_sn.comparison.contenders import Contender
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, ComparisonError
from tiny_pipelines import BUILDERS
from toy_models import TextPipeline, ToyPipeline

QUICK = {"num_prompts": 4, "progress": False}
BETAS = DDIMScheduler(**SD_BETAS).config


def without_times(document: dict) -> dict:
    """A document without what a clock said."""
    rows = [{name: value for name, value in row.items() if name != "seconds_per_picture"} for row in document["rows"]]
    return {**document, "rows": rows, "seconds": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison") / "out"


@pytest.fixture(scope="module")
def result(folder) -> Comparison:
    return compare(pipeline(), stats=statistics(), output=folder, steps=(5, 8), **QUICK)


def test_it_compares_all_in_equal_calls(result) -> None:
    names = {row.scheduler for row in result.rows}
    rivals = {"DDIM (the pipeline's own)", "DPM++ 2M", "DPM++ 2M Karras", "UniPC", "DEIS", "Euler"}
    assert names == rivals | {"DEIS-SN", "ScoreOptimal"}
    assert result.steps == (5, 8) and not result.skipped
    assert all(len(row.timesteps) == row.calls and len(row.distances) == 4 for row in result.rows)
    assert result.reference.converged
    assert len(result.pictures["DEIS-SN", 5]) == 4
    assert result.setting.model == "ExactPipeline" and result.advice.calls == 5


def test_the_rows_and_the_recommendation_agree(result) -> None:
    best = min((row for row in result.rows if row.calls == 5), key=lambda row: row.geometric_mean)
    assert result.advice.scheduler == best.scheduler or result.advice.verdict == "draw"


def test_the_folder_holds_the_result(result, folder) -> None:
    assert {"compare.html", "compare.json", "compare.csv", "grid.png", "runs"} == {
        path.name for path in folder.iterdir()
    }
    assert json.loads((folder / "compare.json").read_text()) == result.document()


def test_the_same_again_draws_nothing_and_says_the_same(result, folder) -> None:
    pipe = pipeline()
    again = compare(pipe, stats=statistics(), output=folder, steps=(5, 8), **QUICK)
    assert pipe.rows == []
    assert without_times(again.document()) == without_times(result.document())


def test_more_steps_go_on_in_the_same_folder(result, folder) -> None:
    pipe = pipeline()
    more = compare(pipe, stats=statistics(), output=folder, steps=(5, 6, 8), judged=5, **QUICK)
    assert more.steps == (5, 6, 8)
    for row in result.rows:
        if not row.further:
            assert more.row(row.scheduler, row.calls).distances.tolist() == row.distances.tolist()
    assert 0 < sum(pipe.rows) < 4 * 12 * 7


def test_it_is_deterministic(result) -> None:
    anew = compare(pipeline(), stats=statistics(), steps=(5, 8), **QUICK)
    assert without_times(anew.document()) == without_times(result.document())


@pytest.mark.parametrize("change", [{"seed": 1}, {"num_prompts": 3}, {"stats": None}])
def test_another_comparison_in_the_folder_is_refused(result, folder, change) -> None:
    before = (folder / "compare.json").read_bytes()
    with pytest.raises(ComparisonError, match="holds another comparison"):
        compare(pipeline(), **{"stats": statistics(), "output": folder, **QUICK, **change})
    assert (folder / "compare.json").read_bytes() == before


def test_the_pipeline_is_given_back_also_when_it_fails() -> None:
    pipe = pipeline()
    scheduler = pipe.scheduler
    compare(pipe, stats=statistics(), steps=(4,), **QUICK)
    assert pipe.scheduler is scheduler and scheduler.num_inference_steps is None
    rows = len(pipe.rows)

    def broken(x, t):
        if len(pipe.rows) > rows + 20:
            raise RuntimeError("the network is broken")
        return 0.1 * x

    pipe.epsilon = broken
    with pytest.raises(RuntimeError, match="the network is broken"):
        compare(pipe, stats=statistics(), steps=(4,), **QUICK)
    assert pipe.scheduler is scheduler and "step" not in vars(scheduler)


def test_ctrl_c_keeps_what_is_there_and_the_same_call_goes_on(tmp_path, result) -> None:
    pipe = pipeline()
    network, calls = pipe.epsilon, []

    def interrupting(x, t):
        calls.append(t)
        if len(calls) == 230:
            os.kill(os.getpid(), signal.SIGINT)
        return network(x, t)

    pipe.epsilon = interrupting
    scheduler = pipe.scheduler
    with pytest.raises(CalibrationInterruptedError, match=f"kept in '{tmp_path}': the same command goes on"):
        compare(pipe, stats=statistics(), output=tmp_path, steps=(5, 8), **QUICK)
    assert pipe.scheduler is scheduler
    fresh = pipeline()
    again = compare(fresh, stats=statistics(), output=tmp_path, steps=(5, 8), **QUICK)
    assert without_times(again.document()) == without_times(result.document())
    assert len(fresh.rows) < len(calls)


def test_without_a_folder_nothing_is_said_to_be_kept() -> None:
    pipe = pipeline()
    network = pipe.epsilon

    def interrupting(x, t):
        if len(pipe.rows) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return network(x, t)

    pipe.epsilon = interrupting
    with pytest.raises(CalibrationInterruptedError, match=r"nothing is kept\. Give `output`"):
        compare(pipe, stats=statistics(), steps=(5,), **QUICK)


def test_a_further_contender_takes_part() -> None:
    tuned = Contender("tuned", lambda: DEISSNScheduler.from_config(BETAS, solver_order=3), ("# tuned",), ours=True)
    found = compare(pipeline(), stats=statistics(), steps=(6,), further=[tuned], **QUICK)
    assert found.row("tuned", 6).ours


def test_two_that_do_the_same_say_so() -> None:
    twin = Contender("twin", lambda: DDIMScheduler(**SD_BETAS), ("# twin",))
    found = compare(pipeline(), stats=statistics(), steps=(6,), further=[twin], **QUICK)
    notes = {one.name: one.note for one in found.contenders}
    assert notes["twin"] == "The same pictures as DDIM (the pipeline's own): on this model both do the same."


def test_plans_of_the_statistics_take_part_beside_runs_without(tmp_path) -> None:
    found = compare(pipeline(), stats=planned(5), output=tmp_path, steps=(4, 5), **QUICK)
    names = {row.scheduler for row in found.rows if row.calls == 5 and not row.further}
    assert {"DEIS-SN", "DEIS-SN (tuned)", "ScoreOptimal"} <= names
    assert "DEIS-SN (tuned)" not in {row.scheduler for row in found.rows if row.calls == 4}
    assert found.row("DEIS-SN (tuned)", 5).distances.tolist() != found.row("DEIS-SN", 5).distances.tolist()
    document = found.document()
    assert [one["calls"] for one in document["statistics"]["plans"]] == [5] and document["tuning"] is None
    assert "for 5 steps. The statistics held them before." in (tmp_path / "compare.html").read_text()


def test_plans_are_fitted_first_and_may_be_recommended(tmp_path, monkeypatch) -> None:
    """Through the real `tune`, on few samples."""
    monkeypatch.setattr(preparing, "SAMPLES", 4)
    monkeypatch.setattr(preparing, "HELD_OUT", 4)
    pipe, texts = TextPipeline(), [f"picture {i}" for i in range(8)]
    scheduler, stats = pipe.scheduler, calibrate(ToyPipeline(), None, 4, 25, trials=0, progress=False)
    options = {"stats": stats, "output": tmp_path, "steps": (4,), "tune": True, "progress": False}
    found = compare(pipe, texts, **options)
    assert pipe.scheduler is scheduler
    assert found.setting.prompts == tuple(texts[:4]) and found.fitting.prompts == 4
    assert found.row("DEIS-SN (tuned)", 4).geometric_mean < found.row("DEIS-SN", 4).geometric_mean
    assert found.advice.best_of_ours == "DEIS-SN (tuned)"
    assert found.place == str(tmp_path / "statistics") and not found.measured
    assert (found.fitting.steps, found.fitting.seed, found.setting.seed) == ((4,), 0, 1000)
    asked = len(pipe.prompts)
    again = compare(pipe, texts, **options)
    assert len(pipe.prompts) == asked + 1  # by whom it is asked which plan it would follow, without a network call
    assert without_times(again.document()) == without_times(found.document())


def test_statistics_are_measured_first_and_kept(tmp_path, monkeypatch) -> None:
    asked = {}

    def calibrate(pipe, prompts, **options):
        asked.update(options)
        return statistics()

    monkeypatch.setattr("diffusers_deis_sn.collect.run.calibrate", calibrate)
    found = compare(pipeline(), output=tmp_path, steps=(5,), **QUICK)
    assert found.measured and found.place == str(tmp_path / "statistics")
    assert (tmp_path / "statistics/score_statistics.safetensors").is_file()
    assert asked["resume"] and found.setting.seed != asked.get("seed", 0)
    assert f'stats="{tmp_path / "statistics"}"' in found.document()["contenders"][-1]["code"][1]


def test_many_prompts_are_asked_for_twice(monkeypatch) -> None:
    monkeypatch.setattr(running, "LARGE", 6)
    with pytest.raises(ComparisonError, match=r"7 prompts are some \d+ network calls, about .* say `yes`"):
        compare(pipeline(), stats=statistics(), steps=(4,), num_prompts=7, progress=False)
    assert compare(pipeline(), stats=statistics(), steps=(4,), num_prompts=7, yes=True, progress=False)


def test_a_real_pipeline_with_prompts_and_guidance(tmp_path) -> None:
    pipe, _ = BUILDERS["sd"]()
    pipe.scheduler = DDIMScheduler(**SD_BETAS)
    found = compare(
        pipe,
        ["a fox", "an owl"],
        (4,),
        statistics(),
        output=tmp_path,
        guidance_scale=4.0,
        progress=False,
        height=32,
        width=32,
    )
    assert found.setting.prompts == ("a fox", "an owl")
    assert found.setting.arguments["guidance_scale"] == 4.0
    assert len(found.pictures["converged", 0]) == 2
    assert "a fox" in (tmp_path / "compare.html").read_text()


def test_a_pipeline_whose_output_is_no_picture_is_compared_without_pictures(tmp_path) -> None:
    """Marigold gives depths, and refuses to be asked for latents."""
    pipe, options = BUILDERS["marigold"]()
    options = {name: value for name, value in options.items() if name != "output_type"}
    stats = calibrate(pipe, None, 2, 8, trials=0, progress=False, **options)
    found = compare(pipe, steps=(3,), stats=stats, output=tmp_path, num_prompts=2, progress=False, **options)
    assert len(found.row("DEIS-SN", 3).distances) == 2 and not found.pictures
    assert not (tmp_path / "grid.png").exists() and 'id="look"' not in (tmp_path / "compare.html").read_text()


def test_events_for_a_program(capsys) -> None:
    compare(pipeline(), stats=statistics(), steps=(4,), num_prompts=2, progress="json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in events][:2] == ["start", "reference"]
    assert [one["event"] for one in events][-1] == "end"
    assert {one["scheduler"] for one in events if one["event"] == "run"} >= {"DEIS-SN", "UniPC"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": ()}, "`steps` must be whole numbers"),
        ({"steps": (0, 5)}, "`steps` must be whole numbers"),
        ({"steps": (5.0,)}, "`steps` must be whole numbers"),
        ({"steps": (5, 8), "judged": 6}, "`judged` must be one of"),
        ({"num_prompts": 0}, "`num_prompts` must be"),
        ({"nonsense": 3}, "takes no nonsense"),
        ({"prompts": ["a fox"]}, "takes no prompts"),
    ],
)
def test_bad_input_is_refused(arguments, message) -> None:
    with pytest.raises(CalibrationError, match=message):
        compare(pipeline(), stats=statistics(), progress=False, **arguments)


def test_noise_that_comes_from_nowhere_is_refused() -> None:
    class Free:
        scheduler = DDIMScheduler(**SD_BETAS)

        def __call__(self, num_inference_steps=3):
            raise AssertionError

    with pytest.raises(ComparisonError, match="takes no `generator`"):
        compare(Free(), stats=statistics(), progress=False)
