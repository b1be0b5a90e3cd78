"""`deis-sn compare`: what it writes and says, and bad input before a model is loaded."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from diffusers import DDIMScheduler

from benchmarks.exact.flows import SD_BETAS
from comparisons import SD, STD, made
from diffusers_deis_sn.comparison.preparing import Fitting
from records import costed_record
from tiny_pipelines import BUILDERS

QUICK = ("--steps", "3,4", "--height", "32", "--width", "32", "--device", "cpu", "--guidance-scale", "3")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A model, its statistics, and prompts."""
    folder = tmp_path_factory.mktemp("models")
    pipe, _ = BUILDERS["sd"]()
    pipe.scheduler = DDIMScheduler(**SD_BETAS, steps_offset=1, clip_sample=False)
    pipe.save_pretrained(folder / "sd")
    costed_record(SD, STD).save(folder / "statistics")
    (folder / "prompts.txt").write_text("a red <b>seven</b>\na blue two\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def written(places):
    """A comparison by the command."""
    import contextlib
    import io

    from diffusers_deis_sn.cli.app import main

    said = io.StringIO()
    arguments = ("compare", places / "sd", "--prompts", places / "prompts.txt", "--stats", places / "statistics")
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
        main([str(one) for one in (*arguments, *QUICK, "-o", places / "out")])
    assert end.value.code == 0
    return places / "out", said.getvalue()


def test_it_writes_the_page_and_says_what_to_do(written) -> None:
    folder, said = written
    document = json.loads((folder / "compare.json").read_text())
    assert document["recommendation"]["sentence"] in said
    assert f"Open {folder / 'compare.html'} in a browser." in said
    assert document["steps"] == [3, 4] and document["arguments"]["guidance_scale"] == 3.0
    assert "<b>seven</b>" not in (folder / "compare.html").read_text()
    assert (folder / "grid.png").is_file() and (folder / "compare.csv").is_file()


def test_the_same_command_goes_on_and_json_is_for_programs(run, written, places) -> None:
    folder, _ = written
    arguments = (places / "sd", "--prompts", places / "prompts.txt", "--stats", places / "statistics", *QUICK)
    code, said, error = run("compare", *arguments, "-o", folder, "--json")
    assert (code, error.strip()) == (0, "")
    events = [json.loads(line) for line in said.splitlines()]
    assert [one["event"] for one in events if one["event"] in ("start", "end")] == ["start", "end"]
    assert str(folder / "compare.html") in {one.get("path") for one in events}


def test_another_comparison_is_refused_in_one_line(run, written, places) -> None:
    folder, _ = written
    arguments = (places / "sd", "--prompts", places / "prompts.txt", "--stats", places / "statistics", *QUICK)
    code, said, error = run("compare", *arguments, "--seed", 5, "-o", folder, "--quiet")
    assert (code, said) == (2, "")
    assert error.startswith("deis-sn: ") and error.count("\n") == 1 and "of other seed" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "3,x"), "--steps must be whole numbers such as 6,8,10, got '3,x'."),
        (("--guidance-scale", "-1"), "--guidance-scale must be 0 or more"),
        (("--stats", "nowhere/at-all/there"), "nowhere"),
        (("--json", "--quiet"), "--json and --quiet were both given"),
        (("--arg", "height"), "--arg must be NAME=VALUE"),
        (("--budget", "5m"), "--tuning-prompts and --budget need --tune, which was not given. Give it too"),
        (("--tune", "--budget", "soon"), "--budget must be a time such as 90s"),
    ],
)
def test_bad_input_is_one_line_before_the_model_is_loaded(run, tmp_path, arguments, message) -> None:
    code, said, error = run("compare", tmp_path, *arguments, "-o", tmp_path / "out")
    assert (code, said) == (2, "")
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_plans_are_asked_for_and_it_says_where_they_are(run, places, tmp_path, monkeypatch) -> None:
    asked = {}

    def compare(pipe, prompts, steps, stats, **options):
        asked.update(options)
        return replace(made(), fitting=Fitting((3, 4), 4, 24, 16, 0, 1.0))

    monkeypatch.setattr("diffusers_deis_sn.comparison.run.compare", compare)
    (tmp_path / "more.txt").write_text("\n".join("abcd"))
    arguments = ("--prompts", places / "prompts.txt", "--tuning-prompts", tmp_path / "more.txt", "--budget", "2m")
    code, said, _ = run("compare", places / "sd", *arguments, *QUICK, "--tune", "-o", tmp_path / "out")
    assert code == 0 and "the statistics with those that are better: out/statistics" in said
    assert asked["tune"] and asked["budget"] == 120.0 and asked["tuning_prompts"] == tmp_path / "more.txt"


def test_too_few_prompts_to_fit_on_are_refused_by_the_names_of_the_options(run, places, tmp_path) -> None:
    arguments = (places / "sd", "--prompts", places / "prompts.txt", "--stats", places / "statistics", *QUICK)
    code, _, error = run("compare", *arguments, "--tune", "-o", tmp_path / "none")
    assert code == 2 and "at least 4" in error and "--num-prompts" in error and "--tuning-prompts" in error


def test_help(run) -> None:
    code, text, _ = run("compare", "--help")
    assert code == 0 and "--num-prompts" in text and "--stats" in text
