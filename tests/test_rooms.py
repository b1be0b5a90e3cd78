"""Tests mirror the rooms: the tests of src/diffusers_deis_sn/ROOM/_x.py are in tests/ROOM/test_x.py."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src" / "diffusers_deis_sn", ROOT / "tests"
MODULES = {file.relative_to(SOURCE).as_posix(): file for file in SOURCE.rglob("*.py") if file.name != "__init__.py"}
EXCEPTIONS = {
    "_version.py",  # one constant, which tests/test_architecture.py holds against the installed package
    "schedulers/_typed.py",  # types alone, which mypy checks through tests/typed_use.py
}


MOST_LINES = {"src": 400, "integrations": 400, "examples": 400, "benchmarks": 400, "tests": 1000}
"""Of one file. Where it is reached a file has two reasons to change: give one of them a file with a name of its own."""


def file_of_tests(module: str) -> Path:
    path = Path(module)
    return TESTS / path.parent / f"test_{path.stem.removeprefix('_')}.py"


@pytest.mark.parametrize("module", sorted(MODULES.keys() - EXCEPTIONS))
def test_every_module_has_a_test_file_of_its_name(module: str) -> None:
    file = file_of_tests(module)
    assert file.is_file(), f"{module} has no {file.relative_to(ROOT)}"
    assert "def test_" in file.read_text(), f"{file.relative_to(ROOT)} holds no tests"


def test_exceptions_are_modules_without_a_test_file_of_their_own() -> None:
    assert MODULES.keys() >= EXCEPTIONS
    assert not [module for module in EXCEPTIONS if file_of_tests(module).exists()]


def test_two_modules_never_share_a_test_file() -> None:
    assert len({file_of_tests(module) for module in MODULES}) == len(MODULES)


@pytest.mark.parametrize("folder", MOST_LINES)
def test_no_file_is_too_long_to_have_one_subject(folder: str) -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths and not {name: lines for name, lines in lengths.items() if lines > MOST_LINES[folder]}
