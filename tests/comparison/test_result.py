"""The value and its documents."""

from __future__ import annotations

import csv
import io
import json

import pytest

from comparisons import HOSTILE, RIVAL_WINS, WE_WIN, made


def test_the_document_holds_what_was_measured_and_is_json() -> None:
    comparison = made()
    document = json.loads(comparison.to_json())
    assert document == comparison.document()
    assert (document["format"], document["format_version"]) == ("diffusers_deis_sn.compare", 1)
    assert document["steps"] == [6, 8, 10]
    assert document["prompts"][0] == HOSTILE
    for row, told in zip(comparison.rows, document["rows"], strict=True):
        assert told["distances"] == row.distances.tolist()
        assert told["geometric_mean"] == row.geometric_mean
        assert (told["ratio"] is None) == (row.further or row.scheduler == "DPM++ 2M")
    assert document["recommendation"]["sigmas"] == list(comparison.row("ScoreOptimal", 8).sigmas)
    assert document["recommendation"]["code"][1] == 'pipe.scheduler = ScoreOptimal("out/statistics")'


def test_the_share_of_the_check_is_that_of_the_least_distance() -> None:
    comparison = made()
    least = min(row.geometric_mean for row in comparison.rows)
    assert comparison.document()["reference"]["share_of_least"] == pytest.approx(0.0011 / least)


def test_every_row_is_a_line_of_the_table_for_other_programs() -> None:
    comparison = made()
    lines = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert len(lines) == len(comparison.rows)
    for row, line in zip(comparison.rows, lines, strict=True):
        assert (line["scheduler"], int(line["calls"])) == (row.scheduler, row.calls)
        assert float(line["geometric_mean"]) == row.geometric_mean
        assert [float(line[f"distance_{i}"]) for i in range(4)] == row.distances.tolist()


def test_the_least_of_each_column_is_bold() -> None:
    lines = made(RIVAL_WINS).table().splitlines()
    assert lines[0] == "| scheduler | 6 steps | 8 steps | 10 steps |"
    assert lines[2].startswith("| DPM++ 2M | **0.0") and lines[2].count("**") == 6
    assert "**" not in "".join(lines[3:])


def test_for_a_terminal_there_is_table_and_advice() -> None:
    text = str(made())
    assert made().advice.sentence in text and 'pipe.scheduler = ScoreOptimal("out/statistics")' in text
    assert "guidance 6" in text


def test_saving_writes_all_files_and_the_same_again(tmp_path) -> None:
    paths = made().save(tmp_path)
    assert {path.name for path in paths} == {"compare.html", "compare.json", "compare.csv", "grid.png"}
    before = {path: path.read_bytes() for path in paths}
    made().save(tmp_path)
    assert {path: path.read_bytes() for path in paths} == before


def test_without_pictures_there_is_no_grid(tmp_path) -> None:
    from dataclasses import replace

    bare = replace(made(), pictures={})
    assert "grid.png" not in {path.name for path in bare.save(tmp_path)}
    assert bare.document()["picture_size"] is None


def test_notebooks_see_the_advice_and_the_table() -> None:
    html = made()._repr_html_()
    assert "<table" in html and made().advice.sentence in html


def test_an_unknown_row_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        made(WE_WIN).row("UniPC", 99)
