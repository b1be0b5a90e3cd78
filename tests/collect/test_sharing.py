"""Who shares a measurement, which samples are whose, and what happens where one process fails or is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch

from diffusers_deis_sn.collect.sharing import ALONE, Shards, join, leave, sharing
from diffusers_deis_sn.errors import CalibrationError, ProcessLostError
from processes import codes, fork_each
from refusals import refused

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [1, 2, 5, 7, 28, 29])
def test_parts_are_all_samples_in_order_and_the_first_process_always_has_some(world, count):
    parts = [Shards(rank, world).part(11, count) for rank in range(world)]
    assert [number for part in parts for number in part] == list(range(11, 11 + count))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1 and sizes[0] == max(sizes)


def test_without_a_launcher_there_is_one_process_and_accelerate_is_not_even_imported():
    program = (
        "import sys; from diffusers_deis_sn.collect.sharing import join, sharing\n"
        "with sharing(None) as shards: print(shards.world, join('cpu'), 'accelerate.state' in sys.modules)"
    )
    free = {name: one for name, one in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=free)
    assert done.stdout.split("\n")[0] == "1 (True, 'cpu') False"


def test_alone_work_is_done_and_errors_are_ones_own():
    assert ALONE.each(lambda: b"word") == [b"word"] and ALONE.led(lambda: b"word") == b"word"
    with pytest.raises(ZeroDivisionError):
        ALONE.each(lambda: bytes(1 // 0))
    leave()  # nobody


def test_more_processes_than_gpus_are_refused_before_any_is_met(monkeypatch):
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refused(CalibrationError, ["Process 2", "there are 2", "--device cpu"], join, None)


@forking
def test_all_hear_all_in_their_order_whatever_the_length(tmp_path):
    def work(rank: int) -> None:
        with sharing(None) as shards:
            assert shards.each(lambda: bytes([rank]) * rank * 1000) == [bytes([one]) * one * 1000 for one in range(3)]
            assert shards.each(lambda: b"") == [b""] * 3
            assert shards.led(lambda: str(rank).encode()) == b"0"
            assert join("cuda") == (rank == 0, "cuda")  # who made the group has chosen the devices as well

    assert codes(fork_each(3, work)) == [0, 0, 0]


@forking
def test_an_error_is_raised_where_it_is_and_told_elsewhere_with_the_remedy():
    def work(rank: int) -> None:
        with sharing("the-state") as shards:
            if rank == 1:
                with pytest.raises(ZeroDivisionError):
                    shards.each(lambda: bytes(1 // 0))
            else:
                told = ["Process 1 of 3 failed: integer", "'the-state'", "resume=True"]
                refused(ProcessLostError, told, shards.each, lambda: b"")
            assert shards.each(lambda: b"again") == [b"again"] * 3

    assert codes(fork_each(3, work)) == [0, 0, 0]


@forking
def test_a_killed_process_is_noticed_at_once_and_without_a_checkpoint_the_message_says_what_would_have_helped():
    def work(rank: int) -> None:
        with sharing(None) as shards:
            shards.each(lambda: b"")
            if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            refused(ProcessLostError, ["One of the 2 processes ended", "checkpoint="], shards.each, lambda: b"")

    assert codes(fork_each(2, work)) == [0, -signal.SIGKILL]
