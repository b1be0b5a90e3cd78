"""Train the suite's networks and judges, one after the other; the same command goes on where it was stopped.

    python -m benchmarks.suite.train                           # all of them, to runs/suite-models
    python -m benchmarks.suite.train digits-dit emoji-unet     # some
    python -m benchmarks.suite.train --output benchmarks/models --again   # over the shipped ones

Each takes minutes and leaves a folder with model.safetensors (float16), config.json, training.json and samples.png, 48
pictures in 100 Euler steps; README.md describes them all. What is complete is not trained again. Needs the `train`
extra, scikit-learn, MNIST and Noto emoji; where they are missing the program says how to get them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.suite.architectures import build
from benchmarks.suite.card import write_card
from benchmarks.suite.judges import DATA, JUDGES, Judge, load_judge
from benchmarks.suite.networks import CONFIG, NETWORKS, WEIGHTS, Description, SuitePipeline, load
from benchmarks.suite.pictures import Pictures, load_pictures
from benchmarks.suite.training import Loss, Run, train

ROOT = Path(__file__).resolve().parent.parent.parent
DONE = "training.json"  # written last
SAMPLES, SAMPLE_STEPS, SAMPLE_GUIDANCE = 48, 100, 3.0
DROPPED = 0.1  # labels, so that classifier-free guidance has something to compare with
BATCH, JUDGE_BATCH = 24, 96
RATE = {"unet": 2e-3, "transformer": 2e-3, "perceptron": 1e-3}
STEPS = {"digit-judge": 600, "emoji-judge": 400, "emoji-unet": 3200, "emoji-flow": 1500, "emoji-edm": 1500}
STEPS |= {"digits-dit": 2400, "digits-unet": 1500, "digits-v-zsnr": 1500, "digits-edm": 1500, "digits-mlp-flow": 3500}
"""So many that all are trained within the hour where the processor has units for bfloat16."""
UNIFORM = 0.25  # times of each batch, so that the ends are learned as well
Noised = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sample, times, what the network is to say, and the weight of its error."""


def denoising_loss(description: Description, data: Pictures, batch: int) -> Loss:
    """The mean squared error of what a network predicts, with one label in ten dropped."""
    noising = {"edm": _edm, "flow": _flow}.get(description.process) or _Betas(description)

    def loss(network: nn.Module, generator: torch.Generator) -> Tensor:
        clean, labels = data.batch(batch, generator)
        if description.classes is None:
            labels = None
        else:
            dropped = torch.rand(batch, generator=generator) < DROPPED
            labels = torch.where(dropped, description.classes, labels)
        noise = torch.randn(clean.shape, generator=generator)
        sample, times, target, weight = noising(clean, noise, generator)
        return ((network(sample, times, labels).float() - target).square() * weight).mean()

    return loss


class _Betas:
    """Noised samples, times, targets and weights of a network with betas: the noise, or v.

    The noise is weighted by 1 / alpha^2, which makes its error that of v, so that the noisy end is learned as well.
    """

    def __init__(self, description: Description) -> None:
        self.scheduler, self.velocity = description.make_scheduler(), description.process == "v_prediction"
        alphas = self.scheduler.alphas_cumprod
        self.log_levels = 0.5 * ((1.0 - alphas) / alphas.clamp(min=1e-12)).log()

    def __call__(self, clean: Tensor, noise: Tensor, generator: torch.Generator) -> Noised:
        batch, levels = len(clean), len(self.log_levels)
        near = torch.searchsorted(self.log_levels, _log_levels(batch, generator)).clamp(max=levels - 1)
        uniform = torch.randint(levels, (batch,), generator=generator)
        times = torch.where(torch.rand(batch, generator=generator) < UNIFORM, uniform, near)
        sample = self.scheduler.add_noise(clean, noise, times)
        if self.velocity:
            return sample, times.float(), self.scheduler.get_velocity(clean, noise, times), torch.ones(())
        return sample, times.float(), noise, 1.0 / self.scheduler.alphas_cumprod[times][:, None, None, None]


def _log_levels(number: int, generator: torch.Generator) -> Tensor:
    """Logarithms of noise over data where there is most to learn (arXiv 2206.00364, table 1)."""
    return 1.2 * torch.randn(number, generator=generator) - 1.0


