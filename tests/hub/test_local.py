"""Names of files as people write them: a path, or an error that says what is wrong with the name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.errors import PublishError, StatisticsError
from diffusers_deis_sn.hub.local import path_of
from refusals import refused

NO_NAMES = {
    "": "empty name",
    "~nosuch-user/x": "unknown user",
    "a\0b": "zero byte",
    "m" * 5000: "no file here can have",
    "m" * 300: "no file here can have",
}


@pytest.mark.parametrize("name", [*NO_NAMES, None, 3, 1.5, b"bytes", ["a"], True], ids=lambda name: repr(name)[:20])
def test_what_is_no_name_is_refused(name):
    words = (
        NO_NAMES.get(name, "the name of a file or folder") if isinstance(name, str) else "the name of a file or folder"
    )
    refused(PublishError, ["`folder`", words], path_of, name, "`folder`", PublishError)


def test_a_home_is_opened(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~/a", "x") == tmp_path / "a" and path_of(Path("~"), "x") == tmp_path
    assert path_of("nowhere/to.be", "x") == Path("nowhere/to.be")


@given(st.text(max_size=400) | st.none() | st.integers() | st.binary(max_size=3))
def test_a_name_is_a_path_or_refused(name):
    try:
        path = path_of(name, "`output`")
    except StatisticsError as error:
        assert "`output`" in str(error)
    else:
        assert path.exists() in (True, False) and path.is_file() in (True, False)
