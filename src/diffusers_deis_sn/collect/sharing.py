"""The processes that share one measurement: accelerate and torch.distributed know them, and nothing here starts any.

What they tell each other are bytes, over the CPU (gloo) whatever the networks run on: they are few, and a peer that
dies is noticed at once instead of at the end of a time limit. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from diffusers_deis_sn.errors import CalibrationError, ProcessLostError

PATIENCE = timedelta(minutes=30)  # with a process that is there and says nothing: one batch is drawn meanwhile
_GOOD, _BAD = b"+", b"-"


@dataclass(frozen=True)
class Shards:
    """One of the processes of a measurement.

    Args:
        rank: Its number, from 0 on.
        world: How many there are.
        remedy: What to do when another is lost, for the message.
        group: The processes, as torch.distributed has them; None where there is one.
    """

    rank: int = 0
    world: int = 1
    remedy: str = ""
    group: Any = field(default=None, repr=False)

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def part(self, first: int, count: int) -> range:
        """Its own of the samples `first` to `first + count - 1`: neighbours, as many as the others have or one less."""
        start, stop = (-(-rank * count // self.world) for rank in (self.rank, self.rank + 1))
        return range(first + start, first + stop)

    def each(self, work: Callable[[], bytes]) -> list[bytes]:
        """What `work` gives in every process, in their order. All must call this, and all get the same.

        Raises:
            ProcessLostError: `work` failed in another process, or one is gone. What it raises here is raised here.
        """
        if self.world == 1:
            return [work()]
        mine, error = b"", None
        try:
            mine = _GOOD + work()
        except Exception as raised:  # whatever a pipeline raises: the others are waiting to be told
            mine, error = _BAD + (str(raised) or type(raised).__name__).encode(), raised
        try:
            told = self._exchange(mine)
        finally:
            if error is not None:
                raise error
        for rank, one in enumerate(told):
            if one.startswith(_BAD):
                raise ProcessLostError(f"Process {rank} of {self.world} failed: {one[1:].decode()} {self.remedy}")
        return [one[1:] for one in told]

    def led(self, work: Callable[[], bytes]) -> bytes:
        """What `work` gives in the first process, in all. Raises as `each` does."""
        return self.each(lambda: work() if self.leads else b"")[0]

    def _exchange(self, mine: bytes) -> list[bytes]:
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        try:
            distributed.all_gather(lengths, torch.tensor([len(mine)]), group=self.group)
            size = max(int(one) for one in lengths)
            padded = torch.frombuffer(bytearray(mine.ljust(size, b"\0")), dtype=torch.uint8)
            told = [torch.empty(size, dtype=torch.uint8) for _ in range(self.world)]
            distributed.all_gather(told, padded, group=self.group)
        except RuntimeError as error:
            raise ProcessLostError(
                f"One of the {self.world} processes ended, or did not answer for {PATIENCE}. {self.remedy}"
            ) from error
        return [bytes(one[: int(length)].numpy()) for one, length in zip(told, lengths, strict=True)]


ALONE = Shards()


def join(device: str | None = None) -> tuple[bool, str | None]:
    """Meet the other processes that a launcher started, if it did.

    Args:
        device: Where the caller wants the networks; None for what is there.

    Returns:
        Whether this process is the one that writes, and its own device: "cuda:1" of "cuda" or None.

    Raises:
        CalibrationError: More processes than GPUs.
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0, device
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return True, device
    from accelerate import PartialState

    cpu = (device or "").startswith("cpu") or not torch.cuda.is_available()
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if not cpu and local >= there:
        raise CalibrationError(
            f"Process {local} of this machine has no GPU of its own, for there are {there}. Start as many processes as "
            "there are GPUs, or measure on the CPU (--device cpu)."
        )
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    return state.is_main_process, device if cpu or (device or "cuda") != "cuda" else str(state.device)


def leave() -> None:
    """Part from the processes that `join` met; does nothing where there are none."""
    if distributed.is_available() and distributed.is_initialized():
        with suppress(RuntimeError, ValueError):  # one that is lost cannot say good-bye
            distributed.destroy_process_group()


@contextmanager
def sharing(place: str | None) -> Iterator[Shards]:
    """The processes that this one is among, for the time of one measurement; one where there are no others.

    Args:
        place: Name of the checkpoint, for the message when a process is lost; None for none.

    Raises:
        ProcessLostError: The others do not come.
    """
    join()
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        yield ALONE
        return
    kept = "Name a checkpoint and nothing is lost next time (checkpoint=)."
    if place is not None:
        kept = (
            f"What was measured before is kept in {place!r}: go on with the same arguments and resume=True (--resume), "
            "with any number of processes."
        )
    rank, world = distributed.get_rank(), distributed.get_world_size()
    try:
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as error:
        raise ProcessLostError(f"The {world} processes did not find each other: {error} {kept}") from error
    try:
        yield Shards(rank, world, kept, group)
    finally:
        with suppress(RuntimeError, ValueError):
            distributed.destroy_process_group(group)
