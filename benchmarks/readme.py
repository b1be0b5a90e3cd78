"""Copy measured tables into README.md and benchmarks/README.md, between their marks.

And the address of the repository, which is that of [project.urls] in pyproject.toml, wherever else it stands. Pages of
the site take tables in when it is built (docs/hooks/pages.py) and need no copies.

python -m benchmarks.readme                 # rewrite
python -m benchmarks.readme --check         # exit status 1 if one of them is not what the files say
python -m benchmarks.readme --owner NAME    # the repository is NAME/diffusers-deis-sn: say so everywhere
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    "README.md": {
        "errors": "benchmarks/suite-results/error-words.md",
        "settings": "benchmarks/suite-results/settings.md",
    },
    "benchmarks/README.md": {
        "size": "benchmarks/calibration/size.md",
        "guidance": "benchmarks/calibration/guidance.md",
        "guidances": "benchmarks/calibration/guidances.md",
        "transfer": "benchmarks/calibration/transfer.md",
        "mixture": "benchmarks/mixture.md",
        "family": "benchmarks/family/overview.md",
        "mnist": "benchmarks/mnist_vit.md",
        "choices": "benchmarks/tiny-sd-digits/choices.md",
        "flow": "benchmarks/mnist_flow.md",
        "grids": "benchmarks/score_optimal/learned_grids.md",
        "images": "benchmarks/score_optimal/other_images.md",
    },
}


ADDRESSED = (  # what else says where the repository is; a test finds whoever does and is not here
    "docs/index.md",
    "examples/quickstart.ipynb",
    "integrations/comfyui/README.md",
    "integrations/comfyui/pyproject.toml",
    "src/diffusers_deis_sn/publish/card.py",
    "stats/tiny-flow-emoji/guidance-1/README.md",
    "stats/tiny-flow-emoji/guidance-3/README.md",
    "stats/tiny-flow-emoji/guidance-6/README.md",
    "stats/tiny-sd-digits/README.md",
)
REPOSITORY = re.compile(r"(?<=https://github\.com/)[\w.-]+(?=/diffusers-deis-sn\b)")
ADDRESS = re.compile(
    r"(?<=https://)(?:(?P<host>github\.com|raw\.githubusercontent\.com)/[\w.-]+|[\w-]+(?P<site>\.github\.io))"
    r"(?=/diffusers-deis-sn\b)"
)


def filled(document: str) -> str:
    """A document's text with every block, and the repository's address, brought up to date."""
    text = addressed((ROOT / document).read_text())
    for name, source in DOCUMENTS.get(document, {}).items():
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
        new = (ROOT / source).read_text().strip()
        text, count = pattern.subn(lambda m, new=new: f"{m[1]}{new}\n{m[2]}", text)
        if count != 1:
            raise SystemExit(f"{document} must have one block {name!r}, found {count}.")
    return text


def addressed(text: str, owner: str | None = None) -> str:
    """A text in which the repository and the site are those of an owner, or of the one in pyproject.toml."""
    found = REPOSITORY.search((ROOT / "pyproject.toml").read_text())
    if found is None:
        raise SystemExit("pyproject.toml must say the Repository under [project.urls], an address on GitHub.")
    own = owner or found[0]
    return ADDRESS.sub(lambda one: f"{one['host']}/{own}" if one["host"] else f"{own.lower()}{one['site']}", text)


def main(arguments: list[str]) -> None:
    """Carry on what has changed, or say whether anything has."""
    parser = argparse.ArgumentParser(description="Copy tables and the repository's address to where they stand.")
    parser.add_argument("--check", action="store_true", help="only say, by the exit status, whether all is up to date")
    parser.add_argument("--owner", help="write first that the repository is OWNER/diffusers-deis-sn")
    asked = parser.parse_args(arguments)
    if asked.owner:
        project = ROOT / "pyproject.toml"
        project.write_text(addressed(project.read_text(), asked.owner))
    stale = [name for name in (*DOCUMENTS, *ADDRESSED) if filled(name) != (ROOT / name).read_text()]
    if asked.check:
        sys.exit(bool(stale))
    for name in stale:
        (ROOT / name).write_text(filled(name))


if __name__ == "__main__":
    main(sys.argv[1:])
