"""One look for all figures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22262b"
MUTED = "#7a828c"
BLUE = "#1f5fa8"
ORANGE = "#c8611a"
GREEN = "#2b8a5a"

_SETTINGS: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7ea",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
}


@contextmanager
def house_style() -> Iterator[None]:
    """The settings of this package within the block; those of the caller are untouched."""
    _require()
    from matplotlib import rc_context

    with rc_context(_SETTINGS):
        yield


def panels(number: int, width: float = 3.9, height: float = 3.1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with `number` panels side by side in each row, each `width` by `height` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(number * width, rows * height), dpi=160, layout="constrained")
    return figure, list(figure.subplots(rows, number, squeeze=False).flat)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """A picture of a figure; equal figures give equal bytes, as neither date nor version are written into it."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
    return picture.getvalue()


def _require() -> None:
    """Raise ImportError with the remedy where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError('Figures need matplotlib. Install it with: pip install "diffusers-deis-sn[plot]".') from error
