"""What one step costs, from network outputs alone: the corrector's and the predictor's cost of arXiv 2412.07877.

In y = x / alpha, with eps(y, sigma) the output of the network as noise and s = -eps / sigma, for a step from sigma to
sigma', Delta = sigma' - sigma, per component:

    L_c = sigma'^2 E |s(y, sigma') - s(y, sigma)|^2 / d = E |eps(y, sigma') - (sigma' / sigma) eps(y, sigma)|^2 / d

    L_p = (sigma'^2 Delta^4 / 4) E |grad(div a + s . a)|^2 / d + O(Delta^5),    a = d eps / d sigma along the flow

L_c (eq. 13) is exact. L_p (eq. 14) is what an Euler step F y = y + Delta eps leaves between the score of the level it
enters and that of the samples it makes; it is taken at its leading order, because the difference itself drowns in the
noise of probes, which then is of order Delta^2, and in what real networks break of the equation that ties the scores
of different levels together. A score is a gradient, so that grad(div a + s . a) = Laplace a + H a + (Da) s with
H = Ds, and Laplace a = E_v (v . grad)^2 a with signs v (Hutchinson). Its square is the product of two estimates with
independent v, which has no bias but from rounding: differences of outputs need all digits of float32, so no TF32.

A *probe* says where the network is to be called next, and is sent what it says: that is all a pipeline can offer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.step import check_samples
from diffusers_deis_sn.core.value_types import checked, shown
from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.statistics.cost import COST_ORDERS, PROBED, LocalCost

Epsilon = Callable[[Tensor, Any], Tensor]
"""eps(y, sigma): noise predicted for samples y (B, *event) = x / alpha at the level sigma, a number or 0-d tensor."""

Level = float | Tensor
"""sigma of all samples, or of each: (B, 1, ...), to be multiplied with samples."""

Question = tuple[Tensor, bool]
"""Samples y at which eps is wanted, and whether at the level entered, or else at the one the step comes from."""

Probe = Generator[Question, Tensor, Tensor]
"""Yields questions, is sent eps, and returns the cost of each sample; (B,), float64."""

REACH = 0.1  # shift of each component in finite differences, in units of sigma: 1 % error, 100 times less rounding
DERIVATIVES = ("exact", "finite")


# ------------------------------------------------------------------------------------------------------------- probes


def corrector_probe(y: Tensor, eps: Tensor, sigma: Level, entered: Level) -> Probe:
    """L_c of each sample, for one network call: the same y at the level entered.

    Args:
        y: Samples of the level `sigma`; (B, *event).
        eps: The network's output there.
        sigma: Level that the step comes from.
        entered: Level that it enters, sigma'.
    """
    there = yield y, True
    return _mean((there - (entered / sigma) * eps).square())


def predictor_probe(
    y: Tensor, eps: Tensor, sigma: Level, entered: Level, generators: Sequence[torch.Generator] = ()
) -> Probe:
    """L_p of each sample, for fifteen network calls, all derivatives by finite differences; may be below zero.

    For short steps only: a is a difference over the whole step, so that L_p is some tenth too large where the step is a
    twentieth of sigma.

    Args:
        y: Samples of the level `sigma`; (B, *event).
        eps: The network's output there.
        sigma: Level that the step comes from.
        entered: Level that it enters, sigma'.
        generators: Of the signs v, on the CPU: one for each sample, or one, or none.
    """
    h = REACH * sigma
    change = yield from _change(y, eps, sigma, entered)
    score = -eps / sigma
    along_score, size = _unit(score)
    sides = []
    for shift in (h, -h):
        sides.append((yield from _shifted_change(y, shift * along_score, sigma, entered)))
    common = (sides[0] - sides[1]) * (size / (2.0 * h))
    along_change, size = _unit(change)
    ahead = yield y + h * along_change, False
    behind = yield y - h * along_change, False
    common = common - (ahead - behind) * (size / (2.0 * h * sigma))
    residuals = []
    for _ in range(2):
        v = _signs(y, generators)
        one = yield from _shifted_change(y, h * v, sigma, entered)
        other = yield from _shifted_change(y, -h * v, sigma, entered)
        residuals.append((one + other - 2.0 * change) / h**2 + common)
    return _leading_order(sigma, entered) * _mean(residuals[0] * residuals[1])


Result = TypeVar("Result")


def answered(probe: Generator[Question, Tensor, Result], answer: Callable[[Tensor, bool], Tensor]) -> Result:
    """What a probe returns when every question of it is answered by a function."""
    try:
        question = next(probe)
        while True:
            question = probe.send(answer(*question))
    except StopIteration as done:
        result: Result = done.value
        return result


def _change(y: Tensor, eps: Tensor, sigma: Level, entered: Level) -> Generator[Question, Tensor, Tensor]:
    """a = d eps / d sigma along the flow from y, by an Euler step to the level entered."""
    there = yield y + (entered - sigma) * eps, True
    return (there - eps) / (entered - sigma)


def _shifted_change(y: Tensor, shift: Tensor, sigma: Level, entered: Level) -> Generator[Question, Tensor, Tensor]:
    """a at y + shift."""
    eps = yield y + shift, False
    return (yield from _change(y + shift, eps, sigma, entered))


def _leading_order(sigma: Level, entered: Level) -> Any:
    """sigma'^2 Delta^4 / 4, a number or one for each sample; (B,)."""
    factor = 0.25 * entered**2 * (entered - sigma) ** 4
    return factor.double().flatten() if isinstance(factor, Tensor) else factor


