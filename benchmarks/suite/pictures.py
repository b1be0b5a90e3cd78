"""The data that the suite's networks learn from: MNIST, Noto emoji and scikit-learn's digits, in [-1, 1].

No data lies in this repository. MNIST and emoji are read from an npz file each, scikit-learn brings its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

HOW = {
    "mnist": "give --mnist FILE, an npz with `x_train` (N, 28, 28) uint8, `y_train`, `x_test` and `y_test`, or --mnist "
    "hub, which loads ylecun/mnist from the Hub",
    "emoji": "run `npm pack emoji-datasource-google@16.0.0 && tar xf emoji-datasource-google-16.0.0.tgz` and give "
    "--emoji package, or an npz with `images` (N, 64, 64, 4) uint8 and `subcategories`",
}
HUB = Path("hub")
KINDS = {"face": "face-", "heart": "heart", "clock": "time", "shape": "geometric", "letter": "alphanum"}
"""Emoji that a small network learns in minutes: their kinds, and how the names of their subcategories begin."""
OTHER_FACES = ("cat-face", "monkey-face", "face-costume")
SHIFT = 2  # pixels that emoji are moved, either way


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, C, H, W) float32 in [-1, 1] and what they show, (N,) int64; `kinds` names the classes.

    Args:
        pictures: All of them.
        labels: Their classes.
        kinds: Names of the classes.
        moved: Whether batches are shifted at random, on white.
        dither: Width of uniform noise that fills the steps of a coarse scale.
    """

    pictures: Tensor
    labels: Tensor
    kinds: tuple[str, ...]
    moved: bool = False
    dither: float = 0.0

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random pictures and their labels."""
        index = torch.randint(len(self), (size,), generator=generator)
        pictures = self.pictures[index]
        if self.moved:
            pictures = _move(pictures, generator)
        if self.dither:
            pictures = pictures + self.dither * (torch.rand(pictures.shape, generator=generator) - 0.5)
        return pictures, self.labels[index]


def load_pictures(data: str, path: Path | None) -> tuple[Pictures, Pictures]:
    """Pictures to learn from, and others (emoji: the same, unmoved) to test a judge with.

    Args:
        data: "mnist", "emoji" or "digits".
        path: The npz file, the unpacked package of emoji, or `HUB`; scikit-learn's digits need none.

    Raises:
        FileNotFoundError: Nothing there; the message says how to get it.
    """
    if data == "digits":
        return _sklearn_digits()
    if path is None or not (path.exists() or (data == "mnist" and path == HUB)):
        raise FileNotFoundError(f"There is no {data} data at {path}: {HOW[data]}.")
    return _mnist(path) if data == "mnist" else _emoji(path)


def _mnist(path: Path) -> tuple[Pictures, Pictures]:
    kinds = tuple(str(digit) for digit in range(10))
    if path == HUB:
        from examples.tiny_digits import load_mnist

        return tuple(Pictures(_ink(part.strokes), part.digits, kinds) for part in load_mnist(None))
    parts = []
    with np.load(path) as arrays:
        for part in ("train", "test"):
            strokes, digits = (torch.from_numpy(arrays[f"{axis}_{part}"].copy()) for axis in "xy")
            parts.append(Pictures(_ink(strokes), digits.long(), kinds))
    return parts[0], parts[1]


def _ink(strokes: Tensor) -> Tensor:
    return strokes[:, None].float() / 127.5 - 1.0


def _emoji(path: Path) -> tuple[Pictures, Pictures]:
    """Emoji on white, halved to 32x32 by means of four."""
    if path.is_dir():
        from examples.tiny_emoji import read_package

        images, _, _, groups = read_package(path)
    else:
        with np.load(path) as arrays:
            images, groups = arrays["images"], arrays["subcategories"]
    named = np.array([_kind(str(group)) for group in groups])
    rgba = torch.from_numpy(np.asarray(images)[named >= 0]).permute(0, 3, 1, 2).float() / 255.0
    opacity = rgba[:, 3:]
    pictures = functional.avg_pool2d(rgba[:, :3] * opacity + 1.0 - opacity, 2) * 2.0 - 1.0
    still = Pictures(pictures, torch.from_numpy(named[named >= 0].astype(np.int64)), tuple(KINDS))
    return replace(still, moved=True), still


def _kind(group: str) -> int:
    """Index into `KINDS` of a subcategory, -1 for none."""
    return next(
        (i for i, start in enumerate(KINDS.values()) if group.startswith(start) and group not in OTHER_FACES), -1
    )


def _sklearn_digits() -> tuple[Pictures, Pictures]:
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = torch.from_numpy(data.images).float()[:, None] / 8.0 - 1.0
    labels = torch.from_numpy(data.target.astype(np.int64))
    kinds = tuple(str(digit) for digit in range(10))
    return Pictures(pictures, labels, kinds, dither=1.0 / 8.0), Pictures(pictures, labels, kinds)


def _move(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Shift all pictures at random, filling with white."""
    batch, size = len(pictures), pictures.shape[-1]
    padded = functional.pad(pictures, (SHIFT,) * 4, value=1.0)
    start = torch.randint(2 * SHIFT + 1, (batch, 2), generator=generator)
    rows = (start[:, :1] + torch.arange(size))[:, :, None]
    columns = (start[:, 1:] + torch.arange(size))[:, None, :]
    return padded.permute(0, 2, 3, 1)[torch.arange(batch)[:, None, None], rows, columns].permute(0, 3, 1, 2)
