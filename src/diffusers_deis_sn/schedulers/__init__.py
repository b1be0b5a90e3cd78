"""Thin adapters between the core and Diffusers: config in, the names that pipelines look for out."""

import diffusers.pipelines  # noqa: F401  (next to nothing once Diffusers is imported, as it is here)
