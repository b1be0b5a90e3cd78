"""Does a statistics file survive a LoRA, a fine-tune, half precision, another size, another prompt set?

    python -m benchmarks.calibration.transfer                      # all variants, hours; goes on where it stopped
    python -m benchmarks.calibration.transfer --variants 'emoji, *' --draw-only
    python -m benchmarks.calibration.transfer --shared FOLDER      # whose data/ the variants are trained on

Every variant of the shipped models is drawn with statistics of its own, with those of the base (the shipped model, the
usual prompts and size), and with none, in 5, 8 and 10 calls. Both measurements are `calibrate` with its default
settings, from other seeds than are compared and than each other's; the variant "measured again" is the base with
statistics of other seeds, so it shows what the rest of a measurement's noise does. Errors are distances to a converged
run of the variant itself, as in the suite. The usual prompts are one half of the classes, the other ones the other.

A half-precision variant is held against a fine run of its network between float32 samples; what is compared keeps its
samples in half precision, as users do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.calibration.transfer_figure import draw, draw_samples, save_strip
from benchmarks.calibration.transfer_models import FINE_TUNE, FOLDERS, LORA, change, denoiser, shipped, trained
from benchmarks.calibration.transfer_table import cells, summary, table
from benchmarks.mnist_network import SHARED
from benchmarks.places import ROOT, results
from benchmarks.suite import reference
from benchmarks.suite.extra_problems import in_turn, lines
from benchmarks.suite.measures import grain, sample_errors
from benchmarks.suite.problems import Text, slug
from benchmarks.suite.rows import packed
from benchmarks.suite.runner import settle
from benchmarks.suite.samplers import rivals
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics, calibrate
from diffusers_deis_sn.learn.path import SchedulePath

GUIDANCE, STEPS, SAMPLES, SEED = 3.0, (5, 8, 10), 24, 1
BASE_FROM, OWN_FROM = 10_000, 20_000  # seeds that are measured
SHOWN = 8  # samples in the picture
MOST_PROMPTS = 64  # samples that a measurement may take
FINE_STEPS = {"digits": 200, "emoji": 120}  # of converged runs; the table says how far two solvers are apart
RIVALS = {
    "digits": ("DPM++ 2M", "DPM++ 2M, Karras", "UniPC 2"),
    "emoji": ("DPM++ 2M, shift 1", "UniPC 2, shift 1", "UniPC 2, Karras"),
}


@dataclass(frozen=True)
class Variant:
    """What differs from the base.

    Args:
        name: As in the table.
        kind: `FINE_TUNE`, `LORA` or neither.
        scale: Weight of the LoRA.
        dtype: Of the whole pipeline.
        size: Height and width in pixels.
        others: Whether prompts are those of the other half of the classes.
        negative: A negative prompt.
    """

    name: str
    kind: str = ""
    scale: float = 1.0
    dtype: torch.dtype = torch.float32
    size: tuple[int, int] | None = None
    others: bool = False
    negative: str | None = None


AGAIN = Variant("measured again")


def variants(size: tuple[int, int], negative: str) -> tuple[Variant, ...]:
    """Those of a model, the ones that say most first."""
    return (
        AGAIN,
        Variant("fine-tune", kind=FINE_TUNE),
        Variant("LoRA", kind=LORA),
        Variant("other prompts", others=True),
        Variant("bfloat16", dtype=torch.bfloat16),
        Variant(f"{size[0]} x {size[1]}", size=size),
        Variant("LoRA at 0.5", kind=LORA, scale=0.5),
        Variant("negative prompt", negative=negative),
        Variant("float16", dtype=torch.float16),
    )


VARIANTS = {
    "digits": variants((48, 32), "a white one on a grey background"),
    "emoji": variants((48, 64), "person"),  # its positions end at 64 x 64
}


class Changed(Text):
    """A variant of a shipped model as a problem of the suite.

    Args:
        model: Of `FOLDERS`.
        variant: What differs.
        weights: Of the fine-tune or LoRA, where it is one.
    """

    def __init__(self, model: str, variant: Variant, weights: Path | None = None) -> None:
        pipe = shipped(model)
        if weights is not None:
            change(denoiser(pipe), weights, variant.kind, variant.scale)
        if variant.dtype != torch.float32:
            pipe.to(variant.dtype)
        asked = lines(ROOT / "stats" / FOLDERS[model] / "prompts.txt")
        prompts = in_turn([one for one in asked if second_half(model, one, asked) == variant.others])
        super().__init__(f"{model}, {variant.name}", "reporting", pipe, GUIDANCE, print_of(denoiser(pipe)), prompts)
        self.model, self.variant, self.between = model, variant, variant.dtype
        self.options: dict[str, Any] = {"max_sequence_length": 16} if model == "emoji" else {}
        if variant.negative is not None:
            self.options["negative_prompt"] = variant.negative
        if variant.size is not None:
            self.options |= dict(zip(("height", "width"), variant.size, strict=True))
            self.shape = (self.shape[0], *(side // pipe.vae_scale_factor for side in variant.size))

    def _sample(self, steps: int, noise: Tensor, seed: int) -> Tensor:
        self.made = 0
        start = noise.to(self.variant.dtype).to(self.between)
        with mock.patch.object(self.pipe, "prepare_latents", lambda *_, **__: start):  # one pipeline would round them
            out = self.pipe(
                self.prompts(len(noise), seed),
                num_inference_steps=steps,
                guidance_scale=GUIDANCE,
                output_type="latent",
                **self.options,
            )
        return out.images

    @contextmanager
    def fine(self) -> Iterator[None]:
        """Samples in float32 between calls of the network, whatever it computes in."""
        network, dtype = denoiser(self.pipe), self.variant.dtype

        def narrow(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
            if given:
                return (given[0].to(dtype), *given[1:]), named
            return given, named | {"hidden_states": named["hidden_states"].to(dtype)}

        def widen(_: nn.Module, __: Any, out: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(one.float() for one in out)

        hooks = (
            network.register_forward_pre_hook(narrow, with_kwargs=True),
            network.register_forward_hook(widen),
        )
        self.between = torch.float32
        try:
            yield
        finally:
            self.between = dtype
            for hook in hooks:
                hook.remove()

    def converged(self, folder: Path) -> reference.Reference:
        """Where a fine run ends."""
        steps = (FINE_STEPS[self.model],)  # of flows the suite leaves out the first
        steps = (0, *steps) if self.family == "flow" else steps
        with self.fine(), mock.patch.object(reference, "STEPS", steps):
            return reference.kept(self, SAMPLES, SEED, folder)

    def measured(self, seed: int, folder: Path) -> ScoreStatistics:
        """Statistics by default settings, from `folder` where they were measured before."""
        path = folder / f"{slug(self.name)}-{self.fingerprint}-{seed}.safetensors"
        if not path.is_file():
            options = {"seed": seed, "progress": False, "guidance_scale": GUIDANCE, **self.options}
            calibrate(self.pipe, self.prompts(MOST_PROMPTS, seed), **options).save(path)
        return ScoreStatistics.load(path)


def second_half(model: str, prompt: str, asked: list[str]) -> bool:
    """Whether a prompt is of the other half: digits above four; emoji from the list's end, things rather than faces."""
    if model == "digits":
        return prompt.split()[2] in ("five", "six", "seven", "eight", "nine")
    return asked.index(prompt) >= len(asked) // 2


