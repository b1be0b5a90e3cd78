"""Copy measured tables into README.md and benchmarks/README.md, between their marks.

And the address of the repository, which is that of [project.urls] in pyproject.toml, wherever else it stands. Pages of
the site take tables in when it is built (docs/hooks/pages.py) and need no copies.

python -m benchmarks.readme            # rewrite
python -m benchmarks.readme --check    # exit status 1 if one of them is not what the files say
"""

from __future__ import annotations

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


ADDRESSED = ("integrations/comfyui/pyproject.toml", "examples/quickstart.ipynb")
REPOSITORY = re.compile(r"https://(github\.com|raw\.githubusercontent\.com)/[\w.-]+/diffusers-deis-sn\b")


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


def addressed(text: str) -> str:
    """A text in which the repository is where pyproject.toml says."""
    own = re.search(r'^Repository = "https://github\.com/(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if own is None:
        raise SystemExit("pyproject.toml must say the Repository under [project.urls], an address on GitHub.")
    return REPOSITORY.sub(lambda found: f"https://{found[1]}/{own[1]}", text)


def main() -> None:
    stale = [name for name in (*DOCUMENTS, *ADDRESSED) if filled(name) != (ROOT / name).read_text()]
    if "--check" in sys.argv[1:]:
        sys.exit(bool(stale))
    for name in stale:
        (ROOT / name).write_text(filled(name))


if __name__ == "__main__":
    main()
