"""The page: every text escaped, every number one of compare.json's; and in a real browser, that it works.

The tests in a browser need the package playwright and a Chromium, its own or one that is installed.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from comparisons import DRAW, HOSTILE, RIVAL_WINS, WE_WIN, made, made_with_plans
from diffusers_deis_sn.comparison.numbers import number, percent, plain
from diffusers_deis_sn.learn.export import sigma_list

FIXED = {"95", "5"}  # of the interval; how much brighter differences are shown
WIDTHS = (360, 768, 1280)


class Visible(HTMLParser):
    """The texts that a reader sees, and addresses of everything that would be loaded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.values: list[str] = []
        self._hidden = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        self.values += [value or "" for name, value in attributes if name == "data-value"]
        # The marks along the axes of a figure are a ruler's, and its points have their numbers as titles.
        if tag in ("script", "style", "text"):
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.texts.append(data)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list) else [value]


def spellings(document: dict[str, Any]) -> set[str]:
    """All ways in which a number of the document may be written."""
    found = set(FIXED)
    for one in leaves(document):
        if isinstance(one, bool) or not isinstance(one, int | float):
            continue
        found |= {number(one), f"{one:g}", f"{one:.3g}", percent(one).removesuffix(" %"), str(one), sigma_list([one])}
    return found


MADE = {"ours": made, "rival": partial(made, RIVAL_WINS), "draw": partial(made, DRAW), "plans": made_with_plans}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_every_number_of_the_page_is_in_the_document(make) -> None:
    comparison = make()
    document = json.loads(comparison.to_json())
    page = Visible(comparison.to_html())
    texts = {leaf for leaf in leaves(document) if isinstance(leaf, str)}
    known = spellings(document)
    assert len(page.texts) > 100
    for text in page.texts:
        rest = text
        for one in sorted(texts, key=len, reverse=True):
            rest = re.sub(rf"(?<![\d.]){re.escape(one)}(?!\d|\.\d)", " ", rest)
        for token in re.findall(r"(?<![A-Za-z\d.])\d+(?:\.\d+)?", rest):
            assert token in known, (token, text)
    numbers = {float(leaf) for leaf in leaves(document) if isinstance(leaf, int | float)}
    assert {float(one) for one in page.values} <= numbers | {1.0}


def test_numbers_of_the_sentences_are_in_the_document_too() -> None:
    document = json.loads(made().to_json())
    told = document["recommendation"]
    assert f"{told['times_fewer']:.1f} times fewer" in told["sentence"]
    for value in (told["ratio"]["value"], told["ratio"]["low"], told["ratio"]["high"]):
        assert f"{value:.2f}" in told["detail"]


def test_every_text_is_escaped() -> None:
    html = made().to_html()
    assert "<img src=x" not in html and "<model>" not in html and "<b>cannot</b>" not in html
    page = Visible(html)
    assert page.tags.count("script") == 1
    assert HOSTILE in unescape("".join(page.texts))


def test_it_needs_nothing_else() -> None:
    html = made().to_html()
    assert all(address.startswith("data:image/") for address in Visible(html).addresses)
    assert not re.search(r"https?://|@import|url\(", html)


def test_equal_comparisons_make_equal_pages() -> None:
    assert made().to_html() == made().to_html()


def test_it_says_how_plans_came_about() -> None:
    text = "".join(Visible(made_with_plans().to_html()).texts)
    assert "DEIS-SN (tuned) at 8 steps is as near" in text
    assert "times and weights fitted to this model, for 6, 8 steps. Plans for 6, 8, 10 steps were fitted" in text
    before = "".join(Visible(replace(made_with_plans(), fitting=None).to_html()).texts)
    assert "The statistics held them before." in before


def test_small_pictures_are_not_smoothed_and_large_ones_are() -> None:
    assert '<body class="pixels">' in made(size=32).to_html()
    assert '<body class="photos">' in made(size=512).to_html()


def test_without_pictures_the_numbers_are_there() -> None:
    html = replace(made(), pictures={}).to_html()
    assert 'id="look"' not in html and 'class="numbers"' in html


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [(WE_WIN, "Recommended"), (RIVAL_WINS, "another scheduler than ours"), (DRAW, "No difference that is sure")],
)
def test_the_recommendation_stands_on_top(errors, verdict) -> None:
    comparison = made(errors)
    texts = Visible(comparison.to_html()).texts
    place = next(i for i, text in enumerate(texts) if comparison.advice.sentence in text)
    assert place < 10 and any(verdict in text for text in texts[:place])


# --------------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text(made().to_html(), encoding="utf-8")
    return path


