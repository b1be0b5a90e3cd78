"""Coloured handwritten digits: captions, pictures and the judge of prompt accuracy.

The world of the shipped `tiny-sd-digits` pipeline. A picture is one MNIST digit in one of eight colours on one of five
grounds; its caption says so: "a red seven on a dark blue background". Eight (colour, digit) pairs are held out of
training, so that a prompt can ask for a combination that the model has never seen.

`Judge` is a small convolutional network trained on rendered MNIST pictures only. It never meets the diffusion model
while either of them is trained, and says which digit, colour and ground it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SIZE = 32
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {
    "red": (230, 40, 40),
    "orange": (255, 150, 30),
    "yellow": (245, 230, 60),
    "green": (60, 205, 80),
    "cyan": (70, 220, 230),
    "blue": (80, 120, 255),
    "purple": (180, 80, 235),
    "white": (245, 245, 245),
}
GROUNDS = {
    "black": (8, 8, 8),
    "dark blue": (12, 18, 95),
    "dark green": (8, 70, 30),
    "dark red": (95, 12, 20),
    "grey": (90, 90, 90),
}
HELD_OUT = frozenset((colour, (3 * colour + 1) % 10) for colour in range(len(COLOURS)))
"""(colour, digit) pairs that no training picture shows: each colour once, each digit at most once."""


@dataclass(frozen=True)
class Labels:
    """What a batch of pictures shows: indices into `DIGITS`, `COLOURS` and `GROUNDS`, each of shape (B,), int64."""

    digit: Tensor
    colour: Tensor
    ground: Tensor

    def __len__(self) -> int:
        return len(self.digit)

    def __getitem__(self, index: slice | Tensor) -> Labels:
        return Labels(self.digit[index], self.colour[index], self.ground[index])

    def captions(self) -> list[str]:
        """One sentence per picture."""
        colours, grounds = list(COLOURS), list(GROUNDS)
        rows = zip(self.digit.tolist(), self.colour.tolist(), self.ground.tolist(), strict=True)
        return [f"a {colours[c]} {DIGITS[d]} on a {grounds[g]} background" for d, c, g in rows]

    def held_out(self) -> Tensor:
        """Which rows show a pair that training never saw, (B,) bool."""
        pairs = zip(self.colour.tolist(), self.digit.tolist(), strict=True)
        return torch.tensor([pair in HELD_OUT for pair in pairs])


def draw_prompts(number: int, seed: int = 0) -> Labels:
    """`number` random combinations, held-out ones included at their natural share (one in ten)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (len(DIGITS), len(COLOURS), len(GROUNDS))
    return Labels(*(torch.randint(size, (number,), generator=generator) for size in sizes))


def draw_colours(digit: Tensor, generator: torch.Generator) -> Labels:
    """Random colours and grounds for given digits, never a held-out pair."""
    allowed = torch.ones(len(DIGITS), len(COLOURS))
    for colour, held_digit in HELD_OUT:
        allowed[held_digit, colour] = 0.0
    colour = torch.multinomial(allowed[digit], 1, generator=generator)[:, 0]
    ground = torch.randint(len(GROUNDS), digit.shape, generator=generator)
    return Labels(digit, colour, ground)


