"""What was fitted so far, kept in a file after each number of steps and taken up again.

The file is that of an unfinished measurement (`collect.checkpoint`), with the numbers of all plans that were found for
the numbers of steps that are through, before any was decided on. Fits of different numbers know nothing of one another,
so a run that is gone on from gives what one that was never interrupted does, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from diffusers_deis_sn._version import __version__
from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.collect.fingerprint import describe, weights
from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.core.tuned import ARRAYS, Tuned
from diffusers_deis_sn.errors import CalibrationInterruptedError, CheckpointError, DeisSnError
from diffusers_deis_sn.statistics.origin import hash_prompts
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.teacher import Goal


def run_facts(
    pipe: Any,
    texts: str | Sequence[str] | None,
    options: Mapping[str, Any],
    statistics: ScoreStatistics,
    samples: tuple[Sequence[int], Sequence[int], int, int],
) -> dict[str, Any]:
    """What decides the numbers of a fit, by name: neither how many steps are asked for, nor a budget.

    Args:
        pipe: The pipeline, with its own scheduler.
        texts: The prompts.
        options: Further arguments of its call.
        statistics: Of the model, of which plans do not count.
        samples: Numbers of those to fit on and of those held out, how many are drawn at once, and the first seed.
    """
    listed, kind = [texts] if isinstance(texts, str) else texts, type(pipe)
    fitted, held_out, batch_size, seed = samples
    return {
        "prompts": None if listed is None else hash_prompts(listed),
        "num_samples": len(fitted),
        "num_held_out": len(held_out),
        "batch_size": batch_size,
        "seed": seed,
        "arguments": {name: describe(value) for name, value in sorted(options.items())},
        "pipeline": f"{kind.__module__}.{kind.__qualname__}",
        "scheduler": describe(dict(pipe.scheduler.config)),
        "weights": weights(pipe),
        "statistics": describe(statistics.with_plans(None).to_bytes().hex()),
        "version": __version__,
    }


@dataclass(frozen=True, eq=False)
class Fit:
    """A plan that was found.

    Args:
        run: Its numbers.
        place: Of the recipe that its weights were shrunk to, in the menu of its number of steps.
    """

    run: Tuned
    place: int


@dataclass
class Fits:
    """All that was found.

    Args:
        keeper: The file; None for none.
        facts: What decides the numbers.
        shards: The processes that share the work. The first one fits, and all know what it found.
        signals: Those that ask to stop; None for none.
        found: Plans by what was left free in them, by number of steps.
        goals: How fine the run is that they were fitted to, by number of steps.
    """

    keeper: Keeper | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    shards: Shards = ALONE
    signals: Interruptions | None = None
    found: dict[int, dict[str, Fit]] = field(default_factory=dict)
    goals: dict[int, Goal] = field(default_factory=dict)

    def resume(self) -> None:
        """Take up what the file holds. Raises CheckpointError where it is of another run, or no such state."""
        if self.keeper is not None:
            self._share(self._resumed)

    def share(self) -> None:
        """Tell all processes what the first has found."""
        if self.shards.world > 1:
            self._share(lambda: self.state().to_bytes())

    def keep(self, calls: int, found: Mapping[str, Fit], goal: Goal) -> None:
        """Add what was found for a number of steps, and write it. Raises CheckpointError where that fails."""
        self.found[calls], self.goals[calls] = dict(found), goal
        if self.keeper is not None:
            self.keeper.write(self.state())

    def stop(self) -> None:
        """Raise CalibrationInterruptedError where a signal asks this process to stop."""
        self._stop(self._wanted)

    def pause(self) -> None:
        """The same in all processes where one of them was asked; all have to call it."""
        if self.keeper is not None:
            told = self.shards.each(lambda: (self._wanted or "").encode())
            self._stop(next(filter(None, told), b"").decode())

    @property
    def _wanted(self) -> str | None:
        return None if self.signals is None else self.signals.wanted

    def _stop(self, wanted: str | None) -> None:
        if wanted and self.keeper is not None:
            steps = ", ".join(map(str, self.found))
            kept = f"What was fitted for {steps} steps is kept in" if steps else "No number of steps was through for"
            raise CalibrationInterruptedError(
                f"Stopped by {wanted}. {kept} {str(self.keeper.path)!r}. Go on with the same arguments and resume=True "
                "(--resume)."
            )

    def _share(self, known: Callable[[], bytes]) -> None:
        state = self.shards.led(known)
        if state and not self.shards.leads:
            self._restore(Checkpoint.from_bytes(state, "state of the first process"), "state of the first process")

    def _resumed(self) -> bytes:
        if self.keeper is None or self.keeper.found is None:
            return b""
        self.keeper.found.check_run(self.facts, str(self.keeper.path))
        self._restore(self.keeper.found, str(self.keeper.path))
        return self.keeper.found.to_bytes()

    # ---------------------------------------------------------------------------------------------------- as a state

    def state(self) -> Checkpoint:
        """All of it."""
        listed: dict[str, list[Any]] = {}
        tensors: dict[str, NDArray[Any]] = {}
        for calls, found in self.found.items():
            listed[str(calls)] = [[name, one.place, one.run.of, float(one.run.shift)] for name, one in found.items()]
            for number, one in enumerate(found.values()):
                for name in ARRAYS:
                    if (values := getattr(one.run, name)) is not None:
                        tensors[f"{calls}.{number}.{name}"] = values
        goals = {str(calls): [goal.calls, goal.far] for calls, goal in self.goals.items()}
        return Checkpoint(self.facts, {"found": listed, "goals": goals}, tensors)

    def _restore(self, state: Checkpoint, place: str) -> None:
        try:
            goals = state.facts["goals"]
            self.goals = {int(calls): Goal(int(made), float(far)) for calls, (made, far) in goals.items()}
            self.found = {
                int(calls): {
                    name: Fit(_run(state.tensors, f"{calls}.{number}.", of, shift), int(recipe))
                    for number, (name, recipe, of, shift) in enumerate(found)
                }
                for calls, found in state.facts["found"].items()
            }
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, DeisSnError) as error:
            raise CheckpointError(f"{place!r} holds no state of tuning: {error}. Delete it to begin anew.") from error


def _run(tensors: Mapping[str, NDArray[Any]], start: str, of: str, shift: float) -> Tuned:
    arrays = {name: tensors[start + name] for name in ARRAYS[:-1]}
    return Tuned(**arrays, low=tensors.get(start + ARRAYS[-1]), of=of, shift=shift)
