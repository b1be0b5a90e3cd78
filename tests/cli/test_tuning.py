"""`deis-sn tune`: what it writes, what it says, and what it leaves as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.cli import tuning as commands
from diffusers_deis_sn.cli.speaking import Speech
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.tuning import run as running
from diffusers_deis_sn.tuning.outcome import Tuning
from records import tiny_record
from tiny_pipelines import BUILDERS
from tunings import found

FILE = "score_statistics.safetensors"
QUICK = ("--num-samples", "4", "--num-held-out", "4", "--batch-size", "4", "--device", "cpu", "--steps", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved pipeline, and prompts."""
    place = tmp_path_factory.mktemp("tune")
    BUILDERS["sd"]()[0].save_pretrained(place / "sd")
    (place / "prompts.txt").write_text("a\nb\nc\nd\ne\nf\ng\nh\n")
    (place / "few.txt").write_text("a\nb\n")
    return place


def few(monkeypatch: Any) -> None:
    """Statistics from few samples of few steps."""
    measure = running.calibrate
    monkeypatch.setattr(
        "diffusers_deis_sn.collect.run.calibrate",
        lambda *a, **o: measure(*a, **o, num_samples=2, num_inference_steps=6, trials=0),
    )


def test_plans_are_added_to_statistics_that_are_measured_if_need_be(run, folder, tmp_path, monkeypatch):
    few(monkeypatch)
    command = ("tune", folder / "sd", "--prompts", folder / "prompts.txt", "--guidance-scale", "2", *QUICK)
    code, text, error = run(*command, "-o", tmp_path / "out")
    assert code == 0, error
    assert "| calls |" in text and "Tuning" in error
    record = ScoreStatistics.load(tmp_path / "out")
    assert record.origin.base_model == "sd"
    if record.plans is None:
        assert "No plan passed the test" in text
        return
    (plan,) = record.plans.entries
    assert (plan.calls, plan.guidance) == (2, 2.0)
    assert "1 of 1 plans accepted" in text and str(tmp_path / "out" / FILE) in text
    line = next(line for line in text.splitlines() if line.startswith("pipe.scheduler"))
    assert f'stats="{tmp_path / "out"}"' in line
    assert (tmp_path / "out" / "score_statistics.tuning.png").read_bytes().startswith(b"\x89PNG")
    assert {one.name for one in (tmp_path / "out").iterdir()} == {FILE, "score_statistics.tuning.png"}
    pipe, _ = BUILDERS["sd"]()
    scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=tmp_path / "out", guidance_scale=2.0)
    scheduler.set_timesteps(2)
    assert scheduler.plan == plan
    before = (tmp_path / "out" / FILE).read_bytes()
    code, text, _ = run(*command, "-o", tmp_path / "out")
    assert code == 0 and "has plans for all these" in text and (tmp_path / "out" / FILE).read_bytes() == before
    code, text, _ = run(*command, "-o", tmp_path / "out", "--check")
    assert code == 0 and "1 of 1 plans are still better" in text
    code, text, _ = run(*command, "-o", tmp_path / "out", "--force", "--json")
    events = [json.loads(line) for line in text.splitlines()]
    assert {one["event"] for one in events} <= {"tuning", "written", "warning"} and events[-1]["event"] == "written"


def test_without_matplotlib_it_says_how_to_have_a_picture(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = tmp_path / FILE
    assert commands._drawn(Tuning(tiny_record(), (found(),)), path, Speech()) is None
    assert 'pip install "diffusers-deis-sn[plot]"' in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_help(run):
    code, text, _ = run("tune", "--help")
    assert code == 0 and "--budget" in text and "--steps" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--steps", "5;8"), ["--steps", "5,8,10"]),
        (("--steps", "30"), ["--steps", "1 to 20"]),
        (("--budget", "soon"), ["--budget", "5m"]),
        (("--check",), ["--check", "there is no"]),
        (("--num-held-out", "1"), ["--num-held-out", "at least 4"]),
        (("--guidance-scale", "-1"), ["--guidance-scale"]),
        (("--guidance-scale", "3,x"), ["--guidance-scale", "several"]),
        (("--guidance-scale", "3,3"), ["--guidance-scale", "different"]),
        (("--num-processes", "0"), ["--num-processes"]),
        (("--json", "--quiet"), ["--json", "--quiet"]),
        (("--guidance-scale", "2", "--arg", "guidance_scale=3"), ["--guidance-scale", "twice"]),
    ],
)
def test_bad_input_is_one_line(run, folder, tmp_path, arguments, words):
    code, text, error = run("tune", folder / "sd", "-o", tmp_path / "out", *arguments)
    assert (code, text) == (2, "") and error.count("\n") == 1 and error.startswith("deis-sn: ")
    assert all(word in error for word in words), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("scale", "part"), [("3", ""), ("3", ".more"), ("3,7.5", ".g7.5"), ("3,7.5", ".g3.more")])
def test_what_was_left_unfinished_is_not_thrown_away(run, folder, tmp_path, scale, part):
    state = tmp_path / f".score_statistics.tuning{part}.safetensors"
    state.write_bytes(b"something")
    code, _, error = run("tune", folder / "sd", "-o", tmp_path, "--guidance-scale", scale)
    assert code == 2 and "--resume" in error and "--force" in error and state.exists()


def test_too_few_prompts_are_refused(run, folder, tmp_path, monkeypatch):
    few(monkeypatch)
    code, _, error = run("tune", folder / "sd", "--prompts", folder / "few.txt", "-o", tmp_path / "out", *QUICK)
    assert code == 2 and "--prompts" in error and "at least 4" in error


@pytest.mark.slow
def test_two_processes_write_what_one_does(tmp_path):
    pipe, _ = BUILDERS["ddpm"]()
    pipe.save_pretrained(tmp_path / "model")
    record = running.calibrate(pipe, None, 2, 6, trials=0, progress=False)
    free = {name: one for name, one in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    plans = {}
    for number in ("1", "2"):
        record.save(tmp_path / number)
        command = [sys.executable, "-m", "diffusers_deis_sn", "tune", tmp_path / "model", "-o", tmp_path / number]
        command += [*QUICK[:4], "--batch-size", "2", "--device", "cpu", "--steps", "2", "--num-processes", number]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=free)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("| calls |") == 1
        plans[number] = ScoreStatistics.load(tmp_path / number).plans
        assert not [one for one in (tmp_path / number).iterdir() if one.name.startswith(".")]
    one, two = plans.values()
    assert (one is None) == (two is None)
    for ours, theirs in zip(one.entries, two.entries, strict=True) if one else ():
        np.testing.assert_allclose(ours.run.rho, theirs.run.rho, rtol=1e-5)
        np.testing.assert_allclose(ours.run.weights, theirs.run.weights, atol=1e-3)
