"""Processes whose flow is known: what measurements and tests compare with."""
