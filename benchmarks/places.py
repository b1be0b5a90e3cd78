"""Where results go: to runs/benchmarks, and only from `make bench` over the files that are committed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers_deis_sn.plots.style import DARK, LIGHT, Palette, png

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "DEIS_SN_BENCHMARKS"  # set by `benchmarks.run`


def committing() -> bool:
    """Whether what is committed is to be written over."""
    return VARIABLE in os.environ


def results(*parts: str) -> Path:
    """A file or folder of results; its parent is made."""
    path = Path(os.environ.get(VARIABLE, ROOT / "runs" / "benchmarks")).joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_figure(path: Path, make: Callable[[Palette], Any], dpi: int = 110) -> None:
    """Write a figure on light paper, and beside it `NAME-dark.png` for dark pages.

    Args:
        path: Of the light one.
        make: Gives the figure in some colours.
        dpi: Dots to the inch.
    """
    path.write_bytes(png(make(LIGHT), dpi))
    path.with_name(f"{path.stem}-dark.png").write_bytes(png(make(DARK), dpi))
