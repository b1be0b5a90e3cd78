"""One look for all figures, on light paper and on dark."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers_deis_sn.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Palette:
    """Colours of a figure. The five of lines are told apart by colour-blind eyes too; each stands out from the paper.

    Args:
        paper: What a figure is drawn on.
        ink: Titles, labels and whatever is said in words.
        muted: Axes and their numbers.
        rule: Lines of the grid.
        grey: Lines that are only the surroundings of those in colour.
        blue: Ours, or the first of several.
        orange: The second.
        green: The third.
        purple: The fourth.
        sky: The fifth.
    """

    paper: str
    ink: str
    muted: str
    rule: str
    grey: str
    blue: str
    orange: str
    green: str
    purple: str
    sky: str


LIGHT = Palette(
    paper="#ffffff",
    ink="#22262b",
    muted="#68707a",
    rule="#e4e7ea",
    grey="#b9c0c8",
    blue="#0b5cad",
    orange="#d35400",
    green="#00995c",
    purple="#a3407e",
    sky="#3a9fdc",
)
DARK = Palette(
    paper="#1e2129",
    ink="#e8eaee",
    muted="#a4abb6",
    rule="#343945",
    grey="#5d6572",
    blue="#6cb6ff",
    orange="#ff9e4a",
    green="#4a9a57",
    purple="#f08cc8",
    sky="#4f93c4",
)

INK, MUTED, BLUE, ORANGE, GREEN = LIGHT.ink, LIGHT.muted, LIGHT.blue, LIGHT.orange, LIGHT.green


def _settings(palette: Palette) -> dict[Any, Any]:
    return {
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.titlelocation": "left",
        "axes.facecolor": palette.paper,
        "axes.edgecolor": palette.muted,
        "axes.titlecolor": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "figure.facecolor": palette.paper,
        "savefig.facecolor": palette.paper,
        "grid.color": palette.rule,
        "grid.linewidth": 0.7,
        "axes.axisbelow": True,
        "xtick.color": palette.muted,
        "ytick.color": palette.muted,
        "xtick.labelcolor": palette.ink,
        "ytick.labelcolor": palette.ink,
        "text.color": palette.ink,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.6,
    }


@contextmanager
def house_style(palette: Palette = LIGHT) -> Iterator[None]:
    """The settings of this package within the block; those of the caller are untouched."""
    _require()
    from matplotlib import rc_context

    with rc_context(_settings(palette)):
        yield


def panels(number: int, width: float = 3.9, height: float = 3.1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with `number` panels side by side in each row, each `width` by `height` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(number * width, rows * height), dpi=160, layout="constrained")
    return figure, list(figure.subplots(rows, number, squeeze=False).flat)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """A picture of a figure; equal figures give equal bytes, as neither date nor version are written into it."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi, metadata={"Software": None})
    return data.getvalue()


def picture(figure: Figure, ending: str) -> bytes:
    """A figure as a file with this ending, one of those that `is_picture` takes."""
    data = io.BytesIO()
    figure.savefig(data, format=ending.removeprefix(".").lower())
    return data.getvalue()


def is_picture(path: Path) -> bool:
    """Whether a name is that of a picture that matplotlib can write. Raises MissingExtraError where it is missing."""
    _require()
    from matplotlib.backend_bases import FigureCanvasBase

    return path.suffix.removeprefix(".").lower() in FigureCanvasBase.get_supported_filetypes()


def _require() -> None:
    """Raise MissingExtraError where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Figures need matplotlib", "plot") from error
