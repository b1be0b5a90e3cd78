"""Figures of what was measured; each function takes values and returns a matplotlib Figure, without global state.

Needs matplotlib, the extra `plot`.
"""
