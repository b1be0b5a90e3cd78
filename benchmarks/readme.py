"""Copy measured tables and tested code into README.md and benchmarks/README.md, between their marks.

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
        "swap": "examples/swap_scheduler.py",
        "quality": "benchmarks/tiny-sd-digits/table.md",
        "emoji": "benchmarks/tiny-flow-emoji/emoji-table.md",
        "suite": "benchmarks/suite-results/summary.md",
        "pipelines": "benchmarks/pipelines.md",
        "adaptive": "benchmarks/adaptive/table.md",
        "overhead": "benchmarks/overhead.md",
        "transfer": "benchmarks/calibration/transfer-summary.md",
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


def block(source: Path) -> str:
    """What stands between the marks of a block: a Markdown file as it is, a program as a code block."""
    text = source.read_text().strip()
    if source.suffix != ".py":
        return text
    code = text.split('"""', 2)[2].strip()  # the module's docstring is for its reader, not for README's
    return f"```python\n{code}\n```"


def filled(document: str) -> str:
    """A document's text with every block brought up to date."""
    text = (ROOT / document).read_text()
    for name, source in DOCUMENTS[document].items():
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
        new = block(ROOT / source)
        text, count = pattern.subn(lambda m, new=new: f"{m[1]}{new}\n{m[2]}", text)
        if count != 1:
            raise SystemExit(f"{document} must have one block {name!r}, found {count}.")
    return text


def main() -> None:
    stale = [name for name in DOCUMENTS if filled(name) != (ROOT / name).read_text()]
    if "--check" in sys.argv[1:]:
        sys.exit(bool(stale))
    for name in stale:
        (ROOT / name).write_text(filled(name))


if __name__ == "__main__":
    main()
