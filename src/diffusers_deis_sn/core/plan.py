"""A run, fixed before its first step: noise levels, times of the network calls and all coefficients.

Each call is one step of the table, x_{i+1} = transfer_i x_i + sum_j weights_{i,j} f_{i-j} (`core.table`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.rounding import is_rounding
from diffusers_deis_sn.core.step import combine, threshold
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import StepError, TimestepsError

OFF_GRID = 1e-3  # a time this far from the plan's is another time, unless it was rounded (`core.rounding`)


def off_grid(times: Sequence[float]) -> float:
    """How far from one of `times` another time begins: sigmas as times may lie closer than `OFF_GRID`."""
    distinct = np.unique(times)
    return min(OFF_GRID, 0.1 * float(np.min(np.diff(distinct)))) if len(distinct) > 1 else OFF_GRID


def nearest(times: Sequence[float], time: float, among: Sequence[bool] | None = None) -> int:
    """Place of the one of `times` that is nearest to `time`; of equal ones the first, or the first of `among`."""
    return min(range(len(times)), key=lambda n: (abs(times[n] - time), among is not None and not among[n]))


class Raw(NamedTuple):
    """An output before it was converted to a output + b x; (B, *event) and two numbers."""

    output: Tensor
    a: float
    b: float


class Thresholding(NamedTuple):
    """Dynamic thresholding of the predicted clean sample (`core.step.threshold`)."""

    ratio: float
    largest: float


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything a run needs, as Python floats; without state.

    Args:
        times: What the network is called with; strictly falling from step to step, not from stage to stage, or rising
            where it counts the other way round; (C,).
        levels: rho = sigma / alpha of the samples that the calls are given, and of the result; (C + 1,).
        sigmas: What Diffusers calls the sigmas of `levels`; (C + 1,).
        alpha: alpha of `levels`; (C + 1,).
        sigma: sigma of `levels`; (C + 1,).
        input_scale: Factor of the network's input, one for each call; (C,).
        output: (a, b) of what the solver integrates, a output + b x, one pair for each call; (C, 2).
        clean: The same of the predicted clean sample; (C, 2).
        needs: Which call of its step a call is: one for the first, with which a run may begin; (C,).
        table: The solver's coefficients.
        integrand: What the solver integrates, "noise" or "data".

    Examples:
        >>> import torch
        >>> from diffusers_deis_sn.core.recipe import Recipe
        >>> from diffusers_deis_sn.core.vp import vp_schedule
        >>> plan = Recipe(vp_schedule()).plan(4)
        >>> plan.times
        (999.0, 749.0, 499.0, 249.0)
        >>> x, history = torch.ones(1, 4), []
        >>> for n, t in enumerate(plan.times):
        ...     output, raw = plan.convert(n, x / plan.sigma[n], x)  # a network for data that are all zero
        ...     history.insert(0, output)
        ...     x = plan.advance(n, x, history, raw)
        >>> x.abs().max() < 1e-5
        tensor(True)
    """

    times: tuple[float, ...]
    levels: tuple[float, ...]
    sigmas: tuple[float, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    input_scale: tuple[float, ...]
    output: tuple[tuple[float, float], ...]
    clean: tuple[tuple[float, float], ...]
    needs: tuple[int, ...]
    table: CoefficientTable
    integrand: str = "noise"

    def __len__(self) -> int:
        """Number of network calls."""
        return len(self.times)

    @property
    def steps(self) -> int:
        """Number of steps, of one or several calls each."""
        return sum(self.starts)

    @cached_property
    def starts(self) -> tuple[bool, ...]:
        """Whether a run may begin at a call."""
        return tuple(map((1).__eq__, self.needs))

    @property
    def whole(self) -> bool:
        """Whether all times are whole numbers, so that they can be given to the network as int64."""
        return all(map(float.is_integer, self.times))

    @cached_property
    def scales_input(self) -> bool:
        """Whether the network is given anything but the sample itself."""
        return any(scale != 1.0 for scale in self.input_scale)

    @cached_property
    def tolerance(self) -> float:
        """How far from one of the run's times another time begins."""
        return off_grid(self.times)

    def nearest(self, time: float) -> int:
        """Number of the call whose time is nearest to `time`; where a time occurs twice, the one that begins a step."""
        return nearest(self.times, time, among=self.starts)

    def index(self, time: float, bits: int | None = None, rounded: bool = False) -> int | None:
        """Number of the call at a time.

        Args:
            time: t.
            bits: Significant digits of its dtype, where these are too few for times (`core.rounding`): it is then what
                was rounded to them.
            rounded: Whether it may have been rounded, though its dtype does not say so.

        Returns:
            From 0 to C - 1; None if no call is at this time.
        """
        n = self.nearest(time)
        if bits is None and abs(self.times[n] - time) <= self.tolerance:
            return n
        if bits is None and not rounded:
            return None
        found = [i for i in range(len(self)) if is_rounding(self.times[i], time, self.tolerance, bits)]
        # Of several the first of the run, for there it begins most often, else the nearest; of a dtype's the noisiest.
        if bits is None and 0 not in found and n in found:
            return n
        return next((i for i in found if self.starts[i]), next(iter(found), None))

    def combines(self, n: int, at_hand: int) -> int:
        """How many outputs a call combines.

        Args:
            n: Number of the call.
            at_hand: How many outputs there are, that of call n among them.

        Returns:
            1 to `at_hand`, and at most the solver's order.
        """
        number = min(at_hand, self.table.order) - 1
        low = 0 if self.table.low_rows is None else len(self.table.low_rows[number][n])
        return max(len(self.table.rows[number][n]), low)

    def prepare(self) -> Plan:
        """The same, with all that a step reads worked out: compilers of loops know no properties that are kept."""
        _ = self.tolerance, self.starts, self.table.rows, self.table.low_rows, self.table.transfers
        return self

    def check(self, n: int, time: float | None, bits: int | None = None) -> None:
        """Check that call n exists and, where its time is known on the host, is at that time.

        Args:
            n: Number of the call.
            time: t as the loop hands it back, perhaps rounded; None where it is not known.
            bits: Significant digits of its dtype, where these are too few for times.

        Raises:
            StepError: There is no such call, or it is at another time.
        """
        if n < 0:
            raise StepError(f"A run begins at one of its steps, 0 to {len(self) - 1}, got `set_begin_index({n})`.")
        if n >= len(self):
            raise StepError(f"All {len(self)} steps of this run are done. Call `set_timesteps` before the next run.")
        if time is None or abs(self.times[n] - time) <= self.tolerance:
            return
        if not is_rounding(self.times[n], time, self.tolerance, bits):
            raise StepError(
                f"Step {n} of this run is at timestep {self.times[n]:g}, but `step` was called with {time:g}. Walk "
                "through `scheduler.timesteps` in order; call `set_timesteps` or `set_begin_index` to start elsewhere."
            )

    def check_next(self, n: int, time: float | None) -> None:
        """Check that call n leads to a time, where that is known.

        Args:
            n: Number of the call.
            time: Time of the next call, as the loop says it; None where it does not.

        Raises:
            StepError: The plan has another time next.
        """
        if n + 1 < len(self) and time is not None and not is_rounding(self.times[n + 1], time, self.tolerance):
            raise StepError(
                f"Step {n} of this run leads to timestep {self.times[n + 1]:g}, but `prev_timestep` is {time:g}. Leave "
                "it out, or give the times to `set_timesteps(timesteps=...)`."
            )

    @checked(TimestepsError)
    def called_at(self, times: ArrayLike) -> Plan:
        """The same run with other times for the network.

        Args:
            times: One for each call, strictly monotone as those of this plan; (C,).

        Returns:
            A plan with the same levels and coefficients.

        Raises:
            TimestepsError: Another number of times, or times that are not finite or not monotone.
        """
        given = np.asarray(times, dtype=np.float64)
        upwards = -1.0 if len(self) > 1 and self.times[0] < self.times[-1] else 1.0
        if given.shape != (len(self),) or not np.all(np.isfinite(given)) or np.any(upwards * np.diff(given) >= 0.0):
            raise TimestepsError(
                f"`timesteps` beside `sigmas` must be as many falling numbers as there are calls, {len(self)}, got "
                f"{times!r}."
            )
        return replace(self, times=tuple(given.astype(np.float32).tolist()))

    def check_begin(self, n: int) -> None:
        """Raise StepError where call `n` is a later stage of a Runge-Kutta step, so that no run can begin there."""
        if 0 <= n < len(self) and not self.starts[n]:
            stage = self.needs[n]
            raise StepError(
                f"A run cannot begin at call {n}, timestep {self.times[n]:g}: that is stage {stage} of a Runge-Kutta "
                f"step which begins at call {n + 1 - stage}. Begin there (another `strength` or `denoising_start`), or "
                "use solver='multistep'."
            )

    # -------------------------------------------------------------------------------------------------- on tensors

    def convert(
        self, n: int, output: Tensor, sample: Tensor, thresholding: Thresholding | None = None
    ) -> tuple[Tensor, Raw | None]:
        """What the solver integrates, a output + b x, and what it was converted from if it was.

        The first is a tensor of its own: compiled networks reuse the memory of their outputs.

        Args:
            n: Number of the call.
            output: What the network (or guidance) returned; (B, *event).
            sample: What it was called on, before `input_scale`; of the same shape.
            thresholding: Clamp the predicted clean sample; None not to.

        Returns:
            eps or x_0, (B, *event); and the output with a and b, None where nothing was converted.
        """
        a, b = self.output[n]
        if (a, b) == (1.0, 0.0) and thresholding is None:
            return output.clone(), None
        # Under autocast the output is narrower than the sample: what cancels must not be rounded before it does.
        wide = torch.promote_types(torch.promote_types(output.dtype, sample.dtype), torch.float32)
        given, output, x = output, output.to(wide), sample.to(wide)
        if thresholding is None:
            return (output * a if b == 0.0 else (output * a).add_(x, alpha=b)), Raw(given, a, b)
        # From the output itself: where there is next to no signal, eps no longer tells x_0.
        c, d = self.clean[n]
        x0 = threshold((output * c).add_(x, alpha=d) if d else output * c, *thresholding)
        if self.integrand == "data":
            return x0, None
        alpha, sigma = self.alpha[n], self.sigma[n]
        return (x - alpha * x0) / sigma, Raw(x0, -alpha / sigma, 1.0 / sigma)

    def advance(self, n: int, sample: Tensor, history: Sequence[Tensor], raw: Raw | None = None) -> Tensor:
        """x_{n+1}, from x_n and the converted outputs so far: one linear combination (`core.table`).

        Args:
            n: Number of the call.
            sample: x_n; (B, *event).
            history: What `convert` gave, newest first, that of call n the first; as many as there are, or at least
                the largest number that the solver combines.
            raw: What it gave beside, for call n.

        Returns:
            x_{n+1}; shape and dtype of `sample`.

        Raises:
            StepError: Weights for two bands of space, and samples that have none.
        """
        number, low_rows = min(len(history), self.table.order) - 1, self.table.low_rows
        transfer, weights = self.table.transfers[n], self.table.rows[number][n]
        low = None if low_rows is None else (0.0, low_rows[number][n])
        if low is not None and sample.ndim < 4:
            raise StepError(
                f"This plan was fitted for samples (B, C, H, W), got the shape {tuple(sample.shape)}. Use tuned=False "
                "for these."
            )
        if raw is not None:
            # Where there is next to no signal, transfer and weight are huge and cancel: here, not in the tensors.
            transfer, weights = _of_raw(transfer, weights, raw)
            low = None if low is None else _of_raw(*low, raw)
            history = [raw.output, *history[1:]]
        return combine(sample, transfer, history, weights, low)


def _of_raw(transfer: float, weights: tuple[float, ...], raw: Raw) -> tuple[float, tuple[float, ...]]:
    """Factors of the sample and of the outputs, where the newest of these is not converted."""
    return transfer + weights[0] * raw.b, (weights[0] * raw.a, *weights[1:])


def _pairs(a: Array, b: Array) -> tuple[tuple[float, float], ...]:
    return tuple(zip(a.tolist(), b.tolist(), strict=True))


def make_plan(
    process: NoiseSchedule,
    table: CoefficientTable,
    prediction: str = "epsilon",
    of: str = "noise",
    levels: Array | None = None,
    needs: np.ndarray | None = None,
) -> Plan:
    """A run with the coefficients `table`.

    Args:
        process: The process.
        table: The solver's coefficients, and the levels that they are for.
        prediction: What the network predicts.
        of: What the solver integrates, "noise" or "data".
        levels: rho of the calls and of the result, where there are more calls than the table has; (C + 1,).
        needs: As in `Plan`, with `levels`.

    Raises:
        TimestepsError: Two steps that begin at the same time, which two levels beyond the training range would make.
    """
    levels = table.levels if levels is None else levels
    needs = table.needs if needs is None else needs
    times = process.call_times(levels[:-1])
    begun = times[needs == 1]
    if np.any(np.diff(begun) >= 0.0):
        raise TimestepsError(
            f"Two of the {len(begun)} network calls fall on the same time {begun[np.argmax(np.diff(begun))]:g}. Use "
            "fewer steps, another `timestep_spacing`, or levels inside the model's training range."
        )
    alpha, sigma = process.alpha(levels), process.sigma(levels)
    output, clean = (process.view(what, prediction, alpha[:-1], sigma[:-1]) for what in (of, "data"))
    return Plan(
        times=tuple(process.turned_times(times).tolist()),
        levels=tuple(levels.tolist()),
        sigmas=tuple(process.turned_sigmas(process.as_sigma(levels)).tolist()),
        alpha=tuple(alpha.tolist()),
        sigma=tuple(sigma.tolist()),
        input_scale=tuple(process.input_scale(sigma[:-1]).tolist()),
        output=_pairs(*output),
        clean=_pairs(*clean),
        needs=tuple(needs.tolist()),
        table=table,
        integrand=of,
    )
