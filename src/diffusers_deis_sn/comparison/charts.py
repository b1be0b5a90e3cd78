"""Figures of the page as SVG texts, in the page's own colours (classes, so that they follow dark mode)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from diffusers_deis_sn.escaping import html

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 54, 16, 14, 44
POINTS = 200  # of a curve at most
LETTER = 6.4  # width of a letter, about


@dataclass(frozen=True)
class Curve:
    """A line of a figure.

    Args:
        name: As in the legend.
        points: x and y.
        style: Class of its colour.
        small: Numbers of points with small marks, of runs that are in no column.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    style: str
    small: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Axis:
    """Numbers along one side of a figure."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a number is, in units of the figure."""
        low, high, value = (log10(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return self.start + (value - low) / (high - low or 1.0) * (self.end - self.start)


def error_curves(curves: Sequence[Curve], title: str) -> str:
    """Distances by network calls, both logarithmic."""
    xs, ys = [x for one in curves for x, _ in one.points], [y for one in curves for _, y in one.points]
    across = Axis(min(xs) / 1.06, max(xs) * 1.06, LEFT, WIDTH - RIGHT, logarithmic=True)
    up = Axis(min(ys) / 1.15, max(ys) * 1.15, HEIGHT - BOTTOM, TOP, logarithmic=True)
    numbers = _apart(sorted({int(x) for x in xs}), across)
    parts = [_grid_line_x(across, x, f"{x}") for x in numbers]
    parts += [_grid_line_y(up, y, f"{y:g}") for y in _decades(up.low, up.high)]
    parts += [_line(one, across, up) for one in curves]
    return _figure(title, [*parts, _words("network calls", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "middle")])


def normaliser_curve(times: Sequence[float], values: Sequence[float], title: str) -> str:
    """r(t) over training time."""
    thin = max(1, ceil(len(times) / POINTS))
    points = tuple(zip(times, values, strict=True))
    points = tuple(dict.fromkeys((*points[::thin], points[-1])))
    across = Axis(min(times), max(times), LEFT, WIDTH - RIGHT)
    margin = 0.08 * (max(values) - min(values) or 1.0)
    up = Axis(max(0.0, min(values) - margin), max(values) + margin, HEIGHT - BOTTOM, TOP)
    parts = [_grid_line_x(across, x, f"{x:g}") for x in _rounded(across.low, across.high)]
    parts += [_grid_line_y(up, y, f"{y:g}") for y in _rounded(up.low, up.high)]
    parts.append(_line(Curve("r(t)", points, "ours"), across, up, marks=False))
    words = "training time t, clean data at the left"
    return _figure(title, [*parts, _words(words, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "middle")])


def grids_chart(rows: Sequence[Curve], title: str) -> str:
    """Where each scheduler calls the network: a dot a call, a line a scheduler. `points` hold the times as x."""
    times = [x for one in rows for x, _ in one.points]
    height, left = 40 + 30 * len(rows), 24 + LETTER * max(len(one.name) for one in rows)
    across = Axis(min(times), max(times), left, WIDTH - RIGHT)
    parts = []
    for x in _rounded(across.low, across.high):
        place = across.place(x)
        parts.append(f'<line class="rule" x1="{place:.1f}" x2="{place:.1f}" y1="6" y2="{height - 34}"/>')
        parts.append(_words(f"{x:g}", place, height - 20, "middle"))
    for number, one in enumerate(rows):
        y = 20 + 30 * number
        marks = "".join(f'<circle cx="{across.place(x):.1f}" cy="{y}" r="4"/>' for x, _ in one.points)
        parts.append(f'<g class="{one.style}">{_words(one.name, left - 12, y + 4, "end")}{marks}</g>')
    parts.append(_words("training time t, clean data at the left", (left + WIDTH - RIGHT) / 2, height - 4, "middle"))
    return _figure(title, parts, height)


def _figure(title: str, parts: Sequence[str], height: int = HEIGHT) -> str:
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html(title)}"><title>{html(title)}</title>'
        f"{inside}</svg>"
    )


def _line(curve: Curve, across: Axis, up: Axis, marks: bool = True) -> str:
    places = [(across.place(x), up.place(y)) for x, y in curve.points]
    text = f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
    if marks:
        for number, ((x, y), (calls, error)) in enumerate(zip(places, curve.points, strict=True)):
            radius = 2.4 if number in curve.small else 4.0
            label = html(f"{curve.name}, {calls:g} calls: {error:.3g}")
            text += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{label}</title></circle>'
    return f'<g class="curve {curve.style}">{text}</g>'


def _grid_line_x(axis: Axis, value: float, label: str) -> str:
    x = axis.place(value)
    line = f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    return line + _words(label, x, HEIGHT - BOTTOM + 16, "middle")


def _grid_line_y(axis: Axis, value: float, label: str) -> str:
    y = axis.place(value)
    line = f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _words(label, LEFT - 8, y + 4, "end")


def _words(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html(text)}</text>'


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten."""
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [float(f"{m}e{e}") for e in exponents for m in (1, 2, 5) if low <= float(f"{m}e{e}") <= high]


def _rounded(low: float, high: float, wanted: int = 5) -> list[float]:
    """Some round numbers between two."""
    rough = (high - low or 1.0) / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough)
    return [float(f"{n * step:.10g}") for n in range(ceil(low / step), floor(high / step) + 1)]


def _apart(numbers: Sequence[int], axis: Axis, least: float = 26.0) -> list[int]:
    """The numbers whose labels do not touch, from the first on."""
    chosen: list[int] = []
    for one in numbers:
        if not chosen or axis.place(one) - axis.place(chosen[-1]) >= least:
            chosen.append(one)
    return chosen
