"""The experiments of the score-optimal paper, and learned time grids against named ones."""
