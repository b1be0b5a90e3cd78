"""What a folder of published statistics holds: the file, its figures and its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import PublishError
from diffusers_deis_sn.hub.atomic_write import check_writable, write_together
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.names import FILE_NAME
from diffusers_deis_sn.plots.figures import normaliser_figure
from diffusers_deis_sn.plots.schedule import schedule_figure
from diffusers_deis_sn.plots.style import png
from diffusers_deis_sn.publish.card import card
from diffusers_deis_sn.statistics.record import ScoreStatistics

CARD = "README.md"
NO_NAME = "user/repo"  # in cards made before anybody has said where they will be; `push` fills it in
NORMALISER, SCHEDULE = "normaliser.png", "schedule.png"


@checked(PublishError)
def content(
    statistics: ScoreStatistics,
    name: str,
    *,
    model: str | None = None,
    notes: str | None = None,
    own: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:
    """Files of a folder by name: the statistics, normaliser.png, schedule.png where there are costs, and README.md.

    Args:
        statistics: The record.
        name: What `stats=` will be, such as "user/repo".
        model: As for `publish.card.card`.
        notes: The same.
        own: Files to take as they are instead of making them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    files = dict(own or {})
    if NORMALISER not in files:
        files[NORMALISER] = png(normaliser_figure(statistics))
    if SCHEDULE not in files and statistics.costs:
        files[SCHEDULE] = png(schedule_figure(statistics))
    if CARD not in files:
        figures = [figure for figure in (NORMALISER, SCHEDULE) if figure in files]
        files[CARD] = card(statistics, name, model=model, figures=figures, notes=notes).encode()
    return {FILE_NAME: statistics.to_bytes(), **dict(sorted(files.items()))}


@checked(PublishError)
def write_folder(
    statistics: ScoreStatistics,
    folder: str | Path,
    name: str,
    *,
    model: str | None = None,
    notes: str | None = None,
) -> list[Path]:
    """Write the file, its figures and its card into a folder; all of them, or none.

    Args:
        statistics: The record.
        folder: Made if need be; other files in it stay.
        name: What `stats=` will be.
        model: As for `publish.card.card`.
        notes: The same.

    Returns:
        The files that changed.

    Raises:
        PublishError: A name that no folder can have, or a place where nothing can be written.
        MissingExtraError: matplotlib is not installed.
        OSError: They could not be written after all.
    """
    place = path_of(folder, "`folder`", PublishError)
    check_writable(place / FILE_NAME, PublishError)
    files = content(statistics, name, model=model, notes=notes)
    return write_together({place / file: data for file, data in files.items()})


def own_files(folder: Path) -> dict[str, bytes]:
    """Card and figures that a folder has already."""
    names = (CARD, NORMALISER, SCHEDULE)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
