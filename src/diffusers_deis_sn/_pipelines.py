"""Makes pipelines that were saved with this package's schedulers loadable, from a folder and from the Hub.

A saved pipeline names the library of each component, and Diffusers loads from those in its table `LOADABLE_CLASSES`.
The table lies in a module that imports Transformers and takes seconds, so it is not imported for this. A finder that
finds nothing looks out for it, and enters this package as soon as the table is there; then it is gone. Until then the
package is an attribute of `diffusers.pipelines`, which Diffusers takes as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

LIBRARY = __name__.partition(".")[0]
METHODS = {"SchedulerMixin": ["save_pretrained", "from_pretrained"]}
PIPELINES = "diffusers.pipelines"
TABLE_MODULE = f"{PIPELINES}.pipeline_loading_utils"


class _LookOut(MetaPathFinder):
    """Finds nothing; sees whether the table is there by now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, always."""
        if PIPELINES in sys.modules:
            _enter()
        return None


_LOOK_OUT = _LookOut()


def withdraw() -> None:
    """Look out no more. The list is replaced, for somebody may be walking through the old one."""
    if _LOOK_OUT in sys.meta_path:
        sys.meta_path = [one for one in sys.meta_path if one is not _LOOK_OUT]


def announce() -> None:
    """Enter this package in the table: now, or as soon as there is one."""
    if not _enter() and _LOOK_OUT not in sys.meta_path:
        sys.meta_path = [_LOOK_OUT, *sys.meta_path]


def _enter() -> bool:
    """Enter it if the table is there, and make do with the attribute otherwise; whether there is nothing more to do."""
    library, pipelines = sys.modules.get(LIBRARY), sys.modules.get(PIPELINES)
    table = getattr(sys.modules.get(TABLE_MODULE), "LOADABLE_CLASSES", None)
    if library is not None and isinstance(table, dict):
        table.setdefault(LIBRARY, METHODS)
        if pipelines is not None and LIBRARY in vars(pipelines):
            delattr(pipelines, LIBRARY)
    elif library is not None:
        if pipelines is not None:
            setattr(pipelines, LIBRARY, library)
        return False
    withdraw()
    return True
