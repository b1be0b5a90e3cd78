"""Copy measured tables and tested code into README.md, between their marks.

python benchmarks/readme.py            # rewrite
python benchmarks/readme.py --check    # exit status 1 if README.md is not what the files say
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "swap": "examples/swap_scheduler.py",
    "quality": "benchmarks/tiny-sd-digits/table.md",
    "choices": "benchmarks/tiny-sd-digits/choices.md",
    "mixture": "benchmarks/mixture.md",
    "overhead": "benchmarks/overhead.md",
    "pipelines": "benchmarks/pipelines.md",
    "family": "benchmarks/family/overview.md",
    "mnist": "benchmarks/mnist_vit.md",
    "flow": "benchmarks/mnist_flow.md",
    "adaptive": "benchmarks/adaptive/table.md",
    "grids": "benchmarks/score_optimal/learned_grids.md",
    "images": "benchmarks/score_optimal/other_images.md",
}


def block(name: str) -> str:
    """What stands between the marks of a block: a Markdown file as it is, a program as a code block."""
    source = ROOT / SOURCES[name]
    text = source.read_text().strip()
    if source.suffix != ".py":
        return text
    code = text.split('"""', 2)[2].strip()  # the module's docstring is for its reader, not for README's
    return f"```python\n{code}\n```"


def filled(text: str) -> str:
    """README's text with every block brought up to date."""
    for name in SOURCES:
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda m, name=name: m[1] + block(name) + "\n" + m[2], text)
        if count != 1:
            raise SystemExit(f"README.md must have one block {name!r}, found {count}.")
    return text


def main() -> None:
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = filled(old)
    if "--check" in sys.argv[1:]:
        sys.exit(old != new)
    readme.write_text(new)


if __name__ == "__main__":
    main()
