"""Where results go: to runs/benchmarks, and only from `make bench` over the files that are committed."""

from __future__ import annotations

import os
from pathlib import Path

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
