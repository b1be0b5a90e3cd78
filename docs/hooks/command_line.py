"""The page of the command line, written by typer from the command itself."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGE = "reference/command-line.md"


def command_line() -> str:
    """Every command and option of `deis-sn`, as Markdown."""
    command = [sys.executable, "-m", "typer", "diffusers_deis_sn.cli.app", "utils", "docs", "--name", "deis-sn"]
    done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, check=True)
    text = html.unescape(done.stdout.replace("&lt;", "&amp;lt;"))
    text = re.sub(r"^# `deis-sn`$", "# Command line: deis-sn", text.strip(), count=1, flags=re.MULTILINE)
    text = re.sub(r"^(#+) `(.*)`$", r"\1 \2", text, flags=re.MULTILINE)
    return re.sub(r"^\* `([a-z-]+)`: .*\.\.\.$", lambda found: _entry(found[1], text), text, flags=re.MULTILINE) + "\n"


def _entry(name: str, text: str) -> str:
    """A command in the list, with its whole first sentence: typer cuts it short."""
    said = re.search(rf"^## deis-sn {name}\n\n(.*)$", text, re.MULTILINE)
    assert said is not None
    return f"* [`{name}`](#deis-sn-{name}): {said[1]}"


def on_files(files: Files, config: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=command_line()))
    return files
