"""Whether statistics are those of the model at hand."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.core.process import NoiseSchedule, log_snr
from diffusers_deis_sn.errors import NoiseScheduleError, StatisticsMismatchError
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.plans import Plans

LOG_SNR_TOLERANCE = 1e-3  # absolute; 2 log rho of one schedule in float32 and float64 differs by some 1e-5


class Measured(Protocol):
    """What tells the model that a record was measured on."""

    @property
    def timesteps(self) -> NDArray[np.float64]:
        """Rising; (K,)."""
        ...

    @property
    def log_snr(self) -> NDArray[np.float64]:
        """At these times; (K,)."""
        ...

    @property
    def origin(self) -> StatisticsOrigin:
        """With the names of process and prediction."""
        ...

    @property
    def plans(self) -> Plans | None:
        """Of the same model."""
        ...


def check_model(record: Measured, noise: NoiseSchedule, prediction_type: str) -> None:
    """Refuse statistics of another model; arguments as of `ScoreStatistics.check`.

    Raises:
        StatisticsMismatchError: Another noise schedule or prediction type was measured.
    """
    origin = record.origin
    advice = "Use statistics measured on this model, or measure them with `deis-sn calibrate`."
    try:
        with np.errstate(divide="ignore"):
            apart = np.abs(record.log_snr - log_snr(noise.rho(record.timesteps)))
    except NoiseScheduleError:  # times that this schedule does not have
        apart = np.full(len(record.timesteps), np.inf)
    # The levels decide: betas that were rounded to float32 on their way have another fingerprint.
    if np.any(apart > LOG_SNR_TOLERANCE):
        worst = int(np.argmax(apart))
        raise StatisticsMismatchError(
            f"Statistics of another noise schedule: measured on {origin.noise_schedule or 'an unnamed one'}, "
            f"fingerprint {origin.fingerprint or 'unknown'}; this model has {noise}. At t = "
            f"{record.timesteps[worst]:g} their log SNR differs by {apart[worst]:.3g}. {advice}"
        )
    if record.plans is not None:
        record.plans.check(noise)
    if origin.prediction_type not in (None, prediction_type):
        raise StatisticsMismatchError(
            f"Statistics of another prediction type: measured on a model that predicts {origin.prediction_type!r}, "
            f"and this one predicts {prediction_type!r}. {advice}"
        )
