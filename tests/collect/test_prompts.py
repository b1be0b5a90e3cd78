"""Files of prompts: what is read of each form, and what is refused with the place and the remedy."""

from __future__ import annotations

import json

import pytest

from diffusers_deis_sn.collect.prompts import prompts_given, read_prompts
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused

PROMPTS = ["a red seven", "a blue, wide two", 'a "green" four', "ein Würfel"]
NEGATIVE = ["dull", "", "blurred, grey", ""]
BOTH = {"prompt": PROMPTS, "negative_prompt": NEGATIVE}


def quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def table(delimiter: str, first: str = "prompt", second: str = "negative_prompt") -> str:
    rows = zip([first, *PROMPTS], [second, *NEGATIVE], strict=True)
    return "\n".join(delimiter.join(map(quoted, row)) for row in rows) + "\n"


def lines_of_objects(negative: str = "negative_prompt") -> str:
    rows = zip(PROMPTS, NEGATIVE, strict=True)
    return "".join(json.dumps({"prompt": a} | ({negative: b} if b else {})) + "\n\n" for a, b in rows)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("p.txt", "\n".join(["", *PROMPTS, "  "]), {"prompt": PROMPTS}),
        ("prompts", "\n".join(f"  {one} " for one in PROMPTS), {"prompt": PROMPTS}),
        ("p.csv", table(","), BOTH),
        ("p.CSV", table(",", "Prompt ", "Negative"), BOTH),
        ("p.tsv", table("\t"), BOTH),
        ("p.jsonl", lines_of_objects(), BOTH),
        ("p.jsonl", lines_of_objects("negative"), BOTH),
        ("p.jsonl", "\n".join(map(json.dumps, PROMPTS)), {"prompt": PROMPTS}),
    ],
)
def test_every_form_holds_the_same_prompts(tmp_path, name, text, expected, encoding, newline):
    (tmp_path / name).write_bytes(text.replace("\n", newline).encode(encoding))
    assert read_prompts(tmp_path / name) == expected


def test_a_prompt_in_quotes_may_have_lines_and_other_columns_are_not_read(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text('id,prompt,prompt_2,Category\n1,"two\nlines",x,Animals\n2,one,,\n')
    assert read_prompts(file) == {"prompt": ["two\nlines", "one"], "prompt_2": ["x", ""]}


def test_a_row_without_a_prompt_is_one_where_it_says_something_else(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("prompt,negative\n,\n,dull\na,\n")
    assert read_prompts(file) == {"prompt": ["", "a"], "negative_prompt": ["dull", ""]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.txt", b" \n\n", ["holds no prompts"]),
        ("p.csv", b"", ["holds no prompts"]),
        ("p.csv", b"prompt,negative\n", ["holds no prompts"]),
        ("p.txt", b"\xff\xfea\x00", ["not a text in UTF-8"]),
        ("p.json", b'["a"]', [".jsonl"]),
        ("p.csv", b"a red seven\na blue two\n", ["no column 'prompt'", "'a red seven'"]),
        ("p.csv", b"prompt,negativ_prompt\na,b\n", ["'negativ_prompt'", "'negative_prompt'"]),
        ("p.csv", b"prompt,negative,negative_prompt\na,b,c\n", ["two columns for 'negative_prompt'"]),
        ("p.csv", b"prompt,negative\na fox, red,dull\n", ["Row 2", "3 fields", "2 columns", "in quotes"]),
        ("p.csv", b'prompt\n"open\n', ["is not a table", "in quotes"]),
        ("p.jsonl", b'"a"\n{"prompt": \n', ["Line 2", "not JSON"]),
        ("p.jsonl", b"3\n", ["Line 1", "an object or a text", "'3'"]),
        ("p.jsonl", b'{"prompt": 3}\n', ["Line 1", "a text for 'prompt'", "got 3"]),
        ("p.jsonl", b'{"prompt": "a", "negative": "\\ud83d"}\n', ["Line 1", "a text for 'negative_prompt'", r"\ud83d"]),
        ("p.jsonl", b'{"promt": "a"}\n', ["'promt'", "'prompt'"]),
        ("p.jsonl", b'{"id": "a"}\n', ["no column 'prompt'", "'id'"]),
    ],
)
def test_what_is_no_file_of_prompts_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    refused(CalibrationError, [name, *words], read_prompts, tmp_path / name)


def test_a_path_to_nothing_or_to_a_folder_is_refused(tmp_path):
    refused(CalibrationError, ["none.txt", "No such file"], prompts_given, tmp_path / "none.txt", {})
    refused(CalibrationError, [tmp_path.name, "directory"], prompts_given, tmp_path, {})


def test_what_is_no_file_stays_as_it_is():
    for prompts in (None, "a red fox", ["a.txt", "b"], ("a",)):
        assert prompts_given(prompts, {"eta": 1}) == (prompts, {"eta": 1})


def test_a_file_in_the_place_of_prompts_is_read_and_its_columns_are_arguments(tmp_path, monkeypatch):
    (tmp_path / "p.csv").write_text(table(","))
    monkeypatch.chdir(tmp_path)
    for name in ("p.csv", tmp_path / "p.csv"):
        assert prompts_given(name, {"eta": 1}) == (PROMPTS, {"eta": 1, "negative_prompt": NEGATIVE})
    refused(CalibrationError, ["`negative_prompt`", "column"], prompts_given, "p.csv", {"negative_prompt": "dull"})
    refused(CalibrationError, ["'q.csv'", "not there"], prompts_given, "q.csv", {})
