"""What the API reference says agrees with the code: arguments, results and errors, and where mathematics is from.

Griffe reads docstrings here as it does for the site (mkdocstrings).
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from public_calls import CALLS, ELSEWHERE
from site_pages import DOCS, PAGES, ROOT

griffe = pytest.importorskip("griffe")

SOURCE = ROOT / "src" / "diffusers_deis_sn"
SHOWN = re.compile(r"^::: diffusers_deis_sn\.(\S+)\n((?: {4}.*\n|\n)*)", re.MULTILINE)
SOURCES = re.compile(r"arXiv \d{4}\.\d{5}|arxiv\.org/abs/\d{4}\.\d{5}|(docs|stats)/[\w/-]+\.md")
NUMERICS = re.compile(r"\b(np|torch|math)\.(exp|log\w*|sqrt|interp|cumsum|cumprod|polynomial|quantile|linalg)\b")
ROOMS = ("core", "learn", "statistics", "tuning")
ARRAY = re.compile(r"\b(Array|NDArray|ndarray|Tensor)\b")
SHAPE = re.compile(r"\([^()]*,[^()]*\)|\bshape\b|See `")
PACKAGE = griffe.load("diffusers_deis_sn", search_paths=[str(ROOT / "src")], docstring_parser="google")


def shown() -> Iterator[Any]:
    """Every function and class of the reference, and their public methods; inherited ones where the page says so."""
    for page in sorted((DOCS / "reference").glob("*.md")):
        for path, below in SHOWN.findall(page.read_text()):
            one = PACKAGE[path]
            options = (yaml.safe_load(below) or {}).get("options", {})
            inherited = options.get("inherited_members", [])
            members = one.members | {name: one.all_members[name] for name in inherited} if one.is_class else one.members
            yield from [] if one.is_module else [one]
            chosen = options.get("members", not one.is_function)
            for name, member in members.items() if chosen else []:
                if isinstance(chosen, list) and name not in chosen:
                    continue
                member = member.final_target if name in inherited else member
                if not name.startswith("_") and not member.is_alias and (member.is_function or member.is_class):
                    yield member


ALL = {one.path.removeprefix("diffusers_deis_sn."): one for one in shown()}
FUNCTIONS = {path: one for path, one in ALL.items() if one.is_function}


def sections(one: Any) -> dict[str, Any]:
    return {part.kind.value: part.value for part in one.docstring.parsed} if one.docstring else {}


def arguments(one: Any) -> list[str]:
    stars = {"variadic positional": "*", "variadic keyword": "**"}
    return [stars.get(p.kind.value, "") + p.name for p in one.parameters if p.name not in ("self", "cls")]


def see(one: Any) -> str | None:
    """What is shown elsewhere and holds here too: "See `Grid`." of a method, "Args are those of `X`" of a class."""
    if found := re.match(r"See `(\w+)`", one.docstring.value):
        return f"{found[1]}.{one.name}"
    found = re.search(r"^Args are those of `(\w+)`", one.docstring.value, re.MULTILINE)
    return found[1] if found else None


def in_a_sentence(one: Any) -> bool:
    """Whether a function of one argument at most says everything in a sentence, with that argument's name in it."""
    return one.is_function and len(arguments(one)) <= 1 and set(sections(one)) <= {"text"}


def says_arguments(one: Any) -> bool:
    if in_a_sentence(one):
        return all(f"`{name.strip('*')}`" in one.docstring.value for name in arguments(one))
    return [argument.name for argument in sections(one).get("parameters", [])] == arguments(one)


def says_result(one: Any) -> bool:
    """Constructors do: they give what their first sentence says they make."""
    if "classmethod" in one.labels or str(one.returns) == "None" or in_a_sentence(one):
        return True
    return bool({"returns", "yields"} & sections(one).keys())


def test_the_reference_has_what_people_call() -> None:
    assert len(FUNCTIONS) >= 79 and "schedulers._integrator.ExponentialIntegrator.set_timesteps" in FUNCTIONS


