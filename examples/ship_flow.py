"""Put a finished run of train_tiny_flow.py into examples/models: pipeline, judge, card, figures.

    python examples/ship_flow.py runs/tiny-flow-emoji --data package

Every figure in the card is read from the run's training.json or measured here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from ship_model import MODELS, canvas, draw_training, megabytes, parameters, write_slow_tokenizer
from tiny_emoji import COMMAND, Emoji, Judge, hits, load_emoji
from train_tiny_flow import draw

STEPS, GUIDANCE, FEW = 50, 3.0, 5
PROMPTS = 256
SETTINGS = ((STEPS, GUIDANCE), (STEPS, 1.0), (FEW, GUIDANCE))
NAMES = (
    "red apple",
    "smiling face with sunglasses",
    "heavy black heart",
    "rocket",
    "slice of pizza",
    "octopus",
    "sunflower",
    "fire",
    "penguin",
    "rainbow",
    "soccer ball",
    "clock face three oclock",
    "keycap 7",
    "tiger face",
    "hamburger",
    "guitar",
    "snowman",
    "house building",
    "man artist",
    "thumbs up sign",
    "face with tears of joy",
    "bicycle",
    "crescent moon",
    "cactus",
    "owl",
    "umbrella",
    "money bag",
    "airplane",
    "broccoli",
    "unicorn face",
    "violin",
    "hot beverage",
    "lion face",
    "strawberry",
    "crying face",
    "electric light bulb",
    "volcano",
    "crab",
    "party popper",
    "jack-o-lantern",
)


def drawn(pictures: Tensor) -> Any:
    """Pictures in [-1, 1] as figures take them."""
    return (pictures.permute(0, 2, 3, 1) + 1.0).div(2.0).clamp(0.0, 1.0).numpy()


def draw_samples(pipe: Any, emoji: Emoji, path: Path) -> None:
    """Forty names."""
    names = [name for name in NAMES if name in emoji.names]
    names += [name for name in emoji.names[:: len(emoji) // 40] if name not in names][: 40 - len(names)]
    pictures = drawn(draw(pipe, names, STEPS, GUIDANCE, seed=2026))
    figure = canvas(12.0, 7.2)
    for picture, name, axes in zip(pictures, names, figure.subplots(5, 8).flat, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(name.replace(" with ", "\nwith ").replace(" face ", " face\n"), fontsize=7.5)
        axes.axis("off")
    figure.suptitle(f"{STEPS} Euler steps, guidance {GUIDANCE:g}", fontsize=10)
    figure.savefig(path, dpi=100)


def measure(pipe: Any, judge: Judge, emoji: Emoji, number: int) -> dict[str, dict[str, float]]:
    """Retrieval at several guidances and numbers of steps, for names spread evenly; all emoji are in the gallery."""
    asked = torch.arange(0, len(emoji), max(1, len(emoji) // number))
    names, scores = [emoji.names[i] for i in asked], {}
    for steps, guidance in SETTINGS:
        pictures = draw(pipe, names, steps, guidance)
        scores[f"{steps} steps, guidance {guidance:g}"] = hits(judge.ranks(pictures, asked, emoji.all()))
    return scores


def seconds(pipe: Any) -> float:
    """What a picture of five steps takes here, the fastest of three."""
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        draw(pipe, ["red apple"], FEW, GUIDANCE)
        spent.append(time.perf_counter() - start)
    return min(spent)


def card(log: dict[str, Any], folder: Path) -> str:
    """The model's card; every figure comes from `log` or from the folder."""
    parts = ("text_encoder", "text_encoder_2", "transformer", "vae")
    size = {name: f"{parameters(folder / name) / 1e6:.2f} M" for name in parts}
    config = json.loads((folder / "transformer/config.json").read_text())
    vae, judge, setting, flow = log["vae"], log["judge"], log["setting"], log["flow"]
    minutes = {stage: log[stage]["curve"][-1][1] / 60 for stage in ("judge", "vae", "flow")}
    steps = {stage: log[stage]["curve"][-1][0] for stage in minutes}
    width = config["num_attention_heads"] * config["attention_head_dim"]
    rows = "\n".join(f"| {at} | {row['top 1']:.1%} | {row['top 5']:.1%} |" for at, row in log["retrieval"].items())
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion-3, flow-matching, emoji, tiny, deis-sn]
---
# tiny-flow-emoji

