"""Names of statistics files, in a folder or a repository and beside a saved scheduler's config; and of revisions."""

from __future__ import annotations

import re

from diffusers_deis_sn.core.value_types import shown
from diffusers_deis_sn.errors import DeisSnError

# Never directly in a pipeline's `scheduler/`: there Diffusers would take the file for weights (stats/README.md).
FILE_NAME = "score_statistics.safetensors"
SIDE_FOLDER = "score_statistics"  # beside a scheduler's config
SIDE_FILE = f"{SIDE_FOLDER}/{FILE_NAME}"
PLACES = (FILE_NAME, SIDE_FILE, f"scheduler/{SIDE_FILE}")  # where one is looked for in a folder, in turn

_REVISION = re.compile(r"(?!.*(\.\.|@\{|//))[^\W_][\w./+@-]*")


def check_revision(revision: object, error: type[DeisSnError]) -> None:
    """Raise an error, of a kind, for what git lets no commit, branch or tag be called; None is none."""
    if revision is not None and not (isinstance(revision, str) and _REVISION.fullmatch(revision)):
        raise error(
            f"`revision` must be a commit, branch or tag, such as main, got {shown(revision)}. Leave it out for the "
            "default."
        )
