"""Two small classifiers that never meet a diffusion model in training: which digit, and which kind of emoji.

Their last hidden layer gives the features in which Frechet distances are measured.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

JUDGES = {"digit-judge": (1, 28, 10), "emoji-judge": (3, 32, 5)}
"""Colours, size and number of classes, by name."""
DATA = {"digit-judge": "mnist", "emoji-judge": "emoji"}
FEATURES = 64


class Judge(nn.Module):
    """Names the class of pictures (B, C, H, W) in [-1, 1].

    Args:
        channels: Colours.
        size: Height and width, a multiple of four.
        classes: How many there are.
    """

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.size, self.channels = size, channels
        self.body = nn.Sequential(
            *self._block(channels, 24),
            *self._block(24, 48),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.GroupNorm(8, 64),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(3 if size == 28 else 4),
            nn.Flatten(),
            nn.Linear(64 * (9 if size == 28 else 16), FEATURES),
            nn.SiLU(),
        )
        self.head = nn.Linear(FEATURES, classes)

    @staticmethod
    def _block(inner: int, outer: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.SiLU(), nn.MaxPool2d(2)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return self.head(self.body(pictures))

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """The last hidden layer, (B, 64) float32."""
        return torch.cat([self.body(part) for part in pictures.float().split(256)])

    @torch.no_grad()
    def accuracy(self, pictures: Tensor, labels: Tensor) -> float:
        """Share of pictures that show their label."""
        return (self.head(self.features(pictures)).argmax(1) == labels).float().mean().item()


def load_judge(name: str, folder: str | Path) -> Judge:
    """A trained judge in evaluation mode on the CPU.

    Raises:
        FileNotFoundError: It is not there yet; the message says how to train it.
    """
    path = Path(folder) / name / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. Train it: `python -m benchmarks.suite.train {name} --output {folder}`."
        )
    judge = Judge(*JUDGES[name])
    judge.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return judge.eval().requires_grad_(False)
