"""A picture of pictures, as PNG: prompts by schedulers in one number of calls, with the distance under each.

The converged picture stands once, at the left. Small pictures are enlarged by a whole factor, pixel by pixel, large
ones made smaller.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from diffusers_deis_sn.comparison.keeping import CONVERGED
from diffusers_deis_sn.comparison.numbers import number
from diffusers_deis_sn.errors import ComparisonError
from diffusers_deis_sn.escaping import plain

CELL = 192  # a side about so many pixels large
GAP, LINE, TOP, LEADING = 14, 42, 8, 33
HEAD = TOP + 3 * LEADING + 6  # a name of up to two lines, and what is said of it
SIZE, WIDEST = 28, 290  # of letters, so that they are read at a third of the size; of the column of prompts
INK, MUTED, GREEN, PAPER = "#1b1f24", "#66707a", "#1c7c4a", "#ffffff"
PIXELS = 160  # a side up to which pictures are enlarged by a whole factor
MOST = 6  # prompts, if no other number is asked for


def grid(
    document: Mapping[str, Any], pictures: Mapping[tuple[str, int], Sequence[bytes]], calls: int, most: int = MOST
) -> bytes:
    """Rows are prompts, columns the converged picture and the schedulers, the farthest first; PNG.

    Args:
        document: Of `Comparison.document`.
        pictures: Files by scheduler and calls.
        calls: The number of calls.
        most: Prompts that are shown, the first ones.

    Raises:
        ComparisonError: There are no pictures, or none of so many calls.
    """
    rows = {row["scheduler"]: row for row in document["rows"] if row["calls"] == calls and not row["further"]}
    names = [name for name in rows if pictures.get((name, calls))]
    names.sort(key=lambda name: (rows[name]["ours"], -rows[name]["geometric_mean"]))
    converged = pictures.get((CONVERGED, 0), ())[:most]
    if not names or not converged:
        raise ComparisonError(f"There are no pictures of {calls} calls. Choose one of {document['steps']}.")
    columns = [[sized(one) for one in converged]]
    columns += [[sized(one) for one in pictures[name, calls][:most]] for name in names]
    prompts = document["prompts"] or [f"seed {document['seed'] + i}" for i in range(len(converged))]
    prompts = [plain(one, None) for one in prompts[: len(converged)]]
    wide, tall = columns[0][0].size
    shown = [wrapped(one, WIDEST, _font(SIZE), most=max(1, tall // LEADING)) for one in prompts]
    margin = int(max(_font(SIZE).getlength(line) for lines in [["below each"], *shown] for line in lines)) + 2 * GAP
    margin = min(margin, WIDEST + 2 * GAP)
    sheet = Image.new("RGB", (margin + len(columns) * (wide + GAP), HEAD + len(prompts) * (tall + LINE) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    _lines(pen, GAP, 0, [f"{calls} steps", "distance", "below each"], (INK, MUTED, MUTED), margin)
    for place, column in enumerate(columns):
        x = margin + place * (wide + GAP)
        name = "converged" if place == 0 else names[place - 1]
        ours = place > 0 and rows[name]["ours"]
        title, _, rest = plain(name).partition(" (")
        second = f"{document['reference']['steps']} steps" if place == 0 else rest.rstrip(")")
        words = wrapped(title, wide, _font(SIZE), most=2)
        said = wrapped(second, wide, _font(SIZE), most=3 - len(words)) if second else []
        _lines(pen, x, 0, words + said, [GREEN if ours else INK] * len(words) + [MUTED] * len(said), wide)
        for i, picture in enumerate(column):
            y = HEAD + i * (tall + LINE)
            sheet.paste(picture, (x, y))
            if place:
                best = rows[name]["distances"][i] == min(rows[other]["distances"][i] for other in names)
                text = number(rows[name]["distances"][i])
                pen.text((x, y + tall + 3), text, fill=GREEN if best else MUTED, font=_font(SIZE, wide, text))
    for i, lines in enumerate(shown):
        y = HEAD + i * (tall + LINE) + (tall - LEADING * len(lines)) // 2
        _lines(pen, GAP, y - TOP, lines, (INK,) * len(lines), margin - 2 * GAP)
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    return data.getvalue()


def sized(data: bytes, side: int = CELL) -> Image.Image:
    """A picture about `side` pixels large: small ones by a whole factor without smoothing, large ones made smaller."""
    with Image.open(io.BytesIO(data)) as found:
        picture = found.convert("RGB")
    longest = max(picture.size)
    if longest <= PIXELS:
        factor = max(1, round(side / longest))
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if longest > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def wrapped(text: str, width: float, font: Any, most: int = 6) -> list[str]:
    """A text in lines that are no wider, the rest of a long one left out."""
    lines, line = list[str](), ""
    for word in text.split():
        tried = f"{line} {word}".strip()
        if line and font.getlength(tried) > width:
            lines.append(line)
            line = word
        else:
            line = tried
    lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} …"]
    return lines


def _lines(pen: Any, x: int, y: int, lines: Sequence[str], colours: Sequence[str], width: float) -> None:
    """Lines of text below one another."""
    for number_of, (line, colour) in enumerate(zip(lines, colours, strict=True)):
        pen.text((x, y + TOP + LEADING * number_of), line, fill=colour, font=_font(SIZE, width, line))


def _font(size: int, width: float | None = None, text: str = "") -> Any:
    """The font that comes with Pillow, smaller where a text would be wider."""
    font = ImageFont.load_default(size)
    while width is not None and size > 9 and font.getlength(text) > width:
        size -= 1
        font = ImageFont.load_default(size)
    return font
