"""How users write it, for `mypy --strict`: `make lint` checks that this is right, and that each mistake is an error.

An unused `type: ignore` is an error itself, so that each of them below stands for one.
"""

from __future__ import annotations

from typing import Any

import diffusers_deis_sn
from diffusers_deis_sn import DEISSNScheduler, EqualCost, Multistep, Power, ScoreOptimalScheduler, ScoreStatistics


def right(pipe: Any, statistics: ScoreStatistics) -> DEISSNScheduler:
    pipe.scheduler = ScoreOptimalScheduler.from_config(
        pipe.scheduler.config, stats=statistics, grid=EqualCost("corrector")
    )
    pipe.scheduler = DEISSNScheduler.for_pipeline(pipe, solver_order=3)
    scheduler = DEISSNScheduler(beta_schedule="scaled_linear", grid=Power("t", 1.5), stats="user/repo")
    scheduler.set_timesteps(8)
    return DEISSNScheduler.from_config(scheduler.config, solver=Multistep(2), revision="main")


def wrong(config: dict[str, Any]) -> None:
    DEISSNScheduler.from_config(config, solver_ordr=2)  # type: ignore[call-arg]
    DEISSNScheduler.from_config(config, solver_order="three")  # type: ignore[arg-type]
    DEISSNScheduler(timestep_spaceing="karras")  # type: ignore[call-arg]
    ScoreOptimalScheduler(grid="karras")  # type: ignore[arg-type]
    ScoreOptimalScheduler.from_config(config, stats=3)  # type: ignore[arg-type]
    diffusers_deis_sn.DEISScheduler()  # type: ignore[attr-defined]
