"""One look for all figures, which is nobody else's, and pictures that are the same again."""

from __future__ import annotations

import sys
from itertools import pairwise

import matplotlib
import pytest

from diffusers_deis_sn.plots.style import house_style, panels, png


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
