"""Pictures within the page: as small as will do, and no more of them than a few megabytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

from diffusers_deis_sn.comparison.grids import PIXELS

Key = tuple[str, int]
BUDGET = 3_500_000  # bytes of all pictures; as text in the page a third more
SIDES = (640, 512, 448, 384, 320, 256, 192, 128)
QUALITY = 82
TRIED = 6  # pictures that tell how large all will be


def embedded(
    pictures: Mapping[Key, Sequence[bytes]], keys: Iterable[Key], budget: int = BUDGET
) -> dict[Key, tuple[str, ...]]:
    """Pictures as `data:` addresses; pixel pictures as they are, large ones made smaller until all fit.

    Args:
        pictures: Files by scheduler and calls.
        keys: Those that are wanted, where there are any.
        budget: Bytes of all of them together.
    """
    wanted = {key: pictures[key] for key in dict.fromkeys(keys) if pictures.get(key)}
    files = [one for some in wanted.values() for one in some]
    if not files:
        return {}
    some = files[:: max(1, len(files) // TRIED)]
    for side in SIDES:
        size = sum(len(shrunk(one, side)) for one in some) / len(some) * len(files)
        if size <= budget:
            break
    return {key: tuple(address(shrunk(one, side)) for one in files) for key, files in wanted.items()}


def shrunk(data: bytes, side: int) -> bytes:
    """A picture whose longer side is at most `side`, as WebP; pixel pictures as they are."""
    with Image.open(io.BytesIO(data)) as picture:
        if max(picture.size) <= PIXELS and picture.format == "PNG":
            return data
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    text = io.BytesIO()
    small.save(text, "WEBP", quality=QUALITY)
    return text.getvalue()


def address(data: bytes) -> str:
    """The bytes as an address that holds them."""
    kind = "png" if data[:4] == b"\x89PNG" else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
