"""The nodes for ComfyUI beside a stub of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import comfy_stub as stub

FOLDER = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"


@pytest.fixture(autouse=True, scope="module")
def comfy():
    with stub.importable() as modules:
        yield modules


@pytest.fixture(scope="module")
def nodes(comfy):
    """The package, loaded as ComfyUI does: from its folder, under a name of ComfyUI's."""
    spec = importlib.util.spec_from_file_location("custom_nodes_deis_sn", FOLDER / "__init__.py")
    package = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    yield package
    for name in [name for name in sys.modules if name.startswith(spec.name)]:
        del sys.modules[name]
