"""Statistics in a notebook: escaped, well formed, and the record's own numbers."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.statistics.markup import html
from diffusers_deis_sn.statistics.record import ScoreStatistics
from records import costed_record, gaussian_record, guided_family, guided_record, tiny_record

EVIL = "<script>alert('&')</script>\"<b onclick=x>"
SVG = "{http://www.w3.org/2000/svg}"
RECORDS = {
    "tiny": tiny_record(),
    "costs": costed_record(),
    "trials": guided_record(vp_schedule(), 3.0),
    "guidances": guided_family(vp_schedule()),
    "bare": ScoreStatistics(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([0.5, 0.6])),
}


def parsed(record: ScoreStatistics) -> ElementTree.Element:
    return ElementTree.fromstring(record._repr_html_())


class Tags(HTMLParser):
    """Opened and closed tags, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_it_is_html(record):
    tags = Tags()
    tags.feed(record._repr_html_())
    assert tags.open == []
    assert html(record) == record._repr_html_()


def test_texts_of_a_file_do_nothing():
    record = gaussian_record().with_origin(base_model=EVIL, licence=EVIL, versions={EVIL: EVIL})
    tree = parsed(record)
    assert not list(tree.iter("script")) and not list(tree.iter("b"))
    said = {row[0].text: row[1].text for row in tree.iter("tr")}
    assert said["base model"] == said["licence"] == EVIL


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_numbers_are_those_of_the_record(record):
    tree = parsed(record)
    assert f"{len(record)} times" in tree[0].text
    lines = list(tree.iter(f"{SVG}polyline"))
    assert len(lines) == len(record.members)
    for member, line in zip(record.members, lines, strict=True):
        drawn = np.array([[float(one) for one in pair.split(",")] for pair in line.get("points").split()])
        assert len(drawn) == len(member)
        across, down = np.polyfit(member.timesteps, drawn[:, 0], 1), np.polyfit(member.mean_abs, drawn[:, 1], 1)
        assert drawn[:, 0] == pytest.approx(np.polyval(across, member.timesteps), abs=0.02)
        assert drawn[:, 1] == pytest.approx(np.polyval(down, member.mean_abs), abs=0.02) and down[0] < 0.0
    said = {row[0].text: row[1].text for row in tree.iter("tr")}
    assert "unknown" not in said.values()
    if record.trials is not None:
        rows = [[cell.text for cell in row] for row in next(tree.iter("table")).iter("tr")][1:]
        for calls, row in zip(record.trials.calls, rows, strict=True):
            (first, error), (second, other) = record.trials.ranking(calls)[:2]
            assert row == [str(calls), str(first), f"{error:.3g}", str(second), f"{other:.3g}"]
    if record.others:
        legend = {one.text for one in tree.iter(f"{SVG}text")}
        assert {f"guidance {scale:g}" for scale in record.guidances} <= legend
