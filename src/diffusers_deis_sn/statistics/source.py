"""From a name to a local file: a path, a folder or a repository on the Hub."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import StatisticsError, StatisticsNotFoundError
from diffusers_deis_sn.statistics.format import FILE_NAME

# Never directly in a pipeline's `scheduler/`: there Diffusers would take the file for weights (stats/README.md).
PLACES = (FILE_NAME, f"score_statistics/{FILE_NAME}", f"scheduler/score_statistics/{FILE_NAME}")

_HUB_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_MEASURE = "Measure them with `deis-sn calibrate`, or check the name."


def locate(
    source: str | PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    token: str | bool | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """Local file that a name stands for.

    Args:
        source: A file; a folder that has it at one of `PLACES`; or, if nothing of that name is here, a repository on
            the Hub, "user/repo" or "user/repo@revision". A `Path` is never taken for a Hub name.
        revision: Commit, branch or tag, if the name does not say.
        cache_dir: As for `huggingface_hub.hf_hub_download`, and so are the others.
        token: The same.
        force_download: The same.
        local_files_only: The same.

    Raises:
        StatisticsNotFoundError: No such file, folder or repository, or one without statistics.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return _in_folder(path)
    name = _HUB_NAME.fullmatch(source) if isinstance(source, str) else None
    if name is None or path.suffix == ".safetensors":
        raise StatisticsNotFoundError(
            f"No statistics at {str(source)!r}: there is no such file or folder, and a Hub name looks like user/repo "
            f"or user/repo@revision. {_MEASURE}"
        )
    return _from_hub(
        name["repo"],
        name["revision"] or revision,
        cache_dir=cache_dir,
        token=token,
        force_download=force_download,
        local_files_only=local_files_only,
    )


def destination(target: str | PathLike[str]) -> Path:
    """File that statistics saved to `target` go to.

    Args:
        target: A file name ending in .safetensors, or a folder, to be made if need be. A folder that holds a
            scheduler_config.json gets the file one folder deeper, as the format demands.

    Raises:
        StatisticsError: The folder is a file.
    """
    path = Path(target).expanduser()
    if path.suffix == ".safetensors" and not path.is_dir():
        folder = path.parent
    else:
        folder = path / "score_statistics" if (path / "scheduler_config.json").exists() else path
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


def _from_hub(repo: str, revision: str | None, *, local_files_only: bool, **options: Any) -> Path:
    """The file from a repository on the Hub, or from the cache of it; tried at each of `PLACES`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"{repo}@{revision}" if revision else repo
    unreachable: Exception | None = None
    for place in PLACES:
        try:
            return Path(hf_hub_download(repo, place, revision=revision, local_files_only=local_files_only, **options))
        except LocalEntryNotFoundError as error:  # also an EntryNotFoundError, but says nothing about the repository
            unreachable, local_files_only = error, True
        except EntryNotFoundError:
            continue
        except RepositoryNotFoundError as error:
            raise _not_on_hub(name, "no such repository is public, nor open to the token in use", error) from error
        except RevisionNotFoundError as error:
            raise _not_on_hub(name, "the repository has no such revision", error) from error
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise _not_on_hub(name, "the Hub could not serve it", error) from error
    if unreachable is not None:
        raise _not_on_hub(name, "it is not in the cache and the Hub was not reached", unreachable) from unreachable
    raise _not_on_hub(name, f"the repository has none of {', '.join(PLACES)}", None)


def _not_on_hub(name: str, reason: str, cause: Exception | None) -> StatisticsNotFoundError:
    detail = f" ({' '.join(str(cause).split())[:200]})" if cause is not None else ""
    return StatisticsNotFoundError(
        f"No statistics at {name!r}: there is no such file or folder here, and on the Hub {reason}{detail}. {_MEASURE}"
    )
