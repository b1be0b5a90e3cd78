"""Files from repositories on the Hub: what a name says, what the cache knows, and errors that say what to do.

Everything is `huggingface_hub`'s: its cache, its token, and its variables HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME, ...
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import StatisticsError, StatisticsUnreachableError
from diffusers_deis_sn.hub.errors import (
    MissingFileError,
    client_errors,
    is_passing,
    no_file,
    raise_typed,
)
from diffusers_deis_sn.hub.sealed import SHA256

logger = logging.getLogger("diffusers_deis_sn")

RETRIES = (0.5, 1.0, 2.0)  # seconds between tries

_SEGMENT = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(
    rf"(?P<repo>{_SEGMENT}/{_SEGMENT})(?P<folder>(?:/{_SEGMENT})*)(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?"
)
_FOLDER = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubName:
    """A folder of a repository, "user/repo", "user/repo/sub/folder", either with "@revision".

    Args:
        repo: "user/repo".
        folder: Folder within it; empty for its root.
        revision: Commit, branch or tag; None for the default branch.
    """

    repo: str
    folder: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, text: object) -> HubName | None:
        """What the text names; None where it does not look like a name on the Hub."""
        found = _NAME.fullmatch(text) if isinstance(text, str) else None
        if found is None or ".." in found[0]:
            return None
        return cls(found["repo"], found["folder"].strip("/"), found["revision"])

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{folder}{revision}"

    def below(self, folder: str) -> HubName:
        """The name of a folder in this one."""
        return replace(self, folder="/".join(part for part in (self.folder, folder.strip("/")) if part))

    def file(self, path: str) -> str:
        """Name within the repository of a file in the folder."""
        return f"{self.folder}/{path}" if self.folder else path


_OPTIONS: dict[str, tuple[type, ...]] = {
    "cache_dir": (str, PathLike),
    "token": (str, bool),
    "force_download": (bool,),
    "local_files_only": (bool,),
}


@dataclass(frozen=True)
class HubOptions:
    """How to reach the Hub; all as for `huggingface_hub.hf_hub_download`.

    Args:
        cache_dir: Folder of the cache.
        token: A token, True for the stored one, False for none.
        force_download: Whether to download what is cached already.
        local_files_only: Whether to make do with what is cached.

    Raises:
        StatisticsError: An option of another type.
    """

    cache_dir: str | PathLike[str] | None = None
    token: str | bool | None = field(default=None, repr=False)
    force_download: bool = False
    local_files_only: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> HubOptions:
        """The options by name. Raises StatisticsError for a name that is none of them, or a value of another type."""
        known = [one.name for one in fields(cls)]
        if unknown := sorted(options.keys() - set(known)):
            raise StatisticsError(f"{unknown[0]!r} is no option of the Hub here. Those are {', '.join(known)}.")
        return cls(**options)

    def __post_init__(self) -> None:
        for name, kinds in _OPTIONS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kinds):
                told, got = " or ".join(kind.__name__ for kind in kinds), type(value).__name__  # it may be a token
                raise StatisticsError(f"`{name}` must be {told}, got {got}. Leave it out for that of the Hub's client.")

    @property
    def offline(self) -> bool:
        """Whether the caller or the environment has asked to make do with what is cached."""
        from huggingface_hub import constants

        return self.local_files_only or bool(constants.HF_HUB_OFFLINE)


def first_file(name: HubName, places: Sequence[str], options: HubOptions) -> Path:
    """The first of some files that the repository has, brought into the cache if need be.

    What the cache knows is not asked again: a commit whose answer is cached costs no request, and a branch costs one,
    which tells whether it has moved. Where the Hub fails, a cached copy serves, with a warning.

    Args:
        name: Folder of a repository.
        places: Files in it, the first choice first.
        options: How to reach the Hub.

    Raises:
        MissingFileError: The revision has none of the files.
        StatisticsNotFoundError: There is no such repository or revision.
        StatisticsAccessError: The Hub refuses to serve it to this token, or without one.
        StatisticsUnreachableError: Not cached, and the Hub was not asked, did not answer, failed, or sent something
            else than it had announced.
    """
    if options.force_download and options.offline:
        raise StatisticsUnreachableError(
            f"`force_download` asks the Hub for {str(name)!r}, and HF_HUB_OFFLINE or `local_files_only` forbids it. "
            "Leave one of them out."
        )
    # Looked up now: the download of a newer commit moves the cache's branch before it has the file.
    cached = None if options.force_download else _first_cached(name, places, options.cache_dir)
    if cached is not None and options.offline:
        return _sound(cached[1], name, cached[0], options)
    try:
        return _search(name, places, options)
    except StatisticsUnreachableError as error:
        if cached is None:
            raise
        place, path = cached
        logger.warning("%s Until then the cached copy of commit %s is used.", error, commit_of(path))
        return _sound(path, name, place, replace(options, local_files_only=True))


def _search(name: HubName, places: Sequence[str], options: HubOptions) -> Path:
    """`first_file` without its last resort."""
    certain = None if options.force_download else _first_cached(name, places, options.cache_dir, certain=True)
    if certain is not None and not is_commit(name.revision):
        place, path = certain
        try:
            newest = _download(name, place, options)
        except MissingFileError as error:
            name = replace(name, revision=error.commit or name.revision)
        else:
            if commit_of(newest) == commit_of(path):
                return newest
            name = replace(name, revision=commit_of(newest))  # where an earlier place may have one now
    for place in places:
        try:
            return _download(name, place, options)
        except MissingFileError as error:
            # So that all answers are of one commit, and remembered as such.
            name = replace(name, revision=error.commit or name.revision)
    files = " or ".join(repr(name.file(place)) for place in places)
    raise MissingFileError(f"The Hub repository {name.repo!r} has no {files}.", name.revision)


def _download(name: HubName, place: str, options: HubOptions) -> Path:
    """One file; of a commit, as the cache remembers it."""
    if is_commit(name.revision) and not options.force_download:
        known = cached_file(name, place, options.cache_dir)
        if isinstance(known, Path):
            return _sound(known, name, place, options)
        if known is False:
            raise MissingFileError(no_file(name.repo, name.revision, name.file(place)), name.revision)
    return _sound(_fetch(name, place, options), name, place, options)


def cached_file(name: HubName, file: str, cache_dir: str | PathLike[str] | None = None) -> Path | bool | None:
    """What the cache knows of a file: where it is, False for one that is known to be absent, None for unknown."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        known = try_to_load_from_cache(name.repo, name.file(file), cache_dir=_path(cache_dir), revision=name.revision)
    except HFValidationError:  # the download will say so
        known = None
    if known is None:
        return None
    return Path(known) if isinstance(known, str) else False


