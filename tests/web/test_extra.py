"""What is said where Gradio is missing or too old."""

from __future__ import annotations

import sys
from types import SimpleNamespace

from diffusers_deis_sn.errors import MissingExtraError
from diffusers_deis_sn.web.extra import needed
from refusals import refused


def test_without_gradio_the_remedy_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    refused(MissingExtraError, ["Gradio", 'pip install "diffusers-deis-sn[web]"'], needed)


def test_an_old_gradio_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(__version__="3.18.0"))
    refused(MissingExtraError, ["Gradio 6", "3.18.0", "diffusers-deis-sn[web]"], needed)


def test_a_new_one_is_given(monkeypatch) -> None:
    found = SimpleNamespace(__version__="6.31.0")
    monkeypatch.setitem(sys.modules, "gradio", found)
    assert needed() is found
