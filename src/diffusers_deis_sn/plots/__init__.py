"""Figures of what was measured; each function takes values and returns a matplotlib Figure, without global state.

Needs the extra `plot`: pip install "diffusers-deis-sn[plot]".
"""
