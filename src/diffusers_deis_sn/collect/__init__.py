"""Measuring a model's score through the narrowest public door: a scheduler sees (output, time, sample) of any pipeline.

Prompts, guidance, offloading and latents are already inside what arrives there. Nothing here knows a network.
"""
