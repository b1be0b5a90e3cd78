"""`ScoreOptimalScheduler`: the same scheduler on a time grid that is learned from the model's own scores."""

from __future__ import annotations

from typing import ClassVar

from diffusers_deis_sn.core.grids import Grid
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator


class ScoreOptimalScheduler(ExponentialIntegrator):
    """`DEISSNScheduler` on times of equal cost, from the costs in the model's statistics.

        Lambda(rho_n) = Lambda(rho_0) - n / N (Lambda(rho_0) - Lambda(rho_N)),    Lambda' = delta(rho)^(1/p)

    where L ~ delta |drho|^p is what a small step costs: the solver's cost (p = 6), how wrong the sample is after a step
    of order two and still is in the end; or those of the paper, the corrector's (p = 2), how far the score of the same
    sample moves, and the predictor's (p = 4), how wrong the distribution is after an Euler step. The solver's is part
    of every measurement, the others of `calibrate(..., costs=("corrector",))`; any gives grids of any number of steps.
    In a run to clean data the last step goes on from the cleanest measured level, where the path ends, to zero. In a
    run from noise alone (flow-matching models) the first step enters the path, which is that below sigma / alpha = 80.

    Plans that `tune` fitted have times of their own, so that this class, whose grid is a choice, takes none of them:
    they are for `DEISSNScheduler`.

    In image-to-image pipelines a run starts at the share `strength` of the process, as with "trailing" times, and its
    steps have equal cost from there on: the grid is planned anew when the pipeline adds its noise.

    Args are those of `DEISSNScheduler`, but how times are spaced is not for an option to say: `grid` is `EqualCost()`
    by default, `EqualCost(cost="predictor", velocity="unit", spread=0.3)` for another cost, or any other grid as a
    value. Without statistics this is `DEISSNScheduler` without any, and says so in the log.

    Raises:
        ConfigurationError: An option is unknown, out of range or at odds with another, or spaces times by name.
        MissingCostError: The statistics do not hold the cost.
        NoiseScheduleError: The betas, or the sigmas, make no noise schedule.
        StatisticsError: The statistics cannot be read, or are those of another noise schedule or prediction type.

    Examples:
        >>> scheduler = ScoreOptimalScheduler(stats=statistics)  # of `calibrate`, or a file, folder or Hub name
        >>> scheduler.set_timesteps(10)
        >>> len(scheduler.timesteps)  # network calls, at times of equal cost
        10

    References:
        Williams et al., Score-Optimal Diffusion Schedules, https://arxiv.org/abs/2412.07877: theorem 3.1, with the
        costs of eq. 13 (corrector) and 14 (predictor).
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator, https://arxiv.org/abs/2204.13902.
    """

    default_grid: ClassVar[Grid | None] = EqualCost()


ScoreOptimalScheduler.__module__ = "diffusers_deis_sn"
