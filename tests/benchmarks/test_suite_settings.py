"""What to set, and where we lose: figures of results.csv, the same as the suite's own from all samples."""

from __future__ import annotations

import csv
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite import rows
from benchmarks.suite.cells import DEIS_SN, cells_of
from benchmarks.suite.error_figure import error_figure
from benchmarks.suite.ratios_figure import network_of, ratios_figure
from benchmarks.suite.report import write_report
from benchmarks.suite.samplers import LEARNED, OURS, PLAIN, TUNED
from benchmarks.suite.settings import (
    FOLDER,
    Setting,
    calls_for,
    figure_words,
    losses,
    mean_errors,
    settings_of,
    settings_table,
)
from diffusers_deis_sn.plots.style import DARK, LIGHT, Palette

RIVALS = {"UniPC": 1.0, "DDIM": 2.0}


def row(problem: str, sampler: str, error: float, calls: int, kind: str, seed: int) -> rows.Row:
    place = {"problem": problem, "role": "reporting", "group": "network", "family": "vp", "kind": kind, "calls": calls}
    errors = rows.packed(np.array([error, 4.0 * error]))
    return rows.Row(**place, sampler=sampler, asked=calls, seed=seed, samples=2, geometric=2.0 * error, errors=errors)


@pytest.fixture
def found() -> list[rows.Row]:
    made = []
    for seed, factor in ((1, 1.0), (2, 4.0)):
        for calls in (5, 8):
            scale = factor * 5.0 / calls
            for problem in ("net@1", "net@7.5"):
                made += [row(problem, name, e * scale, calls, rows.RIVAL, seed) for name, e in RIVALS.items()]
                made.append(row(problem, OURS, (0.5 if "@1" in problem else 1.5) * scale, calls, rows.OURS, seed))
                made += [row(problem, name, 3.0 * scale, calls, rows.OURS, seed) for name in (LEARNED, PLAIN)]
    made.append(row("net@1", "lucky once", 1e-3, 5, rows.RIVAL, 1))  # of one seed alone
    return made


@pytest.fixture
def results(found: list[rows.Row], tmp_path: Path) -> Path:
    rows.write(tmp_path / "results.csv", found, without=("errors", "stamp"))
    return tmp_path / "results.csv"


def test_settings_are_the_cells_of_the_suite(found: list[rows.Row], results: Path) -> None:
    settings = {(one.problem, one.calls): one for one in settings_of(results)}
    cells = cells_of(found)
    assert len(settings) == len(cells) == 4
    for cell in cells:
        one = settings[cell.problem, cell.calls]
        assert one.best == cell.best().name == "UniPC"
        assert one.ratio(OURS) == pytest.approx(cell.ratio(OURS), rel=1e-6)


def test_the_committed_report_says_the_same() -> None:
    """Its cells.md has ratios of all samples."""
    text = (FOLDER / "cells.md").read_text()
    for one in settings_of(FOLDER / "results.csv"):
        part = text.partition(f"## {one.problem} (")[2].partition("\n## ")[0]
        line = next(line for line in part.splitlines() if line.startswith((f"| {one.calls} |", f"| {one.calls}* |")))
        ratio = float(line.split("|")[5].split("[")[0])  # of errors in float16
        assert ratio == pytest.approx(one.ratio(OURS), abs=0.011), (one.problem, one.calls)


def test_who_is_nearest_is_named_and_a_rival_where_it_wins(results: Path) -> None:
    table = settings_table(settings_of(results)).splitlines()
    unguided = next(line for line in table if line.startswith("| 1 (none) | yes"))
    assert unguided.count("DEIS-SN 0.50") == 2  # 5 and 8 calls; nobody ran the others
    strong = next(line for line in table if line.startswith("| 6 to 7.5 | yes"))
    assert strong.count("UniPC (ours 1.50)") == 2


