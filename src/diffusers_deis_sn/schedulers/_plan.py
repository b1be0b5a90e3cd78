"""A run, fixed before its first step: noise levels, times of the network calls and all coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffusers_deis_sn.errors import StepError, TimestepsError
from diffusers_deis_sn.maths.coefficients import CoefficientTable
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.maths.prediction import epsilon_map

SNAP = 1e-4  # a time this close to a whole number is that number: what is left of a round trip through rho
OFF_GRID = 1e-3  # a time this far from the plan's is another time; float16 timesteps are never passed by pipelines


def nearest(times: Sequence[float], time: float) -> int:
    """Place of the one of `times` that is nearest to `time`."""
    return min(range(len(times)), key=lambda n: abs(times[n] - time))


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Everything `step` needs, as Python floats.

    Args:
        times: What the network is called with, strictly falling; (N,).
        levels: rho of the calls and of the end; (N + 1,).
        alpha: alpha of `levels`.
        sigma: sigma of `levels`.
        epsilon: (a, b) of eps = a output + b x, one pair for each call.
        table: The solver's coefficients.
    """

    times: tuple[float, ...]
    levels: tuple[float, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    epsilon: tuple[tuple[float, float], ...]
    table: CoefficientTable

    def __len__(self) -> int:
        """Number of steps, and of network calls."""
        return len(self.times)

    @property
    def whole(self) -> bool:
        """Whether all times are whole numbers, so that they can be given to the network as int64."""
        return all(time.is_integer() for time in self.times)

    def index(self, time: float) -> int | None:
        """Number of the step whose call is at `time`, None if there is none."""
        n = nearest(self.times, time)
        return n if abs(self.times[n] - time) <= OFF_GRID else None

    def check(self, n: int, time: float | None) -> None:
        """Raise StepError unless step n exists and, where `time` is known on the host, is called at `time`."""
        if n < 0:
            raise StepError(f"A run begins at one of its steps, 0 to {len(self) - 1}, got `set_begin_index({n})`.")
        if n >= len(self):
            raise StepError(f"All {len(self)} steps of this run are done. Call `set_timesteps` before the next run.")
        if time is not None and abs(self.times[n] - time) > OFF_GRID:
            raise StepError(
                f"Step {n} of this run is at timestep {self.times[n]:g}, but `step` was called with {time:g}. Walk "
                "through `scheduler.timesteps` in order; call `set_timesteps` or `set_begin_index` to start elsewhere."
            )


def make_plan(noise: NoiseSchedule, levels: Array, table: CoefficientTable, prediction_type: str) -> RunPlan:
    """A run over `levels` with the coefficients `table`.

    Raises:
        TimestepsError: Two calls at the same time, which two levels beyond the training range would make.
    """
    times = np.clip(noise.time(levels[:-1]), 0.0, noise.last)
    whole = np.round(times)
    # Fractional times reach the network as float32: the plan has the same values.
    times = np.where(np.abs(times - whole) < SNAP, whole, times.astype(np.float32).astype(np.float64))
    if np.any(np.diff(times) >= 0.0):
        raise TimestepsError(
            f"Two of the {len(times)} network calls fall on the same time {times[np.argmax(np.diff(times))]:g}. Use "
            "fewer steps, another `timestep_spacing`, or levels inside the model's training range."
        )
    alpha, sigma = noise.alpha(levels).tolist(), noise.sigma(levels).tolist()
    return RunPlan(
        times=tuple(times.tolist()),
        levels=tuple(levels.tolist()),
        alpha=tuple(alpha),
        sigma=tuple(sigma),
        epsilon=tuple(epsilon_map(prediction_type, a, s) for a, s in zip(alpha[:-1], sigma[:-1], strict=True)),
        table=table,
    )
