"""One look for all figures, which is nobody else's, and pictures that are the same again."""

from __future__ import annotations

import sys
from itertools import combinations, pairwise

import matplotlib
import numpy as np
import pytest

from diffusers_deis_sn.plots.style import DARK, LIGHT, Palette, house_style, panels, png


def test_the_look_ends_with_its_block_whatever_happens():
    before = dict(matplotlib.rcParams)
    with pytest.raises(KeyError), house_style():
        assert dict(matplotlib.rcParams) != before
        raise KeyError
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_block_is_not_entered_and_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"diffusers-deis-sn\[plot\]"), house_style():
        pytest.fail("entered")


@pytest.mark.parametrize("number", [1, 3])
def test_panels_lie_side_by_side(number):
    figure, axes = panels(number, width=2.0, height=1.5)
    assert len(axes) == number and tuple(figure.get_size_inches()) == (2.0 * number, 1.5)
    figure.draw_without_rendering()
    boxes = [one.get_position() for one in axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_equal_figures_are_equal_bytes_without_a_date_or_version():
    pictures = []
    for end in (1.0, 1.0, 2.0):
        figure, (axes,) = panels(1)
        axes.plot([0.0, end])
        pictures.append(png(figure))
    assert pictures[0] == pictures[1] != pictures[2]
    assert pictures[0].startswith(b"\x89PNG") and b"matplotlib" not in pictures[0].lower()


# What eyes without red, green or blue cones see of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LINES = ("blue", "orange", "green", "purple", "sky")
BOTH = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ np.clip(rgb, 0.0, 1.0) / [0.9505, 1.0, 1.089], 0.008856))
    return np.array([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)])


def contrast(one: str, other: str) -> float:
    """That of the Web Content Accessibility Guidelines."""
    low, high = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@BOTH
@pytest.mark.parametrize("eyes", EYES)
def test_lines_are_told_apart_by_all_eyes(palette: Palette, eyes: str):
    seen = {name: lab(EYES[eyes] @ linear(getattr(palette, name))) for name in (*LINES[:3], "ink")}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20.0, (one, other)


@BOTH
def test_lines_and_words_stand_out_from_the_paper(palette: Palette):
    for name in LINES:
        assert contrast(getattr(palette, name), palette.paper) > 2.8, name
    assert contrast(palette.ink, palette.paper) > 10.0 and contrast(palette.muted, palette.paper) > 4.5


def test_a_dark_figure_is_drawn_on_dark_paper():
    with house_style(DARK):
        figure, _ = panels(1)
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == DARK.paper
