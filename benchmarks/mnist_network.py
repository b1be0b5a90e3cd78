"""The pretrained MNIST transformer beside this project, by the tool that comes with it: a file of no package."""

from __future__ import annotations

from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

SHARED = Path(__file__).resolve().parents[2] / "shared"


@cache
def mnist_tool(shared: Path = SHARED) -> ModuleType:
    """What `shared`/tools/mnist_vit.py defines: `load_mnist_vit`, `EpsilonView`, `NULL_CLASS`, `WEIGHTS`."""
    spec = spec_from_file_location("mnist_vit", shared / "tools/mnist_vit.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