def render(strokes: Tensor, labels: Labels, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paint MNIST strokes in colour.

    Args:
        strokes: (B, 28, 28) uint8, ink = 255.
        labels: The colours to paint in; (B,).
        generator: Draws the position (two pixels either way) and a few per cent of variation in the colours.

    Returns:
        Pictures (B, 3, 32, 32) in [-1, 1] and ink masks (B, 1, 32, 32) in [0, 1].
    """
    batch = len(strokes)
    shift = torch.randint(0, 5, (batch, 2), generator=generator)
    rows = torch.arange(28)
    ink = torch.zeros(batch, SIZE, SIZE)
    place = torch.arange(batch)[:, None, None]
    ink[place, (shift[:, :1] + rows)[:, :, None], (shift[:, 1:] + rows)[:, None, :]] = strokes.float() / 255.0
    ink = ink[:, None]

    def paint(table: dict[str, tuple[int, int, int]], index: Tensor) -> Tensor:
        colour = torch.tensor(list(table.values()))[index] / 255.0
        jitter = 0.03 * torch.randn(colour.shape, generator=generator)
        return (colour + jitter).clamp(0.0, 1.0)[:, :, None, None]

    picture = ink * paint(COLOURS, labels.colour) + (1.0 - ink) * paint(GROUNDS, labels.ground)
    return 2.0 * picture - 1.0, ink


@dataclass(frozen=True)
class Mnist:
    """Handwritten digits: strokes (N, 28, 28) uint8 and which digit they show, (N,) int64."""

    strokes: Tensor
    digits: Tensor

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Labels]:
        """Random pictures (B, 3, 32, 32), their ink masks and labels."""
        index = torch.randint(len(self.strokes), (size,), generator=generator)
        labels = draw_colours(self.digits[index], generator)
        return *render(self.strokes[index], labels, generator), labels


def load_mnist(path: Path | None) -> tuple[Mnist, Mnist]:
    """Training and test digits, from a local npz (`x_train`, `y_train`, `x_test`, `y_test`) or from the Hub."""
    if path is not None:
        with np.load(path) as data:
            arrays = {name: torch.from_numpy(data[name].copy()) for name in data.files}
        return (
            Mnist(arrays["x_train"], arrays["y_train"].long()),
            Mnist(arrays["x_test"], arrays["y_test"].long()),
        )
    return load_mnist_split("train"), load_mnist_split("test")


def load_mnist_split(split: str) -> Mnist:
    """One split of the data set `ylecun/mnist` on the Hub: a parquet table of PNG files and labels."""
    import io

    import pyarrow.parquet
    from huggingface_hub import hf_hub_download
    from PIL import Image

    path = hf_hub_download("ylecun/mnist", f"mnist/{split}-00000-of-00001.parquet", repo_type="dataset")
    table = pyarrow.parquet.read_table(path).to_pydict()
    strokes = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["image"]])
    return Mnist(torch.from_numpy(strokes), torch.tensor(table["label"]))


class Judge(nn.Module):
    """Names the digit, its colour and the ground of a picture (B, 3, 32, 32) in [-1, 1]; 0.2 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *self._block(3, 24), *self._block(24, 48), *self._block(48, 64), nn.Flatten(), nn.Dropout(0.2)
        )
        self.hidden = nn.Sequential(nn.Linear(64 * 16, 128), nn.ReLU())
        self.heads = nn.ModuleDict(
            {
                "digit": nn.Linear(128, len(DIGITS)),
                "colour": nn.Linear(128, len(COLOURS)),
                "ground": nn.Linear(128, len(GROUNDS)),
            }
        )

    @staticmethod
    def _block(inner: int, outer: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inner, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits of the three questions, by name."""
        hidden = self.hidden(self.features(pictures))
        return {name: head(hidden) for name, head in self.heads.items()}

    def loss(self, pictures: Tensor, labels: Labels) -> Tensor:
        """Sum of the three cross entropies."""
        logits = self(pictures)
        return sum(functional.cross_entropy(logits[name], getattr(labels, name)) for name in logits)

    @torch.no_grad()
    def verdict(self, pictures: Tensor, labels: Labels) -> dict[str, float]:
        """Shares of pictures that show what was asked for: each part alone, and "all" three together."""
        logits = self(pictures.float())
        right = {name: logits[name].argmax(1).cpu() == getattr(labels, name) for name in logits}
        right["all"] = right["digit"] & right["colour"] & right["ground"]
        return {name: hit.float().mean().item() for name, hit in right.items()}


def load_judge(folder: str | Path) -> Judge:
    """The shipped judge, in evaluation mode on the CPU."""
    judge = Judge()
    judge.load_state_dict(load_file(Path(folder) / "judge.safetensors"))
    return judge.eval()


def to_tensor(images: np.ndarray) -> Tensor:
    """Pipeline output (`output_type="np"`, (B, 32, 32, 3) in [0, 1]) as the judge wants it."""
    return torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2) * 2.0 - 1.0