def print_of(network: nn.Module) -> str:
    """Eight digits that change with any weight."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(str(tensor.dtype).encode() + tensor.float().numpy().tobytes())
    return digest.hexdigest()[:8]


# ---------------------------------------------------------------------------------------------------------- measuring


def apart(own: ScoreStatistics, base: ScoreStatistics) -> dict[str, Any]:
    """How far the curves of two measurements are apart.

    max |r_own - r_base| / r_base over the times, and max |tau_own - tau_base| over the levels, tau the share of the
    learned grid's path that is cleaner, between 0 and 1.
    """
    r = np.interp(base.log_rho, own.log_rho, own.mean_abs)
    one, other = (SchedulePath.of(record, "solver") for record in (own, base))
    shares = [path.cumulative / path.path_length for path in (one, other)]
    there = np.interp(np.log(other.levels), np.log(one.levels), shares[0])
    curves = {"log_rho": base.log_rho, "own": r, "base": base.mean_abs}
    return {
        "r": float(np.max(np.abs(r / base.mean_abs - 1.0))),
        "path": float(np.max(np.abs(there - shares[1]))),
        "samples": [own.most_samples, base.most_samples],
        "curves": {name: [float(f"{value:.5g}") for value in values] for name, values in curves.items()},
    }


def rows_of(problem: Changed, records: dict[str, ScoreStatistics | bool], end: Tensor) -> Iterator[dict[str, Any]]:
    """Errors of ours with each statistics, and of the rivals."""

    def row(make: Callable[[], Any], n: int, **facts: Any) -> dict[str, Any]:
        scheduler = make()
        found = problem.end(scheduler, n, SAMPLES, SEED)
        method = getattr(scheduler, "method", None)
        measures = {"errors": packed(sample_errors(found, end)), "grain": grain(found, end)}
        return facts | {"calls": n, "method": None if method is None else str(method), **measures}

    for n in STEPS:
        for statistics, record in records.items():
            facts = {"sampler": "DEIS-SN", "statistics": statistics}
            plain = row(lambda record=record: DEISSNScheduler.from_config(problem.config, stats=record), n, **facts)
            yield plain
            if statistics == "none":
                continue
            if "learned" in (plain["method"] or ""):  # the best of all, so also of those with a learned grid
                yield plain | {"sampler": "ScoreOptimal"}
                continue
            facts["sampler"] = "ScoreOptimal"
            yield row(lambda record=record: ScoreOptimalScheduler.from_config(problem.config, stats=record), n, **facts)
        every = rivals(problem.config, problem.family, guided=True)
        for name in RIVALS[problem.model]:
            yield row(every[name], n, sampler=name, statistics="rival")


def measure(model: str, variant: Variant, shared: Path, runs: Path) -> dict[str, Any]:
    """All that is known of one variant; `shared` for what has to be trained."""
    started = time.perf_counter()
    weights = trained(model, variant.kind, shared, runs / "models") if variant.kind else None
    base = Changed(model, AGAIN).measured(BASE_FROM, runs / "statistics")
    problem = Changed(model, variant, weights)
    own = problem.measured(OWN_FROM, runs / "statistics")
    there = problem.converged(runs / "references")
    records: dict[str, ScoreStatistics | bool] = {"own": own, "base": base, "none": False}
    found = {
        "model": model,
        "variant": variant.name,
        "apart": apart(own, base),
        "disagreement": there.disagreement,
        "rows": list(rows_of(problem, records, there.end)),
    }
    save_strip(problem.pictures(there.end[:SHOWN].to(variant.dtype)), runs / "pictures" / f"{slug(problem.name)}.png")
    print(f"{problem.name}: {time.perf_counter() - started:.0f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["*"], metavar="PATTERN", help="such as 'digits, LoRA*'")
    parser.add_argument("--draw-only", action="store_true")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with data/, for what has to be trained")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/transfer")
    parser.add_argument("--output", type=Path, default=results("calibration"))
    arguments = parser.parse_args()
    settle()
    for pair in zip(*VARIANTS.values(), strict=True):  # what says most of each model first
        for model, variant in zip(VARIANTS, pair, strict=True):
            path = arguments.runs / "rows" / f"{slug(f'{model}, {variant.name}')}.json"
            wanted = any(fnmatch(f"{model}, {variant.name}", pattern) for pattern in arguments.variants)
            if path.is_file() or arguments.draw_only or not wanted:
                continue
            write(path, json.dumps(measure(model, variant, arguments.shared, arguments.runs)))
    order = [f"{model}, {one.name}" for model in FOLDERS for one in VARIANTS[model]]
    paths = [arguments.runs / "rows" / f"{slug(name)}.json" for name in order]
    found = [json.loads(path.read_text()) for path in paths if path.is_file()]
    write(arguments.output / "transfer.json", json.dumps(found))
    write(arguments.output / "transfer.md", table(found))
    write(arguments.output / "transfer-cells.md", cells(found))
    write(arguments.output / "transfer-summary.md", summary(found))
    draw(found, arguments.output / "transfer.png")
    draw_samples(found, arguments.runs / "pictures", arguments.output / "transfer-samples.png")
    print(table(found))


def write(path: Path, text: str) -> None:
    """A file, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text.rstrip("\n") + "\n")
    draft.replace(path)


if __name__ == "__main__":
    main()
