"""Figures of the benchmarks: what is said of a line is drawn as that line, on light paper and on dark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.family import figure as family
from benchmarks.places import write_figure
from benchmarks.score_optimal import learned_grids_figure as grids
from diffusers_deis_sn.plots.style import DARK, LIGHT, Palette, panels

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"


def rows(folder: str, *names: str) -> list[dict]:
    return [row for name in names for row in json.loads((ROOT / folder / f"{name}.json").read_text())]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_five_of_the_family_are_in_colour_and_the_default_is_broadest(palette: Palette) -> None:
    found = rows("family", "mixture", "guidance-1", "guidance-5")
    for panel, problem in zip(family.figure(found, palette).axes, ("mixture", "guidance 1", "guidance 5"), strict=True):
        lines = [line for line in panel.lines if len(line.get_xdata())]
        coloured = [line for line in lines if line.get_color() != palette.grey]
        assert len(coloured) == 5 and len(lines) == len(family.curves(found, problem))
        broadest = max(coloured, key=lambda line: line.get_linewidth())
        assert broadest.get_label() == "DEIS-SN, default options"
        curve = family.curves(found, problem)["tAB 2 + 4", True]
        assert list(broadest.get_ydata()) == [curve[n] for n in sorted(curve)]


def test_titles_of_the_grids_are_told_apart_and_no_line_hides_another() -> None:
    figure = grids.figure(rows("score_optimal", "mixture", "pipeline"))
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert len(set(titles)) == len(titles) == 4
    for panel in figure.axes:
        assert panel.get_ylabel() == "lower is better" and len(panel.lines) == len(grids.GRIDS)
        looks = {(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in panel.lines}
        assert len(looks) == len(grids.GRIDS)
    broad, *_ = figure.axes[0].lines  # below all others, which are thinner
    assert all(line.get_linewidth() < broad.get_linewidth() for line in figure.axes[0].lines[1:])


def test_a_figure_is_written_twice(tmp_path: Path) -> None:
    seen = []
    write_figure(tmp_path / "one.png", lambda palette: seen.append(palette) or panels(1)[0])
    assert seen == [LIGHT, DARK] and sorted(p.name for p in tmp_path.iterdir()) == ["one-dark.png", "one.png"]
