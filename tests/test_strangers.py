"""Fields x payloads: wherever a text of strangers comes to stand, it is the text, and the place stays what it is.

`test_escaping.py` has the same of each kind of place; here are the places: cards, `inspect`, `repr`, notebooks,
figures, the page and the files of a comparison, messages and the command line.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comparisons import made
from diffusers_deis_sn.cli.app import main
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import DeisSnError, StatisticsError, StatisticsMismatchError
from diffusers_deis_sn.plots.figures import normaliser_figure
from diffusers_deis_sn.plots.style import png
from diffusers_deis_sn.publish.card import card
from diffusers_deis_sn.publish.folder import content
from diffusers_deis_sn.statistics import ScoreStatistics, StatisticsOrigin
from diffusers_deis_sn.statistics.index import look_up
from records import gaussian_record
from strangers import PAYLOADS, TEXTS, printable
from test_escaping import Reader, rendered

TEXT_FACTS = [one.name for one in fields(StatisticsOrigin) if str(one.type) == "str | None" and one.name != "date"]
FACTS = [*TEXT_FACTS, "versions"]
EACH = pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
EACH_FACT = pytest.mark.parametrize("fact", FACTS)
ORDINARY = "user/model"


def record(fact: str = "base_model", text: str = ORDINARY) -> ScoreStatistics:
    value = {text: text} if fact == "versions" else text
    return gaussian_record(times=4).with_origin(**{fact: value})


def everywhere(text: str) -> ScoreStatistics:
    return gaussian_record(times=4).with_origin(**dict.fromkeys(TEXT_FACTS, text), versions={text: text})


def shape(page: str) -> tuple[list[str], list[str]]:
    """Tags and attributes of a page."""
    read = Reader(page)
    return read.tags, read.attributes


def test_every_text_of_an_origin_is_tried():
    assert len(TEXT_FACTS) == 10 and "base_model" in TEXT_FACTS


@EACH
@EACH_FACT
def test_what_is_printed_of_a_record(fact, payload):
    ordinary, strange = record(fact), record(fact, payload)
    assert printable(strange.inspect()) and printable(repr(strange)) and "\n" not in repr(strange)
    assert strange.inspect().count("\n") == ordinary.inspect().count("\n") and len(repr(strange)) < 400
    assert shape(strange._repr_html_()) == shape(ordinary._repr_html_())


@EACH
@EACH_FACT
def test_cards(fact, payload):
    text = card(record(fact, payload), "user/repo")
    body = text.partition("\n---\n")[2]
    assert printable(text)
    for read in rendered(body):
        assert set(read.tags) <= set("h1 h2 p img pre code a".split())
        assert read.links in (["normaliser.png"], []) and set(read.attributes) <= {"src", "alt", "class", "href"}
        assert read.tags.count("h1") == 1 and read.tags.count("h2") == 2 and read.tags.count("pre") == 3


@given(TEXTS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
def test_the_example_of_a_card_names_the_model_that_was_measured(text):
    for name in (text, text[::-1]):
        made_of = card(everywhere(text), "user/repo", model=name or None)
        code = next(block for block in re.findall(r"^(`{3,})python\n(.*?)^\1$", made_of, re.M | re.S))[1]
        calls = [one for one in ast.walk(ast.parse(code)) if isinstance(one, ast.Call)]
        assert [ast.literal_eval(one.args[0]) for one in calls if len(one.args) == 1 and not one.keywords] == [
            name or text or "the-model"
        ]


@EACH
def test_notes_of_a_card(payload):
    text = card(record(), "user/repo", notes=payload)
    assert printable(text)
    for read in rendered(text.partition("\n---\n")[2]):
        assert not {"script", "b"} & set(read.tags) and "onerror" not in read.attributes
        assert not any(link.lower().startswith("javascript") for link in read.links)


@EACH
def test_what_the_hub_reads_of_a_card(payload):
    import yaml

    for fact in ("licence", "base_model"):
        front = card(record(fact, payload), "user/repo").split("\n---\n")[0].removeprefix("---\n")
        known = yaml.safe_load(front)
        assert set(known) <= {"base_model", "library_name", "license", "license_name", "tags"}
        assert known["tags"] == ["score-statistics", "deis-sn", "diffusers"]


@pytest.mark.parametrize("payload", [PAYLOADS[name] for name in ("formula", "surrogates", "terminal", "long", "html")])
def test_figures_and_the_files_of_a_folder(payload):
    assert png(normaliser_figure(everywhere(payload)), dpi=30).startswith(b"\x89PNG")
    files = content(everywhere(payload), "user/repo", notes=payload, own={"normaliser.png": b""})
    assert files["README.md"].decode()


@EACH
def test_a_comparison(payload, tmp_path):
    ordinary = made()
    setting = replace(
        ordinary.setting,
        model=payload,
        pipeline=payload,
        prompts=(payload, *ordinary.setting.prompts[1:]),
        arguments={payload or "a": payload},
        device=payload,
        versions={payload: payload},
    )
    strange = replace(ordinary, setting=setting, place=payload or ordinary.place)
    (page, document, *_) = (path.read_bytes().decode() for path in strange.save(tmp_path)[:3])
    plain_page = ordinary.to_html()
    assert Reader(page).tags == Reader(plain_page).tags
    assert sorted(set(Reader(page).attributes)) == sorted(set(Reader(plain_page).attributes))
    assert all(one.isprintable() or one in "\n\u200c\u200d" for one in page)
    assert json.loads(document)["prompts"][0] == payload
    assert printable(str(strange)) and printable(repr(strange)) and "\n" not in repr(strange)
    assert shape(strange._repr_html_()) == shape(ordinary._repr_html_())
    for line in strange.code:
        ast.parse(line)


@EACH
def test_messages(payload, tmp_path, caplog):
    errors = []
    strange = everywhere(payload)
    for made_wrong in (
        lambda: strange.check(vp_schedule(beta_end=0.03), "epsilon"),
        lambda: strange.check(vp_schedule(), "v_prediction"),
        lambda: replace(strange, origin=payload),
        lambda: StatisticsOrigin(date=payload),
        lambda: ScoreStatistics.load(tmp_path / "nowhere" / payload.replace("\0", "").replace("\ud800", "")[:50]),
    ):
        with pytest.raises((DeisSnError, OSError, ValueError)) as error:
            made_wrong()
        errors.append(error.value)
    for error in errors:
        if isinstance(error, DeisSnError):
            assert printable(str(error)) and "\n" not in str(error) and len(str(error)) < 2100
    assert sum(isinstance(error, DeisSnError) for error in errors) >= 4
    assert isinstance(errors[0], StatisticsMismatchError) and isinstance(errors[3], StatisticsError)
    with caplog.at_level(logging.WARNING):
        assert look_up(payload, index=None) is None
    assert all(printable(one.getMessage()) for one in caplog.records)


@EACH
def test_the_command_line(payload, tmp_path, capsys):
    everywhere(payload).save(tmp_path)
    for arguments in (
        ["inspect", str(tmp_path)],
        ["inspect", str(tmp_path), "--json"],
        ["inspect", "nowhere/" + payload],
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        out, err = capsys.readouterr()
        assert printable(out) and printable(err)
        if arguments[-1] == "--json":
            assert json.loads(out)["members"][0]["origin"]["base_model"] == payload


def test_nothing_escapes_by_itself():
    """Of the package's modules one alone knows how to escape."""
    source = Path(__file__).parents[1] / "src" / "diffusers_deis_sn"
    found = {
        path.name
        for path in source.rglob("*.py")
        if re.search(
            r"^import html\b|^from html import|backslashreplace|\.isprintable\(", path.read_text("utf-8"), re.M
        )
    }
    assert found <= {"escaping.py"}, found


def test_long_messages_keep_both_ends():
    message = str(StatisticsError("begin" + "m" * 5000 + "remedy."))
    assert message.startswith("begin") and message.endswith("remedy.") and len(message) < 2010


@given(st.lists(TEXTS, max_size=3))
def test_every_message_is_one_line(texts):
    assert printable(str(StatisticsError(*texts))) and "\n" not in str(StatisticsError(*texts))
