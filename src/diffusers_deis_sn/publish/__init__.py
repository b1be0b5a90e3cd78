"""Giving statistics, and pipelines that use them, to other people: cards, figures, uploads and shareable pipelines."""
