"""One step of the solver on tensors: a x + sum_j c_j eps_j with Python floats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def combine(sample: Tensor, transfer: float, history: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """`transfer` * sample + sum of weights * history, newest first; shape and dtype of the sample.

    Half precision is summed in float32 and rounded once. Nothing is read back from the device, and no tensor is made
    but the sum (and, for half precision, its rounded copy).
    """
    total = sample.float().mul_(transfer) if sample.dtype in HALF else sample * transfer
    for weight, epsilon in zip(weights, history, strict=False):
        total.add_(epsilon, alpha=weight)
    return total.to(sample.dtype)


def threshold(x0: Tensor, ratio: float, largest: float) -> Tensor:
    """Dynamic thresholding: clamp each sample to its own quantile s of |x_0|, 1 <= s <= `largest`, and divide by s.

    Imagen, arXiv 2205.11487, section 2.3; meant for pixel-space models only.

    Args:
        x0: Predicted clean samples; (B, *event).
        ratio: Which quantile.
        largest: Upper bound of s.
    """
    flat = x0.reshape(len(x0), -1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    s = torch.quantile(flat.abs(), ratio, dim=1, keepdim=True).clamp(1.0, max(largest, 1.0))
    return (torch.maximum(torch.minimum(flat, s), -s) / s).reshape(x0.shape).to(x0.dtype)
