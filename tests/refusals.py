"""How bad input must be refused: a typed error that names rule, value and remedy in one sentence or more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from diffusers_deis_sn.errors import DeisSnError


def refused(
    error: type[Exception], words: list[str], function: Callable[..., Any], *arguments: Any, **options: Any
) -> None:
    """Assert that the call raises the error, in one line that ends its sentence and has all the words."""
    with pytest.raises(error) as raised:
        function(*arguments, **options)
    message = str(raised.value)
    assert isinstance(raised.value, DeisSnError)
    for word in words:
        assert word in message, message
    assert message.endswith(".") and "\n" not in message
