"""All recipes, by families."""

from __future__ import annotations

from . import (
    recipes_images,
    recipes_newer_images,
    recipes_older,
    recipes_stable_diffusion,
    recipes_videos,
    recipes_worlds,
)
from .recipes import recipe_of

__all__ = [
    "recipe_of",
    "recipes_images",
    "recipes_newer_images",
    "recipes_older",
    "recipes_stable_diffusion",
    "recipes_videos",
    "recipes_worlds",
]
