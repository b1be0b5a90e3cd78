"""What the schedulers are worth on the two shipped models: `deis-sn compare` on both, as a page to look at.

    python examples/demo.py                       # what `make demo` runs: tables, pages and pictures in demo/
    python examples/demo.py --models digits --prompts 16

A Stable Diffusion pipeline draws digits, and a flow-matching one draws emoji. Every scheduler gets the same prompts and
start noise, and makes as many network calls.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from diffusers_deis_sn import Comparison, compare

ROOT = Path(__file__).resolve().parent.parent
PROMPTS_OF = ROOT / "examples/prompts"  # the digits' are others than the model was measured with
STEPS = (5, 8, 10)
PROMPTS, GUIDANCE = 8, 3.0
PICTURED, ROWS = 5, 4  # steps of the picture: in more the eye sees little between them; and its prompts


@dataclass(frozen=True)
class Case:
    """A shipped model, its statistics, and what to ask it for."""

    model: str
    statistics: str
    picture: str
    prompts: str
    options: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "digits": Case("tiny-sd-digits", "stats/tiny-sd-digits/tuned", "grid.png", "digits.txt"),
    "emoji": Case(
        "tiny-flow-emoji",
        "stats/tiny-flow-emoji/guidance-3/tuned",
        "emoji-grid.png",
        "emoji.txt",
        {"max_sequence_length": 16},
    ),
}


def compared(case: Case, prompts: int = PROMPTS, guidance: float = GUIDANCE, output: Path | None = None) -> Comparison:
    """The comparison of one model; its page and the rest in `output`."""
    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models" / case.model)
    return compare(
        pipe,
        (PROMPTS_OF / case.prompts).read_text().splitlines()[:prompts],
        STEPS,
        os.path.relpath(ROOT / case.statistics),  # as it is to be pasted
        output=output,
        batch_size=16,
        force=True,  # of another version of this package
        guidance_scale=guidance,
        **case.options,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--output", type=Path, default=ROOT / "demo")
    options = parser.parse_args()
    output = options.output.resolve()
    shown = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    start = time.perf_counter()
    for name in options.models:
        case = CASES[name]
        result = compared(case, options.prompts, options.guidance, output / name)
        (output / case.picture).write_bytes(result.grid(PICTURED, ROWS))
        print(f"\n{case.model}\n{result}\n")
        print(f"{shown / name / 'compare.html'}: open it in a browser\n{shown / case.picture}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
