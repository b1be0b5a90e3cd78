r"""Formulas as MathML, and the font that browsers set it in: both are made when the site is built.

`$...$` and `$$...$$` reach this hook as arithmatex leaves them, `\(...\)` and `\[...\]` in elements of that class. All
current browsers set MathML by themselves (Chromium since 109), text that can be selected and read aloud; KaTeX and
MathJax would each add a script and some twenty fonts. But only a font with a table for mathematics makes good
formulas, and phones and many Linux machines have none. So the glyphs in use are taken out of STIX Two Math (SIL Open
Font License), which the package ziamath brings, and lie beside the style sheet.
"""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
FONT = "assets/formulas.woff"
ALWAYS = "()[]{}|‖√∑∫∏"  # and their larger forms

_used: set[str] = set(ALWAYS)


def mathml(text: str) -> str:
    """HTML whose formulas are MathML."""
    return FORMULA.sub(_converted, text)


def font(characters: str) -> bytes:
    """STIX Two Math with the glyphs of some characters, as WOFF."""
    import ziamath
    from fontTools import subset
    from fontTools.ttLib import TTFont

    whole = TTFont(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf")
    subsetter = subset.Subsetter(subset.Options(layout_features=["*"]))
    subsetter.populate(text=characters + "".join(map(_italic, characters)))
    subsetter.subset(whole)
    whole.flavor = "woff"
    file = io.BytesIO()
    whole.save(file)
    return file.getvalue()


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Convert the formulas of a page."""
    return mathml(content)


def on_post_build(config: Any) -> None:
    """Write the font."""
    (Path(config.site_dir) / FONT).write_bytes(font("".join(sorted(_used))))


def _converted(found: re.Match[str]) -> str:
    block = found[2] == "["
    formula = convert(html.unescape(found[3].strip()), display="block" if block else "inline")
    _used.update(html.unescape(re.sub(r"<[^>]*>", "", formula)))
    return f'<div class="formula">{formula}</div>' if block else formula


def _italic(letter: str) -> str:
    """The mathematical italic that browsers set a single letter in."""
    for first, last, start in (("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("Α", "Ω", 0x1D6E2), ("α", "ω", 0x1D6FC)):
        if first <= letter <= last:
            return chr(start + ord(letter) - ord(first)).replace("\U0001d455", "ℎ")
    return {"ϵ": "𝜖", "θ": "𝜃", "∂": "𝜕"}.get(letter, letter)
