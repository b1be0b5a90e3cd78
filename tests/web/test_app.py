"""The page of `deis-sn serve`, in a real browser on the shipped models where Gradio and a Chromium are there."""

from __future__ import annotations

import io
import socket
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image

from diffusers_deis_sn import ScoreStatistics
from diffusers_deis_sn.errors import ComparisonError, ConfigurationError
from diffusers_deis_sn.escaping import LONGEST, plain
from diffusers_deis_sn.web.app import _or_said, chart, enlarged, serve, told
from diffusers_deis_sn.web.studio import Offer, Shown, Studio
from refusals import refused
from strangers import PAYLOADS, printable
from test_escaping import Reader

ROOT = Path(__file__).resolve().parents[2]
WAIT = 60_000  # milliseconds for two runs on a machine that has other things to do
PLACES = {
    "tiny-sd-digits": ROOT / "stats/tiny-sd-digits",
    "tiny-flow-emoji": ROOT / "stats/tiny-flow-emoji/guidance-3",
}
SHOWN = Shown("a <b>", Image.new("RGB", (32, 32)), 4, 0.5, (999.0, 500.0, 250.0, 20.0), ("import <x>",))


def test_time_and_lines_are_told_and_every_text_is_escaped() -> None:
    text = told(SHOWN)
    assert "a &lt;b&gt;" in text and "import &lt;x&gt;" in text and "<b>" not in text
    assert "4 network calls in 0.500 s, 125 ms each" in text


def test_the_chart_has_a_dot_for_each_call() -> None:
    text = chart([SHOWN, SHOWN])
    assert text.count("<circle") == 8 and "<b>" not in text and "999, 500, 250, 20" in text


TEXTS = [one.name for one in fields(Shown) if "str" in str(one.type)]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("field", TEXTS)
def test_every_text_of_a_picture_is_read_as_text(field, payload) -> None:
    def with_text(text: str) -> Shown:
        return replace(SHOWN, **{field: (text, text) if field == "code" else text})

    strange, ordinary = with_text(payload), with_text("ordinary")
    for show in (told, lambda one: chart([one, SHOWN])):
        one, other = Reader(show(strange)), Reader(show(ordinary))
        assert (one.tags, one.attributes) == (other.tags, other.attributes) and printable(show(strange))
    read = Reader(told(strange)).text
    assert all(plain(line, None if field == "code" else LONGEST) in read for line in (payload,))


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("kind", [ComparisonError, ValueError, KeyError])
def test_what_is_wrong_is_a_text_too(kind, payload) -> None:
    class Gradio:
        class Error(Exception):
            pass

    def work() -> None:
        raise kind(payload)

    with pytest.raises(Gradio.Error) as error:
        _or_said(Gradio, work)
    said = str(error.value)
    assert Reader(said).tags == [] and printable(said) and "\n" not in said


def test_the_texts_of_a_picture_are_known() -> None:
    assert TEXTS == ["scheduler", "code"]


def test_small_pictures_are_enlarged_pixel_by_pixel() -> None:
    picture = Image.effect_noise((32, 32), 90).convert("RGB")
    large = enlarged(picture)
    assert large.size == (512, 512)
    assert list(large.resize((32, 32), Image.Resampling.NEAREST).getdata()) == list(picture.getdata())
    assert enlarged(large) is large


# --------------------------------------------------------------------------------------------------------- in a browser


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def address():
    pytest.importorskip("gradio", reason="needs the extra web: make test-web")
    from diffusers import DiffusionPipeline

    offers = [
        Offer(
            name,
            lambda name=name: DiffusionPipeline.from_pretrained(ROOT / "examples/models" / name),
            ScoreStatistics.load(place),
            f"stats/{name}",
        )
        for name, place in PLACES.items()
    ]
    port = free_port()
    blocks = serve(Studio(offers), "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}"
    blocks.close()


@pytest.fixture
def page(chromium, address):
    """The page, opened: nothing in the console but remarks, and no request to anybody else."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page, messages = context.new_page(), []
    page.on("console", lambda one: messages.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on(
        "request", lambda one: None if one.url.startswith((address, "data:", "blob:")) else messages.append(one.url)
    )
    page.goto(address)
    page.wait_for_selector("#draw", timeout=WAIT)
    yield page
    context.close()
    assert messages == []


def draw(page, prompt: str) -> None:
    page.fill("#prompt input, #prompt textarea", prompt)
    page.click("#draw")


def drawn_picture(page, side: str) -> Image.Image:
    source = page.wait_for_selector(f"#{side}-picture img", timeout=WAIT).get_attribute("src")
    return Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB")


def test_it_draws_two_pictures_with_their_times(page) -> None:
    draw(page, "a yellow seven on a dark blue background")
    page.wait_for_selector("#right-facts pre", timeout=WAIT)
    left, right = drawn_picture(page, "left"), drawn_picture(page, "right")
    assert left.size == right.size == (512, 512) and list(left.getdata()) != list(right.getdata())
    for side, name in (("left", "DPM++ 2M"), ("right", "DEIS-SN")):
        text = page.text_content(f"#{side}-facts")
        assert name in text and "8 network calls in" in text and "ms each" in text and "pipe.scheduler = " in text
    assert page.locator("#grids svg circle").count() == 16
    # The picture is that of the pipeline itself.
    import numpy as np
    import torch
    from diffusers import DiffusionPipeline

    from diffusers_deis_sn import DEISSNScheduler

    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models/tiny-sd-digits")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=PLACES["tiny-sd-digits"])
    seed, text = torch.Generator().manual_seed(0), "a yellow seven on a dark blue background"
    alone = pipe(text, num_inference_steps=8, guidance_scale=3.0, generator=seed).images[0]
    assert np.array_equal(np.asarray(right.resize(alone.size, Image.Resampling.NEAREST)), np.asarray(alone))


def test_another_model_has_its_own_schedulers(page) -> None:
    page.click("#model input")
    page.get_by_role("option", name="tiny-flow-emoji").click()
    page.wait_for_function("document.querySelector('#left input').value === 'DPM++ 2M'", timeout=WAIT)
    page.click("#left input")
    page.wait_for_selector("[role=option] >> text=FlowMatchEuler", timeout=WAIT)
    page.get_by_role("option", name="FlowMatchEuler").first.click()
    draw(page, "red apple")
    page.wait_for_selector("#right-facts pre", timeout=WAIT)
    assert "FlowMatchEuler" in page.text_content("#left-facts")
    assert drawn_picture(page, "left").size == drawn_picture(page, "right").size


def test_what_is_wrong_is_said_on_the_page(page) -> None:
    draw(page, "   ")
    page.wait_for_selector("text=The prompt is empty", timeout=WAIT)


def test_a_port_that_is_taken_is_said(address) -> None:
    from comparisons import pipeline

    port = int(address.rpartition(":")[2])
    studio = Studio([Offer("exact", pipeline)])
    refused(ConfigurationError, [f"`port` {port}", "choose another"], serve, studio, "127.0.0.1", port)
