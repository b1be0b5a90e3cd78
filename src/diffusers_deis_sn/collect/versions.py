"""Versions of the libraries that numbers depend on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import torch

from diffusers_deis_sn._version import __version__


def versions() -> dict[str, str]:
    """Versions of the libraries that a measurement depends on."""
    found = {"diffusers_deis_sn": __version__, "torch": torch.__version__}
    for name in ("diffusers", "transformers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
