"""The site is built without a warning, and its pages load nothing from elsewhere. Needs the extra `docs`."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from site_pages import PAGES, ROOT


def test_a_page_takes_in_a_table_and_follows_its_links() -> None:
    """Quick, with MkDocs alone: a hook that cannot be imported breaks the whole site."""
    pytest.importorskip("mkdocs")
    pages = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "hooks" / "pages.py")))
    for page, text in PAGES.items():
        for path in pages.includes(text):
            taken = pages._included(path, page)
            assert taken and len(taken.splitlines()) == len((ROOT / path).read_text().strip().splitlines()), path
    assert "](../tutorials/tune.md)" in pages._linked("[tune](../docs/tutorials/tune.md)", "stats/x.md", "results/x.md")
    shown = pages._linked(
        "![Errors](../../benchmarks/family/family.png)", "docs/explanation/deis.md", "explanation/deis.md"
    )
    assert shown == (
        "![Errors](../figures/benchmarks/family/family.png#only-light)"
        "![Errors](../figures/benchmarks/family/family-dark.png#only-dark)"
    )


def test_a_figure_for_dark_pages_is_as_large_as_that_for_light_ones() -> None:
    found = [path for path in ROOT.glob("*/**/*-dark.png") if not path.relative_to(ROOT).parts[0].startswith("dist")]
    assert len(found) > 2
    for path in found:
        with Image.open(path) as dark, Image.open(path.with_name(path.name.replace("-dark.png", ".png"))) as light:
            assert dark.size == light.size, path


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 45
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*?src=\"?(https?:[^\" >]+)", text)
        loaded += re.findall(r"<link[^>]*rel=\"?(?:stylesheet|preconnect|icon)[^>]*href=\"?(https?:[^\" >]+)", text)
        assert not loaded, f"{page} loads {loaded}"
        assert 'class="arithmatex"' not in text, f"{page} has a formula that was not converted"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\"?https?:", style.read_text()), style


@pytest.mark.slow
def test_every_option_of_the_command_is_in_the_reference(site: Path) -> None:
    text = (site / "reference/command-line/index.html").read_text()
    for said in ("deis-sn calibrate", "deis-sn compare", "--resume", "--guidance-scale"):
        assert said in text


@pytest.mark.slow
def test_search_finds_what_people_type(site: Path) -> None:
    index = (site / "search/search_index.json").read_text().lower()
    for word in ("karras", "cfg", "img2img", "guidance scale", "lora", "unipc", "comfyui", "sigmas", "8 steps"):
        assert word in index, word
