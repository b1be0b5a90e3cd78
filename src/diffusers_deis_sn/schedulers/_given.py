"""What a caller of `set_timesteps` asks for, and what a list that is given wins over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diffusers_deis_sn.core.default_lists import is_default_list, shift_of_list
from diffusers_deis_sn.core.flow import equal_sigmas
from diffusers_deis_sn.core.plan import Plan
from diffusers_deis_sn.core.process import Array, NoiseSchedule
from diffusers_deis_sn.core.recipe import described
from diffusers_deis_sn.schedulers._own_config import OF_GRIDS

Times = Sequence[float] | Array | None
OF_ENDS = ("start_time", "end_time")


@dataclass(frozen=True, eq=False)
class Request:
    """What `set_timesteps` was called with, and the guidance that the pipeline says it runs with.

    Args:
        steps: Number of steps.
        mu: Shift by resolution.
        sigmas: Levels of the calls.
        timesteps: Times of the calls.
        guidance: Of the pipeline.
        unshifted: Whether the network is called with the times of the levels before their shift (CogView 4).
        shift: Of the run, where the pipeline has shifted its list itself (ACE-Step).
    """

    steps: int | None = None
    mu: float | None = None
    sigmas: Times = None
    timesteps: Times = None
    guidance: float | None = None
    unshifted: bool = False
    shift: float | None = None

    @property
    def given(self) -> bool:
        """Whether the times were given by hand."""
        return self.sigmas is not None or self.timesteps is not None

    @property
    def labelled(self) -> bool:
        """Whether the network is called with times that are not those of its levels."""
        return self.unshifted or (self.sigmas is not None and self.timesteps is not None)

    def as_number(self, process: NoiseSchedule, shift: float, terminal: float | None) -> Request | None:
        """The same without a list that chooses nothing but how many, None where the list is a choice.

        Args:
            process: The process.
            shift: Of the run.
            terminal: Likewise.
        """
        if self.sigmas is None:
            return None
        sigmas = np.asarray(self.sigmas, dtype=np.float64)
        if not is_default_list(process, self.sigmas, shift, terminal):
            plain = self.timesteps is None and terminal is None and shift == 1.0
            moved = shift_of_list(process, self.sigmas) if plain else None
            return None if moved is None else replace(self, steps=len(sigmas), sigmas=None, shift=moved)
        if self.timesteps is not None:
            own = np.shape(self.timesteps) == sigmas.shape and np.allclose(
                self.timesteps, process.time(process.from_sigma(sigmas))
            )
            if not own or terminal is not None:
                return None
        return replace(self, steps=len(sigmas), sigmas=None, timesteps=None, unshifted=self.timesteps is not None)

    @property
    def is_own_grid(self) -> bool:
        """Whether the list is, to the last digit, the grid that a flow has where nothing is chosen."""
        return self.timesteps is None and equal_sigmas(self.sigmas) is not None


def labelled_before_shift(plan: Plan, process: NoiseSchedule, shift: float) -> Plan:
    """The same run, with a network that is called with the times of its levels before their shift.

    Args:
        plan: The run.
        process: A flow.
        shift: Of the run, without a terminal level.
    """
    levels = np.asarray(plan.levels[:-1])
    before = np.where(levels >= 0.5 * process.top, process.top, levels / shift)
    return plan.called_at(process.call_times(before))


def overridden(request: Request, by_name: Mapping[str, Any], defaults: Mapping[str, Any], learned: bool) -> str | None:
    """What a given list wins over, in one line for the log; None where nothing was chosen.

    Args:
        request: With the list, if there is one.
        by_name: Options in use.
        defaults: Those of the class.
        learned: Whether its times would else be learned from the model.
    """
    if not request.given:
        return None
    what = "timesteps" if request.timesteps is not None else "sigmas"
    if learned:
        return f"The given {what} are used, and not the grid learned from the model."
    names = ("grid",) if by_name["grid"] is not None else (*sorted(OF_GRIDS - {"steps_offset"}), *OF_ENDS)
    chosen = [f"{name}={described(by_name[name])}" for name in names if by_name[name] != defaults[name]]
    return f"The given {what} are used, and not {' and '.join(chosen)}." if chosen else None
