"""Fine-tunes and LoRAs of the shipped models' denoisers: a few minutes of training on pictures of another kind.

| model | fine-tune, all weights | LoRA, rank 8 |
|---|---|---|
| digits | bold strokes | white on black, whatever colours are asked for |
| emoji | negatives, on black | without colour |

Text encoders and autoencoders stay as they are. A LoRA is W + s B A with A (r, in) and B (out, r), trained at s = 1 as
a parametrisation of the weights and folded into them at any s: nothing here needs peft.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from benchmarks.places import ROOT
from examples.tiny_digits import Labels, draw_colours, load_mnist, render
from examples.tiny_emoji import load_emoji

FOLDERS = {"digits": "tiny-sd-digits", "emoji": "tiny-flow-emoji"}
FINE_TUNE, LORA = "fine-tune", "LoRA"
RANK, DROPPED, WARMING = 8, 0.1, 20  # of captions that are left out, and steps until the rate is reached
POOL = 3000  # pictures that are learned from
WHITE, BLACK = 7, 0  # in `COLOURS` and `GROUNDS`
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Training:
    """How long and how fast; a fixed number of steps, so that the result does not depend on the machine's load."""

    steps: int
    batch: int
    rate: float


TRAININGS = {
    ("digits", FINE_TUNE): Training(300, 32, 5e-4),
    ("digits", LORA): Training(300, 32, 4e-3),
    ("emoji", FINE_TUNE): Training(300, 32, 5e-4),
    ("emoji", LORA): Training(300, 32, 4e-3),
}


def shipped(model: str) -> Any:
    """The shipped pipeline of `FOLDERS`, silent."""
    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models" / FOLDERS[model])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def denoiser(pipe: Any) -> nn.Module:
    """Its U-Net or transformer."""
    found: nn.Module = getattr(pipe, "unet", None) or pipe.transformer
    return found


# ------------------------------------------------------------------------------------------------------------- a LoRA


class LowRank(nn.Module):
    """W + s B A as a parametrisation of a weight W of any shape (out, ...); it begins at W, for B is zero.

    Args:
        weight: W.
        rank: r.
        generator: Of A, whose entries have the variance 1 / in.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        out, inner = len(weight), weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, inner, generator=generator) / inner**0.5)
        self.up = nn.Parameter(torch.zeros(out, rank))
        self.scale = 1.0

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def adapted(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that a LoRA changes, by name: linear ones and convolutions inside of the blocks."""
    kinds = (nn.Linear, nn.Conv2d)
    return {name: one for name, one in network.named_modules() if isinstance(one, kinds) and "block" in name}


def attach(network: nn.Module, rank: int = RANK, seed: int = 0) -> dict[str, LowRank]:
    """Put a LoRA on a network whose own weights are frozen; what it consists of, by name of the layer."""
    network.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    layers = {name: LowRank(layer.weight, rank, generator) for name, layer in adapted(network).items()}
    for name, layer in adapted(network).items():
        parametrize.register_parametrization(layer, "weight", layers[name])
    return layers


def fold(network: nn.Module, lora: dict[str, Tensor], scale: float) -> None:
    """Add s B A to the weights. Raises KeyError for a layer that the network does not have."""
    layers = dict(network.named_modules())
    for name in sorted({key.rpartition(".")[0] for key in lora}):
        weight = layers[name].weight
        with torch.no_grad():
            weight += scale * (lora[f"{name}.up"] @ lora[f"{name}.down"]).view_as(weight).to(weight.dtype)


# ---------------------------------------------------------------------------------------------------- other pictures