def is_folder(text: str) -> bool:
    """Whether a text names a folder below another one, and nothing above it."""
    return _FOLDER.fullmatch(text) is not None and ".." not in text


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit, which never changes."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def commit_of(path: Path) -> str | None:
    """Commit that a file in the cache belongs to."""
    parts = path.parts
    places = [place for place, part in enumerate(parts[:-1]) if part == "snapshots" and is_commit(parts[place + 1])]
    return parts[places[-1] + 1] if places else None


def _first_cached(
    name: HubName, places: Sequence[str], cache_dir: str | PathLike[str] | None, certain: bool = False
) -> tuple[str, Path] | None:
    """The first place that is cached; if it is to be certain, one before which none is unknown."""
    for place in places:
        known = cached_file(name, place, cache_dir)
        if isinstance(known, Path):
            return place, known
        if certain and known is None:
            return None
    return None


def _path(folder: str | PathLike[str] | None) -> Path | None:
    return None if folder is None else Path(folder).expanduser()


def _fetch(name: HubName, file: str, options: HubOptions) -> Path:
    """`hf_hub_download` with this package's errors, tried again where a connection broke."""
    from huggingface_hub import hf_hub_download

    download = partial(
        hf_hub_download,
        name.repo,
        name.file(file),
        revision=name.revision,
        cache_dir=_path(options.cache_dir),
        token=options.token,
        force_download=options.force_download,
        local_files_only=options.local_files_only,
    )
    try:
        for pause in RETRIES:
            try:
                return Path(download())
            except client_errors() as error:
                if options.offline or not is_passing(error):
                    raise
            time.sleep(pause)
        return Path(download())
    except client_errors() as error:
        raise_typed(error, name.repo, name.revision, name.file(file), token=options.token, offline=options.offline)


def _sound(path: Path, name: HubName, file: str, options: HubOptions) -> Path:
    """The file, once its content is what its repository says it is; downloaded anew if it is not.

    The cache names large files by the SHA-256 that the Hub announced, but the client compares only sizes.
    """
    if not _is_as_announced(path) and not (options.offline or options.force_download):
        path = _fetch(name, file, replace(options, force_download=True))
    if _is_as_announced(path):
        return path
    raise StatisticsUnreachableError(
        f"What the Hub sent for {name.file(file)!r} of the repository {name.repo!r} is not what it announced: its "
        f"SHA-256 is not {path.resolve().name}. Download it again with `force_download=True`; if that does not help, "
        "tell the repository's owner."
    )


def _is_as_announced(path: Path) -> bool:
    """Whether a cached file has the SHA-256 that it is named by; small files have no such name."""
    announced = path.resolve().name
    if SHA256.fullmatch(announced) is None:
        return True
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest() == announced
