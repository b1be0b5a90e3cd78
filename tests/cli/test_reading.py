"""The commands that read statistics: what they print is that of the library, and what they refuse is one line."""

from __future__ import annotations

import csv
import io
import json

import pytest

from diffusers_deis_sn import learned_sigmas
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.export import FORMATS, learned_levels, schedule_facts, schedule_summary, schedule_text
from diffusers_deis_sn.learn.part import Part
from diffusers_deis_sn.statistics.facts import facts
from records import costed_record, edm_record, flow_record, gaussian_record, guided_family, tiny_record


def assert_one_line(error: str, *fragments: object) -> None:
    assert error.startswith("deis-sn: ")
    assert error.count("\n") == 1
    for fragment in fragments:
        assert str(fragment) in error


def test_inspect_prints_the_record(run, tmp_path):
    path = gaussian_record().save(tmp_path)
    assert run("inspect", path) == (0, gaussian_record().inspect() + "\n", "")
    assert run("inspect", tmp_path)[1] == run("inspect", path)[1]


def test_plot_writes_a_picture(run, tmp_path):
    gaussian_record().save(tmp_path)
    code, text, _ = run("plot", tmp_path, "-o", tmp_path / "figures" / "r.png")
    assert (code, text) == (0, f"Written to {tmp_path / 'figures' / 'r.png'}\n")
    assert (tmp_path / "figures" / "r.png").read_bytes().startswith(b"\x89PNG")


def test_plot_refuses_what_is_no_picture(run, tmp_path):
    gaussian_record().save(tmp_path)
    code, _, error = run("plot", tmp_path, "-o", tmp_path / "r.txt")
    assert code == 2
    assert_one_line(error, "r.txt", ".png")


def test_schedule_prints_the_lists_and_nothing_else(run, tmp_path):
    record = costed_record()
    record.save(tmp_path)
    for form in FORMATS:
        code, text, error = run("schedule", tmp_path, "--steps", "7", "--format", form)
        assert (code, text) == (0, schedule_text(record, 7, form) + "\n")
        assert error == schedule_summary(record, 7) + "\n"
    assert run("schedule", tmp_path)[1] == run("schedule", tmp_path, "--steps", "10", "--format", "diffusers")[1]


def test_schedule_has_every_option_of_the_library(run, tmp_path):
    record = costed_record()
    record.save(tmp_path)
    levels = learned_levels(record, 6, "predictor", "unit", "sigma_min", 0.4)
    options = ("--steps", 6, "--cost", "predictor", "--velocity", "unit", "--end", "sigma_min", "--format", "comfyui")
    options += ("--spread", 0.4)
    code, text, error = run("schedule", tmp_path, *options)
    assert code == 0
    assert [float(one) for one in text.split(",")] == pytest.approx(levels, rel=1e-6)
    assert "predictor" in error and "v = unit" in error


def test_schedule_refuses_bad_input_in_one_line(run, tmp_path):
    costed_record().save(tmp_path / "costed")
    gaussian_record().save(tmp_path / "bare")
    cases = (
        ((tmp_path / "bare",), "no 'solver' cost (they have none)"),
        ((tmp_path / "bare", "--cost", "corrector"), "deis-sn calibrate MODEL --cost corrector"),
        ((tmp_path / "bare", "--cost", "predictor"), "no 'predictor' cost"),
        ((tmp_path / "costed", "--steps", "0"), "at least 1, and at most 100000, got 0"),
        ((tmp_path / "costed", "--steps", "997"), "996 whole training times"),
        ((tmp_path / "costed", "--format", "a1111", "--end", "sigma_min"), "AUTOMATIC1111"),
        ((tmp_path / "costed", "-o", tmp_path / "costed" / "score_statistics.safetensors"), "not the name of a list"),
    )
    for arguments, fragment in cases:
        code, text, error = run("schedule", *arguments)
        assert (code, text) == (2, ""), fragment
        assert_one_line(error, fragment)
    for arguments in (("--format", "webui"), ("--cost", "energy"), ("--velocity", "light")):
        code, text, _ = run("schedule", tmp_path / "costed", *arguments)
        assert (code, text) == (2, ""), arguments


