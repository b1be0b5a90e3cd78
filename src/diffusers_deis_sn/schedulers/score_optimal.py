"""`ScoreOptimalScheduler`: the same scheduler on a time grid that is learned from the model's own scores."""

from __future__ import annotations

from typing import ClassVar

from diffusers_deis_sn.core.grids import Grid
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator


class ScoreOptimalScheduler(ExponentialIntegrator):
    """`DEISSNScheduler` on times of equal cost, from the costs in the model's statistics.

        Lambda(rho_n) = Lambda(rho_0) - n / N (Lambda(rho_0) - Lambda(rho_N)),    Lambda' = delta(rho)^(1/p)

    where L ~ delta |drho|^p is the cost of a small step. Three costs can be measured. The solver's cost (p = 6) is the
    error that a step of order two leaves in the final sample. The paper has the corrector's cost (p = 2), how far the
    score at the same sample moves, and the predictor's cost (p = 4), how wrong the distribution is after an Euler step.
    Every measurement has the solver's cost, `calibrate(..., costs=("corrector",))` adds others, and each of them gives
    a grid for any number of steps. The costs end at the cleanest measured level, so the last step goes from there to
    clean data. Runs from pure noise (flow-matching models) use the costs below sigma / alpha = 80, which the first
    step goes down to.

    Plans of `tune` are for `DEISSNScheduler`: they have times of their own, and this class never uses them.

    In image-to-image pipelines a run starts at the share `strength` of the process, as with "trailing" times, and its
    steps have equal cost from there on: the grid is planned again when the pipeline adds its noise.

    Args are those of `DEISSNScheduler`, but `timestep_spacing` and its flags cannot be set: `grid` is `EqualCost()` by
    default, `EqualCost(cost="predictor", velocity="unit", spread=0.3)` for another cost, or any other grid object.
    Without statistics this is `DEISSNScheduler` without statistics, and the log says so.

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
