"""The suite: small real networks, Diffusers' own samplers at their best, and what DEIS-SN makes of the same noise."""
