"""The page of `deis-sn serve`, made with Gradio: models, prompt, schedulers, steps and guidance; two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from diffusers_deis_sn.comparison.charts import Curve, grids_chart
from diffusers_deis_sn.comparison.grids import sized
from diffusers_deis_sn.comparison.keeping import encoded
from diffusers_deis_sn.comparison.numbers import number
from diffusers_deis_sn.errors import ConfigurationError, DeisSnError
from diffusers_deis_sn.escaping import html
from diffusers_deis_sn.web.extra import needed
from diffusers_deis_sn.web.studio import Choices, Shown, Studio

TITLE = "Two schedulers, one prompt, the same noise"
SIDE = 512  # pixels that small pictures are enlarged to, about
MOST_STEPS, MOST_GUIDANCE = 50, 20.0
STYLE = """
.grids svg{width:100%;max-width:760px;height:auto;--c:#8a8f98}
.grids svg text{font:12px system-ui,sans-serif;fill:currentColor}
.grids svg .rule{stroke:currentColor;opacity:.2}
.grids svg circle{fill:var(--c)}
.grids .side0{--c:#1f77c9}.grids .side1{--c:#1c9a55}
.facts pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85em;opacity:.85}
"""


def page(studio: Studio) -> Any:
    """The page, `gradio.Blocks`; the first model is loaded.

    Raises:
        MissingExtraError: No Gradio.
        CalibrationError: The model cannot be loaded.
    """
    gr = needed()
    first = studio.choices(studio.models[0])
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}")
        with gr.Row():
            model = gr.Dropdown(list(studio.models), value=studio.models[0], label="Model", elem_id="model")
            prompt = gr.Textbox(label="Prompt", scale=3, elem_id="prompt", visible=first.prompted)
        with gr.Row():
            left = gr.Dropdown(list(first.schedulers), value=first.left, label="Left", elem_id="left")
            right = gr.Dropdown(list(first.schedulers), value=first.right, label="Right", elem_id="right")
            steps = gr.Slider(1, MOST_STEPS, first.steps, step=1, label="Network calls", elem_id="steps")
            guidance = gr.Slider(
                **{"minimum": 0.0, "maximum": MOST_GUIDANCE, "value": first.guidance or 1.0, "step": 0.1},
                **{"label": "Guidance", "elem_id": "guidance", "visible": first.guidance is not None},
            )
            seed = gr.Number(0, precision=0, minimum=0, label="Seed", elem_id="seed")
        draw = gr.Button("Draw both", variant="primary", elem_id="draw")
        pictures, facts = [], []
        with gr.Row():
            for name in ("left", "right"):
                with gr.Column():
                    pictures.append(
                        gr.Image(
                            **{"label": name.title(), "format": "png", "interactive": False},
                            **{"elem_id": f"{name}-picture", "buttons": ["download", "fullscreen"]},
                        )
                    )
                    facts.append(gr.HTML(elem_id=f"{name}-facts", elem_classes="facts"))
        grids = gr.HTML(elem_id="grids", elem_classes="grids")

        def chosen(name: str) -> list[Any]:
            found = _or_said(gr, lambda: studio.choices(name))
            return [gr.update(**one) for one in _updates(found)]

        def drawn(
            name: str,
            text: str,
            *said: Any,
            progress: Any = gr.Progress(),  # noqa: B008 - how Gradio finds out
        ) -> list[Any]:
            one, other, calls, scale, first_seed = said
            found = _or_said(gr, lambda: _drawn(studio, name, text, (one, other), calls, scale, first_seed, progress))
            return [*(enlarged(shown.picture) for shown in found), *map(told, found), chart(found)]

        quiet = {"api_visibility": "private"}
        model.change(chosen, model, [prompt, left, right, steps, guidance], **quiet)
        inputs = [model, prompt, left, right, steps, guidance, seed]
        for starts in (draw.click, prompt.submit):
            starts(drawn, inputs, [*pictures, *facts, grids], concurrency_limit=1, **quiet)
    return blocks


def serve(studio: Studio, host: str, port: int, opened: bool = False) -> Any:
    """Show the page; comes back when it can be seen, `block_thread()` of what it gives waits for Ctrl-C.

    Args:
        studio: Draws.
        host: Address to listen at; 127.0.0.1 for this machine alone.
        port: Port to listen at.
        opened: Open a browser.

    Raises:
        MissingExtraError: No Gradio.
        ConfigurationError: The port is taken, or no address of this machine.
        CalibrationError: The first model cannot be loaded.
    """
    gr = needed()
    blocks = page(studio)
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=opened,
            share=False,
            quiet=True,
            ssr_mode=False,
            prevent_thread_lock=True,
            footer_links=[],
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=STYLE,
        )
    except OSError as error:
        raise ConfigurationError(f"Nothing can listen at `port` {port} of `host` {host!r}: choose another.") from error
    return blocks


def told(shown: Shown) -> str:
    """Time and lines to paste, as HTML."""
    each = number(1000.0 * shown.seconds / max(shown.calls, 1))
    code = "\n".join(html(line, None) for line in shown.code)
    return (
        f"<p><strong>{html(shown.scheduler)}</strong>: {shown.calls} network calls in {number(shown.seconds)} s, "
        f"{each} ms each</p><pre>{code}</pre>"
    )


def chart(found: Sequence[Shown]) -> str:
    """Where each has called the network, as HTML."""
    curves = [
        Curve(one.scheduler, tuple((time, 0.0) for time in one.timesteps), f"side{place}")
        for place, one in enumerate(found)
    ]
    lists = "".join(
        f"<dt>{html(one.scheduler)}</dt><dd>{', '.join(f'{time:g}' for time in one.timesteps)}</dd>" for one in found
    )
    title = "Where they call the network"
    return (
        f"<h3>{title}</h3>{grids_chart(curves, title)}<details><summary>The times</summary><dl>{lists}</dl></details>"
    )


def enlarged(picture: Image.Image) -> Image.Image:
    """A small picture by a whole factor without smoothing, a large one as it is."""
    return picture if max(picture.size) >= SIDE else sized(encoded(picture), SIDE)


def _updates(found: Choices) -> list[dict[str, Any]]:
    """What changes with the model: prompt, left, right, steps, guidance."""
    names = list(found.schedulers)
    return [
        {"visible": found.prompted},
        {"choices": names, "value": found.left},
        {"choices": names, "value": found.right},
        {"value": found.steps},
        {"value": found.guidance or 1.0, "visible": found.guidance is not None},
    ]


def _drawn(
    studio: Studio,
    model: str,
    prompt: str,
    schedulers: tuple[str, str],
    steps: float,
    guidance: float,
    seed: float | None,
    progress: Any,
) -> tuple[Shown, ...]:
    guided = studio.choices(model).guidance is not None
    return studio.drawn(
        model,
        prompt or "",
        schedulers,
        int(steps),
        float(guidance) if guided else None,
        int(seed or 0),
        lambda share, who: progress(share, desc=who),
    )


def _or_said(gr: Any, work: Any) -> Any:
    """What the work gives; what is wrong is shown on the page."""
    try:
        return work()
    except DeisSnError as error:
        raise gr.Error(html(error, None)) from error
    except Exception as error:  # whatever a pipeline raises with a scheduler that does not suit it
        raise gr.Error(html(f"{type(error).__name__}: {error}", None)) from error
