"""Values of all kinds, most of which are wrong anywhere, and what an error about one must be like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import torch
from hypothesis import strategies as st

from diffusers_deis_sn.errors import DeisSnError

ODD: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "minus": -1,
    "large": 10**12,
    "too large for a float": 10**400,
    "half": 0.5,
    "whole float": 2.0,
    "infinity": float("inf"),
    "minus infinity": -float("inf"),
    "nan": float("nan"),
    "complex": 1j,
    "empty text": "",
    "text": "three",
    "number as text": "3",
    "surrogate": "\ud800",
    "zero byte": "a\0b",
    "unknown home": "~nosuch-user/x",
    "long text": "m" * 5000,
    "bytes": b"x",
    "empty list": [],
    "list": [1],
    "list of texts": ["a"],
    "ragged": [[1], [1, 2]],
    "tuple": (1, 2),
    "dict": {},
    "filled dict": {"a": 1},
    "set": {1},
    "object": object(),
    "class": int,
    "function": len,
    "path": Path("nowhere"),
    "numpy int": np.int64(2),
    "numpy float": np.float32(0.5),
    "numpy nan": np.float64("nan"),
    "numpy bool": np.bool_(True),
    "array": np.ones(3),
    "empty array": np.zeros(0),
    "tensor": torch.tensor(1.0),
    "int tensor": torch.tensor([1, 2]),
    "empty tensor": torch.zeros(0),
}

ODDITIES = (
    st.sampled_from(list(ODD.values()))
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.lists(st.integers() | st.floats() | st.text(max_size=3), max_size=3)
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=2, max_side=2))
)
"""The same and any others."""


def is_typed(error: Exception) -> bool:
    """Whether an error is one of the package's, in one line that ends its sentence."""
    return isinstance(error, DeisSnError) and "\n" not in str(error) and str(error).endswith(".")
