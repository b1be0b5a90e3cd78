"""Network outputs as noise or data: linear maps of the output and the sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffusers_deis_sn.errors import ConfigurationError

Array = NDArray[np.float64]

PREDICTION_TYPES = {
    "vp": ("epsilon", "sample", "v_prediction"),
    "ve": ("epsilon", "sample"),
    "flow": ("epsilon", "sample", "flow_prediction"),
}
EDM_PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
_KNOWN = {name for names in PREDICTION_TYPES.values() for name in names}


def output_map(
    integrand: str, prediction_type: str, alpha: ArrayLike, sigma: ArrayLike, sigma_data: float | None = None
) -> tuple[Array, Array]:
    """(a, b) of what a solver integrates, eps or x_0, as a output + b x, from x = alpha x_0 + sigma eps.

    "epsilon": the output is eps. "sample": x_0. "v_prediction": v = alpha eps - sigma x_0 with alpha^2 + sigma^2 = 1
    (Salimans and Ho, arXiv 2202.00512), so that eps = alpha v + sigma x and x_0 = alpha x - sigma v. "flow_prediction":
    v = eps - x_0 with alpha + sigma = 1, so that eps = x + alpha v and x_0 = x - sigma v.

    With `sigma_data`, and alpha = 1, the output F is preconditioned as in EDM (arXiv 2206.00364, table 1):
    x_0 = c_skip x + c_out F, c_skip = sigma_data^2 / (sigma^2 + sigma_data^2),
    c_out = sigma sigma_data / (sigma^2 + sigma_data^2)^(1/2). Diffusers calls this "epsilon", and the same with -F
    "v_prediction"; "sample" is x_0, where the pipeline applies this itself.

    Args:
        integrand: "noise" for eps, "data" for x_0.
        prediction_type: What the network predicts.
        alpha: Signal scale, positive; of any shape.
        sigma: Noise scale, positive; of the same shape.
        sigma_data: Standard deviation of the data for a preconditioned network, None for others.

    Raises:
        ConfigurationError: A prediction type that is unknown to such a network.
    """
    alpha, sigma = np.asarray(alpha, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if sigma_data is not None or prediction_type not in _KNOWN:
        check_prediction_type(prediction_type, sigma_data)
    one, none = np.ones_like(alpha), np.zeros_like(alpha)
    if sigma_data is not None and prediction_type != "sample":
        # `float_power` rounds as Python's own power does, which `**` of arrays does not.
        total = np.float_power(sigma, 2.0) + sigma_data**2
        c_skip, c_out = sigma_data**2 / total, sigma * sigma_data / np.float_power(total, 0.5)
        c_out = c_out if prediction_type == "epsilon" else -c_out
        return (c_out, c_skip) if integrand == "data" else (-c_out / sigma, sigma / total)
    noise, data = {
        "epsilon": ((one, none), (-sigma / alpha, one / alpha)),
        "sample": ((-alpha / sigma, one / sigma), (one, none)),
        "v_prediction": ((alpha, sigma), (-sigma, alpha)),
        "flow_prediction": ((alpha, one), (-sigma, one)),
    }[prediction_type]
    return data if integrand == "data" else noise


def check_prediction_type(prediction_type: str, sigma_data: float | None = None, path: str = "vp") -> None:
    """Raise ConfigurationError for a prediction type that has no meaning for a path, or a preconditioned network."""
    legal = PREDICTION_TYPES[path] if sigma_data is None else EDM_PREDICTION_TYPES
    if prediction_type not in legal:
        kind = "use_flow_sigmas=True" if path == "flow" else f"process={path if sigma_data is None else 'edm'!r}"
        raise ConfigurationError(
            f"`prediction_type` must be one of {', '.join(legal)} for {kind}, got {prediction_type!r}. Outputs are "
            "converted by it. Copy it from the model's own scheduler config"
            f"{', and use_flow_sigmas=True' if prediction_type == 'flow_prediction' else ''}."
        )
