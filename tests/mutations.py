"""What disks, cables and editors do to a file: bits that flip, bytes that go, come, repeat and change places, edits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

Random = np.random.Generator


def mutations(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """So many files that differ from the one given, each by one of `KINDS`, taken in turn."""
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        changed = KINDS[made % len(KINDS)](data, random)
        if changed != data:  # a swap of two equal bytes is none
            made += 1
            yield changed


def _flipped(data: bytes, random: Random) -> bytes:
    place, changed = _place(data, random), bytearray(data)
    changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _overwritten(data: bytes, random: Random) -> bytes:
    start, length = _place(data, random), int(random.integers(1, 17))
    filling = bytes(length) if random.integers(2) else random.bytes(length)
    return data[:start] + filling[: len(data) - start] + data[start + length :]


def _truncated(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _without(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + data[start + int(random.integers(1, 9)) :]


def _with_more(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + random.bytes(int(random.integers(1, 9))) + data[start:]


def _repeated(data: bytes, random: Random) -> bytes:
    start, other, length = _place(data, random), _place(data, random), 8 * int(random.integers(1, 9))
    return data[:other] + data[start : start + length] + data[other + length :]


def _swapped(data: bytes, random: Random) -> bytes:
    changed, length = bytearray(data), int(random.choice([1, 2, 8]))
    one, other = (length * (_place(data, random) // length) for _ in range(2))
    part = changed[one : one + length]
    changed[one : one + length], changed[other : other + length] = changed[other : other + length], part
    return bytes(changed)


def _edited(data: bytes, random: Random) -> bytes:
    """A number, word or sign of the text in a file is another one of its kind, as an editor leaves it."""
    kind = (rb"\d", rb"[a-z_]+", rb"[{}\[\],:\"]", rb"\d+")[int(random.integers(4))]
    found = [one for one in re.finditer(kind, data)]
    if not found:
        return data
    one, other = (found[int(random.integers(len(found)))] for _ in range(2))
    return data[: one.start()] + other.group() + data[one.end() :]


def _place(data: bytes, random: Random) -> int:
    return int(random.integers(len(data)))


KINDS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flipped,
    _swapped,
    _truncated,
    _overwritten,
    _edited,
    _without,
    _repeated,
    _with_more,
)
