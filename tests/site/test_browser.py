"""Every page of the built site in a browser, on a desktop and on a phone, light and dark.

Needs the extra `docs`, the package playwright and a Chromium.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DESKTOP, PHONE = (1280, 900), (390, 844)
LOOK = """() => {
  const root = document.documentElement, wide = [];
  for (const one of document.querySelectorAll('.md-content *')) {
    const box = one.getBoundingClientRect();
    let held = box.width === 0 || box.right <= root.clientWidth + 1;
    for (let above = one.parentElement; above && !held; above = above.parentElement)
      held = ['auto', 'scroll', 'hidden'].includes(getComputedStyle(above).overflowX);
    if (!held) wide.push(one.tagName + ' ' + (one.textContent || '').slice(0, 40));
  }
  const images = [...document.querySelectorAll('.md-content img')];
  const seen = images.filter(one => one.getClientRects().length);
  return {
    scrolls: root.scrollWidth > root.clientWidth,
    wide: wide.slice(0, 5),
    twice: seen.filter(one => seen.some(
      other => other.src !== one.src && other.src.replace('-dark.png', '.png').split('#')[0] === one.src.split('#')[0]
    )).length,
    missing: seen.filter(one => one.complete && one.naturalWidth === 0).map(one => one.src),
    flat: [...document.querySelectorAll('math')].filter(one => !one.getBoundingClientRect().height).length,
  };
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_fit_and_say_nothing_to_the_console(
    site: Path, address: str, chromium: Any, size: tuple[int, int], scheme: str
) -> None:
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("response", lambda answer: said.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    for file in sorted(site.rglob("index.html")):
        name = file.parent.relative_to(site).as_posix()
        page.goto(f"{address}/{name}/")
        found = page.evaluate(LOOK)
        assert not said, f"{name}: {said}"
        assert not found["scrolls"] and not found["wide"], f"{name} is wider than the screen: {found['wide']}"
        assert not found["missing"] and not found["flat"], f"{name}: {found}"
        assert not found["twice"], f"{name} shows a figure for light pages and for dark ones"
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("grainy", "questions"),
        ("img2img", "image-to-image"),
        ("LoRA", "lora"),
        ("licence of statistics", "questions"),
        ("AYS", "coming-from"),
        ("8 steps guidance", "settings"),
    ],
)
def test_search_leads_to_the_page(address: str, chromium: Any, typed: str, wanted: str) -> None:
    page = chromium.new_page()
    page.goto(f"{address}/")
    page.locator("input.md-search__input").focus()
    page.locator("input.md-search__input").press_sequentially(typed)
    page.wait_for_function(f"document.querySelectorAll('.md-search-result__link[href*=\"/{wanted}/\"]').length")
    links = [one.get_attribute("href") or "" for one in page.locator(".md-search-result__link").all()]
    pages = list(dict.fromkeys(link.partition("?")[0].partition("#")[0] for link in links))
    assert any(f"/{wanted}/" in link for link in pages[:4]), pages
    page.close()
