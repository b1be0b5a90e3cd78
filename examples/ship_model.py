"""Put a finished training run into examples/models: pipeline, judge, card, figures.

    python examples/ship_model.py runs/tiny-sd-digits

Every figure in the card is read from the run's training.json or measured here.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from safetensors import safe_open

from tiny_digits import COLOURS, DIGITS, GROUNDS, HELD_OUT, draw_prompts

MODELS = Path(__file__).resolve().parent / "models"
FINAL = "prompt accuracy, 50 DDIM steps, guidance 3"


def canvas(width: float, height: float) -> Figure:
    """A figure of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_training(log: dict[str, Any], titles: dict[str, str], path: Path) -> None:
    """Loss against minutes for the three stages, under their titles."""
    figure = canvas(10.5, 3.0)
    for axes, (stage, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        _, seconds, loss = zip(*log[stage]["curve"], strict=True)
        axes.plot([s / 60 for s in seconds], loss, color="#1f4e79", linewidth=1.6)
        axes.set(title=title, xlabel=f"minutes on {log['setting']['device']}", yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, which="both")
    figure.axes[0].set_ylabel("loss, running mean")
    figure.savefig(path, dpi=110)


def draw_samples(pipe: Any, path: Path) -> None:
    """Forty prompts at 50 DDIM steps."""
    labels = draw_prompts(40, seed=2026)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    images = pipe(
        labels.captions(),
        num_inference_steps=50,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images
    figure = canvas(12.0, 7.2)
    unseen = labels.held_out()
    for i, axes in enumerate(figure.subplots(5, 8).flat):
        axes.imshow(images[i], interpolation="nearest")
        words = labels.captions()[i].removeprefix("a ").removesuffix(" background").replace(" on a ", "\non ")
        axes.set_title(words + (" *" if unseen[i] else ""), fontsize=7.5)
        axes.axis("off")
    figure.suptitle("50 DDIM steps, guidance 3; * a pair of digit and colour that was never trained", fontsize=10)
    figure.savefig(path, dpi=100)


def write_slow_tokenizer(folder: Path) -> None:
    """The two files that the tokenizers of Transformers 4 are read from, beside the one that version 5 writes."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")


def parameters(folder: Path) -> int:
    """Number of weights in a folder."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            names = tensors.keys()  # not a mapping: it cannot be iterated itself
            total += sum(tensors.get_tensor(name).numel() for name in names)
    return total


def megabytes(folder: Path) -> float:
    """Size of a pipeline's folder without pictures and card."""
    return sum(file.stat().st_size for file in folder.rglob("*.*") if file.suffix not in (".png", ".md")) / 1e6


def card(log: dict[str, Any], folder: Path) -> str:
    size = megabytes(folder)
    parts = {name: f"{parameters(folder / name) / 1e6:.2f} M" for name in ("text_encoder", "unet", "vae")}
    final, vae, judge, setting = log[FINAL], log["vae"], log["judge"], log["setting"]
    minutes = {stage: log[stage]["curve"][-1][1] / 60 for stage in ("judge", "vae", "unet")}
    steps = {stage: log[stage]["curve"][-1][0] for stage in minutes}
    held = ", ".join(sorted(f"{list(COLOURS)[c]} {DIGITS[d]}" for c, d in HELD_OUT))
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
datasets: [ylecun/mnist]
tags: [stable-diffusion, mnist, tiny, deis-sn]
---
# tiny-sd-digits

A complete `StableDiffusionPipeline` in {size:.1f} MB that draws handwritten digits in colour: "a red seven on a dark
blue background". It is made for measuring samplers on a CPU, with everything that a large model has: CLIP text encoder
({parts["text_encoder"]}), U-Net ({parts["unet"]}) with cross attention, autoencoder ({parts["vae"]}; 3x32x32 pixels to
4x8x8 latents), `scaled_linear` betas and epsilon prediction as Stable Diffusion 1.5, classifier-free guidance.

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("examples/models/tiny-sd-digits")
image = pipe("a green four on a black background", num_inference_steps=50, guidance_scale=3.0).images[0]
```

![Pictures of forty prompts](samples.png)

## Prompt accuracy

{final["all"]:.1%} of {setting["prompts"]} prompts at 50 DDIM steps and guidance 3 show digit, colour and ground as
asked (digit {final["digit"]:.1%}, colour {final["colour"]:.1%}, ground {final["ground"]:.1%}). Of the prompts with a
pair of digit and colour that training never showed, {final["held out"]:.1%}. The judge is a small convolutional network
trained on rendered MNIST pictures only (`../digit-judge`); on real test digits it is right in {judge["all"]:.1%} (digit
{judge["digit"]:.1%}), and on pictures that went through the autoencoder in {vae["all"]:.1%}.

Captions: `a COLOUR DIGIT on a GROUND background`, colours {", ".join(COLOURS)}; grounds {", ".join(GROUNDS)}. Held out:
{held}.

## Training

`examples/train_tiny_sd.py` on {setting["device"]}, mixed precision {setting["precision"]}:

* judge: {steps["judge"]} steps in {minutes["judge"]:.0f} min;
* autoencoder: {steps["vae"]} steps in {minutes["vae"]:.0f} min (mean error {vae["error"]:.3f} of full scale);
* text encoder and U-Net: {steps["unet"]} steps of {setting["batch"]} in {minutes["unet"]:.0f} min.

![Training curves](training.png)

U-Net and autoencoder are stored in float16, the text encoder in float32.

## Data and licence

Trained on MNIST (LeCun, Cortes, Burges; commonly cited as CC BY-SA 3.0), coloured by the script. The weights are
under Apache-2.0. Limits: it knows these captions, 32x32 pixels and nothing else.
"""


def main() -> None:
    run, target = Path(sys.argv[1]), MODELS / "tiny-sd-digits"
    log = json.loads((run / "training.json").read_text())
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run / "pipeline", target)
    write_slow_tokenizer(target / "tokenizer")
    (MODELS / "digit-judge").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "judge.safetensors", MODELS / "digit-judge/judge.safetensors")
    (target / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    titles = {"judge": "judge", "vae": "autoencoder", "unet": "text encoder and U-Net"}
    draw_training(log, titles, target / "training.png")
    pipe = DiffusionPipeline.from_pretrained(target)
    pipe.set_progress_bar_config(disable=True)
    draw_samples(pipe, target / "samples.png")
    (target / "README.md").write_text(card(log, target))
    print(f"{FINAL}: {log[FINAL]}")


if __name__ == "__main__":
    main()
