"""One step of the solver on tensors: a x + sum_j c_j eps_j with Python floats, and perhaps the same of the low band."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffusers_deis_sn.core.value_types import shown
from diffusers_deis_sn.errors import DeisSnError, StepError

HALF = (torch.float16, torch.bfloat16)


def check_samples(error: type[DeisSnError] = StepError, **given: object) -> None:
    """Refuse what is no tensor of real floating-point numbers.

    Args:
        error: What is raised.
        **given: By name.

    Raises:
        DeisSnError: Of the kind `error`.
    """
    for name, value in given.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0:
            raise error(
                f"`{name}` must be a tensor (B, ...) of floating-point numbers, got {shown(value)}. Convert it first."
            )


def combine(
    sample: Tensor,
    transfer: float,
    history: Sequence[Tensor],
    weights: Sequence[float],
    low: tuple[float, Sequence[float]] | None = None,
) -> Tensor:
    """`transfer` * sample + sum of weights * history, newest first; shape and dtype of the sample.

    Half precision is summed in float32 and rounded once. Nothing is read back from the device, and no tensor is made
    but the sum (and, for half precision, its rounded copy; and with `low`, another sum and its low band).

    Args:
        sample: (B, *event).
        transfer: Its factor.
        history: Outputs, newest first, each (B, *event).
        weights: Their factors.
        low: Factor of the sample and factors of the outputs in another sum, whose low band is added.
    """
    total = _sum(sample, transfer, history, weights)
    return (total if low is None else total.add_(low_band(_sum(sample, low[0], history, low[1])))).to(sample.dtype)


def _sum(sample: Tensor, transfer: float, history: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = sample.float().mul_(transfer) if sample.dtype in HALF else sample * transfer
    for weight, epsilon in zip(weights, history, strict=False):
        total.add_(epsilon, alpha=weight)
    return total


def has_bands(shape: Sequence[int]) -> bool:
    """Whether samples (B, C, ..., H, W) of this shape are divided into two bands: two last axes of even length."""
    return len(shape) >= 4 and shape[-1] % 2 == 0 and shape[-2] % 2 == 0


def low_band(x: Tensor) -> Tensor:
    """2x2 means in the last two axes, brought back by bilinear interpolation; (B, C, ..., H, W).

    Along an axis of odd length the last row counts twice.
    """
    high, wide = x.shape[-2:]
    flat = x.reshape(-1, 1, high, wide)
    if high % 2 or wide % 2:
        flat = functional.pad(flat, (0, wide % 2, 0, high % 2), mode="replicate")
    means = functional.avg_pool2d(flat, 2)
    back = functional.interpolate(means, scale_factor=2.0, mode="bilinear", align_corners=False)
    return back[..., :high, :wide].reshape(x.shape)


def threshold(x0: Tensor, ratio: float, largest: float) -> Tensor:
    """Dynamic thresholding: clamp each sample to its own quantile s of |x_0|, 1 <= s <= `largest`, and divide by s.

    Imagen, arXiv 2205.11487, section 2.3; meant for pixel-space models only.

    Args:
        x0: Predicted clean samples; (B, *event).
        ratio: Which quantile.
        largest: Upper bound of s; below 1 it is s, as in Diffusers.
    """
    if x0.numel() == 0:  # of which there is no quantile
        return x0
    flat = x0.reshape(len(x0), -1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    s = torch.quantile(flat.abs(), ratio, dim=1, keepdim=True).clamp(1.0, largest)
    return (torch.maximum(torch.minimum(flat, s), -s) / s).reshape(x0.shape).to(x0.dtype)


def high_band(x: Tensor) -> Tensor:
    """What the low band leaves; (B, C, ..., H, W)."""
    return x - low_band(x)
