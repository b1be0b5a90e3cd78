"""The published comparison on the shipped models: tables of more prompts than the demo's, against a finer run.

    python -m benchmarks.shipped_models                  # benchmarks/tiny-sd-digits and benchmarks/tiny-flow-emoji
    python -m benchmarks.shipped_models --models emoji   # one of them
    python -m benchmarks.shipped_models --pictures       # the pictures alone, which are those of the demo

Of digits, rivals with another end or grid are in the table too.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import DEISMultistepScheduler, DPMSolverMultistepScheduler

from benchmarks.places import results
from diffusers_deis_sn import DEISSNScheduler
from examples.comparison import (
    EMOJI,
    JUDGE,
    MODEL,
    REFERENCE_STEPS,
    STATISTICS,
    WANTED,
    Bench,
    EmojiBench,
    shipped,
    show,
)
from examples.demo import CASES, PICTURED, compared
from examples.tiny_digits import draw_prompts, load_judge

FOLDERS = {"digits": "tiny-sd-digits", "emoji": "tiny-flow-emoji"}
PROMPTS, SEED, GUIDANCE = 100, 7, 3.0


def other_ends(config: Any) -> dict[str, Callable[[], Any]]:
    """The rivals where they stop at the noise of t = 0 instead, or with Karras sigmas: not the same end or grid."""
    short = {"timestep_spacing": "trailing", "final_sigmas_type": "sigma_min"}
    karras = {"use_karras_sigmas": True, "final_sigmas_type": "zero"}
    return {
        "DPM++ 2M, ends at t = 0": lambda: DPMSolverMultistepScheduler.from_config(config, **short),
        "DEIS of Diffusers, ends at t = 0": lambda: DEISMultistepScheduler.from_config(
            config, timestep_spacing="trailing"
        ),
        "DPM++ 2M, Karras": lambda: DPMSolverMultistepScheduler.from_config(config, **karras),
        "DEIS-SN, Karras": lambda: DEISSNScheduler.from_config(config, stats=STATISTICS, use_karras_sigmas=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(FOLDERS), default=list(FOLDERS))
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of digits")
    parser.add_argument("--reference-steps", type=int, default=REFERENCE_STEPS, help="of the run compared with")
    parser.add_argument("--pictures", action="store_true", help="the pictures alone")
    parser.add_argument("--output", type=Path, default=results(), help="where their folders are")
    options = parser.parse_args()
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    for model in options.models:
        folder = options.output / FOLDERS[model]
        folder.mkdir(parents=True, exist_ok=True)
        case = CASES[model]
        (folder / case.picture).write_bytes(compared(case).grid(PICTURED))
        if options.pictures:
            continue
        if model == "digits":
            bench = Bench(shipped(MODEL), load_judge(JUDGE), draw_prompts(options.prompts, seed=SEED), GUIDANCE)
            others = other_ends(bench.config)
        else:
            bench, others = EmojiBench(shipped(EMOJI), WANTED, GUIDANCE), {}
        show(model, bench, options.reference_steps, folder, others)


if __name__ == "__main__":
    main()
