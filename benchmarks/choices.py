"""Why the defaults are what they are: corrector, order, grid, last steps and normaliser on the shipped pipeline.

python -m benchmarks.choices --prompts 20          # writes benchmarks/tiny-sd-digits/choices.md and choices.json
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler

from benchmarks.places import results
from diffusers_deis_sn import Corrector, DEISSNScheduler, Multistep, Power
from diffusers_deis_sn.learn.following import GAIN, gain_limit
from examples.comparison import JUDGE, MODEL, REFERENCE_STEPS, STATISTICS, STEPS, Bench
from examples.tiny_digits import draw_prompts, load_judge

ROOT = Path(__file__).resolve().parent.parent
GUIDANCES = (1.0, 3.0, 7.5)
SEED = 11  # not the demo's: what is chosen here is shown there


def choices(guidance: float) -> dict[str, dict[str, Any]]:
    """Name -> options; corrections are limited as the default's are."""
    four, two = (Corrector(order, gain_limit(GAIN, guidance, None)) for order in (4, 2))
    return {
        "default": {},
        "no corrector": {"solver": Multistep(2)},
        "corrector without limit": {"solver": Multistep(2, corrector=Corrector(4))},
        "corrector of order 2": {"solver": Multistep(2, corrector=two)},
        "order 1": {"solver_order": 1},
        "order 3": {"solver_order": 3},
        "no statistics": {"stats": False, "solver": Multistep(2, corrector=four)},
        "no statistics, no corrector (plain DEIS)": {"stats": False},
        "full order in the last steps": {"lower_order_final": False},
        "polynomial in rho": {"solver": Multistep(2, "rho", corrector=four)},
        "polynomial in log rho": {"solver": Multistep(2, "log_rho", corrector=four)},
        "quadratic": {"grid": Power("t", 2.0)},
        "log SNR": {"use_exponential_sigmas": True},
        "Karras": {"use_karras_sigmas": True},
        "r held flat below t = 9": {"clip_normalizer_steps": 9},
    }


def measure(pipe: Any, prompts: int) -> list[dict[str, Any]]:
    """RMS distance of the latents to the reference, for every choice, guidance and number of steps."""
    judge, labels, config = load_judge(JUDGE), draw_prompts(prompts, seed=SEED), pipe.scheduler.config
    rows = []
    for guidance in GUIDANCES:
        bench = Bench(pipe, judge, labels, guidance)
        rival = DPMSolverMultistepScheduler.from_config(config, timestep_spacing="trailing", final_sigmas_type="zero")
        reference, _ = bench.latents(rival, REFERENCE_STEPS)
        for name, options in choices(guidance).items():
            for steps in STEPS:
                extra = {"stats": STATISTICS, "guidance_scale": guidance, "recipe": "fixed", **options}
                scheduler = DEISSNScheduler.from_config(config, **extra)
                latents, _ = bench.latents(scheduler, steps)
                rms = (latents - reference).square().mean().sqrt().item()
                rows.append({"choice": name, "guidance": guidance, "steps": steps, "rms": rms})
                print(f"guidance {guidance:g}, {name}, {steps} steps: {rms:.4f}", flush=True)
    return rows


def table(rows: list[dict[str, Any]], prompts: int) -> str:
    """A Markdown table; the best of each column is bold."""
    columns = [(guidance, steps) for guidance in GUIDANCES for steps in STEPS]
    cells = {(row["choice"], row["guidance"], row["steps"]): row["rms"] for row in rows}
    best = {(g, n): min(cells[name, g, n] for name in choices(1.0)) for g, n in columns}
    lines = ["| choice | " + " | ".join(f"g {g:g}, {n}" for g, n in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in choices(1.0):
        values = [(cells[name, g, n], best[g, n]) for g, n in columns]
        row = [f"**{value:.3f}**" if value == least else f"{value:.3f}" for value, least in values]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    lines += [
        "",
        f"RMS distance of the latents to a {REFERENCE_STEPS}-step DPM++ 2M run; guidance g and number of steps; "
        f"{prompts} prompts, not the demo's. `guidance_scale` is given to the scheduler. Each row changes one thing in "
        "the default.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=20)
    options = parser.parse_args()
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    rows = measure(pipe, options.prompts)
    folder = results("tiny-sd-digits")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "choices.json").write_text(json.dumps(rows, indent=1) + "\n")
    (folder / "choices.md").write_text(table(rows, options.prompts) + "\n")


if __name__ == "__main__":
    main()
