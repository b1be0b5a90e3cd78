"""Tensors and facts in one file that tells damage: the layout of all safetensors files that this package writes.

The facts are one JSON object, sorted, compact and in ASCII, under one key of the metadata; one only, because
safetensors writes several in random order, and equal content shall be equal bytes. Two facts are of the layout itself:

    format_version   an integer, looked at before anything else
    sha256           64 hexadecimal digits, the SHA-256 of all other facts and of all tensors, see `digest`

Nothing is ever unpickled. Whoever reads has every bit of what was written, or an error: safetensors itself checks only
that the tensors fill the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

SEAL = "sha256"
SHA256 = re.compile(r"[0-9a-f]{64}")  # as it is written
VERSION = "format_version"


class SealError(ValueError):
    """Bytes that `seal` did not give; the message is what is wrong with the file, for the reader's own error."""


class UnknownVersionError(SealError):
    """A whole file of another version."""


class Sealed(NamedTuple):
    """What a file holds.

    Attributes:
        facts: Those that were sealed, without the two of the layout.
        tensors: By name.
    """

    facts: dict[str, Any]
    tensors: dict[str, NDArray[Any]]


def seal(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], key: str, version: int) -> bytes:
    """Bytes of a file; equal content gives equal bytes.

    Args:
        tensors: By name.
        facts: What JSON can hold, by name.
        key: Of the metadata, which says what kind of file it is.
        version: Of this kind.

    Raises:
        ValueError: Numbers among the facts that are not finite.
    """
    whole = {name: np.ascontiguousarray(one) for name, one in tensors.items()}
    payload = {**facts, VERSION: version}
    payload[SEAL] = digest(payload, whole)
    return safetensors_numpy.save(whole, metadata={key: _json(payload)})


def unseal(data: bytes, key: str, version: int) -> Sealed:
    """What the bytes of a file hold, once it is known to be what was written.

    Args:
        data: The whole file.
        key: As for `seal`.
        version: The one that can be read.

    Raises:
        UnknownVersionError: Another version.
        SealError: No safetensors file, one of another kind, or a damaged one.
    """
    header = header_of(data)
    if header is None:
        raise SealError("is not a whole safetensors file")
    facts = _facts(header.get("__metadata__"), key)
    if type(facts[VERSION]) is not int or facts[VERSION] != version:
        raise UnknownVersionError(f"has format version {facts[VERSION]!r}, and this package reads version {version}")
    try:
        tensors = dict(safetensors_numpy.load(data))
        sealed = facts.pop(SEAL, None)
        if sealed is None:
            raise SealError(f"has no `{SEAL}` in its metadata, so that it cannot be checked")
        if sealed != digest(facts, tensors):
            raise SealError("is damaged: its content is not that of its SHA-256")
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, SealError):
            raise
        raise SealError(f"is truncated or damaged: {error}") from error
    del facts[VERSION]
    return Sealed(facts, tensors)


def digest(facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of facts and tensors, in hexadecimal digits.

    Of the facts as JSON, and then for each tensor, by name, of a line `["name","<f8",[2,50]]` with its type as NumPy
    names it and its shape, a newline, and its bytes in C order.

    Args:
        facts: All but the digest itself.
        tensors: By name.

    Raises:
        ValueError: Numbers among the facts that are not finite.
    """
    found = hashlib.sha256(_json(facts).encode())
    for name, one in sorted(tensors.items()):
        found.update(f"{_json([name, one.dtype.str, list(one.shape)])}\n".encode())
        found.update(np.ascontiguousarray(one).tobytes())
    return found.hexdigest()


def header_of(data: bytes) -> dict[str, Any] | None:
    """The JSON header of a safetensors file, which stands behind eight bytes of length; None if there is none."""
    length = int.from_bytes(data[:8], "little")
    header = read_json(data[8 : 8 + length]) if len(data) >= 8 + length and length > 0 else None
    return header if isinstance(header, dict) else None


def read_json(text: bytes | str) -> Any:
    """Parsed JSON; None if it is not JSON, is nested beyond reason or has a number that is not finite."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _facts(metadata: object, key: str) -> dict[str, Any]:
    """The JSON object under the key, with a version of whatever kind."""
    text = metadata.get(key) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise SealError(f"has no metadata key {key!r}, so it holds something else")
    facts = read_json(text)
    if not isinstance(facts, dict) or VERSION not in facts:
        raise SealError(f"has a metadata key {key!r} that is not a JSON object with `{VERSION}`")
    return facts


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
