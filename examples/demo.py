"""The main job on the shipped models: swap the scheduler, take 5 to 15 steps, see what it is worth.

    python examples/demo.py                       # what `make demo` runs: tables and pictures in demo/
    python examples/demo.py --models digits --prompts 100 --reference-steps 500

Two models: a Stable Diffusion pipeline that draws digits, and a flow-matching one that draws emoji. Every scheduler
gets the same prompts and start noise, goes to clean data, and makes one network call a step. Those of Diffusers have
trailing times. Measured are the RMS distance of the latents to those of a fine run (DPM++ 2M, so the yardstick is not
one of ours) and, of digits, the share of pictures in which an independent classifier finds the digit and both colours
asked for.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from comparison import EMOJI, JUDGE, MODEL, ROOT, WANTED, Bench, EmojiBench, shipped, show
from tiny_digits import draw_prompts, load_judge

FINE = 150  # `make demo` is to take a minute, and 15 steps are ten times coarser still


def draw(model: str, options: argparse.Namespace, output: Path) -> list[str]:
    """Compare on one of the two shipped models; names of what was written."""
    if model == "digits":
        bench = Bench(shipped(MODEL), load_judge(JUDGE), draw_prompts(options.prompts, seed=7), options.guidance)
    else:
        bench = EmojiBench(shipped(EMOJI), WANTED[: options.prompts], options.guidance)
    return show(model, bench, options.reference_steps, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=("digits", "emoji"), default=["digits", "emoji"])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--reference-steps", type=int, default=FINE, help="of the run compared with")
    parser.add_argument("--output", type=Path, default=ROOT / "demo")
    options = parser.parse_args()
    output = options.output.resolve()
    shown = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    start = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    written = [name for model in options.models for name in draw(model, options, output)]
    for name in written:
        print(f"wrote {shown / name}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
