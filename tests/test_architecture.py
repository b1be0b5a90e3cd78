"""The layout keeps its promises: imports flow one way, `import diffusers_deis_sn` is light, types and version ship."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from importlib import metadata, resources
from pathlib import Path

import grimp
import pytest

import diffusers_deis_sn

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("accelerate", "matplotlib", "scipy", "sklearn", "transformers", "typer")

LOADED = f"import sys; print(*sorted(set({HEAVY}) & set(sys.modules)))"
CONTRACTS = """
import sys
from importlinter.cli import lint_imports

sys.exit(lint_imports(config_filename=sys.argv[1], no_cache=True))
"""
FOREIGN = {
    "src": ("benchmarks", "examples", "tests"),
    "integrations": ("benchmarks", "examples", "tests"),
    "examples": ("benchmarks", "tests"),
    "benchmarks": ("tests",),
}
"""What the files of a folder do not import."""

PATH_CHANGED = re.compile(r"sys\.path\.\w+\(|sys\.path(\[[^\]]*\])? *\+?= |add[s]itedir|sys[p]ath_prepend")


def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    variables = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def heavy_packages_after(code: str) -> set[str]:
    """Heavy packages that a fresh interpreter holds once it has run `code`."""
    done = run(f"{code}\n{LOADED}")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def check_contracts(source: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package below `source` against the import contracts of pyproject.toml."""
    return run(CONTRACTS, ROOT / "pyproject.toml", PYTHONPATH=str(source))


def test_imports_flow_one_way() -> None:
    done = check_contracts(ROOT / "src")
    assert done.returncode == 0, done.stdout + done.stderr


def imported_names(code: str) -> set[str]:
    """First parts of the names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("folder", FOREIGN)
def test_folders_import_no_foreign_ones(folder: str) -> None:
    """Nor what tests import by bare names, `oracles` and the like."""
    bare = {path.stem for path in (ROOT / "tests").glob("*.py")} | {"tiny_pipelines"}
    foreign = bare.union(FOREIGN[folder])
    found = {path: imported_names(path.read_text()) & foreign for path in (ROOT / folder).rglob("*.py")}
    assert len(found) >= 3 and not {path: names for path, names in found.items() if names}


def names_of_ours(nodes: Iterable[ast.AST]) -> set[tuple[str, str]]:
    """Module and name of what is imported from modules of the package."""
    return {
        (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffusers_deis_sn.")
        for alias in node.names
    }


def test_names_are_imported_from_where_they_are() -> None:
    """A module that hands on names of another one would hide where they are defined."""
    trees = {
        path: ast.parse(path.read_text()) for folder in (*FOREIGN, "tests") for path in (ROOT / folder).rglob("*.py")
    }
    handed_on = {
        (".".join(path.relative_to(ROOT / "src").with_suffix("").parts), name)
        for path, tree in trees.items()
        if path.is_relative_to(ROOT / "src") and path.name != "__init__.py"
        for _, name in names_of_ours(tree.body)
    }
    assert len(handed_on) > 100
    found = {path.name: names for path, tree in trees.items() if (names := names_of_ours(ast.walk(tree)) & handed_on)}
    assert not found


@pytest.mark.parametrize("folder", [*FOREIGN, "tests"])
def test_no_file_changes_where_modules_are_found(folder: str) -> None:
    found = [path for path in (ROOT / folder).rglob("*.py") if PATH_CHANGED.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize("change", ["{}.insert(0, here)", "{}.append(here)", "{}[:0] = [here]", "{} += [here]"])
def test_a_change_of_where_modules_are_found_is_caught(change: str) -> None:
    assert PATH_CHANGED.search(change.format("sys.path"))


def test_no_circle_of_files() -> None:
    """Imports for types alone and those within functions included."""
    graph = grimp.build_graph("diffusers_deis_sn", cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imported).prepare()  # raises CycleError with the files of a circle


def test_an_import_against_the_flow_is_caught(tmp_path: Path) -> None:
    package = tmp_path / "diffusers_deis_sn"
    shutil.copytree(ROOT / "src" / "diffusers_deis_sn", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "core" / "intruder.py").write_text("import diffusers_deis_sn.schedulers\nimport torch\n")
    (package / "homeless.py").write_text("")

    done = check_contracts(tmp_path)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "diffusers_deis_sn.core is not allowed to import diffusers_deis_sn.schedulers" in done.stdout
    assert "diffusers_deis_sn.core is not allowed to import torch" in done.stdout
    assert "homeless" in done.stdout


def test_importing_the_package_is_next_to_nothing() -> None:
    done = run("import diffusers_deis_sn, sys; print(*{'torch', 'diffusers', 'numpy', 'scipy'} & set(sys.modules))")
    assert done.returncode == 0 and done.stdout.strip() == "", done.stderr + done.stdout


def test_importing_every_public_name_is_light() -> None:
    assert heavy_packages_after("from diffusers_deis_sn import *") == set()


def test_what_comes_with_a_name_is_not_looked_at() -> None:
    """Not one of the modules that are imported with a name of ours goes by our finder."""
    program = """
import sys
from diffusers_deis_sn import _pipelines
seen, found = [], _pipelines._LookOut.find_spec
_pipelines._LookOut.find_spec = lambda *arguments: seen.append(arguments[1]) or found(*arguments)
from diffusers_deis_sn import DEISSNScheduler
print(len(seen))
"""
    done = run(program)
    assert done.stdout.strip() == "0", done.stderr


WITHOUT_DIFFUSERS = """
import importlib, pkgutil, sys
sys.modules["diffusers"] = None  # whoever imports it fails
import diffusers_deis_sn
for room in ("core", "statistics", "learn", "plots"):
    package = importlib.import_module(f"diffusers_deis_sn.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
print(diffusers_deis_sn.ScoreStatistics.__name__)
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.core.recipe import Recipe
print(len(Recipe(vp_schedule(), Power("t", 2.0)).plan(5)))
"""


def test_core_statistics_and_learn_work_without_diffusers() -> None:
    done = run(WITHOUT_DIFFUSERS)
    assert done.returncode == 0 and done.stdout.split() == ["ScoreStatistics", "5"], done.stderr


def test_a_heavy_import_is_caught() -> None:
    assert heavy_packages_after("import matplotlib") == {"matplotlib"}


def test_type_information_ships_with_the_package() -> None:
    assert resources.files(diffusers_deis_sn).joinpath("py.typed").is_file()


def test_version_is_that_of_the_installed_package() -> None:
    assert diffusers_deis_sn.__version__ == metadata.version("diffusers-deis-sn")


@pytest.mark.parametrize("name", ["DEISSNScheduler", "ScoreOptimalScheduler"])
def test_a_scheduler_is_three_classes_of_ours(name: str) -> None:
    """Behaviour that more of them would share is a value or a function, and state lies in one place."""
    own = [
        one.__name__
        for one in getattr(diffusers_deis_sn, name).__mro__
        if one.__module__.startswith("diffusers_deis_sn")
    ]
    assert len(own) <= 3, own


def test_types_are_ignored_next_to_nowhere() -> None:
    found = [
        path.name for path in (ROOT / "src").rglob("*.py") for _ in range(path.read_text().count("# type: ignore"))
    ]
    assert len(found) <= 6, found
