"""Programs of benchmarks do something when they are called as they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    path
    for path in (ROOT / "benchmarks").rglob("*.py")
    if f"python -m {'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
    in re.sub(r"\s+", " ", ast.get_docstring(ast.parse(path.read_text())) or "")
)


def test_there_are_programs():
    assert len(PROGRAMS) > 10


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_runs_its_main(path):
    last = ast.parse(path.read_text()).body[-1]
    assert isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'", path
