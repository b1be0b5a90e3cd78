"""Small tables and curves as HTML, for notebooks: no script, no font or picture from elsewhere, every text escaped.

Colours are those of the page around it, but for the curves, which are seen on light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.escaping import html

COLOURS = ("#2a7ab9", "#d1603d", "#3d9970", "#8e6bbf", "#b8860b", "#c2507d")
WIDTH, HEIGHT = 380, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 22, 34  # margins, for what stands on the axes
TABLE = "border-collapse:collapse;margin:4px 0;font:inherit;color:inherit"
CELL = "padding:1px 10px 1px 0;text-align:left;vertical-align:top"


class Curve(NamedTuple):
    """A curve of a chart.

    Attributes:
        x: Rising; (K,).
        y: Zero or more; (K,).
        error: Of y, drawn as a band; None for none.
        name: For the legend; empty for none.
    """

    x: Array
    y: Array
    error: Array | None = None
    name: str = ""


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> str:
    """A table; what its cells say is escaped."""
    top = f"<thead><tr>{''.join(_cell(one, 'th') for one in head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(_cell(one, 'td') for one in row)}</tr>" for row in rows)
    return f'<table style="{TABLE}">{top}<tbody>{body}</tbody></table>'


def _cell(value: object, tag: str) -> str:
    return f'<{tag} style="{CELL}">{html(value, None)}</{tag}>'


def chart(curves: Sequence[Curve], along: str, title: str) -> str:
    """Curves over one axis as inline SVG, from zero up.

    Args:
        curves: At least one.
        along: What x is.
        title: What y is.
    """
    x = [float(end) for end in (min(one.x[0] for one in curves), max(one.x[-1] for one in curves))]
    high = max(float(np.max(one.y + (0.0 if one.error is None else one.error))) for one in curves)
    drawn = "".join(_curve(one, x, high, COLOURS[n % len(COLOURS)]) for n, one in enumerate(curves))
    legend = "".join(
        f'<text x="{WIDTH - RIGHT - 4}" y="{HEIGHT - BOTTOM - 6 - 13 * n}" text-anchor="end" '
        f'fill="{COLOURS[n % len(COLOURS)]}">{html(one.name)}</text>'
        for n, one in enumerate(curves)
        if one.name
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="11"><title>{html(title)}</title>'
        f"{_axes(x, high, along, title)}{drawn}{legend}</svg>"
    )


def _axes(x: Sequence[float], high: float, along: str, title: str) -> str:
    left, low, right = LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT
    texts = (
        (left, low + 14, "start", f"{x[0]:.4g}"),
        (right, low + 14, "end", f"{x[1]:.4g}"),
        ((left + right) // 2, low + 28, "middle", along),
        (left - 6, low + 4, "end", "0"),
        (left - 6, TOP + 4, "end", f"{high:.3g}"),
        (left, TOP - 9, "start", title),
    )
    said = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{end}" fill="currentColor">{html(text)}</text>'
        for x, y, end, text in texts
    )
    lines = f'<path d="M{left} {TOP}V{low}H{right}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
    return lines + said


def _curve(one: Curve, x: Sequence[float], high: float, colour: str) -> str:
    across = LEFT + (one.x - x[0]) / ((x[1] - x[0]) or 1.0) * (WIDTH - LEFT - RIGHT)

    def points(values: Array) -> list[str]:
        down = HEIGHT - BOTTOM - np.maximum(values, 0.0) / (high or 1.0) * (HEIGHT - TOP - BOTTOM)
        return [f"{a:.2f},{b:.2f}" for a, b in zip(across, down, strict=True)]

    band = ""
    if one.error is not None:
        outline = [*points(one.y + one.error), *points(one.y - one.error)[::-1]]
        band = f'<polygon points="{" ".join(outline)}" fill="{colour}" fill-opacity="0.25"/>'
    return f'{band}<polyline points="{" ".join(points(one.y))}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
