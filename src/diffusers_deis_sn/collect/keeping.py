"""The state of a measurement, written after every batch and after every trial, and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.errors import CalibrationInterruptedError, CheckpointError

if TYPE_CHECKING:
    from diffusers_deis_sn.collect.recorder import RecordingScheduler
    from diffusers_deis_sn.collect.trying import Distances

TRIED = "tried"  # a row a trial: number of the recipe, number of calls, and its distances


class Keeping:
    """Keeps what a recorder knows, and stops between batches where that is asked for; does nothing without a file.

    Args:
        keeper: The file; None for none.
        run: What decides the numbers, see `collect.fingerprint`.
        recorder: Whose state it is.
        stop: The signals.

    Attributes:
        tried: Distances of trials by number of the recipe and number of calls; the trier adds to them.
    """

    def __init__(
        self, keeper: Keeper | None, run: Mapping[str, Any], recorder: RecordingScheduler, stop: Interruptions
    ) -> None:
        """Nothing is kept yet."""
        self._keeper, self._run, self._recorder, self._stop = keeper, run, recorder, stop
        self.tried: dict[tuple[int, int], Distances] = {}

    def resume(self) -> None:
        """Put the recorder into the state that was kept, if any. Raises CheckpointError if it is of another run."""
        if self._keeper is None or self._keeper.found is None:
            return
        found, place = self._keeper.found, str(self._keeper.path)
        found.check_run(self._run, place)
        try:
            self._recorder.restore(found.facts, found.tensors)
            self.tried = _trials_of(found.tensors)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{place!r} holds no state of a measurement: {error}. Delete it to begin anew (--force)."
            ) from error

    def told(self, report: Callable[[float], None]) -> Callable[[float], None]:
        """The function, which also says when a batch is the last one."""

        def told(done: float) -> None:
            self._stop.tell()
            report(done)

        return told

    def keep(self, num_samples: int, last: bool = False) -> None:
        """Write the state.

        Args:
            num_samples: How many samples there will be.
            last: Whether nothing is left to do, so that nothing is left to stop.

        Raises:
            CheckpointError: It cannot be written.
            CalibrationInterruptedError: It is written, and a signal asked to stop.
        """
        if self._keeper is None:
            return
        facts, tensors = self._recorder.state()
        self._keeper.write(Checkpoint(self._run, facts, tensors | _trials(self.tried)))
        if self._stop.wanted and not last:
            trials = f" and {len(self.tried)} trials" if self.tried else ""
            raise CalibrationInterruptedError(
                f"Stopped by {self._stop.wanted} after {self._recorder.drawn} of {num_samples} samples{trials}, which "
                f"are kept in {str(self._keeper.path)!r}. Go on with the same arguments and resume=True (--resume)."
            )


def _trials(tried: Mapping[tuple[int, int], Distances]) -> dict[str, NDArray[np.float64]]:
    return {TRIED: np.array([(*key, *found) for key, found in tried.items()])} if tried else {}


def _trials_of(tensors: Mapping[str, NDArray[Any]]) -> dict[tuple[int, int], Distances]:
    rows = tensors[TRIED].tolist() if TRIED in tensors else []
    return {(int(place), int(calls)): (error, rms, grain) for place, calls, error, rms, grain in rows}
