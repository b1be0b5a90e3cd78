"""Sealed files: what is written comes back bit for bit, and every other file is an error that says what it is."""

from __future__ import annotations

import hashlib
import json
import struct

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from diffusers_deis_sn.hub.sealed import SealError, UnknownVersionError, digest, header_of, read_json, seal, unseal

KEY = "kind_of_file"
DTYPES = st.sampled_from(["<f8", "<i8", "<f4", "|u1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text('abc_.\n"', min_size=1, max_size=5)


@given(
    st.dictionaries(NAMES, DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_side=3))), max_size=4),
    st.dictionaries(st.text(max_size=5).filter(lambda name: name not in ("sha256", "format_version")), VALUES),
)
def test_what_is_sealed_comes_back_bit_for_bit(tensors, facts):
    data = seal(tensors, facts, KEY, 3)
    found = unseal(data, KEY, 3)
    assert found.facts == facts
    assert {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()} == {
        name: (one.dtype, one.shape, one.tobytes()) for name, one in tensors.items()
    }
    assert seal(found.tensors, found.facts, KEY, 3) == data


def test_the_digest_is_that_of_the_specification():
    facts = b'{"a":[1,2.5],"format_version":1}'
    tensors = (
        b'["one","<f8",[2]]\n' + struct.pack("<2d", 0.5, -2.0) + b'["two","<i8",[1,2]]\n' + struct.pack("<2q", 3, 4)
    )
    arrays = {"two": np.array([[3, 4]]), "one": np.array([0.5, -2.0])}
    assert digest({"format_version": 1, "a": (1, 2.5)}, arrays) == hashlib.sha256(facts + tensors).hexdigest()


def test_each_part_of_a_tensor_counts():
    one = np.arange(4.0)
    others = [
        {"b": one},
        {"a": one.reshape(2, 2)},
        {"a": one.astype("<i8")},
        {"a": one[::-1]},
        {"a": one, "b": one},
        {},
    ]
    assert len({digest({}, tensors) for tensors in [{"a": one}, *others]}) == 7
    assert digest({}, {"a": one}) != digest({"a": None}, {"a": one})


def with_facts(text: str, key: str = KEY) -> bytes:
    return save({"a": np.ones(2)}, metadata={key: text})


SOUND = seal({"a": np.ones(2)}, {"fact": 1}, KEY, 1)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "is not a whole safetensors file"),
        (SOUND[:40], "is not a whole safetensors file"),
        (SOUND[:-1], "is truncated or damaged"),
        (SOUND + b"\0", "is truncated or damaged"),
        (save({"a": np.ones(2)}), "has no metadata key 'kind_of_file'"),
        (with_facts("{}", "other"), "has no metadata key 'kind_of_file'"),
        (with_facts("[1]"), "that is not a JSON object with `format_version`"),
        (with_facts("{}"), "that is not a JSON object with `format_version`"),
        (with_facts('{"format_version":1,"a":NaN}'), "that is not a JSON object"),
        (with_facts('{"format_version":1,"a":1e999}'), "that is not a JSON object"),
        (with_facts('{"format_version":1,"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "that is not a JSON object"),
        (with_facts('{"format_version":1}'), "has no `sha256` in its metadata"),
        (with_facts('{"format_version":1,"sha256":null}'), "has no `sha256` in its metadata"),
        (with_facts('{"format_version":1,"sha256":"00"}'), "is damaged: its content is not that of its SHA-256"),
        (SOUND.replace(b"fact", b"tact"), "is damaged: its content is not that of its SHA-256"),
    ],
)
def test_other_files_are_refused_by_what_they_are(data, rule):
    with pytest.raises(SealError) as error:
        unseal(data, KEY, 1)
    assert rule in str(error.value)


@pytest.mark.parametrize("version", [0, 2, 1.0, "1", True, None])
def test_the_version_comes_before_the_digest(version):
    with pytest.raises(UnknownVersionError, match="and this package reads version 1"):
        unseal(with_facts(json.dumps({"format_version": version})), KEY, 1)


def test_numbers_that_no_json_has_are_not_written():
    with pytest.raises(ValueError, match="JSON compliant"):
        seal({}, {"fact": float("nan")}, KEY, 1)


def test_a_header_is_json_and_nothing_else():
    assert header_of(SOUND)["a"]["dtype"] == "F64" and header_of(b"\x02\0\0\0\0\0\0\0[]") is None
    assert read_json("[1e300]") == [1e300] and read_json("[-Infinity]") is None and read_json("") is None
