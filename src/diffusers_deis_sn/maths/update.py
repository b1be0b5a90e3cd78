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
