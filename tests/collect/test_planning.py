"""Levels of a recording: near enough together for a cost to be local, and no more of them than that takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers import DDIMScheduler, EDMEulerScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.collect.planning import WIDEST
from diffusers_deis_sn.collect.run import recording

PROCESSES: dict[str, Any] = {
    "linear": DDIMScheduler(),
    "stable diffusion": DDIMScheduler(**SD_BETAS),
    "cosine": DDIMScheduler(beta_schedule="squaredcos_cap_v2"),
    "short": DDIMScheduler(num_train_timesteps=100, beta_start=1e-3, beta_end=0.2),
    # Midway in log rho between the last time and the last but two is nearer to the last than to the one between.
    "steep": DDIMScheduler(
        num_train_timesteps=100, trained_betas=np.append(np.linspace(1e-3, 0.2, 98), [0.75, 0.9375]).tolist()
    ),
    "edm": EDMEulerScheduler(),
    "ve": DEISSNScheduler(process="ve", sigma_min=0.01, sigma_max=50.0),
}


def recorded_grid(scheduler: Any, costs: tuple[str, ...], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and levels of the main calls of a recording."""
    pipe = SimpleNamespace(scheduler=scheduler)
    with recording(pipe, costs=costs):
        pipe.scheduler.set_timesteps(steps)
        plan = pipe.scheduler._plan
        keep = np.array(plan.starts)
        return np.array(plan.times)[keep], np.array(plan.levels[:-1])[keep]


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("steps", [1, 2, 4, 13, 50, 200])
def test_neighbouring_levels_are_near_enough_for_a_cost_to_be_local(process, steps):
    """Within a factor of three, or neighbouring training times; all that was asked for, at whole times of tables."""
    scheduler = PROCESSES[process]
    steps = min(steps, scheduler.config.num_train_timesteps)
    asked, _ = recorded_grid(scheduler, (), steps)
    times, levels = recorded_grid(scheduler, ("corrector",), steps)
    assert set(asked) <= set(times) and np.all(np.diff(times) < 0.0) and np.all(np.diff(levels) < 0.0)
    apart = levels[:-1] / levels[1:] > WIDEST * (1.0 + 1e-6)
    if isinstance(scheduler, DDIMScheduler):
        assert np.array_equal(times, np.round(times))
        assert np.all(-np.diff(times)[apart] == 1.0)
    else:
        assert not np.any(apart)
    wide = np.log(levels[0] / levels[-1]) / np.log(WIDEST)
    assert len(times) <= len(asked) + 2.0 * wide + 2.0  # no more than are needed


def test_fine_runs_are_left_as_they_are():
    for process in ("linear", "stable diffusion"):
        asked, _ = recorded_grid(PROCESSES[process], (), 200)
        times, _ = recorded_grid(PROCESSES[process], ("corrector",), 200)
        assert np.array_equal(asked, times)
