"""The main job on the shipped model: swap the scheduler, take 5 to 15 steps, see what it is worth.

    python examples/demo.py                       # what `make demo` runs: demo/grid.png, demo/normaliser.png, a table
    python examples/demo.py --prompts 100 --other-ends --output benchmarks/tiny-sd-digits

Every scheduler gets the same prompts, start noise, spacing ("trailing") and end (sigma zero), and one network call a
step; `--other-ends` adds rivals with another end or grid. Measured are the RMS distance of the latents to those of a
500-step run (DPM++ 2M, so the yardstick is not one of ours), and the share of pictures in which an independent
classifier finds the digit and both colours asked for.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DEISMultistepScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics, __version__
from tiny_digits import Judge, Labels, draw_prompts, load_judge

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples/models/tiny-sd-digits"
JUDGE = ROOT / "examples/models/digit-judge"
STATISTICS = ROOT / "stats/tiny-sd-digits"
STEPS = (5, 8, 10, 15)
REFERENCE_STEPS = 500
SHOWN = 4
AMPLIFIED = 5


class UpstreamDeis(DEISMultistepScheduler):
    """Diffusers' DEIS, brought to the end that the others have: it stops at t = 0 and cannot reach sigma zero.

    The last of its sigmas is set to a ten-thousandth of the last but one; exactly zero would give NaN.
    """

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        self.sigmas[-1] = 1e-4 * self.sigmas[-2]


def schedulers(config: Any) -> dict[str, Callable[[], Any]]:
    """Name -> scheduler made from the model's own scheduler config."""
    trailing = {"timestep_spacing": "trailing"}
    zero = trailing | {"final_sigmas_type": "zero"}
    return {
        # DPM++ of order 1 is DDIM. `DDIMScheduler` itself steps by T // N: at 15 steps it leaves its own grid.
        "DDIM": lambda: DPMSolverMultistepScheduler.from_config(config, solver_order=1, **zero),
        "DPM++ 2M": lambda: DPMSolverMultistepScheduler.from_config(config, **zero),
        "UniPC": lambda: UniPCMultistepScheduler.from_config(config, **zero),
        "DEIS of Diffusers, to zero": lambda: UpstreamDeis.from_config(config, **trailing),
        "DEIS-SN": lambda: DEISSNScheduler.from_config(config, stats=STATISTICS),
    }


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


@dataclass(frozen=True)
class Row:
    """What one scheduler achieves in so many steps."""

    scheduler: str
    steps: int
    calls: int
    rms: float
    accuracy: float


