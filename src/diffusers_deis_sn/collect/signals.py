"""Ctrl-C and SIGTERM while a pipeline is lent: never in the middle of lending it or of giving it back.

A KeyboardInterrupt can come between any two instructions, also between a replaced scheduler and the `try` that puts it
back. So our own handler stands in during a measurement: it holds signals back while something is being replaced or
restored, and lets them act in between.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger("diffusers_deis_sn")

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Interruptions:
    """Signals of a measurement: `with Interruptions(...) as stop:` around everything, `with stop.acting():` inside.

    Outside of `acting` they wait, and raise KeyboardInterrupt at the end. In it, the first only sets `wanted` where
    batches are to be finished; any other, and every one where they are not, raises KeyboardInterrupt at once. Handlers
    are as before in the end. In other threads than the main one, to which Python never delivers signals, nothing is
    changed, nor where a signal is ignored.

    Args:
        finish_batches: Whether the first signal waits for the end of the batch, and SIGTERM counts as one.

    Attributes:
        wanted: Name of the signal that asks to stop after this batch; None for none.
    """

    def __init__(self, finish_batches: bool) -> None:
        """Nothing is replaced yet."""
        self.wanted: str | None = None
        self._finish = finish_batches
        self._before: dict[signal.Signals, Handler] = {}
        self._acts = self._raised = self._waiting = self._told = False

    def acting(self) -> _Acting:
        """Signals act within the block."""
        return _Acting(self)

    def tell(self) -> None:
        """Say once that the batch is being finished; not by the handler, which may have interrupted another message."""
        if self.wanted and not self._told:
            self._told = True
            logger.warning("%s: finishing this batch. Once more stops at once and loses it.", self.wanted)

    def __enter__(self) -> Interruptions:
        if threading.current_thread() is threading.main_thread():
            self._replace(signal.SIGINT)  # first, and the last to be put back: it is the one that raises
            if self._finish:
                self._replace(signal.SIGTERM)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in reversed(self._before.items()):
            signal.signal(number, handler)
        if self._waiting and not self._finish and kind is None:  # else what was measured is given back all the same
            raise KeyboardInterrupt

    def _replace(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        # Without a checkpoint other people's handlers know better; one that is no Python function cannot be put back.
        ours = before not in (None, signal.SIG_IGN) if self._finish else before is signal.default_int_handler
        if ours:
            self._before[number] = before
            signal.signal(number, self._handle)

    def _act(self) -> None:
        self._acts = True
        if self._waiting:
            self._waiting = False
            self._handle(signal.SIGINT, None)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._raised:  # the pipeline is on its way back
            return
        if not self._acts:
            self._waiting = True
        elif self._finish and self.wanted is None:
            self.wanted = signal.Signals(number).name
        else:
            self._raised = True
            raise KeyboardInterrupt


class _Acting:
    """Methods of its own instead of a generator: there is no instruction between them and the block."""

    def __init__(self, stop: Interruptions) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._stop._act()

    def __exit__(self, *_: object) -> None:
        self._stop._acts = False
