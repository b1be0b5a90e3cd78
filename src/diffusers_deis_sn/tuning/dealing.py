"""Batches dealt out to processes, and what all of them found put together again, in the order of the batches.

Whatever the number of processes, a batch is the same and so is what is made of it; only who asks the network differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from safetensors.torch import load, save
from torch import Tensor

from diffusers_deis_sn.collect.sharing import Shards
from diffusers_deis_sn.errors import CalibrationError


def own(shards: Shards, count: int) -> range:
    """Numbers of the batches that are this process's own."""
    return range(shards.rank, count, shards.world)


def gathered(shards: Shards, work: Callable[[], Mapping[int, Tensor]]) -> list[Tensor]:
    """What `work` gives for its own batches, of all processes by the numbers of the batches.

    Raises:
        ProcessLostError: It failed in another process. What it raises here is raised here.
    """
    if shards.world == 1:
        found = dict(work())
    else:
        told = shards.each(lambda: save({str(number): one.contiguous() for number, one in work().items()}))
        found = {int(name): one for part in told for name, one in load(part).items()}
    return [found[number] for number in sorted(found)]


def largest(batch_size: int, samples: int, shards: Shards) -> int:
    """Size of batches of which every process has one. Raises CalibrationError for more processes than samples."""
    if samples and samples < shards.world:
        raise CalibrationError(
            f"{shards.world} processes cannot share {samples} samples (`num_samples`, `num_held_out`). Start fewer."
        )
    return min(batch_size, samples // shards.world) if samples else batch_size
