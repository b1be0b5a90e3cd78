"""Few-step sampling for Diffusers pipelines: DEIS with score normalisation.

    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats="folder-or-hub-name")

`DEISSNScheduler` is the scheduler, `ScoreOptimalScheduler` the same on a time grid learned from the model's scores;
`calibrate` measures a model's `ScoreStatistics` on any pipeline.
"""

from __future__ import annotations

# Diffusers looks SchedulerMixin up in the top-level package of a scheduler when it reloads a saved pipeline.
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from diffusers_deis_sn._version import __version__
from diffusers_deis_sn.collect.run import calibrate
from diffusers_deis_sn.schedulers._registration import register
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.schedulers.score_optimal import ScoreOptimalScheduler
from diffusers_deis_sn.statistics.record import ScoreStatistics

register()

__all__ = ["DEISSNScheduler", "SchedulerMixin", "ScoreOptimalScheduler", "ScoreStatistics", "__version__", "calibrate"]
