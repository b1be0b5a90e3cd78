"""Work done in several processes of torch.distributed (gloo), forked from the one that tests."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed

LIMIT = 90  # seconds


def fork_each(world: int, work: Callable[[int], None]) -> list[int]:
    """Start `work(rank)` in so many processes that know each other; their ids."""
    meeting = Path(tempfile.mkdtemp()) / "meeting"
    return [_fork(rank, world, meeting, work) for rank in range(world)]


def _fork(rank: int, world: int, meeting: Path, work: Callable[[int], None]) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.alarm(LIMIT)  # a process that waits for ever shall not outlive the test
        torch.set_num_threads(1)
        distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
        work(rank)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def codes(processes: list[int]) -> list[int]:
    """How they ended: 0, 1 with an exception, or the negative number of a signal."""
    return [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in processes]


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is true, not for ever."""
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)