A complete `StableDiffusion3Pipeline` in {megabytes(folder):.1f} MB that draws emoji from their names: "red apple",
"smiling face with sunglasses". It is made for measuring samplers on a CPU, with everything that a large flow model has:
two CLIP text encoders ({size["text_encoder"]} and {size["text_encoder_2"]}), the transformer of Stable Diffusion 3
({size["transformer"]}; {config["num_layers"]} blocks of width {width}), an autoencoder ({size["vae"]}; 3x64x64 pixels
to 16x8x8 latents), flow matching, classifier-free guidance.

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("examples/models/tiny-flow-emoji")
image = pipe("red apple", num_inference_steps=50, guidance_scale=3.0, max_sequence_length=16).images[0]
```

`max_sequence_length` is the number of T5 tokens, of which the pipeline appends 256 to every text by default. The T5
here answers zeros to everything, so any number does; with sixteen a step takes far less time.

![Pictures of forty names](samples.png)

## Retrieval

Does a picture show the emoji that was asked for? It does when of all {setting["emoji"]} emoji the one asked for is
nearest to the picture, in the features of a small convolutional network trained on the emoji alone, shifted, blurred
and made noisy (`../emoji-judge`; on emoji treated like that it finds {judge["top 1"]:.1%} at once and
{judge["top 5"]:.1%} among the first five). For {log["retrieval of"]} names, Euler's method:

| setting | nearest | among the nearest five |
| --- | --- | --- |
{rows}

It knows the {setting["emoji"]} names that it was trained on, by heart. Other words are spelled out of pieces and draw
something between emoji. Details as small as a digit or the hands of a clock are often wrong. Flags are left out, and of
equal pictures or names all but the first.

## Training

`examples/train_tiny_flow.py` on {setting["device"]}, with other work beside it:

* autoencoder: {steps["vae"]} steps of {vae["batch"]} quarters of pictures in {minutes["vae"]:.0f} min (mean error
  {vae["error"]:.3f} of full scale);
* judge: {steps["judge"]} steps in {minutes["judge"]:.0f} min;
* text encoders and transformer: {steps["flow"]} steps of {flow["batch"]} in {minutes["flow"]:.0f} min, with pictures
  moved by up to {flow["reach"]} pixel, a tenth of the captions empty and some short of a word or naming only the kind.

![Training curves](training.png)

Transformer and autoencoder are stored in float16, the text encoders in float32. Loading logs that the pipeline expects
an `AutoencoderKL` where it gets an `AutoencoderTiny`: it is used in the same way. A picture of {FEW} steps at guidance
{GUIDANCE:g} takes {log["seconds for a picture of 5 steps"]:.2f} s on the machine that it was trained on.

## Data and licence

Trained on [Noto Emoji](https://github.com/googlefonts/noto-emoji) (Google, Apache-2.0) with the names of
[emoji-data](https://github.com/iamcal/emoji-data) (MIT), both from the npm package emoji-datasource-google 16.0.0:

```bash
{COMMAND}
```

The weights are under Apache-2.0.
"""


def ship(run: Path, target: Path) -> None:
    """Copy the run's pipeline and judge."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run / "pipeline", target)
    for name in ("tokenizer", "tokenizer_2"):
        write_slow_tokenizer(target / name)
    (MODELS / "emoji-judge").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "judge.safetensors", MODELS / "emoji-judge/judge.safetensors")


def write_prompts(emoji: Emoji, path: Path) -> None:
    """Names spread evenly, which the statistics are measured with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(emoji.names[:: len(emoji) // PROMPTS][:PROMPTS]) + "\n")


def measured(emoji: Emoji, target: Path, number: int) -> dict[str, Any]:
    """Pictures, prompts and figures of the shipped pipeline."""
    judge, pipe = Judge.load(MODELS / "emoji-judge/judge.safetensors"), DiffusionPipeline.from_pretrained(target)
    write_prompts(emoji, MODELS.parents[1] / "stats/tiny-flow-emoji/prompts.txt")
    draw_samples(pipe, emoji, target / "samples.png")
    return {
        "retrieval": measure(pipe, judge, emoji, number),
        "retrieval of": len(range(0, len(emoji), max(1, len(emoji) // number))),
        "seconds for a picture of 5 steps": seconds(pipe),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("package"), help="what the run was trained on")
    parser.add_argument("--names", type=int, default=400, help="number of names to measure retrieval with")
    parser.add_argument("--card-only", action="store_true", help="curves and card of what was shipped before")
    options = parser.parse_args()
    target = MODELS / "tiny-flow-emoji"
    log = json.loads((options.run / "training.json").read_text())
    if options.card_only:
        before = json.loads((target / "training.json").read_text())
        log |= {key: value for key, value in before.items() if key not in log}
    else:
        ship(options.run, target)
        log |= measured(load_emoji(options.data), target, options.names)
    titles = {"vae": "autoencoder", "judge": "judge", "flow": "text encoders and transformer"}
    draw_training(log, titles, target / "training.png")
    (target / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    (target / "README.md").write_text(card(log, target))
    print(json.dumps(log["retrieval"], indent=1))


if __name__ == "__main__":
    main()
