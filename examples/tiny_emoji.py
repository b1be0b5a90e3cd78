"""Noto emoji with their names: pictures, captions, and the judge that tells which emoji a picture shows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SIZE = 64
WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]+")
COMMAND = "npm pack emoji-datasource-google@16.0.0 && tar xf emoji-datasource-google-16.0.0.tgz"


# ------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Emoji:
    """Pictures (N, 3, 64, 64) uint8 on white, their names and the kinds that they are of ("food fruit")."""

    pictures: Tensor
    names: list[str]
    kinds: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def shown(self, index: Tensor, shift: Tensor) -> Tensor:
        """Pictures (B, 3, 64, 64) in [-1, 1], moved by `shift` (B, 2) pixels; white comes in at the edges."""
        reach = int(shift.abs().max())
        padded = functional.pad(self.pictures[index], (reach,) * 4, value=255)
        starts = (shift + reach).tolist()
        parts = [picture[:, y : y + SIZE, x : x + SIZE] for picture, (y, x) in zip(padded, starts, strict=True)]
        return torch.stack(parts).float() / 127.5 - 1.0

    def batch(self, size: int, reach: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random pictures, moved by up to `reach` pixels, and which emoji they are."""
        index = torch.randint(len(self), (size,), generator=generator)
        return self.shown(index, torch.randint(-reach, reach + 1, (size, 2), generator=generator)), index

    def all(self) -> Tensor:
        """Every picture where it belongs, (N, 3, 64, 64) in [-1, 1]."""
        return self.pictures.float() / 127.5 - 1.0


def load_emoji(path: Path) -> Emoji:
    """The emoji of an npz file or of the unpacked npm package; no flags, and of equal pictures or names the first."""
    if not path.exists():
        raise SystemExit(f"there are no emoji at {path}: run\n    {COMMAND}\nand pass --data package")
    images, names, categories, subcategories = read_package(path) if path.is_dir() else read_arrays(path)
    colour, alpha = images[..., :3].astype(np.float32), images[..., 3:].astype(np.float32) / 255.0
    pictures = np.rint(colour * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8).transpose(0, 3, 1, 2)
    index, seen = [], set()
    for i, picture in enumerate(pictures):
        keys = {picture.tobytes(), str(names[i])}
        if categories[i] != "Flags" and not keys & seen:
            index.append(i)
            seen |= keys
    kinds = [" ".join(re.findall("[a-z]+", str(subcategories[i]))) for i in index]
    return Emoji(torch.from_numpy(pictures[index]), [str(names[i]) for i in index], kinds)


def read_arrays(path: Path) -> tuple[Any, ...]:
    """Pictures (N, 64, 64, 4), names, categories and subcategories from an npz file."""
    with np.load(path) as data:
        return tuple(data[name] for name in ("images", "names", "categories", "subcategories"))


def read_package(folder: Path) -> tuple[Any, ...]:
    """The same from the package emoji-datasource-google: emoji.json and img/google/64."""
    from PIL import Image

    rows = []
    for entry in json.loads((folder / "emoji.json").read_text()):
        path = folder / "img/google/64" / entry["image"]
        if entry.get("name") and path.exists():
            image = np.asarray(Image.open(path).convert("RGBA").resize((SIZE, SIZE)))
            rows.append((image, entry["name"].lower(), entry["category"], entry["subcategory"]))
    images, names, categories, subcategories = zip(*rows, strict=True)
    return np.stack(images), names, categories, subcategories


# --------------------------------------------------------------------------------------------------------- captions


def variants(name: str, kind: str) -> list[str]:
    """Twenty captions of one emoji: two empty ones for guidance, its kind, two short of a word, fifteen times its name.

    A caption is short of a word only where three are left.
    """
    words = name.split()
    spots = [len(words) // 3, 2 * len(words) // 3] if len(words) > 3 else []
    short = [" ".join(words[:spot] + words[spot + 1 :]) for spot in spots]
    fixed = ["", "", kind, *short]
    return fixed + [name] * (20 - len(fixed))


# ------------------------------------------------------------------------------------------------------------ judge


class Judge(nn.Module):
    """Which emoji does a picture show? Trained on the pictures alone, on none that a network has drawn."""

    def __init__(self, classes: int, features: int = 96) -> None:
        super().__init__()
        widths = (12, 32, 64, 128)
        blocks: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for before, after in pairwise(widths):
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(128 * 4 * 4, features)
        self.classes = nn.Linear(features, classes, bias=False)

    def features(self, pictures: Tensor) -> Tensor:
        """Unit vectors (N, F) in which pictures of the same emoji are near each other."""
        return functional.normalize(self.head(self.body(pictures).flatten(1)), dim=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (N, classes): scaled cosines."""
        return 20.0 * self.features(pictures) @ functional.normalize(self.classes.weight, dim=1).T

    @torch.no_grad()
    def ranks(self, pictures: Tensor, asked: Tensor, gallery: Tensor) -> Tensor:
        """How many pictures of `gallery` (N, 3, 64, 64) are nearer to each picture than the one asked for is."""
        near = self.embedded(pictures) @ self.embedded(gallery).T
        return (near > near.gather(1, asked[:, None])).sum(dim=1)

    @torch.no_grad()
    def embedded(self, pictures: Tensor) -> Tensor:
        """`features` of many pictures, a few hundred at a time."""
        return torch.cat([self.features(part) for part in pictures.split(256)])

    @classmethod
    def load(cls, path: Path) -> Judge:
        """A trained judge."""
        state = load_file(path)
        judge = cls(len(state["classes.weight"]), len(state["head.weight"]))
        judge.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        return judge.eval()


def hits(ranks: Tensor) -> dict[str, float]:
    """Shares of pictures to which the emoji asked for is the nearest of all, and among the nearest five."""
    return {"top 1": (ranks < 1).float().mean().item(), "top 5": (ranks < 5).float().mean().item()}


def worsened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise, contrast, tint and size at random: what a judge should see through."""
    count = len(pictures)
    draw = torch.rand(count, 4, 1, 1, 1, generator=generator).unbind(1)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    coarse = functional.interpolate(functional.avg_pool2d(pictures, 4), size=SIZE, mode="bilinear")
    out = torch.where(draw[0] < 0.3, blurred, torch.where(draw[0] < 0.5, coarse, pictures))
    out = out * (0.8 + 0.4 * draw[1]) + 0.1 * torch.randn(count, 3, 1, 1, generator=generator)
    return out + 0.25 * draw[2] * torch.randn(pictures.shape, generator=generator)
