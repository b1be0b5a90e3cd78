"""Thin adapters between the solver and Diffusers: config in, the names that pipelines look for out."""