@pytest.mark.parametrize("figure", ["normaliser", "schedule"])
def test_plot_draws_the_figure_that_is_asked_for_under_its_name(run, tmp_path, monkeypatch, figure):
    monkeypatch.chdir(tmp_path)
    costed_record().save(tmp_path / "costed")
    assert run("plot", "costed", "--figure", figure) == (0, f"Written to {figure}.png\n", "")
    assert (tmp_path / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    if figure == "normaliser":
        assert run("plot", "costed", "-o", "default.svg")[0] == 0
        assert "E|ε|" in (tmp_path / "default.svg").read_text("utf-8")


def test_plot_of_a_schedule_has_its_options_and_needs_its_cost(run, tmp_path, monkeypatch):
    drawn = []

    def figure(statistics, steps, cost, velocity):
        drawn.append((statistics, steps, cost, velocity))
        return original(statistics, steps, cost, velocity)

    from diffusers_deis_sn.plots import schedule

    original = schedule.schedule_figure
    monkeypatch.setattr(schedule, "schedule_figure", figure)
    record = costed_record()
    record.save(tmp_path / "costed")
    gaussian_record().save(tmp_path / "bare")
    options = ("--figure", "schedule", "-o", tmp_path / "s.svg")
    assert (
        run("plot", tmp_path / "costed", *options, "--steps", "4", "--cost", "predictor", "--velocity", "unit")[0] == 0
    )
    assert drawn == [(record, 4, "predictor", "unit")]
    code, text, error = run("plot", tmp_path / "bare", *options)
    assert (code, text) == (2, "")
    assert_one_line(error, "deis-sn calibrate MODEL -o FOLDER")
    assert_one_line(run("plot", tmp_path / "costed", "--figure", "schedule", "--steps", "0")[2], "at least 1")


@pytest.mark.parametrize("command", ["inspect", "schedule", "plot"])
def test_bad_files_are_one_line_without_traceback(run, tmp_path, command):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny_record().to_bytes()[:-3])
    for path in (damaged, tmp_path / "missing.safetensors", tmp_path):
        code, text, error = run(command, path)
        assert (code, text) == (2, "")
        assert_one_line(error, path)


def test_inspect_tells_a_program_all_of_it(run, tmp_path):
    for record in (costed_record(), guided_family(vp_schedule())):
        record.save(tmp_path / str(len(record.guidances)))
        code, text, error = run("inspect", tmp_path / str(len(record.guidances)), "--json")
        assert (code, error) == (0, "") and text.count("\n") == 1
        assert json.loads(text) == facts(record)


@pytest.mark.parametrize("record", [costed_record(), edm_record(), flow_record()], ids=["vp", "edm", "flow"])
def test_json_and_csv_hold_one_schedule(run, tmp_path, record):
    record.save(tmp_path)
    code, text, _ = run("schedule", tmp_path, "--steps", 6, "--format", "json")
    told = json.loads(text)
    assert code == 0 and told == json.loads(json.dumps(schedule_facts(record, 6)))
    assert told["sigmas"] == learned_sigmas(record, 6).tolist()
    assert (len(told["sigmas"]), len(told["timesteps"]), told["steps"]) == (7, 6, 6)
    code, text, _ = run("schedule", tmp_path, "--steps", 6, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["call"]) for row in rows] == list(range(7))
    assert [float(row["sigma"]) for row in rows] == pytest.approx(told["sigmas"], rel=1e-6)
    assert [float(row["rho"]) for row in rows] == pytest.approx(told["levels"], rel=1e-6)
    assert [float(row["timestep"]) for row in rows[:-1]] == pytest.approx(told["timesteps"], rel=1e-6)
    assert rows[-1]["timestep"] == ""


def test_a_part_of_the_process_is_that_of_the_library(run, tmp_path):
    record = costed_record()
    record.save(tmp_path)
    options = ("--denoise", 0.6, "--start", 0.9, "--end", 0.02, "--steps", 5, "--format", "comfyui")
    code, text, error = run("schedule", tmp_path, *options)
    assert code == 0 and "from 0.9 to 0.02 of the process, the last 0.6 of it" in error
    expected = learned_sigmas(record, 5, denoise=0.6, start=0.9, end=0.02)
    assert [float(one) for one in text.split(",")] == pytest.approx(expected, rel=1e-6)
    assert error.strip() == schedule_summary(record, 5, part=Part(0.9, 0.02, 0.6))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--denoise", "0"), ("--denoise", "above 0 and up to 1", "0.0")),
        (("--denoise", "1.5"), ("--denoise", "1.5")),
        (("--denoise", "nan"), ("--denoise", "nan")),
        (("--start", "0"), ("--start", "above 0 and up to 1")),
        (("--start", "2"), ("--start", "2.0")),
        (("--start", "0.0001"), ("--start must lie above the cleanest measured level",)),
        (("--start", "0.5", "--end", "0.5"), ("--end", "below that of the start, 0.5", "0.5")),
        (("--end", "never"), ("--end", "zero, sigma_min or a share", "'never'")),
        (("--end", "-1"), ("--end", "-1.0")),
        (("--steps", "0"), ("--steps must be a whole number of at least 1, and at most 100000, got 0",)),
        (("--format", "a1111", "--end", "0.1"), ("AUTOMATIC1111", "--end")),
    ],
    ids=str,
)
def test_bad_parts_are_refused_by_their_flag(run, tmp_path, options, words):
    costed_record().save(tmp_path)
    code, text, error = run("schedule", tmp_path, *options)
    assert (code, text) == (2, "")
    assert_one_line(error, *words)
    assert "`" not in error
