"""Figures: every point is where its numbers say, and texts are escaped."""

from __future__ import annotations

import re
from math import log
from xml.etree import ElementTree

import pytest

from diffusers_deis_sn.comparison.charts import Axis, Curve, error_curves, grids_chart, normaliser_curve

POINTS = ((6.0, 0.08), (8.0, 0.045), (12.0, 0.02))


def circles(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)]


def test_a_power_law_is_a_straight_line() -> None:
    law = tuple((x, x**-2.0) for x in (4.0, 6.0, 9.0))
    (a, b), (c, d), (e, f) = circles(error_curves([Curve("one", law, "ours0")], "errors"))
    assert (d - b) / (c - a) == pytest.approx((f - d) / (e - c), rel=0.01)
    assert (c - a) / (e - c) == pytest.approx(1.0, rel=0.01)  # equal ratios, equal distances


def test_curves_are_sound_xml_with_escaped_names() -> None:
    text = error_curves([Curve("<b>&", POINTS, "ours0"), Curve("other", POINTS, "rival0", frozenset({1}))], "a < b")
    root = ElementTree.fromstring(text)
    titles = [one.text for one in root.iter("title")]
    assert titles[0] == "a < b" and "<b>&, 6 calls: 0.08" in titles
    assert text.count('r="2.4"') == 1


def test_the_normaliser_has_at_most_so_many_points_and_both_ends() -> None:
    times = [float(i) for i in range(1000)]
    text = normaliser_curve(times, [0.5 + 0.3 * t / 999 for t in times], "r")
    (line,) = re.findall(r'points="([^"]+)"', text)
    assert 100 < len(line.split()) <= 202
    assert line.split()[-1].startswith("624.0,")
    ElementTree.fromstring(text)


def test_every_call_is_a_dot() -> None:
    rows = [Curve("a", ((999.0, 0.0), (500.0, 0.0)), "ours0"), Curve("b", ((999.0, 0.0),), "rival0")]
    text = grids_chart(rows, "times")
    assert len(circles(text)) == 3
    assert circles(text)[0][0] == circles(text)[2][0] > circles(text)[1][0]
    ElementTree.fromstring(text)


def test_a_logarithmic_axis() -> None:
    axis = Axis(1.0, 100.0, 0.0, 10.0, logarithmic=True)
    assert axis.place(10.0) == pytest.approx(5.0)
    assert axis.place(3.0) == pytest.approx(10.0 * log(3.0) / log(100.0))
