"""Pages of the site, and what stands in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {file.relative_to(DOCS).as_posix(): file.read_text() for file in sorted(DOCS.rglob("*.md"))}
ELSEWHERE = ("stats/README.md", "stats/RECIPES.md", "integrations/comfyui/README.md", "CONTRIBUTING.md")

_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """Code of a page in one language, from top to bottom; that in tabs too."""
    return [textwrap.dedent(found[3]) for found in _BLOCK.finditer(text) if found[2] == language]
