"""From a name to a local file: a path, a folder or a repository on the Hub."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.core.value_types import shown
from diffusers_deis_sn.errors import StatisticsError, StatisticsNotFoundError, StatisticsUnreachableError
from diffusers_deis_sn.hub.download import HubName, HubOptions, commit_of, first_file
from diffusers_deis_sn.hub.errors import MissingFileError
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.names import FILE_NAME, PLACES, SIDE_FILE, SIDE_FOLDER, check_revision

logger = logging.getLogger("diffusers_deis_sn")

_MEASURE = "Measure them with `deis-sn calibrate`, or check the name."


@dataclass(frozen=True)
class Located:
    """A statistics file that was found.

    Args:
        path: The local file, in the Hub's cache if it came from there.
        name: What finds the same file again: the path of what was given, or "user/repo/folder@commit".
    """

    path: Path
    name: str


def locate(
    source: str | PathLike[str],
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    **hub_options: Any,
) -> Path:
    """Local file that a name stands for; see `find`."""
    return find(source, subfolder=subfolder, revision=revision, **hub_options).path


def find(
    source: str | PathLike[str],
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    **hub_options: Any,
) -> Located:
    """Local file that a name stands for, and a name for it that stays true.

    Args:
        source: A file; a folder that has it at one of `PLACES`; or, if nothing of that name is here, a repository on
            the Hub, "user/repo", or a folder of one, "user/repo/folder", either with "@revision". A `Path` is never
            taken for a Hub name.
        subfolder: Folder below the one that `source` names.
        revision: Commit, branch or tag, if the name does not say.
        **hub_options: See `hub.download.HubOptions`; the environment variable HF_HUB_OFFLINE counts too.

    Raises:
        StatisticsError: An option that is none of those.
        StatisticsNotFoundError: No such file, folder or repository, or one without statistics.
        StatisticsAccessError: The Hub refuses.
        StatisticsUnreachableError: Not cached, and the Hub was not asked, did not answer or failed.
    """
    options = HubOptions.of(hub_options)
    if subfolder is not None and not isinstance(subfolder, str):
        raise StatisticsError(f"`subfolder` must be a text or None, got {shown(subfolder)}. Leave it out for none.")
    check_revision(revision, StatisticsError)
    path = path_of(source, "The place of statistics", StatisticsNotFoundError)
    if path.is_file():
        return Located(path, str(path.resolve()))
    if path.is_dir():
        below = path_of(path / subfolder, "`subfolder`", StatisticsNotFoundError) if subfolder else path
        found = _in_folder(below)
        return Located(found, str(found.resolve()))
    name = HubName.parse(source) if isinstance(source, str) and path.suffix != ".safetensors" else None
    if name is None:
        raise StatisticsNotFoundError(
            f"No statistics at {str(source)!r}: there is no such file or folder, and a Hub name looks like user/repo, "
            f"user/repo@revision or user/repo/folder@revision. {_MEASURE}"
        )
    name = replace(name.below(subfolder or ""), revision=name.revision or revision)
    try:
        return find_on_hub(name, options)
    except StatisticsNotFoundError as error:  # for those who meant a folder
        raise type(error)(f"There is no file or folder {source!r} here. {error}") from error.__cause__


def find_on_hub(name: HubName, options: HubOptions) -> Located:
    """`find` where a name is known to be one on the Hub. Raises StatisticsNotFoundError where nothing is there."""
    try:
        found = first_file(name, PLACES, options)
    except MissingFileError as error:
        raise StatisticsNotFoundError(f"{error} {_MEASURE}") from None
    return Located(found, str(replace(name, revision=commit_of(found) or name.revision)))


def side_file(
    pretrained: str | PathLike[str],
    subfolder: str | None = None,
    *,
    revision: str | None = None,
    **hub_options: Any,
) -> Located | None:
    """The statistics that lie beside a scheduler's config, one folder deeper; None where there are none.

    To be asked with the commit that the config was loaded from: then the answer, yes or no, comes from the cache, if
    it was given before. Who asks to work offline, by HF_HUB_OFFLINE or `local_files_only`, and has the config in the
    cache but no answer about the statistics, gets None and a warning: sampling is right without them, only less
    accurate, and a pipeline that was cached for its former scheduler would not load at all otherwise. A Hub that
    fails unexpectedly is an error, for the same program must not sample differently by chance.

    Args:
        pretrained: Folder, config file or Hub repository that the scheduler is loaded from.
        subfolder: Folder in it with the config, such as "scheduler".
        revision: Commit, branch or tag of the repository.
        **hub_options: See `hub.download.HubOptions`.

    Raises:
        StatisticsError: An option that is none of those.
        StatisticsNotFoundError: There is no such repository or revision.
        StatisticsAccessError: The Hub refuses to say.
        StatisticsUnreachableError: The Hub did not answer or failed, and the cache does not know.
    """
    path = path_of(pretrained, "`pretrained_model_name_or_path`", StatisticsNotFoundError)
    if path.exists() or not isinstance(pretrained, str):
        beside = (path.parent if path.is_file() else path / (subfolder or "")) / SIDE_FILE
        return Located(beside, str(beside.resolve())) if beside.is_file() else None
    options = HubOptions.of(hub_options)
    options = replace(options, force_download=options.force_download and not options.local_files_only)
    name = HubName(pretrained, (subfolder or "").strip("/"), revision)
    try:
        found = first_file(name, [SIDE_FILE], options)
        place = name.below(SIDE_FILE.rpartition("/")[0])
        return Located(found, str(replace(place, revision=commit_of(found) or name.revision)))
    except MissingFileError:
        return None
    except StatisticsUnreachableError as error:
        if not options.offline:
            raise StatisticsUnreachableError(
                f"Whether {str(name)!r} has score statistics beside its scheduler's config is not known. {error} To go "
                "on without them, pass `stats=False`."
            ) from error
        logger.warning(
            "Whether %r has score statistics cannot be known offline: sampling without statistics. Load it once "
            "with a connection, or pass `stats=` a file, or False for none.",
            str(name),
        )
        return None


def destination(target: str | PathLike[str]) -> Path:
    """File that statistics saved to `target` go to.

    Args:
        target: A file name ending in .safetensors, or a folder, to be made if need be. A folder that holds a
            scheduler_config.json gets the file one folder deeper, as the format demands.

    Raises:
        StatisticsError: The folder is a file, or the name is none that a file can have.
    """
    path = path_of(target, "The place to save to")
    if path.suffix == ".safetensors" and not path.is_dir():
        folder = path.parent
    else:
        folder = path / SIDE_FOLDER if (path / "scheduler_config.json").exists() else path
        path = folder / FILE_NAME
    for parent in (folder, *folder.parents):
        if parent.exists() and not parent.is_dir():
            raise StatisticsError(
                f"Statistics are saved to a folder or to a name ending in .safetensors, and {str(parent)!r} is "
                "another file. Choose a folder."
            )
    return path


def _in_folder(folder: Path) -> Path:
    for place in PLACES:
        if (folder / place).is_file():
            return folder / place
    raise StatisticsNotFoundError(
        f"No statistics in the folder {str(folder)!r}: looked for {', '.join(PLACES)}. {_MEASURE}"
    )
