"""Every command that writes: an output that cannot be is known before the work, and nothing old is harmed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from diffusers_deis_sn.cli.app import app
from records import costed_record, write_published

WITH_OUTPUT = {"calibrate", "compare", "import", "plot", "schedule", "tune"}
IN_PLACE = {"card", "package"}  # that write into the folder which they are given
NOTHING_WRITTEN = {"inspect", "push", "serve"}


def commands() -> dict[str, list[str]]:
    """Names and options of all commands."""
    found = typer.main.get_command(app).commands
    return {name: [option for one in command.params for option in one.opts] for name, command in found.items()}


def test_every_command_is_known_to_write_or_not():
    assert commands().keys() == WITH_OUTPUT | IN_PLACE | NOTHING_WRITTEN
    assert {name for name, options in commands().items() if "--output" in options} == WITH_OUTPUT


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> dict[str, list[str]]:
    """Of each command, all but the output; whoever begins to work fails the test."""
    from diffusers_deis_sn.collect.loading import Loading
    from diffusers_deis_sn.learn import export
    from diffusers_deis_sn.plots import figures
    from diffusers_deis_sn.statistics import published

    def begun(*_: object, **__: object) -> None:
        pytest.fail("the work was begun")

    monkeypatch.setattr(Loading, "load", begun)
    monkeypatch.setattr(figures, "normaliser_figure", begun)
    monkeypatch.setattr(export, "schedule_text", begun)
    monkeypatch.setattr(published, "read_published", begun)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    statistics, model = str(costed_record().save(tmp_path / "statistics")), str(tmp_path / "model")
    return {
        "calibrate": ["calibrate", model],
        "compare": ["compare", model, "--stats", statistics],
        "tune": ["tune", model],
        "plot": ["plot", statistics],
        "schedule": ["schedule", statistics],
        "import": ["import", str(write_published(tmp_path / "published.pt"))],
    }


@pytest.mark.parametrize("command", sorted(WITH_OUTPUT))
@pytest.mark.parametrize("place", ["/proc/nowhere", "file", "~nosuch-user", "m" * 300])
def test_an_output_that_cannot_be_written_is_known_before_the_work(run, tmp_path, arguments, command, place):
    (tmp_path / "file").write_text("old")
    known = {path.name for path in tmp_path.rglob("*")}
    folder = place if place[0] in "/~" else tmp_path / place
    ending = "/out.png" if command == "plot" else "/out"
    code, out, err = run(*arguments[command], "-o", f"{folder}{ending}")
    assert (code, out) == (2, "") and err.startswith("deis-sn: ") and err.count("\n") == 1, err
    assert re.search(r"Choose another|Correct it|Write the whole path|Choose a folder", err), err
    assert {path.name for path in tmp_path.rglob("*")} == known and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("command", ["plot", "schedule"])
def test_a_folder_in_the_place_of_a_file_is_known_before(run, tmp_path, arguments, command):
    (tmp_path / "out.png").mkdir()
    code, _, err = run(*arguments[command], "-o", tmp_path / "out.png")
    assert code == 2 and "is a folder" in err


@pytest.mark.parametrize(
    ("command", "ending"), [("plot", "png"), ("plot", "svg"), ("plot", "pdf"), ("schedule", "txt")]
)
def test_a_failure_while_a_file_is_written_leaves_the_old_one(run, tmp_path, monkeypatch, command, ending):
    costed_record().save(tmp_path / "statistics")
    output = tmp_path / f"out.{ending}"
    output.write_text("old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        code, _, err = run(command, tmp_path / "statistics", "-o", output)
    assert code == 2 and "No space" in err and output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out.{ending}", "statistics"]
    assert run(command, tmp_path / "statistics", "-o", output)[0] == 0 and output.read_bytes() != b"old"


def test_the_lists_of_a_schedule_go_to_a_file(run, tmp_path):
    costed_record().save(tmp_path)
    _, text, summary = run("schedule", tmp_path, "--steps", "7")
    code, nothing, again = run("schedule", tmp_path, "--steps", "7", "-o", tmp_path / "a" / "lists.txt")
    assert (code, nothing, again) == (0, "", summary)
    assert (tmp_path / "a" / "lists.txt").read_text() == text


def test_no_module_writes_by_itself():
    """What users keep is written by `write_together` alone; the others write into folders that are deleted."""
    source = Path(__file__).parents[2] / "src" / "diffusers_deis_sn"
    ways = (r"\.write_(?:bytes|text)\(", r"\bopen\([^)]*\"[wax]", r"savefig\((?!data|\"name)", r"\.save\((?:path|str)")
    found = {path.name for path in source.rglob("*.py") if re.search("|".join(ways), path.read_text("utf-8"))}
    assert found <= {"atomic_write.py", "push.py", "run.py", "tuning.py"}, found
