"""Network outputs as epsilon: linear maps of the output and the sample, with Python floats."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusers_deis_sn.errors import ConfigurationError

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


def epsilon_map(prediction_type: str, alpha: float, sigma: float) -> tuple[float, float]:
    """(a, b) of eps = a output + b x, from x = alpha x_0 + sigma eps.

    "epsilon": eps. "sample": (x - alpha x_0) / sigma. "v_prediction", v = alpha eps - sigma x_0 with
    alpha^2 + sigma^2 = 1 (Salimans and Ho, arXiv 2202.00512): alpha v + sigma x.

    Raises:
        ConfigurationError: Unknown prediction type.
    """
    if prediction_type == "epsilon":
        return 1.0, 0.0
    if prediction_type == "sample":
        return -alpha / sigma, 1.0 / sigma
    if prediction_type == "v_prediction":
        return alpha, sigma
    raise ConfigurationError(
        f"`prediction_type` must be one of {', '.join(PREDICTION_TYPES)}, got {prediction_type!r}. Outputs are "
        "converted by it. Copy it from the model's own scheduler config."
    )


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
