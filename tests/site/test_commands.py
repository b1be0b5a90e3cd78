"""Commands that a reader is told to type exist: every option of every `deis-sn` line, and every word of make."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from diffusers_deis_sn.cli.app import app
from site_pages import DOCS, ELSEWHERE, PAGES, ROOT, blocks

COMMANDS = typer.main.get_command(app)
TEXTS = PAGES | {name: (ROOT / name).read_text() for name in ("README.md", *ELSEWHERE) if (ROOT / name).exists()}


def lines(text: str) -> list[str]:
    """Commands in a page's shell blocks and in its sentences, continued lines joined, remarks left out."""
    said = re.findall(r"`(deis-sn [^`]+)`", text)
    return _typed(text) + [line for line in said if "..." not in line]


def _typed(text: str) -> list[str]:
    """Those in the blocks alone, which are meant to be typed as they are."""
    found = [line for block in blocks(text, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [" ".join(shlex.split(line, comments=True)) for line in found]


def deis_sn(commands: list[str]) -> list[list[str]]:
    """Arguments of each `deis-sn`, or of the package as a module."""
    split = [re.split(r"^deis-sn |-m diffusers_deis_sn ", line, maxsplit=1) for line in commands]
    return [parts[1].split() for parts in split if len(parts) == 2 and not parts[1].startswith("--")]


@pytest.mark.parametrize("page", sorted(page for page, text in TEXTS.items() if deis_sn(lines(text))))
def test_every_command_is_understood(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in deis_sn(lines(TEXTS[page])):
        command = COMMANDS.commands[words[0]]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = [word for word in words[1:] if re.match(r"--?[a-z]", word)]
        assert {word.partition("=")[0] for word in given} <= known | {"--help"}, f"{page}: deis-sn {' '.join(words)}"


def test_commands_with_their_arguments_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values too: numbers, choices, how many arguments there are."""
    monkeypatch.chdir(tmp_path)
    for name in ("prompts.txt", "mine.safetensors", "style.safetensors", "cat.png", "cifar10_Ls_score_abs.pt"):
        Path(name).write_text("a\n")
    for name in ("my-statistics", "folder", "FOLDER"):
        Path(name).mkdir()
    for page, text in TEXTS.items():
        for words in deis_sn(_typed(text)):
            command = COMMANDS.commands[words[0]]  # type: ignore[attr-defined]
            try:
                command.make_context(words[0], words[1:])
            except Exception as error:  # typer has its own copy of click's
                pytest.fail(f"{page}: deis-sn {' '.join(words)}: {error}")


def test_every_word_of_make_is_one() -> None:
    words = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in TEXTS.items():
        said = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
        assert said <= words, f"{page}: make {said - words}"


def test_every_extra_that_is_named_is_one() -> None:
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    for page, text in TEXTS.items():
        for named in re.findall(r"pip install [^\n`]*\[([\w,]+)\]", text):
            assert set(named.split(",")) <= extras, f"{page}: [{named}]"


INSTALL = 'git clone https://github.com/user/diffusers-deis-sn\npip install "./diffusers-deis-sn[plot]"\n'
INSTALLING = ("README.md", "index.md", "integrations/comfyui/README.md")  # and cards, by `publish.card`


def test_the_package_is_installed_in_one_way() -> None:
    """From a clone as long as no index has it; what an extra brings afterwards, pip takes without looking for us."""
    cards = [path.read_text() for path in ROOT.glob("stats/*/**/README.md")]
    owned = re.compile(r"(?<=https://github\.com/)[\w-]+(?=/diffusers-deis-sn)")
    for text in (*(TEXTS[name] for name in INSTALLING), *filter(lambda text: "pip install" in text, cards)):
        assert owned.sub("user", INSTALL) in owned.sub("user", text)
    for page, text in (*TEXTS.items(), *enumerate(cards)):
        told = re.findall(r"pip install[^\n`]*diffusers-deis-sn[^\n`]*", text)
        ways = r'pip install "(\./)?diffusers-deis-sn\[(plot|web|train)\]".*'
        assert all(re.fullmatch(ways, one) for one in told), f"{page}: {told}"


NEEDING = {  # what a reader types, and what has to be installed for it that the package does not bring
    r"^deis-sn (plot|push|card)": 'pip install "diffusers-deis-sn[plot]"',
    r"^deis-sn serve": 'pip install "diffusers-deis-sn[web]"',
    r"^deis-sn [^\n]*--lora|load_lora_weights": "pip install peft",
    r"^python examples/train_tiny": 'pip install "diffusers-deis-sn[train]"',
    r"^(import|from) (matplotlib|diffusers_deis_sn\.plots)": 'pip install "diffusers-deis-sn[plot]"',
}


@pytest.mark.parametrize("typed", sorted(NEEDING))
def test_who_is_told_to_type_something_is_told_what_to_install(typed: str) -> None:
    pages = [page for page, text in TEXTS.items() if re.search(typed, text, re.MULTILINE)]
    silent = [page for page in pages if NEEDING[typed] not in TEXTS[page]]
    assert not silent, f"{silent} do not say {NEEDING[typed]}"


def test_every_program_of_the_benchmarks_that_is_named_is_one() -> None:
    for page, text in TEXTS.items():
        for name in re.findall(r"python -m (benchmarks[\w.]+)", text):
            path = ROOT / name.rstrip(".").replace(".", "/")
            assert path.with_suffix(".py").exists() or path.is_dir(), f"{page}: python -m {name}"
        for script in re.findall(r"python (examples/[\w/]+\.py|[\w/]+\.py)", text):
            assert (ROOT / script).exists() or (ROOT / "examples" / script).exists(), f"{page}: python {script}"


def test_there_are_pages() -> None:
    assert len(PAGES) > 30 and (DOCS / "index.md").exists()