class Bench:
    """The pipeline, a fixed set of prompts and start noise, and a counter of network calls."""

    def __init__(self, pipe: Any, judge: Judge, labels: Labels, guidance: float, batch: int = 100) -> None:
        self.pipe, self.judge, self.labels, self.guidance, self.batch = pipe, judge, labels, guidance, batch
        self.config = pipe.scheduler.config
        self.calls = 0
        pipe.unet.register_forward_hook(self._count)
        generator = torch.Generator().manual_seed(2026)
        self.noise = torch.randn(len(labels), 4, 8, 8, generator=generator)

    def _count(self, *_: Any) -> None:
        self.calls += 1

    @torch.no_grad()
    def latents(self, scheduler: Any, steps: int) -> tuple[Tensor, int]:
        """Final latents (B, 4, 8, 8) of all prompts, and the network calls made for each."""
        self.pipe.scheduler, parts = scheduler, []
        for start in range(0, len(self.labels), self.batch):
            part = slice(start, start + self.batch)
            self.calls = 0
            out = self.pipe(
                self.labels[part].captions(),
                num_inference_steps=steps,
                guidance_scale=self.guidance,
                latents=self.noise[part],
                output_type="latent",
            )
            parts.append(out.images)
        return torch.cat(parts), self.calls

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Decoded pictures (B, 3, 32, 32) in [-1, 1]."""
        scaled = (latents / self.pipe.vae.config.scaling_factor).split(self.batch)
        return torch.cat([self.pipe.vae.decode(part).sample for part in scaled]).clamp(-1.0, 1.0)

    def accuracy(self, latents: Tensor) -> float:
        """Share of pictures with the digit, colour and ground asked for."""
        return self.judge.verdict(self.pictures(latents), self.labels)["all"]


def measure(
    bench: Bench, steps: tuple[int, ...], entrants: dict[str, Callable[[], Any]]
) -> tuple[list[Row], dict[tuple[str, int], Tensor]]:
    """All entrants at all numbers of steps, and the reference as ("reference", 500)."""
    reference_scheduler = schedulers(bench.config)["DPM++ 2M"]()
    reference, calls = bench.latents(reference_scheduler, REFERENCE_STEPS)
    rows = [Row("reference", REFERENCE_STEPS, calls, 0.0, bench.accuracy(reference))]
    kept = {("reference", REFERENCE_STEPS): reference}
    for name, make in entrants.items():
        for number in steps:
            latents, calls = bench.latents(make(), number)
            rms = (latents - reference).square().mean().sqrt().item()
            rows.append(Row(name, number, calls, rms, bench.accuracy(latents)))
            kept[name, number] = latents
    return rows, kept


def table(rows: list[Row], steps: tuple[int, ...], prompts: int, guidance: float) -> str:
    """A Markdown table: RMS distance (the least of each column bold) and prompt accuracy, a row for each scheduler."""
    names = list(dict.fromkeys(row.scheduler for row in rows if row.scheduler != "reference"))
    cells = {(row.scheduler, row.steps): row for row in rows}
    lines = [
        "| scheduler | " + " | ".join(f"{n} steps" for n in steps) + " |",
        "|---" * (len(steps) + 1) + "|",
    ]
    for name in names:
        cell = []
        for n in steps:
            row = cells[name, n]
            best_rms = row.rms == min(cells[other, n].rms for other in names)
            rms = f"**{row.rms:.3f}**" if best_rms else f"{row.rms:.3f}"
            cell.append(f"{rms} · {row.accuracy:.1%}")
        lines.append(f"| {name} | " + " | ".join(cell) + " |")
    reference = next(row for row in rows if row.scheduler == "reference")
    calls = "one network call a step" if all(r.calls == r.steps for r in rows) else "CALLS DIFFER FROM STEPS"
    lines.append("")
    lines.append(
        f"RMS distance of the latents to the {reference.steps}-step run · prompt accuracy (that run: "
        f"{reference.accuracy:.1%}). {prompts} prompts, guidance {guidance:g}, {calls}."
    )
    return "\n".join(lines)


def grid(bench: Bench, kept: dict[tuple[str, int], Tensor], steps: tuple[int, ...], path: Path) -> None:
    """Rows: schedulers; columns: steps; every cell shows the same prompts from the same noise.

    Under the pictures is their distance from the reference's, `AMPLIFIED` times: five steps look alike at first sight.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(schedulers(bench.config))
    figure = Figure(figsize=(2.9 * (len(steps) + 1), 1.5 * len(names) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), len(steps) + 1)
    reference = bench.pictures(kept["reference", REFERENCE_STEPS][:SHOWN])
    for i, name in enumerate(names):
        for j, number in enumerate((*steps, REFERENCE_STEPS)):
            latents = kept["reference" if number == REFERENCE_STEPS else name, number][:SHOWN]
            pictures = bench.pictures(latents)
            apart = (AMPLIFIED * (pictures - reference).abs() / 2.0).clamp(max=1.0)
            strip = torch.cat([torch.cat(list(row), dim=2) for row in ((pictures + 1.0) / 2.0, apart)], dim=1)
            axes[i, j].imshow(strip.permute(1, 2, 0), interpolation="nearest")
            axes[i, j].set(xticks=[], yticks=[])
            axes[i, j].spines[:].set_visible(False)
            if i == 0:
                title = f"{number} steps" + (" (DPM++ 2M)" if number == REFERENCE_STEPS else "")
                axes[i, j].set_title(title, fontsize=11)
            if j == 0:
                axes[i, j].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    prompts = " · ".join(bench.labels[slice(0, SHOWN)].captions())
    below = f"below each picture its distance from the one at the right, {AMPLIFIED} times"
    figure.suptitle(f"{prompts}\nguidance {bench.guidance:g}, same start noise in every cell; {below}", fontsize=10)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--other-ends", action="store_true", help="also rivals with ends and grids of their own")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--output", type=Path, default=ROOT / "demo")
    options = parser.parse_args()
    output = options.output.resolve()
    shown = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    start = time.perf_counter()

    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    bench = Bench(pipe, load_judge(JUDGE), draw_prompts(options.prompts, seed=7), options.guidance)
    print(f"{options.prompts} prompts, guidance {options.guidance:g}, {REFERENCE_STEPS}-step reference first ...")
    entrants = schedulers(bench.config) | (other_ends(bench.config) if options.other_ends else {})
    rows, kept = measure(bench, STEPS, entrants)
    text = table(rows, STEPS, options.prompts, options.guidance)
    print(f"\n{text}\n")

    from diffusers_deis_sn.plots.figures import normaliser_figure

    output.mkdir(parents=True, exist_ok=True)
    (output / "table.md").write_text(text + "\n")
    machine = {"package": __version__, "torch": torch.__version__, "machine": platform.machine()}
    settings = {"prompts": options.prompts, "guidance": options.guidance, "spacing": "trailing", "end": "sigma zero"}
    results = {"settings": settings, "versions": machine, "rows": [asdict(row) for row in rows]}
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    grid(bench, kept, STEPS, output / "grid.png")
    normaliser_figure(ScoreStatistics.load(STATISTICS)).savefig(output / "normaliser.png", dpi=110)
    for name in ("grid.png", "normaliser.png", "table.md", "results.json"):
        print(f"wrote {shown / name}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
