"""Schedulers on the two shipped pipelines, by distance to a fine run and by a judge: what the published tables measure.

It imports none of the other scripts, so that measurements can import it from the root of the repository.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    DEISMultistepScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics, __version__

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples/models/tiny-sd-digits"
JUDGE = ROOT / "examples/models/digit-judge"
STATISTICS = ROOT / "stats/tiny-sd-digits"
EMOJI = ROOT / "examples/models/tiny-flow-emoji"
EMOJI_STATISTICS = ROOT / "stats/tiny-flow-emoji/guidance-3"
WANTED = tuple((ROOT / "examples/prompts/emoji.txt").read_text().splitlines())
STEPS = (5, 8, 10, 15)
REFERENCE_STEPS = 500  # of the published tables


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


def flow_schedulers(config: Any) -> dict[str, Callable[[], Any]]:
    """The same for a flow-matching model, with its own shift."""
    shift = float(config.get("shift", 1.0))
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}
    zero = flow | {"final_sigmas_type": "zero"}
    return {
        "Euler": lambda: FlowMatchEulerDiscreteScheduler.from_config(config),
        "DPM++ 2M": lambda: DPMSolverMultistepScheduler(**zero),
        "UniPC": lambda: UniPCMultistepScheduler(**zero),
        "DEIS of Diffusers, to zero": lambda: UpstreamDeis(**flow),
        "DEIS-SN": lambda: DEISSNScheduler.from_config(config, stats=EMOJI_STATISTICS),
    }


@dataclass(frozen=True)
class Row:
    """What one scheduler achieves in so many steps."""

    scheduler: str
    steps: int
    calls: int
    rms: float
    accuracy: float | None


class Bench:
    """The pipeline, a fixed set of prompts and start noise, and a counter of network calls.

    Args:
        pipe: The pipeline.
        judge: tiny_digits.Judge.
        labels: tiny_digits.Labels, whose captions are the prompts.
        guidance: The pipeline's guidance scale.
        batch: How many prompts are drawn at a time.
    """

    options: Mapping[str, Any] = {}  # further arguments of the pipeline

    def __init__(self, pipe: Any, judge: Any, labels: Any, guidance: float, batch: int = 100) -> None:
        self._set_up(pipe, labels.captions(), guidance, batch)
        self.judge, self.labels = judge, labels

    def _set_up(self, pipe: Any, captions: list[str], guidance: float, batch: int) -> None:
        self.pipe, self.captions, self.guidance, self.batch = pipe, captions, guidance, batch
        self.config = pipe.scheduler.config
        self.calls = 0
        network = getattr(pipe, "unet", None) or pipe.transformer
        network.register_forward_hook(self._count)
        size, channels = network.config.sample_size, network.config.in_channels
        generator = torch.Generator().manual_seed(2026)
        self.noise = torch.randn(len(captions), channels, size, size, generator=generator)

    def _count(self, *_: Any) -> None:
        self.calls += 1

    @torch.no_grad()
    def latents(self, scheduler: Any, steps: int) -> tuple[Tensor, int]:
        """Final latents (B, 4, 8, 8) of all prompts, and the network calls made for each."""
        self.pipe.scheduler, parts = scheduler, []
        for start in range(0, len(self.captions), self.batch):
            part = slice(start, start + self.batch)
            self.calls = 0
            out = self.pipe(
                self.captions[part],
                num_inference_steps=steps,
                guidance_scale=self.guidance,
                latents=self.noise[part],
                output_type="latent",
                **self.options,
            )
            parts.append(out.images)
        return torch.cat(parts), self.calls

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Decoded pictures (B, 3, H, W) in [-1, 1]."""
        config = self.pipe.vae.config
        scaled = (latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)).split(self.batch)
        return torch.cat([self.pipe.vae.decode(part).sample for part in scaled]).clamp(-1.0, 1.0)

    def accuracy(self, latents: Tensor) -> float | None:
        """Share of pictures with the digit, colour and ground asked for; None where nobody can tell."""
        return self.judge.verdict(self.pictures(latents), self.labels)["all"]


class EmojiBench(Bench):
    """The flow-matching pipeline; its prompts are names, short ones."""

    options: Mapping[str, Any] = {"max_sequence_length": 16}

    def __init__(self, pipe: Any, names: Sequence[str], guidance: float) -> None:
        self._set_up(pipe, list(names), guidance, 100)

    def accuracy(self, latents: Tensor) -> float | None:
        return None  # the judge compares with pictures that are not shipped


def measure(
    bench: Bench, steps: tuple[int, ...], entrants: dict[str, Callable[[], Any]], fine: int
) -> tuple[list[Row], dict[tuple[str, int], Tensor]]:
    """All entrants at all numbers of steps, and the reference, a run of `fine` steps, as ("reference", fine)."""
    reference, calls = bench.latents(entrants["DPM++ 2M"](), fine)
    rows = [Row("reference", fine, calls, 0.0, bench.accuracy(reference))]
    kept = {("reference", fine): reference}
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
            cell.append(rms if row.accuracy is None else f"{rms} · {row.accuracy:.1%}")
        lines.append(f"| {name} | " + " | ".join(cell) + " |")
    reference = next(row for row in rows if row.scheduler == "reference")
    calls = "one network call a step" if all(r.calls == r.steps for r in rows) else "CALLS DIFFER FROM STEPS"
    right = "" if reference.accuracy is None else f" · prompt accuracy (that run: {reference.accuracy:.1%})"
    fine = f"RMS distance of the latents to the {reference.steps}-step run{right}"
    lines += ["", f"{fine}. {prompts} prompts, guidance {guidance:g}, {calls}."]
    return "\n".join(lines)


def shipped(folder: Path) -> Any:
    """The shipped pipeline, quiet."""
    pipe = DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def show(
    model: str,
    bench: Bench,
    fine: int,
    output: Path,
    others: Mapping[str, Callable[[], Any]] = MappingProxyType({}),
) -> list[str]:
    """Measure one model against a run of `fine` steps: files in `output`, whose names are returned.

    Args:
        model: "digits" or "emoji".
        bench: Its pipeline and prompts.
        fine: Steps of the run that the others are compared with.
        output: The folder, which is there.
        others: Further schedulers.
    """
    from diffusers_deis_sn.plots.figures import normaliser_figure

    entrants = (schedulers if model == "digits" else flow_schedulers)(bench.config)
    number = len(bench.captions)
    print(f"{model}: {number} prompts, guidance {bench.guidance:g}, {fine}-step reference first ...")
    rows, _ = measure(bench, STEPS, entrants | dict(others), fine)
    text = table(rows, STEPS, number, bench.guidance)
    print(f"\n{text}\n")
    first = "" if model == "digits" else f"{model}-"
    machine = {"package": __version__, "torch": torch.__version__, "machine": platform.machine()}
    settings = {"prompts": number, "guidance": bench.guidance, "spacing": "trailing", "end": "sigma zero"}
    results = {"settings": settings, "versions": machine, "rows": [asdict(row) for row in rows]}
    (output / f"{first}table.md").write_text(text + "\n")
    (output / f"{first}results.json").write_text(json.dumps(results, indent=1) + "\n")
    statistics = ScoreStatistics.load(STATISTICS if model == "digits" else EMOJI_STATISTICS)
    normaliser_figure(statistics).savefig(output / f"{first}normaliser.png", dpi=110)
    return [f"{first}{name}" for name in ("table.md", "results.json", "normaliser.png")]
