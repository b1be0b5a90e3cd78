"""Names of statistics files: in a folder or a repository, and beside the config of a saved scheduler."""

from __future__ import annotations

# Never directly in a pipeline's `scheduler/`: there Diffusers would take the file for weights (stats/README.md).
FILE_NAME = "score_statistics.safetensors"
SIDE_FOLDER = "score_statistics"  # beside a scheduler's config
SIDE_FILE = f"{SIDE_FOLDER}/{FILE_NAME}"
PLACES = (FILE_NAME, SIDE_FILE, f"scheduler/{SIDE_FILE}")  # where one is looked for in a folder, in turn
