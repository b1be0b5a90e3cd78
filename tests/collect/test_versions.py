"""The libraries that a measurement names."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

import diffusers_deis_sn
from diffusers_deis_sn.collect import versions


def test_each_says_its_own_version():
    found = versions.versions()
    assert found["diffusers_deis_sn"] == diffusers_deis_sn.__version__
    assert (found["torch"], found["numpy"]) == (torch.__version__, np.__version__)


def test_one_that_is_not_installed_is_left_out(monkeypatch):
    def missing(name: str) -> str:
        if name == "transformers":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(versions, "version", missing)
    assert versions.versions().keys() == {"diffusers_deis_sn", "torch", "diffusers", "numpy"}