def _flow(clean: Tensor, noise: Tensor, generator: torch.Generator) -> Noised:
    """Rectified flow with logit-normal times (arXiv 2403.03206), and a few uniform ones for the ends."""
    middle = torch.sigmoid(_log_levels(len(clean), generator))
    uniform = torch.rand(len(clean), generator=generator)
    sigma = torch.where(torch.rand(len(clean), generator=generator) < UNIFORM, uniform, middle)[:, None, None, None]
    return (1.0 - sigma) * clean + sigma * noise, 1000.0 * sigma.flatten(), noise - clean, torch.ones(())


def _edm(clean: Tensor, noise: Tensor, generator: torch.Generator) -> Noised:
    """The effective training target of arXiv 2206.00364 (table 1), whose loss has weight one at every sigma."""
    log_sigma = _log_levels(len(clean), generator)
    sigma, width = log_sigma.exp()[:, None, None, None], 0.5
    total = (sigma**2 + width**2).sqrt()
    noised = clean + sigma * noise
    target = (clean - noised * (width / total) ** 2) * total / (sigma * width)
    return noised / total, 0.25 * log_sigma, target, torch.ones(())


def judging_loss(data: Pictures, batch: int) -> Loss:
    """Cross entropy on pictures with up to a fifth of noise, so that a judge looks at shapes and not at pixels."""

    def loss(judge: nn.Module, generator: torch.Generator) -> Tensor:
        pictures, labels = data.batch(batch, generator)
        strength = 0.4 * torch.rand(batch, 1, 1, 1, generator=generator)
        pictures = pictures + strength * torch.randn(pictures.shape, generator=generator)
        return functional.cross_entropy(judge(pictures).float(), labels)

    return loss


def make_network(name: str, options: argparse.Namespace) -> None:
    """Train one network of the suite and write its folder."""
    description = NETWORKS[name]
    data, _ = load_pictures(description.data, getattr(options, description.data, None))
    torch.manual_seed(0)
    network = build(description.architecture, description.scheduler)
    run = train(
        network,
        denoising_loss(description, data, options.batch or BATCH),
        options.steps or STEPS[name],
        options.checkpoints / f"{name}.pt",
        name=name,
        rate=RATE[description.architecture["kind"]],
        precision=options.mixed_precision,
    )
    folder = options.output / name
    write_weights(network, folder)
    write_json(folder / CONFIG, config_of(description))
    pipe = load(name, options.output)
    facts = facts_of(network, run) | {"forward of 48, ms": forward_time(pipe)}
    samples = draw(pipe)
    write_sheet(samples, folder / "samples.png")
    write_json(folder / DONE, facts)
    print(
        f"{name}: {facts['parameters']:,} parameters, loss {facts['loss']}, {facts['forward of 48, ms']} ms", flush=True
    )


def make_judge(name: str, options: argparse.Namespace) -> None:
    """Train one judge and write its folder."""
    data, test = load_pictures(DATA[name], getattr(options, DATA[name]))
    torch.manual_seed(0)
    judge = Judge(*JUDGES[name])
    run = train(
        judge,
        judging_loss(data, options.batch or JUDGE_BATCH),
        options.steps or STEPS[name],
        options.checkpoints / f"{name}.pt",
        name=name,
        rate=2e-3,
        precision=options.mixed_precision,
    )
    write_weights(judge, options.output / name)
    judge = load_judge(name, options.output)
    facts = facts_of(judge, run) | {"accuracy": round(judge.accuracy(test.pictures, test.labels), 4)}
    write_json(options.output / name / DONE, facts | {"classes": list(test.kinds)})
    print(f"{name}: {facts['parameters']:,} parameters, accuracy {facts['accuracy']}", flush=True)


def config_of(description: Description) -> dict[str, Any]:
    """What a reader needs who has the weights but not this repository."""
    scheduler, settings = description.scheduler
    return {
        "name": description.name,
        "text": description.text,
        "role": description.role,
        "data": description.data,
        "process": description.process,
        "shape": list(description.shape),
        "classes": description.classes,
        "guidances": list(description.guidances),
        "architecture": dict(description.architecture),
        "scheduler": {"_class_name": scheduler, **settings},
    }


