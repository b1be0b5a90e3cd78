"""Several files written together: all or none, and only those that change."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffusers_deis_sn.errors import PublishError
from diffusers_deis_sn.hub.atomic_write import DAY, check_writable, write_together
from refusals import refused


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


class FullDisk:
    """A disk that takes so many bytes in all, and renames."""

    def __init__(self, monkeypatch, room: int) -> None:
        self.room, self._open = room, Path.open
        monkeypatch.setattr(Path, "open", lambda path, mode="r": self._file(self._open(path, mode)))
        monkeypatch.setattr(Path, "write_bytes", lambda *_: self._write(None, b"0" * 10**9))
        monkeypatch.setattr("shutil.copy2", lambda *_: self._write(None, b"0" * 10**9))

    def _file(self, file):
        disk = self

        class Limited:
            def write(self, data):
                disk._write(file, data)

            def __getattr__(self, name):
                return getattr(file, name)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

        return Limited()

    def _write(self, file, data: bytes) -> None:
        if file is not None:
            file.write(data[: self.room])
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("room", [0, 1, 3, 6, 11])
def test_a_full_disk_leaves_all_old_files(tmp_path, monkeypatch, room):
    old = {tmp_path / name: f"old {name}".encode() for name in "abc"}
    write_together(old)
    with monkeypatch.context() as patch:
        FullDisk(patch, room)
        with pytest.raises(OSError, match="No space"):
            write_together({path: b"newer" for path in old})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_what_was_renamed_is_renamed_back_without_room(tmp_path, monkeypatch):
    """The third name belongs to a folder, which no file replaces; on a disk that has room for the new ones alone."""
    old = {tmp_path / name: f"old {name}".encode() for name in "ab"}
    write_together(old)
    (tmp_path / "z").mkdir()
    with monkeypatch.context() as patch:
        FullDisk(patch, 15)
        with pytest.raises(OSError, match="z"):
            write_together({tmp_path / name: b"newer" for name in "abz"})
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == old


def _no_link(*_: object) -> None:
    raise OSError(errno.EPERM, "no")


def test_where_files_cannot_have_two_names_they_are_copied_first(tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", _no_link)
    test_files_that_cannot_all_be_written_stay_as_they_were(tmp_path)
    write_together({tmp_path / name: b"new" for name in "ab"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_readers_find_a_whole_file_at_any_time(tmp_path):
    """A process writes without end, and is killed; another one only ever reads one of the two contents."""
    program = (
        "import sys; from pathlib import Path; from diffusers_deis_sn.hub.atomic_write import write_together\n"
        "a, b = Path(sys.argv[1], 'a'), Path(sys.argv[1], 'b')\n"
        "while True:\n"
        "    for letter in (b'x', b'y'): write_together({a: letter * 100_000, b: letter * 100_000})"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as writer:
        file, seen, end = tmp_path / "a", set(), time.monotonic() + 60.0
        while len(seen) < 2 and time.monotonic() < end:
            if file.exists():
                data = file.read_bytes()
                seen.add(data[:1])
                assert data == data[:1] * 100_000
        writer.send_signal(signal.SIGKILL)
    assert seen == {b"x", b"y"}
    write_together({tmp_path / name: b"z" for name in "ab"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"], "what the killed one left is gone"


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_what_is_left_of_dead_processes_is_deleted_and_nothing_else(tmp_path):
    dead, alive = dead_process(), os.getpid()
    left = [f".a.{dead}-0123abcd.tmp", f".a.{alive}-00000000.tmp", f".a.{10**30}-0123abcd.tmp"]
    kept = [f".a.{alive}-0123abcd.tmp", f".b.{dead}-0123abcd.tmp", ".a.tmp", ".a.notes.tmp", f"a.{dead}-0123abcd.tmp"]
    kept += [f".a.{dead}-0123abcd.txt", f".a.{dead}-0123ABCD.tmp", f".aa.{dead}-0123abcd.tmp"]
    for name in (*left, *kept):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / left[1], (time.time() - 2 * DAY,) * 2)
    write_together({tmp_path / "a": b"whole"})
    assert {path.name for path in tmp_path.iterdir()} == {"a", *kept}


def test_a_name_as_long_as_names_may_be_is_written(tmp_path):
    path = tmp_path / ("m" * 251 + ".txt")
    write_together({path: b"one"})
    write_together({path: b"two", tmp_path / "b": b""})
    assert path.read_bytes() == b"two" and len(list(tmp_path.iterdir())) == 2


def test_whether_a_file_can_be_written_is_known_before(tmp_path):
    check_writable(tmp_path / "a" / "b" / "c.txt", PublishError)
    check_writable(Path("c.txt"), PublishError)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("old")
    refused(PublishError, ["is a folder", "Choose another name"], check_writable, tmp_path, PublishError)
    for place in (tmp_path / "file" / "c.txt", Path("/proc/nowhere/c.txt")):
        words = ["Nothing can be written", "Choose another folder"]
        refused(PublishError, words, check_writable, place, PublishError)


def test_links_are_followed_and_stay(tmp_path):
    file, link, dangling = tmp_path / "there" / "a", tmp_path / "link", tmp_path / "dangling"
    file.parent.mkdir()
    file.write_bytes(b"old")
    link.symlink_to(file)
    dangling.symlink_to(tmp_path / "there" / "b")
    check_writable(link, PublishError)
    assert write_together({link: b"new", dangling: b"more"}) == [link, dangling]
    assert link.is_symlink() and dangling.is_symlink()
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == {"a": b"new", "b": b"more"}


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_what_is_no_file_is_written_into_and_not_replaced(tmp_path):
    """As /dev/null and /dev/stdout are, which a rename by root would take from the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe, PublishError)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert write_together({pipe: b"list", tmp_path / "a": b"file"}) == [pipe, tmp_path / "a"]
    assert os.read(reader, 9) == b"list" and pipe.is_fifo() and (tmp_path / "a").read_bytes() == b"file"
    os.close(reader)