@pytest.fixture
def opened(chromium, file):
    """Opens the page in a window of a width; no message in the console, no request, nothing wider than the window."""
    contexts, messages = [], []

    def open_page(width: int = 1440, scheme: str = "light", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: messages.append("a dialog"))
        page.on(
            "request", lambda request: None if request.url[:5] in ("file:", "data:") else messages.append(request.url)
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(opened, width, scheme) -> None:
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    size = page.locator("#slider").bounding_box()
    assert size["width"] > 250 and size["x"] >= 0 and size["x"] + size["width"] <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(17, 20, 24)") == (scheme == "dark")


def test_the_slider_moves_with_mouse_and_keys(opened) -> None:
    page = opened()
    clip = "getComputedStyle(document.querySelector('.over')).clipPath"
    middle = page.evaluate(clip)
    box = page.locator("#slider").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert int(page.input_value("#cut")) > 80
    assert page.evaluate(clip) != middle
    page.focus("#cut")
    page.keyboard.press("Home")
    assert page.input_value("#cut") == "0"


def test_the_slider_shows_what_is_chosen_and_its_distance(opened) -> None:
    page, comparison = opened(), made()
    assert page.input_value("#left") == "DPM++ 2M@8" and page.input_value("#right") == "ScoreOptimal@8"
    before = page.get_attribute(".over .base", "src")
    page.select_option("#left", "UniPC@6")
    assert page.get_attribute(".over .base", "src") != before
    assert number(comparison.row("UniPC", 6).distances[0]) in page.text_content("#words")
    page.select_option("#left", "converged@0")
    assert page.get_attribute(".over .base", "src") == page.get_attribute(".over .ref", "src")
    page.select_option("#left", "DPM++ 2M@13")  # the run that comes as near, which is in no column
    assert page.get_attribute(".over .base", "src").startswith("data:image/png")


def test_differences_are_black_where_nothing_differs(opened) -> None:
    page = opened()
    page.select_option("#left", "converged@0")
    page.evaluate("document.getElementById('slider').style.setProperty('--cut', '100%')")
    page.check("#differ")
    page.evaluate("document.querySelector('.bar').remove()")
    import io

    from PIL import Image

    shot = Image.open(io.BytesIO(page.locator("#slider").screenshot())).convert("RGB")
    inside = shot.crop((20, 20, shot.width - 20, shot.height - 20))
    assert max(high for _, high in inside.getextrema()) == 0


def test_prompts_are_turned(opened) -> None:
    page = opened()
    assert page.locator(".prompt:visible").count() == 1
    assert page.locator(".prompt:visible h3").text_content() == HOSTILE
    before = page.get_attribute(".under .base", "src")
    page.locator(".chip").nth(2).click()
    assert page.locator(".prompt:visible h3").text_content() == "prompt number 2"
    assert page.locator(".chip").nth(2).get_attribute("aria-pressed") == "true"
    assert page.get_attribute(".under .base", "src") != before


@pytest.mark.parametrize(("place", "key"), [(0, str.lower), (1, float), (2, float), (5, float), (6, float)])
def test_headings_sort_both_ways(opened, place, key) -> None:
    page = opened()
    head = page.locator("#numbers thead button").nth(place)

    def cells() -> list[Any]:
        rows = page.locator("#numbers tbody tr")
        cell = "th" if place == 0 else f"td:nth-child({place + 1})"
        if place == 0:
            return [key(one) for one in rows.locator(cell).all_text_contents()]
        return [key(one.get_attribute("data-value")) for one in rows.locator(cell).all()]

    head.click()
    assert cells() == sorted(cells()) and head.locator("..").get_attribute("aria-sort") == "ascending"
    head.click()
    assert cells() == sorted(cells(), reverse=True)
    assert page.locator("#numbers [aria-sort]").count() == 1


def test_copying_copies_the_code(opened) -> None:
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".copy").first.click()
    page.wait_for_selector(".copy.done")
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(made().code)
    page.locator("summary").first.click()
    page.locator('[data-copy="sigmas"]').click()
    page.wait_for_selector('[data-copy="sigmas"].done')
    assert page.evaluate("navigator.clipboard.readText()") == sigma_list(made().row("ScoreOptimal", 8).sigmas)


def test_pictures_are_enlarged_beside_the_converged_one(opened) -> None:
    page = opened(820)
    small = page.locator(".prompt:visible .grid td .zoom").nth(1)
    width = small.bounding_box()["width"]
    small.click()
    assert page.locator("#large").is_visible()
    assert page.locator("#large-one").bounding_box()["width"] > 2 * width
    assert page.get_attribute("#large-one", "src") == small.locator("img").get_attribute("src")
    assert "distance" in page.text_content("#large-words")
    page.keyboard.press("Escape")
    assert not page.locator("#large").is_visible()


def test_pixels_are_enlarged_without_smoothing(opened) -> None:
    rendering = "getComputedStyle(document.querySelector('.zoom img')).imageRendering"
    assert opened().evaluate(rendering) == "pixelated"


def test_values_for_sorting_have_all_digits() -> None:
    value = made().rows[0].geometric_mean
    assert plain(value) in Visible(made().to_html()).values
