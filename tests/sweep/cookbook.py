"""All recipes, by families."""

from __future__ import annotations

from . import recipes_images, recipes_stable_diffusion, recipes_videos
from .recipes import recipe_of

__all__ = ["recipe_of", "recipes_images", "recipes_stable_diffusion", "recipes_videos"]
