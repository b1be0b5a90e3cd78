"""Diffusers' private names of where a run is, for code that looks at them or resets them."""

from __future__ import annotations

from typing import Any


class StepIndex:
    """`_step_index`: the number of the next step, which may be set back to None, where a run began."""

    def __get__(self, scheduler: Any, owner: type | None = None) -> Any:
        """`step_index`."""
        return self if scheduler is None else scheduler.step_index

    def __set__(self, scheduler: Any, value: int | None) -> None:
        """Go back to where the run began. Raises AttributeError for any other step."""
        if value is None and scheduler.step_index is not None:
            scheduler.set_begin_index(scheduler.begin_index)
        elif value != scheduler.step_index:
            raise AttributeError(
                f"A run of {type(scheduler).__name__} cannot be moved to step {value}, for the outputs that it goes on "
                "from would be those of other steps. Call `set_timesteps` and `set_begin_index`."
            )


class BeginIndex:
    """`_begin_index`: the number of the first step."""

    def __get__(self, scheduler: Any, owner: type | None = None) -> Any:
        """`begin_index`."""
        return self if scheduler is None else scheduler.begin_index

    def __set__(self, scheduler: Any, value: int | None) -> None:
        """`set_begin_index`, where it is another."""
        if value != scheduler.begin_index:
            scheduler.set_begin_index(value)
