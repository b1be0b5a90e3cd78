"""What a scheduler makes of statistics at another guidance than they were measured at, told of it and not.

python -m benchmarks.calibration.guidance           # the shipped digits, measured at guidance 3, called with 1 to 12
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

from benchmarks.calibration.size import distance
from benchmarks.places import ROOT, results
from benchmarks.suite.extra_problems import Digits
from benchmarks.suite.reference import kept
from benchmarks.suite.runner import settle
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler

GUIDANCES, STEPS = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 12.0), (5, 6, 8, 10, 15, 20)
MEASURED_AT, SAMPLES, SEED = 3.0, 24, 1
STATISTICS = ROOT / "stats/tiny-sd-digits"
RIVALS = ("DPM++ 2M", "UniPC")


def samplers(config: Any, guidance: float) -> dict[str, Callable[[], Any]]:
    """Name -> a scheduler."""
    zero = {"timestep_spacing": "trailing", "final_sigmas_type": "zero"}
    told = {"stats": STATISTICS, "guidance_scale": guidance}
    return {
        "DPM++ 2M": partial(DPMSolverMultistepScheduler.from_config, config, **zero),
        "UniPC": partial(UniPCMultistepScheduler.from_config, config, **zero),
        "plain DEIS": partial(DEISSNScheduler.from_config, config, stats=False),
        "DEIS-SN, untold": partial(DEISSNScheduler.from_config, config, stats=STATISTICS),
        "DEIS-SN, told": partial(DEISSNScheduler.from_config, config, **told),
        "ScoreOptimal, untold": partial(ScoreOptimalScheduler.from_config, config, stats=STATISTICS),
        "ScoreOptimal, told": partial(ScoreOptimalScheduler.from_config, config, **told),
    }


def measure(references: Path) -> list[dict[str, Any]]:
    """Errors of all, as in the suite."""
    found = []
    for guidance in GUIDANCES:
        problem = Digits(ROOT, guidance)
        end = kept(problem, SAMPLES, SEED, references).end
        for name, make in samplers(problem.config, guidance).items():
            for n in STEPS:
                error = distance(problem.end(make(), n, SAMPLES, SEED), end)
                found.append({"guidance": guidance, "sampler": name, "steps": n, "error": error})
        print(f"guidance {guidance:g}", flush=True)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Error over the better one of the two rivals, a line for each sampler and guidance."""
    cell = {(row["guidance"], row["sampler"], row["steps"]): row["error"] for row in rows}
    lines = [
        "| guidance | sampler | " + " | ".join(f"{n} calls" for n in STEPS) + " |",
        "|---" * (len(STEPS) + 2) + "|",
    ]
    for guidance in GUIDANCES:
        best = {n: min(cell[guidance, rival, n] for rival in RIVALS) for n in STEPS}
        lines.append(f"| {guidance:g} | best of {' and '.join(RIVALS)}, error | ")
        lines[-1] += " | ".join(f"{best[n]:.4f}" for n in STEPS) + " |"
        for name in [name for name in samplers({}, guidance) if name not in RIVALS]:
            ratios = " | ".join(f"{cell[guidance, name, n] / best[n]:.2f}" for n in STEPS)
            lines.append(f"| {guidance:g} | {name} | {ratios} |")
    return "\n".join(
        [*lines, "", f"Statistics of guidance {MEASURED_AT:g}; {SAMPLES} samples; lines are ratios to the first."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=Path, default=ROOT / "runs/suite/references")
    parser.add_argument("--output", type=Path, default=results("calibration"))
    options = parser.parse_args()
    settle()
    rows = measure(options.references)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "guidance.json").write_text(json.dumps(rows) + "\n")
    (options.output / "guidance.md").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
