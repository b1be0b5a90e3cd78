"""Few-step sampling for Diffusers pipelines: DEIS with score normalisation.

    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats="folder-or-hub-name")

`DEISSNScheduler` is the scheduler, `ScoreOptimalScheduler` the same on a time grid learned from the model's scores;
`calibrate` measures a model's `ScoreStatistics` on any pipeline, `compare` shows what they are worth on it, and
`learned_sigmas` gives other programs a schedule. The values that their options take are here too, `Multistep(3,
corrector=Corrector(3))`, `Power("t", 2)` and `EqualCost()`, and the errors that they raise.

Importing this package is next to nothing: Diffusers and PyTorch are imported with the first name that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffusers_deis_sn import _pipelines
from diffusers_deis_sn._version import __version__
from diffusers_deis_sn.errors import (
    CalibrationError,
    CalibrationInterruptedError,
    CheckpointError,
    CoefficientError,
    ComparisonError,
    ConfigurationError,
    DeisSnError,
    MissingCostError,
    MissingExtraError,
    NoiseScheduleError,
    ProcessLostError,
    PublishError,
    ScheduleError,
    SeveralError,
    StatisticsAccessError,
    StatisticsError,
    StatisticsFormatError,
    StatisticsMismatchError,
    StatisticsNotFoundError,
    StatisticsUnreachableError,
    StepError,
    TimestepsError,
)

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    from diffusers_deis_sn.collect.run import calibrate
    from diffusers_deis_sn.comparison.result import Comparison
    from diffusers_deis_sn.comparison.run import compare
    from diffusers_deis_sn.core.grids import Power
    from diffusers_deis_sn.core.solvers import Corrector, Multistep
    from diffusers_deis_sn.learn.export import learned_sigmas
    from diffusers_deis_sn.learn.grid import EqualCost
    from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
    from diffusers_deis_sn.schedulers.score_optimal import ScoreOptimalScheduler
    from diffusers_deis_sn.statistics.record import ScoreStatistics
    from diffusers_deis_sn.tuning.run import tune

_HOMES = {
    "DEISSNScheduler": "diffusers_deis_sn.schedulers.deis_sn",
    "ScoreOptimalScheduler": "diffusers_deis_sn.schedulers.score_optimal",
    "ScoreStatistics": "diffusers_deis_sn.statistics.record",
    "calibrate": "diffusers_deis_sn.collect.run",
    "compare": "diffusers_deis_sn.comparison.run",
    "Comparison": "diffusers_deis_sn.comparison.result",
    "tune": "diffusers_deis_sn.tuning.run",
    "Corrector": "diffusers_deis_sn.core.solvers",
    "EqualCost": "diffusers_deis_sn.learn.grid",
    "Multistep": "diffusers_deis_sn.core.solvers",
    "learned_sigmas": "diffusers_deis_sn.learn.export",
    "Power": "diffusers_deis_sn.core.grids",
    # Diffusers looks it up in the top-level package of a scheduler when it reloads a saved pipeline.
    "SchedulerMixin": "diffusers.schedulers.scheduling_utils",
}


if not TYPE_CHECKING:  # a checker knows the names above, and that there are no others

    def __getattr__(name: str) -> Any:
        """A public name that needs Diffusers or PyTorch, imported when it is first asked for (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _pipelines.withdraw()
        try:
            found = getattr(import_module(_HOMES[name]), name)
        finally:
            _pipelines.announce()
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


_pipelines.announce()

__all__ = [
    "CalibrationError",
    "CalibrationInterruptedError",
    "CheckpointError",
    "CoefficientError",
    "Comparison",
    "ComparisonError",
    "ConfigurationError",
    "Corrector",
    "DEISSNScheduler",
    "DeisSnError",
    "EqualCost",
    "MissingCostError",
    "MissingExtraError",
    "Multistep",
    "NoiseScheduleError",
    "Power",
    "ProcessLostError",
    "PublishError",
    "ScheduleError",
    "SchedulerMixin",
    "ScoreOptimalScheduler",
    "ScoreStatistics",
    "SeveralError",
    "StatisticsAccessError",
    "StatisticsError",
    "StatisticsFormatError",
    "StatisticsMismatchError",
    "StatisticsNotFoundError",
    "StatisticsUnreachableError",
    "StepError",
    "TimestepsError",
    "__version__",
    "calibrate",
    "compare",
    "learned_sigmas",
    "tune",
]
