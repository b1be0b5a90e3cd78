"""Several files written together: all or none, and only those that change."""

from __future__ import annotations

import os

import pytest

from diffusers_deis_sn.hub.atomic_write import write_together


def test_files_that_cannot_all_be_written_stay_as_they_were(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"old {name}")
    (tmp_path / "z").mkdir()  # which no file can replace
    with pytest.raises(OSError, match="z"):
        write_together({tmp_path / name: b"new" for name in ("a", "b", "c", "z")})
    (tmp_path / "z").rmdir()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old a", "b": "old b"}


def test_a_file_with_that_content_is_not_touched_and_folders_are_made(tmp_path):
    old, new = tmp_path / "old", tmp_path / "a" / "b" / "new"
    old.write_bytes(b"same")
    os.utime(old, ns=(0, 0))
    assert write_together({old: b"same", new: b"more"}) == [new]
    assert old.stat().st_mtime_ns == 0 and new.read_bytes() == b"more"
    assert [path.name for path in new.parent.iterdir()] == ["new"], "nothing unfinished is left"
