"""Runs in the convention of k-diffusion, which ComfyUI, AUTOMATIC1111 and Forge follow: networks that denoise.

There `model(x, sigma)` gives the predicted clean sample x_0 itself, whatever its network predicts, and x is

    x_0 + rho eps                 the variance-exploding coordinate, with sigma = rho, of every process
    (1 - sigma) x_0 + sigma eps   of ComfyUI's flow-matching models (CONST), with sigma their own

The solver walks in the process's own coordinate alpha x_0 + sigma eps, as in Diffusers, with prediction "sample"; only
the samples that the model and the callback see are the other program's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import trange

from diffusers_deis_sn.core.flow import check_shift
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.step import check_samples
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import StepError, TimestepsError
from diffusers_deis_sn.learn.following import fitted_run, recipe_over
from diffusers_deis_sn.statistics.guidances import check_guidance
from diffusers_deis_sn.statistics.record import ScoreStatistics

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""x_0 of samples x, (B, *event), at noise levels sigma, (B,)."""


@checked(TimestepsError)
def plan_over(
    process: NoiseSchedule,
    sigmas: Array,
    statistics: ScoreStatistics | None = None,
    *,
    exploding: bool = True,
    guidance: float | None = None,
    shift: float = 1.0,
) -> Plan:
    """The run over sigmas that another program chose.

    Where they are the times of a plan or of a recipe in the statistics, that is followed; else the run takes the
    solver that is safe without statistics.

    Args:
        process: The model's.
        sigmas: As k-diffusion has them: one for each network call, and the end; (N + 1,), N >= 1.
        statistics: Of the model, checked; None for plain DEIS of predicted data.
        exploding: Whether they are those of the variance-exploding coordinate.
        guidance: That of the run.
        shift: Of the model's grids, if it is a flow.

    Returns:
        A run of N calls, for `sample_denoised`.

    Raises:
        TimestepsError: Sigmas that are no run.
        StatisticsError: A guidance that is none.
        ConfigurationError: Likewise a shift.
    """
    check_guidance(guidance)
    check_shift(shift, "exponential", None)
    row = np.asarray(sigmas, dtype=np.float64)
    falls = row.ndim == 1 and len(row) >= 2 and bool(np.all(np.isfinite(row)) and np.all(np.diff(row) < 0.0))
    if not falls or row[-1] < 0.0:
        raise TimestepsError(
            "`sigmas` must be at least two finite numbers that fall strictly and end at zero or above, noisiest first, "
            f"got {np.array2string(row, precision=4, threshold=30, max_line_width=10**6)}. Use a scheduler that "
            "repeats none, or fewer steps."
        )
    levels = row if exploding else process.from_sigma(row)
    tuned = fitted_run(process, statistics, len(levels) - 1, guidance=guidance, levels=levels)
    if tuned is not None:
        return tuned.plan(process, "sample")
    if statistics is not None:
        statistics = statistics.at(guidance)
    recipe = recipe_over(process, statistics, levels, guidance=guidance, shift=shift, prediction="sample")
    return recipe.over(levels)


@checked(StepError)
def sample_denoised(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    plan: Plan,
    *,
    exploding: bool = True,
    held: Callable[[Tensor, Tensor], Tensor] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
) -> Tensor:
    """Draw samples with a network that denoises: call it at each sigma of a plan and take the plan's steps.

    Args:
        model: The denoiser.
        x: Noised as `sigmas[0]` says; (B, *event).
        sigmas: Those of the plan, on the device of the model; (N + 1,).
        plan: Of `plan_over`.
        exploding: As there.
        held: For inpainting: from a sample and its sigma, (B,), the sample with the kept part put back at that noise
            level; called before each network call and at the end. None for whole pictures.
        callback: Told of each call, with the keys x, i, sigma, sigma_hat and denoised, as k-diffusion has them.
        disable: Show no progress bar.

    Returns:
        The result in the coordinate of `x`; (B, *event).

    Raises:
        StepError: No sample or sigmas of floating-point numbers, or others than the plan has; or it was fitted for two
            bands of space, and these samples have none.
    """
    check_samples(x=x, sigmas=sigmas)
    if sigmas.shape != (len(plan) + 1,):
        raise StepError(
            f"`sigmas` must be those of the plan, {len(plan) + 1} of them, got the shape {tuple(sigmas.shape)}."
        )
    own = plan.alpha if exploding else (1.0,) * len(plan.alpha)  # of their coordinate in ours
    one = x.new_ones([x.shape[0]])
    history: list[Tensor] = []
    for n in trange(len(plan), disable=disable):
        x = x if held is None else held(x, sigmas[n] * one)
        denoised = model(x, sigmas[n] * one)
        if callback is not None:
            callback({"x": x, "i": n, "sigma": sigmas[n], "sigma_hat": sigmas[n], "denoised": denoised})
        inside = x * own[n]
        output, raw = plan.convert(n, denoised, inside)
        history = [output, *history][: plan.table.order]
        x = plan.advance(n, inside, history, raw) / own[n + 1]
    return x if held is None else held(x, sigmas[-1] * one)