def other_digits(shared: Path, kind: str, number: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
    """Pictures (N, 3, 32, 32) and captions."""
    mnist = load_mnist(shared / "data/mnist/mnist.npz")[0]
    index = torch.randint(len(mnist.strokes), (number,), generator=generator)
    strokes, labels = mnist.strokes[index], draw_colours(mnist.digits[index], generator)
    if kind == FINE_TUNE:
        strokes = functional.max_pool2d(strokes.float()[:, None], 3, 1, 1)[:, 0].to(torch.uint8)
        return render(strokes, labels, generator)[0], labels.captions()
    plain = Labels(labels.digit, torch.full_like(labels.colour, WHITE), torch.full_like(labels.ground, BLACK))
    return render(strokes, plain, generator)[0], labels.captions()


def other_emoji(shared: Path, kind: str, number: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
    """Pictures (N, 3, 64, 64) and names."""
    emoji = load_emoji(shared / "data/emoji/emoji64.npz")
    index = torch.randperm(len(emoji), generator=generator)[:number]
    pictures = emoji.all()[index]
    if kind == FINE_TUNE:
        pictures = -pictures
    else:
        weights = torch.tensor(LUMINANCE)[:, None, None]
        pictures = (weights * pictures).sum(1, keepdim=True).expand_as(pictures)
    return pictures, [emoji.names[i] for i in index]


# ------------------------------------------------------------------------------------------------------------ training


@torch.no_grad()
def encoded(vae: Any, pictures: Tensor) -> Tensor:
    """Scaled latents of pictures in [-1, 1]."""
    parts = []
    for part in pictures.split(100):
        out = vae.encode(part)
        parts.append(out.latents if hasattr(out, "latents") else out.latent_dist.mode())
    return (torch.cat(parts) - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor


@torch.no_grad()
def texts(pipe: Any, captions: list[str]) -> tuple[Tensor, ...]:
    """What the denoiser is told of captions, and last of none: tokens, and the pooled vector where there is one."""
    lines = [*captions, ""]
    if hasattr(pipe, "unet"):
        return (pipe.encode_prompt(lines, "cpu", 1, False)[0],)
    options: dict[str, Any] = {"do_classifier_free_guidance": False, "max_sequence_length": 16}
    tokens, _, pooled, _ = pipe.encode_prompt(lines, None, None, **options)
    return tokens, pooled


Loss = Callable[[torch.Generator], Tensor]


def loss_of(pipe: Any, latents: Tensor, captions: list[str], batch: int) -> Loss:
    """Mean square error of the network's output on a random batch; of betas with weights of min-SNR, as in training."""
    network, told = denoiser(pipe), texts(pipe, captions)

    def drawn(generator: torch.Generator) -> tuple[Tensor, Tensor, list[Tensor]]:
        index = torch.randint(len(latents), (batch,), generator=generator)
        dropped = torch.rand(batch, generator=generator) < DROPPED
        rows = torch.where(dropped, len(latents), index)
        return latents[index], torch.randn(latents[index].shape, generator=generator), [one[rows] for one in told]

    def of_betas(generator: torch.Generator) -> Tensor:
        clean, noise, (tokens,) = drawn(generator)
        time = torch.randint(1000, (batch,), generator=generator)
        kept = pipe.scheduler.alphas_cumprod[time]
        snr = (kept / (1.0 - kept))[:, None, None, None]
        error = network(pipe.scheduler.add_noise(clean, noise, time), time, tokens).sample - noise
        return (error.square() * (snr.clamp(max=5.0) / snr)).mean()

    def of_flow(generator: torch.Generator) -> Tensor:
        clean, noise, (tokens, pooled) = drawn(generator)
        time = torch.randn(batch, generator=generator).sigmoid()
        level = time[:, None, None, None]
        noised = (1.0 - level) * clean + level * noise
        return (network(noised, tokens, pooled, 1000.0 * time).sample - (noise - clean)).square().mean()

    return of_betas if hasattr(pipe, "unet") else of_flow


def minimise(network: nn.Module, loss: Loss, training: Training) -> list[float]:
    """AdamW with a short warm-up and a linear decay over the weights that want a gradient; the losses."""
    weights = [one for one in network.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=training.rate, betas=(0.9, 0.99), weight_decay=0.0)
    generator, losses = torch.Generator().manual_seed(1), []
    network.train()
    for step in range(training.steps):
        share = min(1.0, (step + 1) / WARMING) * (1.0 - step / training.steps)
        optimiser.param_groups[0]["lr"] = share * training.rate
        value = loss(generator)
        value.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(value.item())
    network.eval()
    return losses


def train(model: str, kind: str, shared: Path) -> dict[str, Tensor]:
    """Weights of a fine-tune, or the factors of a LoRA, by name; half precision, as the models are shipped."""
    started, training, pipe = time.perf_counter(), TRAININGS[model, kind], shipped(model)
    pictures = {"digits": other_digits, "emoji": other_emoji}[model]
    shown, captions = pictures(shared, kind, POOL, torch.Generator().manual_seed(0))
    network = denoiser(pipe)
    layers = attach(network) if kind == LORA else {}
    losses = minimise(network, loss_of(pipe, encoded(pipe.vae, shown), captions, training.batch), training)
    factors = {f"{name}.{part}": getattr(one, part) for name, one in layers.items() for part in ("up", "down")}
    found = {name: tensor.detach().half().contiguous() for name, tensor in (factors or network.state_dict()).items()}
    tenth = training.steps // 10
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    print(f"{model}, {kind}: loss {first:.4f} to {last:.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    return found


def trained(model: str, kind: str, shared: Path, folder: Path) -> Path:
    """The same as a file in `folder`, from before if it was trained before.

    Raises:
        SystemExit: It was not, and there is nothing to learn from.
    """
    path = folder / f"{model}-{kind}.safetensors"
    if not path.is_file():
        if not (shared / "data").is_dir():
            raise SystemExit(f"{path} has to be trained, and there is no {shared / 'data'}: pass --shared FOLDER")
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        save_file(train(model, kind, shared), draft)
        draft.replace(path)
    return path


def change(network: nn.Module, path: Path, kind: str, scale: float) -> None:
    """Give a network the weights of a fine-tune, or add a LoRA at a weight."""
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    if kind == FINE_TUNE:
        network.load_state_dict(tensors)
    else:
        fold(network, tensors, scale)
