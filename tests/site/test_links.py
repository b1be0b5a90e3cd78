"""Links and figures of every document lead somewhere, anchors too; and tables that programs write are taken in."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest

from site_pages import DOCS, ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("stats/**/*.md"))
    if path.name not in ("transfer-summary.md",)  # made for README: its links are as they are from there
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
CODE = re.compile(r"^ *(`{3,}).*?^ *\1\s*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"<!-- include: (\S+) -->")


def slug(heading: str) -> str:
    """The anchor of a heading, on GitHub as on the site."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words.replace("`", "")).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = path.read_text()
    text = "\n".join([text, *((ROOT / name).read_text() for name in INCLUDE.findall(text))])
    return {slug(found) for found in re.findall(r"^#+ (.*)$", re.sub(CODE, _spared, text), re.MULTILINE)}


def _spared(found: re.Match[str]) -> str:
    return "" if found[1] else found[0]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = CODE.sub("", (ROOT / document).read_text())
    for target in LINK.findall(text):
        name, _, anchor = target.partition("#")
        place = (
            ROOT / posixpath.normpath(posixpath.join(posixpath.dirname(document), name)) if name else ROOT / document
        )
        generated = place == DOCS / "reference/command-line.md"  # made by typer when the site is built
        assert place.exists() or generated or _is_page(place), f"{document} links to {target}"
        if anchor and place.suffix == ".md" and place.is_file():
            assert anchor in anchors(place), f"{document} links to {target}, which has no such heading"


def _is_page(place: Path) -> bool:
    """Whether the site has a page there that was made of a document elsewhere."""
    hook = (DOCS / "hooks/pages.py").read_text()
    return place.is_relative_to(DOCS) and f'"{place.relative_to(DOCS).as_posix()}": "' in hook


def test_what_pages_take_in_exists() -> None:
    for document in DOCS.rglob("*.md"):
        for name in INCLUDE.findall(document.read_text()):
            assert (ROOT / name).is_file(), f"{document.relative_to(ROOT)} includes {name}"


def test_every_table_of_the_benchmarks_is_on_the_site() -> None:
    shown = (DOCS / "hooks/pages.py").read_text() + "".join(page.read_text() for page in DOCS.rglob("*.md"))
    shown += (ROOT / "benchmarks/readme.py").read_text()  # those in benchmarks/README.md, which is a page
    for table in (ROOT / "benchmarks").rglob("*.md"):
        assert table.relative_to(ROOT).as_posix() in shown, f"{table} is on no page"
