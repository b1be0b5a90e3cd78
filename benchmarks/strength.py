"""Image-to-image runs of the shipped Stable Diffusion pipeline: ours next to samplers of Diffusers. A few minutes.

python -m benchmarks.strength

All take evenly spaced ("trailing") timesteps, so that `strength` starts each at the same noise level; those of plans
begin there too. Images are drawn by the model for other prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from torch import Tensor

from benchmarks.places import results
from benchmarks.suite.measures import geometric_mean, sample_errors
from benchmarks.suite.report import markdown
from diffusers_deis_sn import DEISSNScheduler

ROOT = Path(__file__).resolve().parent.parent
MODEL, STATISTICS = ROOT / "examples/models/tiny-sd-digits", ROOT / "stats/tiny-sd-digits/tuned"
SAMPLES, GUIDANCE, FINE = 16, 3.0, 500
RUNS = ((10, 0.3), (10, 0.6), (10, 0.8), (20, 0.5), (20, 0.6))  # steps and strength: 3, 6, 8, 10 and 12 calls
ZERO = {"timestep_spacing": "trailing", "final_sigmas_type": "zero"}
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {"timestep_spacing": "trailing", "set_alpha_to_one": True, "clip_sample": False}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", ZERO),
    "UniPC": ("UniPCMultistepScheduler", ZERO),
    "DEIS": ("DEISMultistepScheduler", {"timestep_spacing": "trailing"}),
}
OURS: dict[str, dict[str, Any]] = {
    "DEIS-SN, no statistics": {"stats": False},
    "DEIS-SN": {"stats": STATISTICS, "tuned": False},
    "DEIS-SN, tuned": {"stats": STATISTICS},
}


class Studio:
    """The pipeline, the images that runs start from, and what they are asked for."""

    def __init__(self) -> None:
        """Draws the images."""
        drawing = StableDiffusionPipeline.from_pretrained(MODEL)
        drawing.set_progress_bar_config(disable=True)
        self.config = drawing.scheduler.config
        prompts = (ROOT / "examples/prompts/digits.txt").read_text().splitlines()[:SAMPLES]
        options = {"num_inference_steps": 50, "guidance_scale": GUIDANCE}
        self.images = drawing(prompts, generator=_seeds(0), **options).images
        self.prompts = prompts[1:] + prompts[:1]  # of something else
        self.pipe = StableDiffusionImg2ImgPipeline.from_pipe(drawing)
        self.pipe.set_progress_bar_config(disable=True)

    def ends(self, scheduler: Any, steps: int, strength: float) -> Tensor:
        """Latents that runs end with."""
        self.pipe.scheduler = scheduler
        options = {"strength": strength, "num_inference_steps": steps, "guidance_scale": GUIDANCE}
        found: Tensor = self.pipe(
            self.prompts, image=self.images, generator=_seeds(1000), output_type="latent", **options
        ).images
        return found

    def rival(self, name: str) -> Any:
        """A new scheduler of Diffusers."""
        kind, options = RIVALS[name]
        return getattr(diffusers, kind).from_config(self.config, **options)


def _seeds(first: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(SAMPLES)]


def measured() -> dict[tuple[int, float], Mapping[str, float]]:
    """Errors by steps and strength, and how far two fine runs are apart."""
    studio = Studio()
    found: dict[tuple[int, float], Mapping[str, float]] = {}
    for strength in sorted({strength for _, strength in RUNS}):
        fine, other = (studio.ends(studio.rival(name), FINE, strength) for name in ("DPM++ 2M", "UniPC"))
        for steps in (steps for steps, one in RUNS if one == strength):
            entrants = {name: studio.rival(name) for name in RIVALS}
            entrants |= {name: DEISSNScheduler.from_config(studio.config, **options) for name, options in OURS.items()}
            errors = {name: _error(studio.ends(one, steps, strength), fine) for name, one in entrants.items()}
            found[steps, strength] = errors | {"two long runs": _error(other, fine)}
    return found


def _error(ends: Tensor, fine: Tensor) -> float:
    return geometric_mean(sample_errors(ends, fine))


def table(found: Mapping[tuple[int, float], Mapping[str, float]]) -> str:
    """Schedulers by runs."""
    runs = sorted(found, key=lambda run: int(run[0] * run[1]))
    heads = [f"{int(steps * strength)} calls ({steps} steps, {strength:g})" for steps, strength in runs]
    lines = [[name, *(f"{found[run][name]:.4f}" for run in runs)] for name in found[runs[0]]]
    words = (
        f"Distance of the latents to those of a run of {FINE} steps from the same noised image, geometric mean over "
        f"{SAMPLES} pictures, guidance {GUIDANCE:g}, of the shipped digits model; the last line is how far two such "
        "long runs of different solvers are apart. By `benchmarks/strength.py`."
    )
    return f"{markdown(['scheduler', *heads], lines)}\n\n{words}\n"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    results("strength.md").write_text(table(measured()))
