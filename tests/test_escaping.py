"""Text of strangers: whatever they write, it is read as text in the place that it goes to, and as what they wrote."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from diffusers_deis_sn.escaping import (
    LONGEST,
    code_span,
    drawn,
    fenced,
    html,
    literal,
    markdown,
    notes,
    plain,
    utf8,
)
from strangers import PAYLOADS, TEXTS, printable

READERS = (MarkdownIt("commonmark"), MarkdownIt("commonmark").enable(["table", "strikethrough"]))
EACH = pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS)


class Reader(HTMLParser):
    """Tags, links and text of HTML, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.links, self.attributes, self.text = [], [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


def rendered(text: str) -> list[Reader]:
    """Markdown as readers of it see it, raw HTML let through."""
    return [Reader(reader.render(text)) for reader in READERS]


@given(TEXTS)
def test_a_line_is_one_line_that_can_be_printed(text):
    line = plain(text)
    assert printable(line) and "\n" not in line and (line.encode() or not text)
    assert len(plain("m" * 5000)) == LONGEST and plain("m" * 5000, None) == "m" * 5000
    assert not text.isprintable() or len(text) > LONGEST or line == text


def test_what_cannot_be_printed_is_shown_as_python_does():
    assert plain("a\x1b[31m\n\u202e\ud800\U000e0041é👨‍👩‍👧") == "a\\x1b[31m\\n\\u202e\\ud800\\U000e0041é👨‍👩‍👧"


@given(TEXTS)
def test_a_literal_is_a_string_of_python_in_one_line(text):
    assert ast.literal_eval(literal(text)) == text
    assert printable(literal(text)) and "\n" not in literal(text)
    assert literal("user/model") == '"user/model"'


@given(TEXTS)
def test_html_is_text_and_nothing_else(text):
    read = Reader(f"<p title=\"{html(text)}\" class='{html(text)}'>{html(text)}</p>")
    assert (read.tags, read.attributes) == (["p"], ["title", "class"]) and read.text == plain(text)


@given(TEXTS)
@example("a*b*c _d_ ~~e~~ **f** ![g](h) &amp; &#60; 1. + - # > |")
def test_markdown_is_text_and_nothing_else(text):
    for read in rendered(f"Of {markdown(text)}, measured."):
        assert set(read.tags) == {"p"} and read.links == []
        assert re.sub(r"\s+", " ", read.text.strip()) == re.sub(r"\s+", " ", f"Of {plain(text)}, measured.")
    for read in rendered(f"# Of {markdown(text)}.\n\n| a |\n|---|\n| {markdown(text)} |"):
        assert set(read.tags) <= {"h1", "p", "table", "thead", "tbody", "tr", "th", "td"} and read.links == []


@given(TEXTS)
def test_a_span_of_code_is_one_span(text):
    for read in rendered(f"Of {code_span(text)}, measured."):
        assert read.tags == ["p", "code"]
        assert plain(text).strip() in read.text


@given(TEXTS, st.sampled_from(["", "python"]))
def test_a_block_of_code_ends_where_it_should(text, language):
    lines = "\n".join(map(plain, text.split("\n")))
    for read in rendered(f"Before\n\n{fenced(lines, language)}\n\nAfter"):
        assert read.tags == ["p", "pre", "code", "p"]
        assert lines.strip() in read.text
    assert fenced("x = 1", "python") == "```python\nx = 1\n```"


WORDS = (
    "` `` ``` ~~~ <b> <script> </script> <!-- --> <?a <https://a > \\ | |---| 1. [a] [a]: ]( ) ( # = --- \\` a "
    "javascript:x <javascript:x> java&#115;cript:x data:x java\\script:x"
)
MARKS = [*WORDS.split(), "\n", "\n\n", "- ", "  ", "    ", "> ", "\t", "\r", "\x1b", "\ud800"]


@given(st.lists(st.sampled_from(MARKS), max_size=14).map("".join) | TEXTS)
@settings(max_examples=600)
def test_notes_are_markdown_that_runs_nothing(text):
    quiet = notes(text)
    assert printable(quiet)
    for read in rendered(quiet):
        assert (
            not set(read.tags)
            - set("p h1 h2 code pre ul ol li blockquote a em strong hr img br table thead".split())
            - set("tbody tr th td s".split())
        )
        assert set(read.attributes) <= {"href", "src", "alt", "title", "start", "style", "class"}
        for link in read.links:
            assert not re.match(r"(?!https?:|mailto:)[a-z][a-z0-9+.-]*:", link.strip(), re.I), link


@pytest.mark.parametrize(
    "text",
    [
        "## How\n\nBy *hand*, see [there](https://example.org/a) and [here](folder/file.md#part), <https://a.b/c>.",
        "```bash\ndeis-sn calibrate <model> --guidance-scale 3 > log\n```\n\n* `a < b`, 1 < 2\n\n| a | b |\n|---|---|",
        "[a]: https://example.org\n\n![figure](normaliser.png)",
    ],
)
def test_notes_without_danger_stay_as_they_are(text):
    assert notes(text) == text


@given(TEXTS)
def test_a_figure_draws_text_and_no_formula(text):
    from matplotlib.cbook import is_math_text

    assert not is_math_text(drawn(text)) and drawn(text).replace(r"\$", "$") == plain(text)  # as `Text` draws it


@EACH
def test_halves_of_characters_can_be_written(text):
    assert json.loads(utf8(json.dumps(text, ensure_ascii=False))) == text
    assert utf8(text).decode() is not None


@EACH
def test_names_that_are_none_of_that_stay_as_they_are(text):
    for name in ("user/model-v1.5", "tiny-sd-digits"):
        assert plain(name) == html(name) == markdown(name) == drawn(name) == name
        assert code_span(name) == f"`{name}`"
