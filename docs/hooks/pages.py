"""Documents of the repository as pages, figures and tables that programs write, and links between all of them.

A page is written once. `PAGES` puts documents that lie elsewhere in the repository (the file format, tables of
benchmarks) into the site as they are. In pages of docs/ a line `<!-- include: benchmarks/overhead.md -->` is replaced
by that file, so that a measured table exists once, where the program that measured it writes it.

All links are written as on GitHub, relative to the file that they stand in. Here they become links to the page that was
made of their target, or to the figure, or to the file in the repository.

A figure that has a variant for dark pages beside it, NAME-dark.png, is shown in both: the style sheet hides one. Others
have light paper of their own.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import addresses  # noqa: E402

PAGES = {
    "how-to/comfyui.md": "integrations/comfyui/README.md",
    "reference/file-format.md": "stats/README.md",
    "reference/recipes.md": "stats/RECIPES.md",
    "results/suite.md": "benchmarks/suite-results/table.md",
    "results/cells.md": "benchmarks/suite-results/cells.md",
    "results/rivals.md": "benchmarks/suite-results/rivals.md",
    "results/measurements.md": "benchmarks/README.md",
    "results/family.md": "benchmarks/family/family.md",
    "results/tuning.md": "benchmarks/tuning/table.md",
    "results/published.md": "benchmarks/tuning/published.md",
    "results/curve.md": "benchmarks/tuning/curve.md",
    "results/between.md": "benchmarks/tuning/between.md",
    "results/processes.md": "benchmarks/tuning/processes.md",
    "results/shifts.md": "benchmarks/tuning/shifts.md",
    "results/image-to-image.md": "benchmarks/tuning/image-to-image.md",
    "results/unmeasured.md": "benchmarks/unmeasured.md",
    "results/guidances.md": "benchmarks/calibration/guidances.md",
    "results/networks.md": "benchmarks/models/README.md",
    "results/tiny-sd-digits.md": "examples/models/tiny-sd-digits/README.md",
    "results/tiny-flow-emoji.md": "examples/models/tiny-flow-emoji/README.md",
    "results/statistics-tiny-sd-digits.md": "stats/tiny-sd-digits/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "code-of-conduct.md": "CODE_OF_CONDUCT.md",
}
TITLES = {
    "results/family.md": "Every solver of the family",
    "results/cells.md": "Every cell of the suite",
    "results/rivals.md": "The rivals: class and options of each",
    "results/guidances.md": "What depends on guidance",
}
FIGURES = (".png", ".webp", ".svg")
FIRST = ("index.md", "settings.md", "coming-from.md", "questions.md", "tutorials/", "how-to/")  # in results of a search

INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
CODE = re.compile(r"^(`{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def page_of(path: str) -> str | None:
    """The page that a file of the repository is on the site; None if it is none."""
    for page, document in PAGES.items():
        if document == path:
            return page
    return path.removeprefix("docs/") if path.startswith("docs/") and path.endswith(".md") else None


def document_of(page: str) -> str:
    """The file of the repository that a page was made of."""
    return PAGES.get(page, f"docs/{page}")


def includes(text: str) -> list[str]:
    """Files that a page takes in."""
    return INCLUDE.findall(text)


def figures(text: str, document: str) -> Iterator[str]:
    """Figures of a document, as paths in the repository, with those for dark pages."""
    for _, target, _ in LINK.findall(text):
        if target.endswith(FIGURES) and "://" not in target:
            path = _resolved(target, document)
            yield path
            if (ROOT / dark(path)).is_file():
                yield dark(path)


def dark(figure: str) -> str:
    """The name of a figure's variant for dark pages."""
    stem, dot, ending = figure.rpartition(".")
    return f"{stem}-dark{dot}{ending}"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from elsewhere, and the figures of all."""
    for page, document in PAGES.items():
        files.append(File.generated(config, page, content=_headed(page, (ROOT / document).read_text())))
    wanted = {path for file in files.documentation_pages() for path in _figures_of(file)}
    for path in sorted(wanted):
        if not (ROOT / path).is_file():
            raise PluginError(f"No figure {path}.")
        if not path.startswith("docs/"):
            files.append(File.generated(config, f"figures/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Take in what is to be included, and turn links into those of the site."""
    here = page.file.src_uri
    if here.startswith(FIRST):
        page.meta.setdefault("search", {"boost": 3})
    return INCLUDE.sub(lambda found: _included(found[1], here), _linked(markdown, document_of(here), here))


def _figures_of(file: File) -> Iterator[str]:
    text, document = file.content_string, document_of(file.src_uri)
    yield from figures(text, document)
    for path in includes(text):
        if path.endswith(".md"):
            yield from figures((ROOT / path).read_text(), path)


def _included(path: str, here: str) -> str:
    if not (ROOT / path).is_file():
        raise PluginError(f"{here} includes {path}, which does not exist.")
    return _linked((ROOT / path).read_text().strip(), path, here)


def _headed(page: str, text: str) -> str:
    """A table that a program wrote has no title of its own."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # what the Hub reads of a card
    return text if re.search(r"^# ", text, re.MULTILINE) else f"# {TITLES[page]}\n\n{text}"


def _linked(text: str, document: str, here: str) -> str:
    """A text of `document` with links as they are from the page `here`; code is left alone."""
    done, end = [], 0
    for code in CODE.finditer(text):
        done += [_links(text[end : code.start()], document, here), code[0]]
        end = code.end()
    return "".join([*done, _links(text[end:], document, here)])


def _links(text: str, document: str, here: str) -> str:
    return LINK.sub(lambda found: _link(found, document, here), text)


def _link(found: re.Match[str], document: str, here: str) -> str:
    shown = _target(found[2], document, here)
    if not found[1].startswith("!") or "://" in found[2] or not (ROOT / dark(_resolved(found[2], document))).is_file():
        return f"{found[1]}{shown}{found[3]}"
    return f"{found[1]}{shown}#only-light{found[3]}{found[1]}{dark(shown)}#only-dark{found[3]}"


def _target(target: str, document: str, here: str) -> str:
    if re.match(r"[a-z]+:", target) or target.startswith("#"):
        return target
    name, _, anchor = target.partition("#")
    path = _resolved(name, document)
    page = f"figures/{path}" if path.endswith(FIGURES) and not path.startswith("docs/") else page_of(path)
    if page is None and path.startswith("docs/"):
        page = path.removeprefix("docs/")
    if page is None:
        if not (ROOT / path).exists():
            raise PluginError(f"{document} links to {target}, which does not exist.")
        return addresses.source(path)
    return posixpath.relpath(page, posixpath.dirname(here) or ".") + (f"#{anchor}" if anchor else "")


def _resolved(target: str, document: str) -> str:
    """The file that a document links to; parts that are made for README have links as they are from there."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(document), target))
    return path if (ROOT / path).exists() or not (ROOT / target).exists() else posixpath.normpath(target)