def _mean(values: Tensor) -> Tensor:
    """Mean over the components of each sample, in float64; (B,)."""
    return values.double().flatten(1).mean(1)


def _unit(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's direction at root mean square one, and what it had; the latter (B, 1, ...)."""
    size = direction.flatten(1).square().mean(1).sqrt().reshape(-1, *[1] * (direction.ndim - 1))
    return direction / size.clamp_min(torch.finfo(direction.dtype).tiny), size


def _signs(y: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Independent signs, equally likely; drawn on the CPU, where a seed means the same on every machine."""
    if 0 < len(generators) == len(y):
        bits = torch.stack([torch.randint(0, 2, y.shape[1:], generator=one) for one in generators])
    else:
        bits = torch.randint(0, 2, y.shape, generator=generators[0] if len(generators) else None)
    return (bits * 2 - 1).to(y)


# ---------------------------------------------------------------------------------------------------------- callables


def _check(y: Tensor, sigma: Level, entered: Level) -> None:
    """Raise ScheduleError for what no cost is of; values of tensors are not read, for that waits for an accelerator."""
    check_samples(ScheduleError, y=y)
    if y.ndim < 2:
        raise ScheduleError(f"Samples `y` are (B, *event), got the shape {tuple(y.shape)}. Add an axis.")
    for one in (sigma, entered):
        if isinstance(one, Tensor) and not (
            one.is_floating_point() and (one.numel() == 1 or one.shape == (len(y), *[1] * (y.ndim - 1)))
        ):
            raise ScheduleError(
                f"Levels of each sample are (B, 1, ...) floating-point numbers for samples {tuple(y.shape)}, got "
                f"{shown(one)}. Reshape them."
            )
    known = [one for one in (sigma, entered) if not isinstance(one, Tensor)]
    if not all(0.0 < one < np.inf for one in known) or (len(known) == 2 and known[0] == known[1]):
        raise ScheduleError(
            f"A step goes from a level `sigma` to another one, `entered`, both positive numbers, got {sigma!r} "
            f"and {entered!r}. Give those of `draw` or of a schedule."
        )


@checked(ScheduleError)
def corrector_cost(epsilon: Epsilon, y: Tensor, sigma: Level, entered: Level) -> Tensor:
    """L_c of each sample, exactly (arXiv 2412.07877, eq. 13 with v = sigma).

    Args:
        epsilon: The network.
        y: Samples of the level `sigma`; (B, *event).
        sigma: Level that the step comes from, of all samples or of each, (B, 1, ...).
        entered: Level that it enters.

    Returns:
        (B,), float64, per component.

    Raises:
        ScheduleError: Samples that are no floating-point numbers, or levels that are not positive or the same.
    """
    _check(y, sigma, entered)
    return _run(corrector_probe(y, epsilon(y, sigma), sigma, entered), epsilon, sigma, entered)


@checked(ScheduleError)
def predictor_cost(
    epsilon: Epsilon,
    y: Tensor,
    sigma: Level,
    entered: Level,
    generators: Sequence[torch.Generator] = (),
    derivatives: str = "exact",
) -> Tensor:
    """L_p of each sample at leading order, for an Euler step (arXiv 2412.07877, eq. 14 with v = sigma).

    Single samples may have a cost below zero, from the product of two estimates; the mean has no bias.

    Args:
        epsilon: The network; for exact derivatives it must be differentiable in both arguments by `torch.func`.
        y: Samples of the level `sigma`; (B, *event).
        sigma: Level that the step comes from, of all samples or of each, (B, 1, ...).
        entered: Level that it enters.
        generators: Of the signs of Hutchinson's estimate, on the CPU: one for each sample, or one, or none.
        derivatives: "exact", Jacobian-vector products by `torch.func.jvp`; or "finite", differences of outputs, as
            pipelines have to have them.

    Returns:
        (B,), float64, per component.

    Raises:
        ScheduleError: As `corrector_cost`, or unknown `derivatives`.
    """
    _check(y, sigma, entered)
    if derivatives not in DERIVATIVES:
        raise ScheduleError(f"`derivatives` must be one of {', '.join(DERIVATIVES)}, got {derivatives!r}.")
    if derivatives == "finite":
        probe = predictor_probe(y, epsilon(y, sigma), sigma, entered, generators)
        return _run(probe, epsilon, sigma, entered)
    level = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    one = torch.ones_like(level)

    def change(z: Tensor) -> Tensor:
        return torch.func.jvp(epsilon, (z, level), (epsilon(z, level), one))[1]

    def along(v: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda z: torch.func.jvp(change, (z,), (v,))[1]

    score, a = -epsilon(y, level) / level, change(y)
    bent = torch.func.jvp(lambda z: -epsilon(z, level) / level, (y,), (a,))[1]
    common = along(score)(y) + bent
    residuals = []
    for _ in range(2):
        v = _signs(y, generators)
        residuals.append(torch.func.jvp(along(v), (y,), (v,))[1] + common)
    return _leading_order(sigma, entered) * _mean(residuals[0] * residuals[1])


def _run(probe: Probe, epsilon: Epsilon, sigma: Level, entered: Level) -> Tensor:
    return answered(probe, lambda y, is_entered: epsilon(y, entered if is_entered else sigma))


@checked(ScheduleError)
def schedule_costs(
    epsilon: Epsilon,
    samples: Callable[[float], Tensor],
    levels: Array,
    cost: str = "corrector",
    **options: Any,
) -> LocalCost:
    """Costs of all steps of a schedule; their `values` are what `optimise_schedule` wants.

    Args:
        epsilon: The network.
        samples: Draws samples y of a level, such as `lambda sigma: data + sigma * torch.randn_like(data)`; (B, *event).
        levels: sigma_0 > ... > sigma_T > 0; (T + 1,).
        cost: "corrector" or "predictor".
        **options: Of `predictor_cost`.

    Returns:
        `values` and `error` in the order of the steps, noisiest first (a record of statistics has them the other way);
        (T,). Means below zero are set to zero.

    Raises:
        ScheduleError: Unknown `cost`, or levels that are not positive or the same.
    """
    levels = np.asarray(levels, dtype=np.float64)
    if levels.ndim != 1 or len(levels) < 2 or np.any(np.diff(levels) >= 0.0) or not 0.0 < levels[-1] < np.inf:
        raise ScheduleError(f"The levels of a schedule are positive and fall, at least two of them, got {levels}.")
    if cost not in PROBED:
        raise ScheduleError(f"`cost` must be one of {', '.join(PROBED)}, got {cost!r}.")
    function = {"corrector": corrector_cost, "predictor": predictor_cost}[cost]
    means, errors, number = [], [], 0
    for sigma, entered in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        y = samples(sigma)
        with torch.no_grad():
            each = function(epsilon, y, sigma, entered, **options)
        number = len(each)
        means.append(max(float(each.mean()), 0.0))
        errors.append(float(each.std() / number**0.5) if number > 1 else 0.0)
    return LocalCost(np.array(means), np.array(errors), COST_ORDERS[cost], number)
