"""Makes pipelines that were saved with this package's schedulers loadable, from a folder and from the Hub.

A saved pipeline names the library of each component, and Diffusers loads from libraries in its table `LOADABLE_CLASSES`
alone. The table lies in a module that imports Transformers and more, so the entry is made when that module is imported
by whoever needs it, and not before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LIBRARY = "diffusers_deis_sn"
METHODS = {"SchedulerMixin": ["save_pretrained", "from_pretrained"]}
TABLE_MODULE = "diffusers.pipelines.pipeline_loading_utils"


class _WhenImported(MetaPathFinder):
    """Finds nothing itself; sees the module with the table go by, and enters this library each time it is there."""

    _looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, which enters this library once it is run; None for all other modules."""
        if fullname != TABLE_MODULE or self._looking:
            return None
        self._looking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_enter(module: ModuleType) -> None:
                execute(module)
                _enter(module)

            loader.exec_module = execute_and_enter
        return spec


def _enter(module: ModuleType) -> None:
    table = getattr(module, "LOADABLE_CLASSES", None)
    if isinstance(table, dict):
        table.setdefault(LIBRARY, METHODS)


def register() -> None:
    """Enter this library in Diffusers' table, now or as soon as the table exists."""
    if TABLE_MODULE in sys.modules:
        _enter(sys.modules[TABLE_MODULE])
    if not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())
