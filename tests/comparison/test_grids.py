"""The picture of pictures: whole factors, no smoothing, every distance, the converged once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from comparisons import made, picture
from diffusers_deis_sn.comparison.grids import CELL, HEAD, LINE, SIZE, grid, sized, wrapped
from diffusers_deis_sn.errors import ComparisonError


def test_small_pictures_are_enlarged_pixel_by_pixel() -> None:
    large, small = sized(picture(3)), Image.open(io.BytesIO(picture(3)))
    assert large.size == (CELL, CELL)
    again = np.asarray(large)[3::6, 3::6]
    assert np.array_equal(again, np.asarray(small))
    assert len(large.getcolors(2**16)) == len(small.getcolors(2**16))


def test_large_pictures_are_made_smaller_with_their_shape() -> None:
    data = io.BytesIO()
    Image.new("RGB", (640, 480)).save(data, "PNG")
    assert sized(data.getvalue()).size == (192, 144)


def test_rows_are_prompts_and_columns_the_converged_picture_and_schedulers() -> None:
    comparison = made()
    sheet = Image.open(io.BytesIO(comparison.grid(8)))
    assert sheet.height == HEAD + 4 * (CELL + LINE) + 14
    converged = np.asarray(sized(comparison.pictures["converged", 0][2]))
    pixels = np.asarray(sheet.convert("RGB"))
    y = HEAD + 2 * (CELL + LINE)
    found = [x for x in range(sheet.width - CELL + 1) if np.array_equal(pixels[y : y + 1, x : x + CELL], converged[:1])]
    assert len(found) == 1
    assert np.array_equal(pixels[y : y + CELL, found[0] : found[0] + CELL], converged)
    step = CELL + 14
    farthest = np.asarray(sized(comparison.pictures["UniPC", 8][2]))
    assert np.array_equal(pixels[y : y + CELL, found[0] + step : found[0] + step + CELL], farthest)


def test_fewer_prompts_make_a_lower_picture() -> None:
    sheet = Image.open(io.BytesIO(made().grid(8, prompts=2)))
    assert sheet.height == HEAD + 2 * (CELL + LINE) + 14


def test_letters_are_read_at_a_third_of_the_size_and_stay_inside_their_column() -> None:
    assert SIZE / 3 > 9
    rows = [("DPM++ 2M Karras", CELL), ("a yellow five on a dark blue background", 290), ("ScoreOptimal", CELL)]
    font = ImageFont.load_default(SIZE)
    for text, width in rows:
        assert all(font.getlength(line) <= width for line in wrapped(text, width, font)), text


def test_equal_comparisons_make_equal_bytes() -> None:
    assert made().grid(8) == made().grid(8)


def test_a_column_without_pictures_is_refused() -> None:
    comparison = made()
    with pytest.raises(ComparisonError, match="no pictures of 7 calls"):
        grid(comparison.document(), comparison.pictures, 7)


class Letters:
    def getlength(self, text: str) -> float:
        return float(len(text))


def test_long_prompts_are_wrapped_and_cut() -> None:
    assert wrapped("a b c", 5, Letters()) == ["a b c"]
    assert wrapped("aaa bbb ccc", 7, Letters()) == ["aaa bbb", "ccc"]
    assert wrapped("a " * 60, 9, Letters(), most=2)[-1].endswith("…")
