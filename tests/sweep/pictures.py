"""The pictures that pipelines are given."""

from __future__ import annotations

import PIL.Image

from tiny_pipelines.registry import image, masked_image


def picture() -> PIL.Image.Image:
    """The fixed random picture of the tiny pipelines as pipelines are given one."""
    return PIL.Image.fromarray((255.0 * image()[0].permute(1, 2, 0)).byte().numpy())


def mask() -> PIL.Image.Image:
    """Its middle."""
    return PIL.Image.fromarray((255.0 * masked_image()["mask_image"][0, 0]).byte().numpy())
