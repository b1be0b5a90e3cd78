"""A figure that compares schedules, of cantor.py and bimodal.py."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.places import write_figure
from diffusers_deis_sn.plots.style import Palette, house_style, panels


def looks(palette: Palette) -> dict[str, dict[str, Any]]:
    """How each schedule is drawn."""
    return {
        "linear": {"color": palette.orange},
        "log-linear": {"color": palette.muted, "ls": (0, (4, 1))},
        "optimised": {"color": palette.blue},
    }


@dataclass
class Panel:
    """Curves of schedules, x and values, with a note to each in the legend; before a true density, shaded in grey."""

    title: str
    xlabel: str
    scales: dict[str, str] = field(default_factory=dict)
    truth: tuple[Any, Any] | None = None
    curves: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def draw(path: Path, *drawn: Panel) -> None:
    """Write a figure of these panels, on light paper and on dark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_figure(path, lambda palette: figure(drawn, palette))


def figure(drawn: Sequence[Panel], palette: Palette) -> Any:
    """Panels in rows of two, so that they are legible at half size, each with its legend below."""
    with house_style(palette):
        made, axes = panels(2, 4.2, 3.4, rows=len(drawn) // 2)
        for axis, panel in zip(axes, drawn, strict=True):
            if panel.truth is not None:
                axis.fill_between(*panel.truth, color=palette.rule, label="true density")
            for name, curve in panel.curves.items():
                marker = "." if len(curve[0]) < 100 else None
                axis.plot(*curve, marker=marker, label=f"{name}{panel.notes.get(name, '')}", **looks(palette)[name])
            axis.set(title=panel.title, xlabel=panel.xlabel, **panel.scales)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return made
