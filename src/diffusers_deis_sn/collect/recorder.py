"""A scheduler that samples as plain DEIS and takes down what it sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn._version import __version__
from diffusers_deis_sn.collect.reducers import MomentReducer
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.schedulers._plan import RunPlan
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics

# The fine trajectory is the same whatever scheduler the pipeline had: what is measured belongs to the model alone.
MEASURING_OPTIONS: dict[str, Any] = {
    "solver": "multistep",
    "corrector_order": 0,
    "integrand": "noise",
    "solver_order": 2,  # higher orders can overshoot under strong guidance, and 200 steps need none
    "interpolation": "t",
    "timestep_spacing": "trailing",
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "grid_exponent": None,
    "start_time": 1.0,
    "end_time": None,
    "final_sigmas_type": "zero",
    "lower_order_final": False,
}
SOLVER = "DEIS order {solver_order} in {interpolation}, {timestep_spacing}, by the cleanest level, to sigma zero"


class RecordingScheduler(DEISSNScheduler):
    """Plain DEIS that reduces |eps| and eps^2 of every step it takes. `RecordingScheduler.measuring` makes one.

    Attributes:
        origin: Facts about the measurement that a scheduler cannot know; `measured` adds those it can.
        on_step: Called after each network call with what it adds to the number of samples drawn, a fraction of a batch.
    """

    _silent = True

    origin = StatisticsOrigin()
    on_step: Callable[[float], None] | None = None
    _reducer: MomentReducer | None = None
    _times: tuple[float, ...] = ()
    _sample_shape: tuple[int, ...] | None = None
    _dtype: torch.dtype | None = None

    @classmethod
    def measuring(cls, config: dict[str, Any], origin: StatisticsOrigin) -> RecordingScheduler:
        """A recorder for the model whose scheduler has this config.

        Raises:
            ConfigurationError: A model of a process that is not supported.
        """
        recorder: RecordingScheduler = cls.from_config(config, stats=False, **MEASURING_OPTIONS)
        recorder.origin = origin
        return recorder

    @property
    def num_samples(self) -> int:
        """Number of samples that every step so far has seen, or the most of them where steps differ."""
        return 0 if self._reducer is None else int(self._reducer.count.max())

    def _adopt(self, plan: RunPlan, device: str | torch.device | None) -> None:
        """Make `plan` the current run. Raises CalibrationError for other times than those of the runs before."""
        if self._reducer is None:
            self._times, self._reducer = plan.times, MomentReducer(len(plan))
        elif plan.times != self._times:
            raise CalibrationError(
                f"All runs of one recording must have the same times: the first had {_span(self._times)}, this one "
                f"has {_span(plan.times)}. Call the pipeline with one `num_inference_steps`, or record anew."
            )
        super()._adopt(plan, device)

    def _levels(
        self,
        noise: NoiseSchedule,
        steps: int | None,
        sigmas: Sequence[float] | Array | None,
        timesteps: Sequence[float] | Array | None,
    ) -> Array:
        """The levels asked for, and one more call at the cleanest level of training.

        There r falls fastest, and a grid that is uniform in time stops short of it: below the last measured time r is
        held flat, which would cost the last step of every run more than all other steps together.
        """
        levels = super()._levels(noise, steps, sigmas, timesteps)
        if levels[-1] == 0.0 and levels[-2] > noise.bottom * (1.0 + 1e-6):
            return np.insert(levels, -1, noise.bottom)
        return levels

    def _convert(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """As `DEISSNScheduler` has it; what it gives is what the solver integrates, so that is what is taken down."""
        epsilon = super()._convert(model_output, sample, index)
        self._reducer.add(index, epsilon)  # type: ignore[union-attr]
        self._sample_shape, self._dtype = tuple(epsilon.shape[1:]), model_output.dtype
        if self.on_step is not None:
            self.on_step(len(epsilon) / len(self._times))
        return epsilon

    def measured(self) -> ScoreStatistics:
        """What was measured up to now; times that no run visited are left out.

        Raises:
            CalibrationError: Fewer than two times were visited by at least two samples.
        """
        reducer = self._reducer or MomentReducer(0)
        visited = np.flatnonzero(reducer.count >= 2)[::-1]
        if len(visited) < 2:
            raise CalibrationError(
                f"Too little to measure: {self.num_samples} samples at {np.count_nonzero(reducer.count)} times, and at "
                "least two samples at two times are needed. Did the pipeline call its scheduler?"
            )
        times = np.array(self._times)[visited]
        (mean_abs, mean_square), errors = reducer.mean[:, visited], reducer.standard_error[:, visited]
        return ScoreStatistics(
            timesteps=times,
            log_snr=-2.0 * np.log(self.noise.rho(times)),
            mean_abs=mean_abs,
            mean_abs_error=errors[0],
            mean_square=mean_square,
            mean_square_error=errors[1],
            num_samples=reducer.count[visited],
            origin=self._full_origin(),
        )

    def _full_origin(self) -> StatisticsOrigin:
        return replace(
            self.origin,
            noise_schedule=str(self.noise),
            fingerprint=self.noise.fingerprint,
            prediction_type=self.config["prediction_type"],
            sample_shape=self._sample_shape,
            dtype=str(self._dtype).removeprefix("torch."),
            solver=SOLVER.format(**MEASURING_OPTIONS),
            num_inference_steps=len(self._times),
            versions=_versions(),
            date=datetime.now(timezone.utc).date().isoformat(),
        )


def _span(times: tuple[float, ...]) -> str:
    return f"{len(times)} times from {times[0]:g} to {times[-1]:g}"


def _versions() -> dict[str, str]:
    """Versions of the libraries that a measurement depends on."""
    found = {"diffusers_deis_sn": __version__, "torch": torch.__version__}
    for name in ("diffusers", "transformers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