@pytest.mark.parametrize("path", sorted(ALL))
def test_it_says_what_it_is(path: str) -> None:
    said = ALL[path].docstring
    assert said and re.match(r".*[.:?]$", said.value.splitlines()[0]), f"{path} has no first sentence"


@pytest.mark.parametrize("path", sorted(ALL))
def test_arguments_are_those_of_the_signature(path: str) -> None:
    if elsewhere := see(ALL[path]):
        assert [name for name in ALL if name.endswith(f".{elsewhere}")], f"{path} sees {elsewhere}, which is not shown"
    else:
        assert says_arguments(ALL[path]), f"{path} has the arguments {arguments(ALL[path])}"


@pytest.mark.parametrize("path", sorted(FUNCTIONS))
def test_a_result_is_described(path: str) -> None:
    one = FUNCTIONS[path]
    assert see(one) or says_result(one), f"{path} gives {one.returns} and does not say what that is"


@pytest.mark.parametrize(
    ("signature", "said", "sound"),
    [
        ("a, b", "Args:\n        a: One.\n        b: Two.\n\n    Returns:\n        Their sum.", True),
        ("a, b", "Args:\n        a: One.\n\n    Returns:\n        Their sum.", False),
        ("a, c", "Args:\n        a: One.\n        b: Two.\n\n    Returns:\n        Their sum.", False),
        ("b, a", "Args:\n        a: One.\n        b: Two.\n\n    Returns:\n        Their sum.", False),
        ("a, b", "Args:\n        a: One.\n        b: Two.", False),
        ("a, b", "From `a` to `b`.", False),
        ("a", "Twice `a`.", True),
        ("a", "Twice that.", False),
        ("a, **more", "Args:\n        a: One.\n        **more: Others.\n\n    Returns:\n        All.", True),
    ],
)
def test_what_is_not_said_is_seen(signature: str, said: str, sound: bool) -> None:
    code = f'def f({signature}) -> float:\n    """It is this.\n\n    {said}\n    """\n'
    with griffe.temporary_visited_module(code, docstring_parser="google") as module:
        assert (says_arguments(module["f"]) and says_result(module["f"])) == sound


def test_every_argument_is_held_against_odd_values() -> None:
    """What is new on a page has a legal call in tests/public_calls.py, or a reason why there is none."""
    asked = {path for path, one in ALL.items() if arguments(one) and not path.startswith("errors.")}
    assert asked - CALLS.keys() - ELSEWHERE.keys() == set()
    assert ELSEWHERE.keys() <= asked and not ELSEWHERE.keys() & CALLS.keys()


# ------------------------------------------------------------------------------------------------------------- errors

ERRORS = {name: one for name, one in PACKAGE["errors"].members.items() if not one.is_alias and one.is_class}
KNOWN = ERRORS.keys() | {name for name in dir(builtins) if name.endswith("Error")}


@cache
def definitions() -> dict[str, list[ast.FunctionDef | ast.ClassDef]]:
    """Functions and classes of the package by name."""
    found: dict[str, list[ast.FunctionDef | ast.ClassDef]] = {}
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def raised(node: ast.AST) -> set[str]:
    """Errors by name that stand behind `raise` here."""
    found = [one.exc for one in ast.walk(node) if isinstance(one, ast.Raise) and one.exc]
    whats = [one.func if isinstance(one, ast.Call) else one for one in found]
    return {one.id for one in whats if isinstance(one, ast.Name) and one.id in KNOWN}


def code(one: Any) -> list[ast.AST]:
    """A function, or the constructor of a class."""
    whole = [node for node in definitions()[one.name] if ast.get_docstring(node) == one.docstring.value]
    if one.is_function:
        return list(whole)
    return [node for cls in whole for node in cls.body if getattr(node, "name", "") in ("__init__", "__post_init__")]


@cache
def mentioned(name: str) -> tuple[set[str], set[str]]:
    """Names that the functions and classes of a name mention, and our errors that they may raise or hand on."""
    found = [used(node) for node in definitions().get(name, [])]
    return set().union(*found), set().union(*found) & ERRORS.keys()


def used(node: ast.AST) -> set[str]:
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return names | {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}