def facts_of(network: nn.Module, run: Run) -> dict[str, Any]:
    """What the run was, for training.json."""
    return {
        "parameters": sum(each.numel() for each in network.parameters()),
        "steps": run.count,
        "processor minutes": round(run.seconds / 60.0, 2),
        "threads": torch.get_num_threads(),
        "precision": run.precision,
        "loss": run.curve[-1][1] if run.curve else None,
        "curve": run.curve,
    }


def labels_of(description: Description) -> Tensor | None:
    """The classes of the samples on a sheet, in turn."""
    return None if description.classes is None else torch.arange(SAMPLES) % description.classes


def draw(pipe: SuitePipeline) -> Tensor:
    """The pictures of a sheet, 100 steps of Euler's method (DDIM where there are betas), guided where there is any."""
    guidance = SAMPLE_GUIDANCE if pipe.description.classes is not None else 1.0
    noise = torch.randn(SAMPLES, *pipe.description.shape, generator=torch.Generator().manual_seed(0))
    return pipe(
        class_labels=labels_of(pipe.description),
        num_inference_steps=SAMPLE_STEPS,
        guidance_scale=guidance,
        latents=noise,
    )


def write_sheet(pictures: Tensor, path: Path, columns: int = 12) -> None:
    """Pictures (N, C, H, W) in [-1, 1] side by side, enlarged to 64 pixels or so."""
    from PIL import Image

    factor = max(1, 64 // pictures.shape[-1])
    large = functional.pad(
        pictures.clamp(-1.0, 1.0).repeat_interleave(factor, 2).repeat_interleave(factor, 3), (2,) * 4
    )
    rows = [torch.cat(list(row), dim=2) for row in large.split(columns)]
    sheet = ((torch.cat(rows, dim=1) + 1.0) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(path, optimize=True)


@torch.no_grad()
def forward_time(pipe: SuitePipeline, rounds: int = 5) -> float:
    """Milliseconds of one unguided call on 48 samples, the least of a few."""
    labels = None if pipe.description.classes is None else torch.zeros(48, dtype=torch.int64)
    sample, times = torch.zeros(48, *pipe.description.shape), []
    for _ in range(rounds):
        start = time.perf_counter()
        pipe.guided(sample, 0.5, labels)
        times.append(time.perf_counter() - start)
    return round(1000.0 * min(times), 1)


def write_weights(network: nn.Module, folder: Path) -> None:
    """The weights in half precision, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{WEIGHTS}.unfinished"
    save_file({key: value.half().contiguous() for key, value in network.state_dict().items()}, unfinished)
    unfinished.replace(folder / WEIGHTS)


def write_json(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=1)
    path.write_text(re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = ROOT.parent / "shared" / "data"
    every = (*NETWORKS, *JUDGES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(every)}; by default all")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "suite-models", help="folder of the networks")
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "runs" / "suite-checkpoints")
    parser.add_argument("--mnist", type=Path, default=data / "mnist" / "mnist.npz", help="npz file of MNIST, or hub")
    parser.add_argument(
        "--emoji",
        type=Path,
        default=data / "emoji" / "emoji64.npz",
        help="npz file of Noto emoji, or their unpacked npm package",
    )
    parser.add_argument("--steps", type=int, default=None, help="of training; by default what each needs")
    parser.add_argument("--batch", type=int, default=None, help=f"by default {BATCH}, for judges {JUDGE_BATCH}")
    parser.add_argument("--mixed-precision", default="auto", choices=("auto", "bf16", "no"))
    parser.add_argument("--again", action="store_true", help="train anew what is there already")
    options = parser.parse_args(given)
    unknown = sorted(set(options.names) - set(every))
    if unknown:
        parser.error(f"no network {', '.join(unknown)}; there are {', '.join(every)}")
    options.names = options.names or list(every)
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    for name in options.names:
        if options.again:
            (options.output / name / DONE).unlink(missing_ok=True)
            (options.checkpoints / f"{name}.pt").unlink(missing_ok=True)
        if (options.output / name / DONE).exists():
            print(f"{name}: there already (--again trains it anew)", flush=True)
            continue
        try:
            (make_judge if name in JUDGES else make_network)(name, options)
        except FileNotFoundError as error:
            sys.exit(f"{name}: {error}")
        write_card(options.output)


if __name__ == "__main__":
    main()
