"""The arrays that a scheduler shows, and what becomes of it where somebody writes into them.

Diffusers' schedulers read theirs again: `alphas_cumprod` in every `set_timesteps`, `sigmas` and `timesteps` in every
step. So do these: what is written there is used. `betas` alone are read by nobody after a scheduler was made; a patch
that leaves `alphas_cumprod` as they were has no effect in Diffusers, and is refused here; so are the arrays that follow
from these two, see `_neighbours`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.vp import SMALLEST_ALPHA_SQUARED, TableSchedule
from diffusers_deis_sn.errors import NoiseScheduleError, StepError

SAME = 1e-6  # relative: the last call is as near to the end where somebody has made the two levels one


def lasting(values: Any, dtype: torch.dtype, device: str | torch.device | None = None) -> Tensor:
    """A tensor that counts what is written into it, also where it is made under `torch.inference_mode()`."""
    with torch.inference_mode(False):
        return torch.tensor(np.array(values), dtype=dtype, device=device)


class Watched:
    """A public tensor as it was handed out.

    Args:
        tensor: The tensor, or None.
    """

    def __init__(self, tensor: Any) -> None:
        self._tensor, self._version = tensor, _version(tensor)
        self._copy = tensor.detach().clone() if isinstance(tensor, Tensor) and tensor.device.type == "cpu" else None

    def touched(self, now: Any, closely: bool = False) -> bool:
        """Whether it may hold other numbers now; without looking at any of them.

        Args:
            now: What is in its place.
            closely: Look at the numbers on the host, for who writes through `numpy()` or `data` leaves no trace.
        """
        if now is not self._tensor or _version(now) != self._version:
            return True
        return closely and self._copy is not None and not torch.equal(now, self._copy)


def _version(tensor: Any) -> int:
    return -1 if not isinstance(tensor, Tensor) or tensor.is_inference() else tensor._version


class NoiseTable:
    """`alphas_cumprod` and `betas` of a model of numbered times, as they are handed out.

    Args:
        process: The process.
    """

    def __init__(self, process: NoiseSchedule) -> None:
        self.process = process
        alpha_squared = 1.0 / (1.0 + process.training_levels() ** 2)
        self._exact = alpha_squared
        self.alphas_cumprod = lasting(alpha_squared, torch.float32)
        self.betas = lasting(1.0 - alpha_squared / np.append(1.0, alpha_squared[:-1]), torch.float32)
        self._told = self.alphas_cumprod.clone(), self.betas.clone()
        self._seen = Watched(self.alphas_cumprod), Watched(self.betas)
        self._edited: TableSchedule | None = None

    def edited(self, alphas_cumprod: Any, betas: Any) -> TableSchedule | None:
        """The process that somebody has made of it, the same object while it is the same; None if nobody has.

        Args:
            alphas_cumprod: Of the scheduler now.
            betas: Likewise.

        Raises:
            NoiseScheduleError: Levels that are none, or do not grow; or betas that say another thing than these.
        """
        if not self._touched(alphas_cumprod, betas, closely=True):
            return self._edited
        given = _host(alphas_cumprod, "alphas_cumprod")
        changed = ~self._equal(given, 0)
        if not changed.any() and not self._equal(_host(betas, "betas"), 1).all():
            raise NoiseScheduleError(
                "`scheduler.betas` were changed, but runs are computed from `scheduler.alphas_cumprod`, as in "
                "Diffusers. Set that too, to (1 - betas).cumprod(0), or make a scheduler with trained_betas=."
            )
        self._seen = Watched(alphas_cumprod), Watched(betas)
        self._edited = self._process(given.double().numpy(), changed.numpy()) if changed.any() else None
        return self._edited

    def check_run(self, process: NoiseSchedule, alphas_cumprod: Any, betas: Any) -> None:
        """Raise StepError for a run of the process, where `alphas_cumprod` were edited after it was planned."""
        if self._touched(alphas_cumprod, betas):
            self.edited(alphas_cumprod, betas)
        if self._edited is not None and self._edited is not process:
            raise StepError(
                "`scheduler.alphas_cumprod` were edited after `set_timesteps`, and this run has the levels of before. "
                "Call `set_timesteps` again."
            )

    def _touched(self, *now: Any, closely: bool = False) -> bool:
        return any(seen.touched(one, closely) for seen, one in zip(self._seen, now, strict=True))

    def _equal(self, now: Tensor, which: int) -> Tensor:
        """Where it is what was handed out, perhaps rounded to fewer digits."""
        before = self._told[which]
        if now.shape != before.shape:
            raise NoiseScheduleError(
                f"A noise schedule of {len(before)} training times has as many levels, got {tuple(now.shape)} in the "
                "place of `alphas_cumprod` or `betas`. For another one make a scheduler with `trained_betas`."
            )
        return now == before.to(now.dtype)

    def _process(self, given: Array, changed: np.ndarray) -> TableSchedule:
        if np.any((given[changed] < 0.0) | (given[changed] >= 1.0) | ~np.isfinite(given[changed])):
            raise NoiseScheduleError(
                "`alphas_cumprod` is the share of the signal, from below 1 to 0 at times that rise, got "
                f"{np.min(given):.6g} to {np.max(given):.6g}."
            )
        # No signal at all is held where Diffusers holds it.
        alpha_squared = np.where(changed, np.maximum(given, SMALLEST_ALPHA_SQUARED), self._exact)
        log_rho = np.where(
            changed, 0.5 * (np.log1p(-alpha_squared) - np.log(alpha_squared)), np.log(self.process.training_levels())
        )
        return TableSchedule(log_rho, self.process.path, f"{self.process.name}, edited")


def _host(values: Any, name: str) -> Tensor:
    try:
        tensor = torch.as_tensor(values).detach().cpu()
        return tensor if tensor.is_floating_point() else tensor.float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise NoiseScheduleError(f"`scheduler.{name}` must be a tensor of numbers, got {values!r}.") from error


def edited_plan(recipe: Recipe, plan: Plan, sigmas: Tensor, timesteps: Tensor, begun: bool) -> Plan:
    """A run as somebody has edited it: its levels in `sigmas`, and what the network is called with in `timesteps`.

    A list of times alone that was cut short is left to be walked through.

    Args:
        recipe: Of the run.
        plan: The run.
        sigmas: As they are now.
        timesteps: Likewise.
        begun: Whether a step was taken.

    Returns:
        The same plan where nothing but dtype or device was changed.

    Raises:
        StepError: Another number of sigmas than of times and the end; lists cut in mid-run; or other levels for a
            solver of several calls a step.
        TimestepsError: Levels or times that do not fall.
    """
    calls, given = len(timesteps), torch.as_tensor(sigmas).detach().cpu().double().numpy()
    if given.shape == (len(plan) + 1,) and calls != len(plan):
        return plan
    levels = _levels(recipe.process, plan, given, calls)
    if levels is not None:
        if begun and calls != len(plan):
            raise StepError(f"This run has {len(plan)} calls, and its lists were cut to {calls} between two of them.")
        if recipe.solver.calls_per_step > 1:
            raise StepError(
                f"`scheduler.sigmas` were edited, and {type(recipe.solver).__name__} has levels between the steps too. "
                "Give `sigmas=` to set_timesteps, or use solver='multistep'."
            )
        times, plan = plan.times, recipe.over(levels)
        plan = plan.called_at(times) if len(times) == len(plan) else plan
    if not torch.equal(timesteps.cpu(), torch.tensor(plan.times).to(timesteps.dtype)):
        plan = plan.called_at(timesteps.detach().cpu().double().numpy())
    return plan


def _levels(process: NoiseSchedule, plan: Plan, given: Array, calls: int) -> Array | None:
    """rho of edited sigmas, exact where they were not; None where none was; (C + 1,)."""
    if given.shape != (calls + 1,):
        raise StepError(
            f"`scheduler.sigmas` are the levels of {calls} calls and of the end, got the shape {given.shape}. Cut "
            "`scheduler.timesteps` alike, or use set_begin_index; or give `sigmas=` to set_timesteps."
        )
    given = process.turned_sigmas(given)
    now, before = process.from_sigma(given), np.asarray(plan.levels)
    if len(before) == len(now):
        same = np.abs(given - process.as_sigma(before)) <= SAME * np.abs(given)
        if same.all():
            return None
        now = np.where(same, before, now)
    if abs(now[-1] - now[-2]) <= SAME * now[-2]:  # the last call as the end, as Cosmos has it
        now[-1] = now[-2] * (1.0 - SAME)
    return now
