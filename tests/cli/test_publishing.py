"""The commands that publish: what they say and where they stop. The Hub's side of them is in tests/hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics import ScoreStatistics
from records import gaussian_record

FILE = "score_statistics.safetensors"
MODEL = Path(__file__).resolve().parents[2] / "examples/models/tiny-sd-digits"


@pytest.fixture
def folder(tmp_path):
    gaussian_record().save(tmp_path / "mine")
    (tmp_path / "mine" / "normaliser.png").write_bytes(b"drawn before")
    return tmp_path / "mine"


def test_a_dry_run_lists_what_would_go_up_and_writes_nothing(run, folder):
    code, text, _ = run("push", folder, "user/repo", "--dry-run")
    assert code == 0
    for name, size in ((FILE, (folder / FILE).stat().st_size), ("normaliser.png", 12), ("README.md", "")):
        assert f"{size} bytes  {name}" in text
    assert "Nothing was sent" in text
    assert "/user/repo" in text
    assert sorted(path.name for path in folder.iterdir()) == ["normaliser.png", FILE]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("push", "{}", "no-repository"), ["user/repo"]),
        (("push", "{}", "user/repo"), ["HF_HUB_OFFLINE"]),
        (("push", "{}/none", "user/repo"), ["No statistics at"]),
        (("card", "{}/none"), ["No statistics at"]),
        (("card", "{}", "--notes", "{}/none"), ["none"]),
        (("package", "{}"), ["no saved pipeline"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, folder, arguments, words):
    code, text, error = run(*(one.format(folder) for one in arguments))
    assert (code, text) == (2, "")
    assert error.startswith("deis-sn: ")
    assert error.count("\n") == 1
    for word in words:
        assert word in error


def test_a_card_is_written_beside_the_statistics(run, folder, tmp_path):
    (tmp_path / "notes.md").write_text("## How\n\nBy hand.")
    code, text, _ = run("card", folder, "--name", "user/repo", "--notes", tmp_path / "notes.md")
    assert code == 0
    assert "README.md" in text
    card = (folder / "README.md").read_text()
    assert 'stats="user/repo"' in card
    assert card.endswith("By hand.\n")
    assert run("card", folder, "--name", "user/repo", "--notes", tmp_path / "notes.md")[1] == "Nothing has changed\n"
    assert ScoreStatistics.load(folder) == gaussian_record()


def test_a_pipeline_is_packaged_in_either_form(run, tmp_path):
    shutil.copytree(MODEL, tmp_path / "pipe", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((MODEL / "scheduler/scheduler_config.json").read_text())
    DEISSNScheduler.from_config(config).save_pretrained(tmp_path / "pipe" / "scheduler")
    index = json.loads((MODEL / "model_index.json").read_text()) | {
        "scheduler": ["diffusers_deis_sn", "DEISSNScheduler"]
    }
    (tmp_path / "pipe" / "model_index.json").write_text(json.dumps(index))
    code, text, _ = run("package", tmp_path / "pipe")
    assert code == 0
    assert "DEISSNScheduler.from_pretrained" in text
    assert run("package", tmp_path / "pipe")[1].startswith("Nothing has changed")
    code, text, _ = run("package", tmp_path / "pipe", "--remote-code")
    assert code == 0
    assert "deis_sn_scheduler.py" in text
    assert "trust_remote_code=True" in text
    assert "Removed: " in run("package", tmp_path / "pipe")[1]
