"""What reaches stdout and stderr of a real process: our lines for people, JSON for programs, or nothing."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings

import pytest

from diffusers_deis_sn.cli.speaking import Speech
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.statistics import ScoreStatistics
from refusals import refused
from tiny_pipelines import BUILDERS

QUICK = ("--num-samples", "3", "--batch-size", "2", "--steps", "3", "--device", "cpu")
FILE = "score_statistics.safetensors"
# As users have it: the tests themselves silence other libraries.
TALKATIVE = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
PROGRAM = """
import sys
from diffusers_deis_sn.cli.app import main
from diffusers_deis_sn.collect import run
run.MENU, run.CALLS = run.MENU[:2], (2, 4)
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Stable Diffusion: other libraries have a lot to say when it is loaded."""
    place = tmp_path_factory.mktemp("models")
    BUILDERS["sd"]()[0].save_pretrained(place / "sd")
    (place / "prompts.txt").write_text("a red seven\na blue two\n")
    return place


def process(model, output, *options: str) -> tuple[list[str], list[str]]:
    """Lines on stdout and stderr of a calibration in a process of its own."""
    command = ("calibrate", model / "sd", "--prompts", model / "prompts.txt", "-o", output, *QUICK, *options)
    program = [sys.executable, "-c", PROGRAM, *map(str, command)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=TALKATIVE)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), [line.strip() for line in done.stderr.splitlines() if line.strip()]


@pytest.mark.slow
def test_people_see_our_bars_our_warnings_and_nothing_else(model, tmp_path):
    out, err = process(model, tmp_path, "--trials", "2")
    assert out[-1] == f"Measured 3 samples at 4 times. Written to {tmp_path / FILE}"
    assert [line for line in err if not line.startswith(("Calibrating", "Trying recipes", "These statistics "))] == []
    bars = [line for line in err if line.startswith("Calibrating")]
    assert "3.0/3 samples" in bars[-1] and "<00:" in bars[-1] and "r ±" in bars[-1]


@pytest.mark.slow
def test_programs_read_one_object_a_line_of_what_the_file_holds(model, tmp_path):
    out, err = process(model, tmp_path, "--json", "--trials", "2")
    events = [json.loads(line) for line in out]
    assert err == []
    kinds = [one["event"] for one in events]
    assert kinds == ["start", "batch", "batch", *["warning"] * kinds.count("warning"), *["trial"] * 4, "end", "written"]
    found = ScoreStatistics.load(tmp_path)
    start, batches, trials = events[0], events[1:3], [one for one in events if one["event"] == "trial"]
    assert start == {
        "event": "start",
        "model": "sd",
        "guidance_scale": found.origin.guidance_scale,
        "num_samples": 3,
        "num_inference_steps": 3,
        "trials": 2,
        "batch_size": 2,
        "seed": 0,
        "samples": 0,
    }
    assert [one["samples"] for one in batches] == [2, 3] and batches[-1]["remaining_s"] == 0.0
    assert batches[-1]["relative_error"] == pytest.approx((found.mean_abs_error / found.mean_abs).max())
    assert [one["error"] for one in trials] == found.trials.error.ravel().tolist()
    assert {(one["recipe"], one["calls"]) for one in trials} == {
        (str(r), n) for r in found.trials.recipes for n in (2, 4)
    }
    assert events[-2] == {"event": "end", "samples": 3, "times": 4, "relative_error": batches[-1]["relative_error"]}
    assert events[-1] == {"event": "written", "path": str(tmp_path / FILE)}


@pytest.mark.slow
def test_in_quiet_there_is_the_file_and_not_a_word(model, tmp_path):
    assert process(model, tmp_path, "--quiet", "--trials", "0") == ([], [])
    assert (tmp_path / FILE).is_file()


@pytest.mark.parametrize("form", [(), ("--quiet",), ("--json",)])
def test_a_dry_run_answers_and_writes_nothing(model, tmp_path, run, form):
    command = ("calibrate", model / "sd", "--prompts", model / "prompts.txt", "-o", tmp_path / "new" / "out", *QUICK)
    code, out, err = run(*command, "--dry-run", *form)
    assert (code, err) == (0, "") and list(tmp_path.iterdir()) == []
    if form == ("--json",):
        found = json.loads(out)
        assert (found["event"], found["least"], found["most"]) == ("dry_run", 8, 8)
        total = (8 + found["trials"]) * found["seconds_per_call"]
        assert found["seconds"] == pytest.approx([total, total]) and found["memory_mib"] > 0.0
    else:
        assert out.startswith("8 network calls to measure and up to ") and " s a call" in out and "MiB" in out


def test_both_at_once_are_refused():
    refused(CalibrationError, ["`json`", "`quiet`"], Speech, json=True, quiet=True)


def test_in_quiet_warnings_are_off_within_and_not_after(caplog):
    logger = logging.getLogger("diffusers_deis_sn")
    before = logger.level
    with pytest.raises(KeyError), Speech(quiet=True).alone(), warnings.catch_warnings(record=True) as seen:
        logger.warning("rough")
        logger.error("broken")
        warnings.warn("old", UserWarning, stacklevel=1)
        raise KeyError
    assert [record.getMessage() for record in caplog.records] == ["broken"] and seen == []
    assert logger.level == before
    with pytest.warns(UserWarning, match="old"):
        warnings.warn("old", UserWarning, stacklevel=1)


def test_each_form_has_its_progress():
    assert [Speech(*one).progress for one in ((False, False), (True, False), (False, True))] == [True, "json", False]
