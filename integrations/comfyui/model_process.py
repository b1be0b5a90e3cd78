"""What a model of ComfyUI says of its process, as this package has processes.

ComfyUI knows it as `model_sampling`: a class for what the network predicts (EPS, V_PREDICTION, EDM, CONST, ...) and one
for its levels (comfy/model_sampling.py). All but CONST have samples in the variance-exploding coordinate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.vp import SMALLEST_ALPHA_SQUARED, TableSchedule
from diffusers_deis_sn.errors import StatisticsMismatchError
from diffusers_deis_sn.learn.measured import path_of
from diffusers_deis_sn.statistics.record import ScoreStatistics

HIGHEST = (
    1.0 / SMALLEST_ALPHA_SQUARED - 1.0
) ** 0.5  # rho of zero terminal SNR in Diffusers; ComfyUI has a little more
TIME_TOLERANCE = 1e-3  # of the times of a continuum
ADVICE = "Load the statistics of this model, or measure them with `deis-sn calibrate`."


class ModelProcess(NamedTuple):
    """A model's process.

    Attributes:
        process: Its levels and times.
        exploding: Whether samples and sigmas are those of the variance-exploding coordinate, or a flow's own.
        shift: Of a flow's grids.
    """

    process: NoiseSchedule
    exploding: bool
    shift: float = 1.0


def process_of(model_sampling: Any, statistics: ScoreStatistics | None) -> ModelProcess:
    """The process of a model, which the statistics have to be of.

    Args:
        model_sampling: ComfyUI's object, of a model or its patcher.
        statistics: Of the model, or None.

    Raises:
        StatisticsMismatchError: The statistics are of another process.
        NoiseScheduleError: Levels that are no noise schedule.
    """
    from comfy import model_sampling as kinds

    flow = isinstance(model_sampling, kinds.CONST)
    cosmos = isinstance(model_sampling, getattr(kinds, "COSMOS_RFLOW", ()))
    found = "flow" if flow or cosmos else "vp" if _has_table(model_sampling) else "ve"
    wanted = found if statistics is None else path_of(statistics)
    if wanted != found:
        names = {"flow": "a flow-matching model", "vp": "a model with a noise table", "ve": "a model of sigmas (EDM)"}
        raise StatisticsMismatchError(
            f"The statistics were measured on {names[wanted]} and {type(model_sampling).__name__} is {names[found]}. "
            f"{ADVICE}"
        )
    if found == "flow":
        process: NoiseSchedule = FlowSchedule(_train_times(statistics))
    elif found == "vp":
        process = _table(model_sampling)
    else:
        _check_labels(model_sampling, statistics)
        process = SigmaSchedule(float(model_sampling.sigma_min), float(model_sampling.sigma_max))
    if statistics is not None:
        statistics.check(process, statistics.origin.prediction_type or "epsilon")
    return ModelProcess(process, not flow, _shift(model_sampling) if flow else 1.0)


def _has_table(model_sampling: Any) -> bool:
    """Whether the network is called with numbers 0 to T - 1 of the levels, and not with a function of sigma."""
    last = float(model_sampling.timestep(torch.as_tensor(model_sampling.sigma_max).reshape(1)))
    return abs(last - (len(model_sampling.sigmas) - 1)) < 0.5


def _table(model_sampling: Any) -> TableSchedule:
    sigmas = model_sampling.sigmas.double().cpu().numpy()
    return TableSchedule(np.log(np.minimum(sigmas, HIGHEST)), "vp", f"{type(model_sampling).__name__} of ComfyUI")


def _train_times(statistics: ScoreStatistics | None) -> int:
    """T, by which sigma is multiplied where the statistics were measured; it cancels without any."""
    if statistics is None:
        return 1000
    top = float(FlowSchedule().as_sigma(np.exp(statistics.log_rho[-1])))
    return round(float(statistics.timesteps[-1]) / top)


def _shift(model_sampling: Any) -> float:
    """s of sigma' = s sigma / (1 + (s - 1) sigma), read off the middle; e^mu of Flux."""
    middle = float(model_sampling.percent_to_sigma(0.5))
    return middle / (1.0 - middle)


def _check_labels(model_sampling: Any, statistics: ScoreStatistics | None) -> None:
    """Raise StatisticsMismatchError where the network is called with another function of sigma than it was."""
    if statistics is None:
        return
    sigmas = torch.from_numpy(np.exp(statistics.log_rho[[0, len(statistics) // 2, -1]])).float()
    called = model_sampling.timestep(sigmas).double().numpy()
    measured = statistics.timesteps[[0, len(statistics) // 2, -1]]
    if not np.allclose(called, measured, rtol=TIME_TOLERANCE, atol=TIME_TOLERANCE):
        raise StatisticsMismatchError(
            f"At the same levels this model is called with {called.round(4).tolist()} and the measured one was with "
            f"{measured.round(4).tolist()}: another network. {ADVICE}"
        )