def test_plans_are_beside_the_rest_where_all_networks_have_them(results: Path, tmp_path: Path) -> None:
    tuned = [
        row(problem, TUNED, 0.25 * factor * 5.0 / calls, calls, rows.OURS, seed)
        for seed, factor in ((1, 1.0), (2, 4.0))
        for problem, calls in (("net@1", 5), ("net@7.5", 5), ("net@1", 8))
    ]
    rows.write(tmp_path / "plans.csv", tuned, without=("errors", "stamp"))
    settings = settings_of(results, tmp_path / "plans.csv")
    assert mean_errors(settings)[TUNED] == {5: pytest.approx(0.25 * 4.0)}  # of 8 calls one network has none
    assert mean_errors(settings)["best rival"] == mean_errors(settings_of(results))["best rival"]
    table = [line for line in settings_table(settings).splitlines() if "and tuned" in line]
    assert [line.count("tuned 0.25") for line in table] == [2, 1]
    assert "| 1.50 | 0.25 |" in losses(settings)


def test_plans_of_some_networks_do_not_speak_for_all() -> None:
    ours, rivals = {DEIS_SN: 0.5, LEARNED: 0.6, PLAIN: 0.9}, {"UniPC": 1.0}
    both = [Setting(f"{name}@1", "reporting", "network", n, ours, rivals) for name in "ab" for n in (5, 15)]
    tuned = [replace(one, ours=ours | {TUNED: 0.2}) if one.problem == "a@1" or one.calls == 5 else one for one in both]
    line = next(line for line in settings_table(tuned).splitlines() if "and tuned" in line)
    assert line.count("tuned 0.20") == 1 and line.split("|")[3].strip() == "tuned 0.20"


def test_losses_are_all_that_are_lost(results: Path) -> None:
    text = losses(settings_of(results))
    assert "in 2 of 4 cells" in text and text.count("| net@7.5 | reporting |") == 2


def test_calls_for_an_error_are_read_off_the_line() -> None:
    line = {5: 1.0, 10: 0.25, 20: 0.0625}
    assert calls_for(line, 0.25) == pytest.approx(10.0) and calls_for(line, 0.5) == pytest.approx(50.0**0.5)
    assert calls_for(line, 0.01) is None


def test_the_figure_draws_the_means_and_says_that_less_is_better(results: Path) -> None:
    lines = mean_errors(settings_of(results))
    assert lines["best rival"] == {5: pytest.approx(4.0), 8: pytest.approx(2.5)}
    (axis,) = error_figure(lines).axes
    drawn = {tuple(line.get_ydata()) for line in axis.lines}
    assert drawn == {tuple(one.values()) for one in lines.values()} and "lower is better" in axis.get_title("left")
    words = figure_words(settings_of(results))
    assert words.startswith("For the error that `DEISSNScheduler` has in 5 and 8 calls, the best rival of some 25 ")
    assert "if ours has statistics of the model" in words and "if it has no statistics" in words
    assert "tuned" not in words


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_the_figure_of_ratios_has_a_panel_for_each_network_and_all_points_in_sight(palette: Palette) -> None:
    settings = settings_of(FOLDER / "results.csv")
    panels = [axis for axis in ratios_figure(settings, palette).axes if axis.get_visible()]
    assert len(panels) == len({network_of(one.problem) for one in settings})
    low, high = panels[0].get_ylim()
    assert all(low < one.ratio(name) < high for one in settings for name in (OURS, LEARNED) if name in one.ours)


def test_the_report_of_a_suite_writes_them(found: list[rows.Row], tmp_path: Path) -> None:
    place = tmp_path / "rows"
    place.mkdir()
    rows.write(place / "net.csv", found)
    write_report(place, tmp_path / "report", pictures=False)
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert written >= {
        "settings.md",
        "losses.md",
        "error-words.md",
        "rivals.md",
        "error-against-calls.png",
        "results.csv",
        "ratios.png",
    }
    with (tmp_path / "report/results.csv").open() as file:
        assert {field.name for field in fields(rows.Row)} > set(next(csv.reader(file)))
