"""The exceptions of the package: public, and caught by those who know Python's own."""

from __future__ import annotations

import pytest

import diffusers_deis_sn
from diffusers_deis_sn import errors as module


def test_every_error_is_a_public_name() -> None:
    errors = {name for name in vars(diffusers_deis_sn.errors) if name.endswith("Error")}
    assert errors <= set(diffusers_deis_sn.__all__) and len(errors) > 10
    assert all(hasattr(diffusers_deis_sn, name) for name in diffusers_deis_sn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'banana'"):
        _ = diffusers_deis_sn.banana


def test_every_error_is_one_of_the_package_and_one_of_pythons_own():
    kinds = [one for one in vars(module).values() if isinstance(one, type) and one is not module.DeisSnError]
    assert len(kinds) > 10
    assert all(
        issubclass(one, module.DeisSnError) and issubclass(one, (ValueError, OSError, ImportError)) for one in kinds
    )
