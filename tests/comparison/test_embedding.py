"""Pictures in the page: pixel pictures as they are, large ones within the budget."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from comparisons import picture
from diffusers_deis_sn.comparison.embedding import embedded, shrunk


def photo(seed: int, size: int = 512) -> bytes:
    values = np.random.default_rng(seed).normal(0.0, 1.0, (size, size, 3)).cumsum(0).cumsum(1)
    values = 255.0 * (values - values.min()) / np.ptp(values)
    data = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(data, "WEBP", quality=90)
    return data.getvalue()


def test_pixel_pictures_are_not_touched() -> None:
    found = embedded({("a", 8): (picture(1),)}, [("a", 8)])
    head, _, text = found["a", 8][0].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(text) == picture(1)


def test_large_pictures_fit_the_budget() -> None:
    photos = {("a", n): tuple(photo(10 * n + i) for i in range(3)) for n in range(3)}
    whole = sum(len(one) for some in photos.values() for one in some)
    found = embedded(photos, photos, budget=whole // 3)
    size = sum(len(one) for some in found.values() for one in some)
    assert size < 1.5 * whole // 3
    assert all(one.startswith("data:image/webp") for some in found.values() for one in some)


def test_keys_without_pictures_are_left_out() -> None:
    assert embedded({("a", 8): ()}, [("a", 8), ("b", 8)]) == {}


def test_shapes_are_kept() -> None:
    data = io.BytesIO()
    Image.new("RGB", (800, 400)).save(data, "PNG")
    assert Image.open(io.BytesIO(shrunk(data.getvalue(), 200))).size == (200, 100)