def reachable(start: list[ast.AST]) -> set[str]:
    """Errors that code may end in, itself or by anything of the package that has a name it uses: never too few."""
    seen: set[str] = set()
    todo = set().union(*map(used, start))
    errors = todo & ERRORS.keys()
    while todo:
        seen |= todo
        further = [mentioned(name) for name in todo]
        errors |= set().union(*(one for _, one in further))
        todo = set().union(*(one for one, _ in further)) - seen
    return errors


def said_errors(one: Any) -> set[str]:
    if in_a_sentence(one) or see(one):
        return set(re.findall(r"\w+", one.docstring.value)) & KNOWN
    return {str(error.annotation).rpartition(".")[2] for error in sections(one).get("raises", [])}


def covered(error: str, said: set[str]) -> bool:
    """Whether it is named, or one that it is a kind of."""
    bases = [str(base) for base in ERRORS[error].bases] if error in ERRORS else []
    return error in said or any(covered(base, said) for base in bases)


@pytest.mark.parametrize("path", sorted(path for path in ALL if not path.startswith("errors.")))
def test_errors_are_those_of_the_code(path: str) -> None:
    own, said = {error for node in code(ALL[path]) for error in raised(node)}, said_errors(ALL[path])
    missing = {error for error in own if not covered(error, said)}
    assert not missing, f"{path} raises {missing} and does not say so"
    if own or ALL[path].is_function:
        invented = (said & ERRORS.keys()) - reachable(code(ALL[path]))
        assert not invented, f"{path} cannot raise {invented}"


def public_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """But the commands, whose docstrings are their help, and which end in an exit code."""
    for file in sorted(set(SOURCE.rglob("*.py")) - set(SOURCE.glob("cli/*.py"))):
        todo: list[ast.AST] = [ast.parse(file.read_text())]
        while todo:
            for node in ast.iter_child_nodes(todo.pop()):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                    if isinstance(node, ast.FunctionDef):
                        yield f"{file.relative_to(SOURCE)}:{node.lineno} {node.name}", node
                    else:
                        todo.append(node)


def test_every_public_function_names_the_errors_it_raises() -> None:
    """In the whole package, where it says so in a section or in a sentence."""
    silent = {}
    for place, node in public_functions():
        said = set(re.findall(r"\w+", ast.get_docstring(node) or ""))
        if missing := {error for error in raised(node) & ERRORS.keys() if not covered(error, said)}:
            silent[place] = missing
    assert not silent, "\n".join(f"{place}: {missing}" for place, missing in silent.items())


# ------------------------------------------------------------------------------------------------------------ sources


@pytest.mark.parametrize("file", sorted(file for room in ROOMS for file in (SOURCE / room).glob("*.py")), ids=str)
def test_a_module_with_mathematics_names_its_source(file: Path) -> None:
    """A paper, or the page of the site that derives what is ours."""
    text = file.read_text()
    if NUMERICS.search(text):
        assert SOURCES.search(text), f"{file.relative_to(ROOT)} has formulas and names neither a paper nor a page"


def test_arrays_have_shapes() -> None:
    """Whoever gets one is told its shape: (N + 1,), "same shape", or that of something it is like."""
    silent = []
    for place, node in public_functions():
        if place.startswith(("core/", "learn/")) and node.returns and ARRAY.search(ast.unparse(node.returns)):
            silent += [] if SHAPE.search(ast.get_docstring(node) or "") else [place]
    assert not silent, "\n".join(silent)


def test_sources_are_in_the_bibliography_and_pages_exist() -> None:
    listed = set(re.findall(r"\d{4}\.\d{5}", PAGES["citing.md"]))
    for file in SOURCE.rglob("*.py"):
        text = file.read_text()
        cited = set(re.findall(r"(?:arXiv |arxiv\.org/abs/)(\d{4}\.\d{5})", text))
        assert cited <= listed, f"{file.relative_to(ROOT)} cites {cited - listed}, which docs/citing.md does not have"
        for page in re.findall(r"docs/([\w/-]+\.md)", text):
            assert page in PAGES or (ROOT / page).exists(), f"{file.relative_to(ROOT)} names docs/{page}"
