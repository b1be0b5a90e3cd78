"""Where the repository and the site are: one place says it, [project.urls] in pyproject.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def repository() -> str:
    """Address of the repository: of the one that a workflow runs in, else of pyproject.toml."""
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    return _urls()["Repository"]


def source(path: str) -> str:
    """Address of a file or folder of the repository."""
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{repository()}/{kind}/main/{path}"


def on_config(config: Any) -> Any:
    """Give MkDocs the addresses.

    Not as `repo_url`: with it every page that is read asks GitHub how many stars the repository has.
    """
    config.extra["social"] = [{"icon": "fontawesome/brands/github", "link": repository(), "name": "Source"}]
    config.site_url = os.environ.get("SITE_URL") or _urls()["Documentation"]
    return config


def _urls() -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return found
