"""The file of an unfinished measurement: whole or refused, of this run or refused by name, and never lost."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from diffusers_deis_sn.collect.checkpoint import LARGEST, VERSION, Checkpoint, Keeper, remove
from diffusers_deis_sn.errors import CheckpointError
from refusals import refused

RUN = {"seed": 3, "batch_size": 8, "tolerance": 0.1, "costs": ["corrector"], "prompts": None}
TENSORS = {
    "times": np.array([999.0, 0.1 + 0.2]),
    "moments.count": np.array([2, 5], dtype=np.int64),
    "moments.mean": np.random.default_rng(0).normal(size=(3, 2)),
}
SAVED = Checkpoint(RUN, {"costs": ["corrector"], "sample_shape": [4, 8]}, TENSORS)


def test_what_is_written_is_read_back_bit_for_bit():
    read = Checkpoint.from_bytes(SAVED.to_bytes(), "here")
    assert (read.run, read.facts) == (SAVED.run, SAVED.facts)
    assert {name: one.tobytes() for name, one in read.tensors.items()} == {
        name: one.tobytes() for name, one in TENSORS.items()
    }


def test_no_byte_can_change_and_none_be_missing():
    """Every byte flipped, and every length: an error, or the same content (spaces that pad the header)."""
    data = SAVED.to_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x11
        try:
            read = Checkpoint.from_bytes(bytes(changed), "here")
        except CheckpointError as error:
            assert "--force" in str(error)
        else:
            assert read.to_bytes() == data
    for length in range(len(data)):
        refused(CheckpointError, ["'here'"], Checkpoint.from_bytes, data[:length], "here")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("data", [b"", b"notes", pickle.dumps(Bomb()), b"\xff" * 100, b"PK\x03\x04" + bytes(40)])
def test_other_files_are_refused_and_never_unpickled(tmp_path, data):
    path = tmp_path / "state"
    path.write_bytes(data)
    refused(CheckpointError, [str(path), "no checkpoint to go on from"], Keeper, path, True)
    assert path.read_bytes() == data


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr("diffusers_deis_sn.collect.checkpoint.VERSION", 7)
    data = SAVED.to_bytes()
    monkeypatch.undo()
    refused(CheckpointError, ["format version 7", f"version {VERSION}"], Checkpoint.from_bytes, data, "here")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 4}, "seed was 3, now 4"),
        ({"tolerance": 0.2, "costs": []}, 'costs was ["corrector"], now []; tolerance was 0.1, now 0.2'),
        ({"prompts": "ba8e612a74f869fb"}, 'prompts was null, now "ba8e612a74f869fb"'),
        ({"later": 1}, "later was null, now 1"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(change, told):
    refused(CheckpointError, ["'here'", told + "."], SAVED.check_run, RUN | change, "here")


def test_a_checkpoint_of_this_run_is_taken_also_where_only_a_part_is_known():
    SAVED.check_run(RUN | {"costs": ("corrector",)}, "here")
    SAVED.check_run({"seed": 3}, "here")


def test_a_file_that_is_there_is_gone_on_from_only_where_that_is_asked_for(tmp_path):
    path = tmp_path / "state.safetensors"
    assert Keeper(path, True).found is None and Keeper(path, False).found is None
    Keeper(path, False).write(SAVED)
    assert Keeper(path, True).found.run == RUN
    before = path.read_bytes()
    refused(CheckpointError, [str(path), "resume=True (--resume)", "--force"], Keeper, path, False)
    assert path.read_bytes() == before


def test_a_process_that_does_not_lead_neither_reads_nor_writes(tmp_path):
    (tmp_path / "state").write_text("mine")
    follower = Keeper(tmp_path / "state", False, leads=False)
    follower.write(SAVED)
    assert follower.found is None and follower.path == tmp_path / "state"
    assert (tmp_path / "state").read_text() == "mine"


def test_what_is_no_file_or_too_large_is_refused(tmp_path):
    refused(CheckpointError, [str(tmp_path), "is no file"], Keeper, tmp_path, True)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    refused(CheckpointError, ["large", str(LARGEST)], Keeper, tmp_path / "large", True)


class FullDisk:
    """A file that takes so many bytes, and no more."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> None:
        self.file.write(data[: self.room])
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 1, 7, 8, 100, -1])
@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_leaves_the_last_good_state(tmp_path, monkeypatch, room, first):
    path, opened = tmp_path / "state.safetensors", Path.open
    if not first:
        Keeper(path, False).write(SAVED)
    state = Checkpoint(RUN, {"n": 1}, TENSORS)
    room = room if room >= 0 else len(state.to_bytes()) - 1
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode="r": FullDisk(opened(self, mode), room))
        keeper = Keeper(path, True)
        told = "There is none yet" if first else "The last one is still there"
        refused(CheckpointError, [str(path), "No space left on device", told], keeper.write, state)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    Keeper(path, True).write(Checkpoint(RUN, {"n": 2}, TENSORS))
    assert Keeper(path, True).found.facts == {"n": 2}


def test_what_a_killed_process_left_is_cleared_away_and_nothing_else(tmp_path):
    path, other = tmp_path / "state.safetensors", tmp_path / ".other.safetensors.ab12.tmp"
    Keeper(path, False).write(SAVED)
    left = tmp_path / ".state.safetensors.ab12.tmp"
    for one in (left, other):
        one.write_bytes(b"half")
    assert Keeper(path, True).found is not None
    assert not left.exists() and other.exists()
    left.write_bytes(b"half")
    remove(path)
    assert [one.name for one in tmp_path.iterdir()] == [other.name]
    remove(path)
