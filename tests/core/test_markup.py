"""Tables and curves as HTML: well formed, escaped, from nowhere else, and with the numbers that they were given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.markup import BOTTOM, HEIGHT, Curve, chart, table
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule

EVIL = "<script>alert('&')</script>\"<img src=x onerror=alert(1)>"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    """The tree of a fragment, which is XML as well."""
    return ElementTree.fromstring(f"<body>{text}</body>")


def points(line: ElementTree.Element) -> np.ndarray:
    return np.array([[float(one) for one in pair.split(",")] for pair in line.get("points").split()])


def test_what_cells_say_is_what_they_were_given():
    tree = parsed(table([("a", 1.5), (EVIL, None)], head=("name", EVIL)))
    assert [[cell.text for cell in row] for row in tree.iter("tr")] == [["name", EVIL], ["a", "1.5"], [EVIL, "None"]]
    assert not list(tree.iter("script")) and not list(tree.iter("img"))


def test_a_curve_is_drawn_to_scale_from_zero():
    x, y, error = np.array([1.0, 2.0, 5.0]), np.array([0.2, 0.4, 0.3]), np.array([0.1, 0.1, 0.1])
    other = Curve(np.array([0.0, 10.0]), np.array([0.1, 0.5]), name=EVIL)
    tree = parsed(chart([Curve(x, y, error), other], EVIL, EVIL))
    (band,), (first, second) = list(tree.iter(f"{SVG}polygon")), list(tree.iter(f"{SVG}polyline"))
    across = np.polyfit([0.0, 10.0], points(second)[:, 0], 1)
    down = np.polyfit([0.1, 0.5], points(second)[:, 1], 1)
    assert points(first)[:, 0] == pytest.approx(np.polyval(across, x), abs=0.02)
    assert points(first)[:, 1] == pytest.approx(np.polyval(down, y), abs=0.02)
    assert points(band)[:, 1] == pytest.approx(np.polyval(down, [*(y + error), *(y - error)[::-1]]), abs=0.02)
    texts = [one.text for one in tree.iter(f"{SVG}text")]
    assert {"0", "10", "0.5", EVIL} <= set(texts) and texts.count(EVIL) == 3  # both axes and the legend
    assert np.polyval(down, 0.0) == pytest.approx(HEIGHT - BOTTOM, abs=0.02)


def test_a_curve_of_nothing_is_a_line():
    tree = parsed(chart([Curve(np.array([3.0]), np.array([0.0]))], "t", "r"))
    assert np.all(np.isfinite(points(next(tree.iter(f"{SVG}polyline")))))


def test_a_recipe_shows_its_factors():
    recipe = Recipe(
        vp_schedule(),
        Power("t", 2.0),
        Multistep(3, corrector=Corrector(2, 0.25)),
        Normaliser(np.array([0.0, 999.0]), np.array([0.3, 0.8])),
    )
    shown = recipe._repr_html_()
    said = {row[0].text: row[1].text for row in parsed(shown).iter("tr")}
    assert said["grid"] == "Power()" and said["solver"] == "Multistep(order=3, corrector=Corrector(order=2, gain=0.25))"
    assert said["process"] == str(vp_schedule()) and said["network predicts"] == "epsilon"
    line = points(next(parsed(shown).iter(f"{SVG}polyline")))
    assert len(line) == 2 and line[0, 1] > line[1, 1]
    flat = Recipe(vp_schedule())._repr_html_()
    assert "svg" not in flat and ">nothing<" in flat


def test_nothing_comes_from_elsewhere():
    shown = Recipe(vp_schedule(), scale=Normaliser(np.array([0.0, 9.0]), np.array([0.3, 0.8])))._repr_html_()
    addresses = re.findall(r"(?:src|href|url|https?:)[^\s>]*", shown)
    assert set(addresses) <= {'http://www.w3.org/2000/svg"'}  # the name of SVG, which nobody asks for
