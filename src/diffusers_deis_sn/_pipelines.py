"""Makes pipelines that were saved with this package's schedulers loadable, from a folder and from the Hub.

A saved pipeline names the library of each component. Before Diffusers downloads one, it wants each library to be in its
own table or an attribute of `diffusers.pipelines`; so this package becomes one. That module is there as soon as
Diffusers loads any pipeline, and costs nothing to import once Diffusers is; but Diffusers itself takes seconds. So
whoever imports this package alone, and uses no name of it, is waited for: a finder that finds nothing looks out for the
first module below `diffusers.pipelines`, and is gone with it, or with the first use of one of our names.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

LIBRARY = __name__.partition(".")[0]
PIPELINES = "diffusers.pipelines"


class _LookOut(MetaPathFinder):
    """Finds nothing; sees the first module below `diffusers.pipelines` go by."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, always."""
        if fullname.startswith(PIPELINES + "."):
            announce()
        return None


_LOOK_OUT = _LookOut()


def withdraw() -> None:
    """Look out no more: what is imported now is imported by us."""
    if _LOOK_OUT in sys.meta_path:
        sys.meta_path.remove(_LOOK_OUT)


def announce() -> None:
    """Be an attribute of `diffusers.pipelines`: now, or as soon as there is such a module."""
    withdraw()
    if PIPELINES in sys.modules:
        setattr(sys.modules[PIPELINES], LIBRARY, sys.modules[LIBRARY])
    else:
        sys.meta_path.insert(0, _LOOK_OUT)
