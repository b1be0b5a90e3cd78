"""Every text of a comparison, read off its value and its document by a program, with every payload in its place."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from comparisons import made, made_with_plans
from diffusers_deis_sn.comparison.grids import grid
from diffusers_deis_sn.comparison.page import VERDICTS, page, summary
from diffusers_deis_sn.comparison.result import FORMAT, Comparison
from diffusers_deis_sn.statistics import ScoreStatistics
from strangers import PAYLOADS, printable
from test_escaping import Reader

EACH = pytest.mark.parametrize("payload", [one[:300] for one in PAYLOADS.values()], ids=PAYLOADS)
OURS = {FORMAT, "converged", *VERDICTS}
"""Words that only we write, and that decide something."""
WHOLE = made_with_plans()


def texts(value: Any) -> Iterator[str]:
    """Every text in a value: of fields, lists, and keys of what others name."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from texts(one)
            if not isinstance(one, Mapping | list | tuple) and name in (*WHOLE.setting.arguments, *versions()):
                yield name
    elif isinstance(value, list | tuple | frozenset):
        for one in value:
            yield from texts(one)
    elif is_dataclass(value) and not isinstance(value, ScoreStatistics):
        for one in fields(value):
            yield from texts(getattr(value, one.name))


def versions() -> tuple[str, ...]:
    """Names that versions are of, but for ours, which the page looks up."""
    return tuple(name for name in WHOLE.setting.versions if name != "diffusers_deis_sn")


def changed(value: Any, new: Mapping[str, str]) -> Any:
    """The value with other texts; lists of one kind stay of that kind."""
    if isinstance(value, str):
        return new.get(value, value)
    if isinstance(value, Mapping):
        return {changed(name, new): changed(one, new) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(changed(one, new) for one in value)
    if is_dataclass(value) and not isinstance(value, type | ScoreStatistics):
        return replace(value, **{one.name: changed(getattr(value, one.name), new) for one in fields(value) if one.init})
    return value


def renamed(value: Any, text: str) -> dict[str, str]:
    """Another text for each text of a value, all of them different."""
    kept = {*OURS, "guidance_scale", "height"} | {one.name for one in fields(Comparison)}
    found = dict.fromkeys(one for one in texts(value) if one not in kept)
    return {one: f"{text}{i}" for i, one in enumerate(found)}


def shape(text: str) -> tuple[list[str], list[str]]:
    """Tags and attributes, in their order."""
    read = Reader(text)
    return read.tags, read.attributes


def test_the_program_finds_every_text():
    found = renamed(WHOLE.document(), "x")
    for part in (WHOLE.setting.model, WHOLE.setting.prompts[0], WHOLE.skipped[0].reason, WHOLE.place, "torch", "2.9"):
        assert part in found
    assert {one.name for one in WHOLE.contenders} <= found.keys() and len(found) > 25


@EACH
def test_the_page_is_the_same_whatever_its_document_says(payload):
    document = WHOLE.document()
    pages = []
    for text in ("ordinary", payload):
        new = renamed(document, text)
        other, pictures = changed(document, new), changed(dict(WHOLE.pictures), new)
        pages.append((page(other, pictures), summary(other)))
        if text is payload:
            assert grid(other, pictures, 8, 2).startswith(b"\x89PNG")
    (plain_page, plain_summary), (strange_page, strange_summary) = pages
    assert shape(strange_page) == shape(plain_page) and shape(strange_summary) == shape(plain_summary)
    assert printable(strange_page) and printable(strange_summary)


@pytest.mark.parametrize("name", ["arguments", "versions"])
def test_names_that_others_give_are_texts_too(name):
    document = WHOLE.document()
    for payload in (PAYLOADS[one][:300] for one in PAYLOADS):
        other = {**document, name: {payload: payload, "guidance_scale": payload}}
        plainer = {**document, name: {"ordinary": "ordinary", "guidance_scale": "7"}}
        assert shape(page(other, WHOLE.pictures)) == shape(page(plainer, WHOLE.pictures))


@EACH
def test_what_is_printed_and_written_is_the_text_and_no_more(payload, tmp_path):
    new = renamed([getattr(WHOLE, one.name) for one in fields(WHOLE) if one.name != "pictures"], payload)
    strange: Comparison = changed(WHOLE, new)
    assert printable(str(strange)) and printable(repr(strange)) and "\n" not in repr(strange)
    assert str(strange).count("\n") == str(WHOLE).count("\n")
    document = json.loads(strange.to_json())
    names = [row["scheduler"] for row in document["rows"]]
    assert (
        names == [new[row.scheduler] for row in WHOLE.rows] and document["prompts"][0] == new[WHOLE.setting.prompts[0]]
    )
    lines = list(csv.reader(io.StringIO(strange.to_csv(), newline="")))
    assert [line[0] for line in lines[1:]] == names and {len(line) for line in lines} == {len(lines[0])}
    assert len(strange.save(tmp_path)) == 4
    for line in made().code:
        ast.parse(line)
