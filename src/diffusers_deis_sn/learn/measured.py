"""What a record of statistics knows of the process that it was measured on, where no scheduler is at hand.

A record has times and levels, not betas. What its times are tells the kind of its process: log(sigma) / 4 or sigma
itself of networks with sigma labels (`core.sigma`), T rho / (1 + rho) of flow matching (`core.flow`), and else numbers
of a noise table (`core.vp`). The formulas are those of docs/explanation/deis.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from diffusers_deis_sn.core.coefficients import NOISE_ALONE
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.process import ALPHA_OF_RHO, Array
from diffusers_deis_sn.core.sigma import SigmaSchedule
from diffusers_deis_sn.core.vp import distinct_times
from diffusers_deis_sn.statistics.record import ScoreStatistics

LABELS: tuple[Callable[[Array], Array], ...] = (lambda log_rho: 0.25 * log_rho, np.exp)  # log(sigma) / 4, and sigma
FLOW = FlowSchedule()  # of which only maps without T are used
TOLERANCE = 1e-5  # relative: times reach networks as float32


def path_of(statistics: ScoreStatistics) -> str:
    """How rho splits into alpha and sigma: "vp", "ve" or "flow", as `core.process.NoiseSchedule.path`."""
    if _is_flow(statistics):
        return "flow"
    return "vp" if _label(statistics) is None else "ve"


def _is_flow(statistics: ScoreStatistics) -> bool:
    """Whether it says so, or its times are those of a flow but for the rounding of calls."""
    if statistics.origin.prediction_type == "flow_prediction":  # which no other process has
        return True
    sigma, times = FLOW.as_sigma(np.exp(statistics.log_rho)), statistics.timesteps
    total = times[-1] / sigma[-1]
    if total >= 1.5 and statistics.origin.fingerprint == FlowSchedule(round(total)).fingerprint:
        return True
    return bool(np.all(np.abs(times / sigma - total) <= TOLERANCE * total)) and _label(statistics) is None


def in_whole_times(statistics: ScoreStatistics) -> bool:
    """Whether the network is called with an index of its noise table, and not with a function of sigma."""
    return path_of(statistics) == "vp"


def starts_from_noise(statistics: ScoreStatistics) -> bool:
    """Whether the noisiest measured level is next to nothing but noise, as `core.coefficients.starts_from_noise`."""
    return is_noise_alone(statistics, float(np.exp(statistics.log_rho[-1])))


def is_noise_alone(statistics: ScoreStatistics, level: float) -> bool:
    """Whether a level rho is next to nothing but noise."""
    return bool(ALPHA_OF_RHO[path_of(statistics)](np.array([level]))[0] < NOISE_ALONE)


def progress(statistics: ScoreStatistics) -> Array:
    """tau of the measured levels up to a constant factor, as `core.process.NoiseSchedule.progress`; (K,)."""
    rho, path = np.exp(statistics.log_rho), path_of(statistics)
    if path == "ve":
        return SigmaSchedule(float(rho[0]), float(rho[-1])).progress(rho)
    return FLOW.progress(rho) if path == "flow" else statistics.timesteps + 1.0


def level(statistics: ScoreStatistics, share: float) -> float:
    """rho at a share tau of the process, 1 at the noisiest measured level and 0 at clean data.

    Between the measured times of a noise table log rho is a monotone cubic of them; below the cleanest the noise share
    rho^2 / (1 + rho^2) falls evenly to zero at t = -1, as in `core.vp`.
    """
    rho, path = np.exp(statistics.log_rho), path_of(statistics)
    if share >= 1.0:
        return float(rho[-1])
    if path == "ve":
        return float(SigmaSchedule(float(rho[0]), float(rho[-1])).level(share))
    if path == "flow":
        return float(FLOW.level(share * FLOW.progress(rho[-1])))
    known = statistics.timesteps
    time = share * (known[-1] + 1.0) - 1.0
    if time >= known[0]:
        from scipy.interpolate import PchipInterpolator  # a second to import

        return float(np.exp(PchipInterpolator(known, statistics.log_rho)(time)))
    noise = (time + 1.0) / (known[0] + 1.0) * rho[0] ** 2 / (1.0 + rho[0] ** 2)
    return float(np.sqrt(noise / (1.0 - noise)))


def as_sigma(statistics: ScoreStatistics, levels: ArrayLike) -> Array:
    """What Diffusers calls the sigma of levels rho: the same, but rho / (1 + rho) of flows; same shape."""
    return FLOW.as_sigma(levels) if path_of(statistics) == "flow" else np.asarray(levels, dtype=np.float64)


def call_times(statistics: ScoreStatistics, levels: ArrayLike) -> Array:
    """What the network of these statistics is called with at noise levels; same shape.

    A function of sigma where the measured times are one; else a monotone cubic of log rho through them. Beyond the
    measured levels the nearest of them.

    Args:
        statistics: The record.
        levels: rho, positive.
    """
    known = statistics.log_rho
    log_rho = np.clip(np.log(levels), known[0], known[-1])
    label = _label(statistics)
    if label is not None:
        return np.asarray(label(log_rho))
    if path_of(statistics) == "flow":
        return FLOW.as_sigma(np.exp(log_rho)) * (statistics.timesteps[-1] / FLOW.as_sigma(np.exp(known[-1])))
    from scipy.interpolate import PchipInterpolator  # a second to import

    return np.asarray(PchipInterpolator(known, statistics.timesteps)(log_rho))


def whole_call_times(statistics: ScoreStatistics, levels: ArrayLike) -> Array:
    """The nearest distinct whole training times of a run's calls; (N,) for levels (N + 1,), falling.

    Args:
        statistics: A record over training times 0, 1, ...
        levels: rho_0 > ... > rho_N; the last is the end and no call.

    Raises:
        TimestepsError: More calls than there are whole times in the measured range.
    """
    row = np.asarray(levels, dtype=np.float64)
    times = call_times(statistics, row[:-1])
    lowest, highest = int(np.ceil(statistics.timesteps[0])), int(np.floor(statistics.timesteps[-1]))
    if row[-1] > 0.0:  # the run ends at a level of its own, which a call there would not move
        lowest = max(lowest, int(np.floor(call_times(statistics, row[-1]))) + 1)
    return distinct_times(np.round(times), lowest, highest)


def _label(statistics: ScoreStatistics) -> Callable[[Array], Array] | None:
    """The function of log rho that the measured times are; None for the times of a table or a flow."""
    known = statistics.log_rho
    for label in LABELS:
        if np.allclose(statistics.timesteps, label(known), rtol=TOLERANCE, atol=TOLERANCE):
            return label
    return None
