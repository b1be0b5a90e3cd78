"""The state of a measurement, written after every batch and after every trial, and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.collect.sharing import ALONE, Shards
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
        shards: The processes that share the measurement. All stop where one is asked to.

    Attributes:
        tried: Distances of trials by number of the recipe and number of calls; the trier adds to them.
    """

    def __init__(
        self,
        keeper: Keeper | None,
        run: Mapping[str, Any],
        recorder: RecordingScheduler,
        stop: Interruptions,
        shards: Shards = ALONE,
    ) -> None:
        """Nothing is kept yet."""
        self._keeper, self._run, self._recorder, self._stop, self._shards = keeper, run, recorder, stop, shards
        self.tried: dict[tuple[int, int], Distances] = {}

    def resume(self) -> None:
        """Put the recorder into the state that was kept, if any. Raises CheckpointError if it is of another run."""
        if self._keeper is None:
            return
        state = self._shards.led(self._resumed)
        if state and not self._shards.leads:
            self._restore(Checkpoint.from_bytes(state, str(self._keeper.path)), str(self._keeper.path))

    def _resumed(self) -> bytes:
        """Take up what the file holds, and say what that is to the processes that cannot read it."""
        if self._keeper is None or self._keeper.found is None:
            return b""
        found, place = self._keeper.found, str(self._keeper.path)
        found.check_run(self._run, place)
        self._restore(found, place)
        return found.to_bytes()

    def _restore(self, found: Checkpoint, place: str) -> None:
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
            CalibrationInterruptedError: It is written, and a signal asked to stop, in this process or another.
            ProcessLostError: Another process is gone.
        """
        if self._keeper is None:
            return
        wanted = next(filter(None, self._shards.each(self._write)), b"").decode()
        if wanted and not last:
            trials = f" and {len(self.tried)} trials" if self.tried else ""
            raise CalibrationInterruptedError(
                f"Stopped by {wanted} after {self._recorder.drawn} of {num_samples} samples{trials}, which "
                f"are kept in {str(self._keeper.path)!r}. Go on with the same arguments and resume=True (--resume)."
            )

    def _write(self) -> bytes:
        """The name of the signal that asks to stop, if any, once the state is written."""
        if self._keeper is not None and self._shards.leads:
            facts, tensors = self._recorder.state()
            self._keeper.write(Checkpoint(self._run, facts, tensors | _trials(self.tried)))
        return (self._stop.wanted or "").encode()


def _trials(tried: Mapping[tuple[int, int], Distances]) -> dict[str, NDArray[np.float64]]:
    return {TRIED: np.array([(*key, *found) for key, found in tried.items()])} if tried else {}


def _trials_of(tensors: Mapping[str, NDArray[Any]]) -> dict[tuple[int, int], Distances]:
    rows = tensors[TRIED].tolist() if TRIED in tensors else []
    return {(int(place), int(calls)): (error, rms, grain) for place, calls, error, rms, grain in rows}
