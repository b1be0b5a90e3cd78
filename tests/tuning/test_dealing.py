"""Batches of several processes: all are somebody's, and what comes of them does not depend on whose."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from diffusers_deis_sn import ScoreStatistics, calibrate
from diffusers_deis_sn.collect.sharing import ALONE, Shards, sharing
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, ProcessLostError
from diffusers_deis_sn.tuning import asking
from diffusers_deis_sn.tuning.dealing import gathered, largest, own
from diffusers_deis_sn.tuning.run import tune
from processes import codes, fork_each
from refusals import refused
from toy_models import ToyPipeline

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
FEW: dict[str, Any] = {"num_samples": 6, "num_held_out": 4, "batch_size": 2, "progress": False}


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_each_batch_is_one_process_own(world, count):
    dealt = [list(own(Shards(rank, world), count)) for rank in range(world)]
    assert sorted(number for part in dealt for number in part) == list(range(count))


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("samples", [5, 6, 16, 24])
def test_there_is_a_batch_for_each_process(world, samples):
    size = largest(8, samples, Shards(0, world))
    assert 1 <= size <= 8 and -(-samples // size) >= world
    assert largest(8, samples, ALONE) == min(8, samples)


def test_more_processes_than_samples_are_refused():
    refused(CalibrationError, ["5 processes", "4 samples"], largest, 8, 4, Shards(0, 5))
    assert largest(8, 0, Shards(0, 5)) == 8


def test_alone_they_come_in_order():
    parts = gathered(ALONE, lambda: {2: torch.ones(2), 0: torch.zeros(1)})
    assert [len(part) for part in parts] == [1, 2]


@forking
def test_all_know_what_each_found_bit_for_bit():
    each = [torch.randn(3, 2, generator=torch.Generator().manual_seed(n)).double() for n in range(5)]

    def work(rank: int) -> None:
        with sharing(None) as shards:
            parts = gathered(shards, lambda: {n: each[n] for n in own(shards, 5)})
            assert len(parts) == 5 and all(torch.equal(a, b) for a, b in zip(parts, each, strict=True))
            with pytest.raises(ZeroDivisionError if rank else ProcessLostError):
                gathered(shards, lambda: {0: torch.zeros(1 // (1 - rank))})

    assert codes(fork_each(2, work)) == [0, 0]


@forking
def test_plans_of_two_processes_are_those_of_one(tmp_path):
    stats = calibrate(ToyPipeline(), None, 4, 25, trials=0, progress=False)
    alone = tune(ToyPipeline(), None, 3, statistics=stats, **FEW)

    def work(rank: int) -> None:
        pipe = ToyPipeline()
        shared = tune(pipe, None, 3, statistics=stats, checkpoint=tmp_path / "state.safetensors", **FEW)
        shared.statistics.save(tmp_path / str(rank))
        (tmp_path / f"{rank}.calls").write_text(str(pipe.calls))

    assert codes(fork_each(2, work)) == [0, 0]
    one, two = (ScoreStatistics.load(tmp_path / str(rank)).plans for rank in range(2))
    assert one == two and len(one) == len(alone.plans) == 1
    for ours, theirs in zip(one.entries, alone.statistics.plans.entries, strict=True):
        np.testing.assert_allclose(ours.run.rho, theirs.run.rho, rtol=1e-6)
        np.testing.assert_allclose(ours.run.weights, theirs.run.weights, atol=1e-4)
        assert ours.error == pytest.approx(theirs.error, rel=1e-3)
    calls = [int((tmp_path / f"{rank}.calls").read_text()) for rank in range(2)]
    assert calls[1] >= 0.3 * calls[0]  # batches of fits are 2 and 1


@forking
@pytest.mark.parametrize("kind", [CalibrationInterruptedError, KeyboardInterrupt, RuntimeError])
def test_those_who_serve_hear_why_it_ends(kind):
    stats = calibrate(ToyPipeline(), None, 4, 25, trials=0, progress=False)

    def work(rank: int) -> None:
        ask, asked = asking.Asker.__call__, []

        def failing(self: Any, *question: Any) -> Any:
            asked.append(0)
            if len(asked) == 5:
                raise kind("enough")
            return ask(self, *question)

        asking.Asker.__call__ = failing  # of this process alone
        pipe = ToyPipeline()
        before = pipe.scheduler
        told = kind if rank == 0 or kind is CalibrationInterruptedError else ProcessLostError
        with pytest.raises(told, match="enough"):
            tune(pipe, None, 3, statistics=stats, **FEW)
        assert pipe.scheduler is before

    assert codes(fork_each(2, work)) == [0, 0]
