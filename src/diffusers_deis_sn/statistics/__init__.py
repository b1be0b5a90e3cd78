"""What was measured of a model's score, as a value and as a file.

A `ScoreStatistics` is a frozen record of curves over training time, above all r(t) = E|eps|; a `StatisticsOrigin` says
which model, noise schedule and settings they belong to. The file is `score_statistics.safetensors`; its specification
is stats/README.md of the repository.
"""

from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics

__all__ = ["ScoreStatistics", "StatisticsOrigin"]
