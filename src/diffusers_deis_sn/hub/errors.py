"""What the Hub's client raises, turned into this package's errors, which say what to do.

The client knows some dozen errors and lets through those of the library that makes its requests, which is another in
each of its versions 0, 1 and 2.
"""

from __future__ import annotations

import re
from typing import NoReturn

from diffusers_deis_sn.errors import StatisticsAccessError, StatisticsNotFoundError, StatisticsUnreachableError

SERVER_ERRORS = (500, 502, 503, 504)
_TOKEN = re.compile(r"\bhf_\w+|(?<=Bearer )\S+")

Kind = type[StatisticsNotFoundError]


class MissingFileError(StatisticsNotFoundError):
    """The repository answered that this revision has no such file; `commit` is the revision's, where it told."""

    def __init__(self, message: str, commit: str | None) -> None:
        super().__init__(message)
        self.commit = commit


def client_errors() -> tuple[type[Exception], ...]:
    """Everything that the client raises where the network, the Hub or a name is at fault."""
    from huggingface_hub import errors

    # What is common to all errors of the library that makes the requests; not all of them are OSErrors.
    transport = errors.HfHubHTTPError.__bases__
    return (OSError, ValueError, RuntimeError, errors.EntryNotFoundError, *transport)


def is_passing(error: BaseException) -> bool:
    """Whether another try may do: what the client itself takes up again only in some of its versions."""
    from huggingface_hub import __version__, errors

    if __version__.startswith("0."):  # takes up next to nothing, and hides the reason behind a miss in the cache
        error = root_of(error)
        if status_of(error) in SERVER_ERRORS:
            return True
    transport = (OSError, *errors.HfHubHTTPError.__bases__)
    broken = isinstance(error, transport) and not isinstance(error, errors.EntryNotFoundError)
    return broken and status_of(error) is None and getattr(error, "filename", None) is None


def raise_typed(
    error: Exception,
    repo: str,
    revision: str | None,
    file: str,
    *,
    token: str | bool | None = None,
    offline: bool = False,
) -> NoReturn:
    """Raise what this package makes of an error of the Hub's client.

    Args:
        error: What the client raised, one of `client_errors`.
        repo: The repository.
        revision: Its revision, None for the default branch.
        file: The file that was asked for.
        token: The token in use, which no message may hold.
        offline: Whether the Hub was not to be asked.

    Raises:
        MissingFileError: The revision has no such file.
        StatisticsNotFoundError: There is no such repository or revision.
        StatisticsAccessError: The Hub refuses.
        StatisticsUnreachableError: Everything else, be it of the network, of the Hub or of the cache.
        OSError: The error itself, where it is one of the local disk.
    """
    source = root_of(error)
    if isinstance(source, OSError) and source.filename is not None and not isinstance(source, FileNotFoundError):
        raise error  # a full or read-only disk, or a folder without permission; the error names it
    kind, message = _explained(source, repo, revision, file, offline)
    cause = error if not any(is_secret(str(one), token) for one in (error, source)) else None
    if kind is MissingFileError:
        headers = getattr(getattr(source, "response", None), "headers", {})
        raise MissingFileError(message, headers.get("X-Repo-Commit")) from cause
    raise kind(message.replace("{reason}", harmless(source, token))) from cause


def harmless(error: BaseException, token: str | bool | None = None) -> str:
    """Text of an error in one line, at most 200 characters, without anything that looks like a token."""
    text = " ".join(str(error).split()) or type(error).__name__
    if (used := _token_in_use(token)) is not None:
        text = text.replace(used, "<token>")
    return _TOKEN.sub("<token>", text)[:200].rstrip(". ")


def no_file(repo: str, revision: str | None, file: str) -> str:
    """The sentence that a repository does not have a file."""
    return f"The Hub repository {_named(repo, revision)} has no {file!r}."


def page_of(repo: str) -> str:
    """Address of a repository's page."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}"


def status_of(error: BaseException) -> int | None:
    """HTTP status that an error reports."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def root_of(error: BaseException) -> BaseException:
    """The error that tells most: a miss in the cache has what the server said, or did not say, as its cause."""
    return error.__cause__ if error.__cause__ is not None and status_of(error) is None else error


def is_secret(text: str, token: str | bool | None) -> bool:
    """Whether a text holds something that looks like a token, or the token in use."""
    used = _token_in_use(token)
    return _TOKEN.search(text) is not None or (used is not None and used in text)


def _token_in_use(token: str | bool | None) -> str | None:
    """The token that requests carry: the one given, or the stored one."""
    from huggingface_hub import get_token

    used = token if isinstance(token, str) else None if token is False else get_token()
    return used.strip() or None if used is not None else None


def _explained(source: BaseException, repo: str, revision: str | None, file: str, offline: bool) -> tuple[Kind, str]:
    """Class and message; "{reason}" in it stands for the error's own words."""
    from huggingface_hub import errors

    where = f"{file!r} of the Hub repository {_named(repo, revision)}"
    if isinstance(source, errors.GatedRepoError):
        return StatisticsAccessError, (
            f"The Hub does not serve {where} to everybody: it is gated. Accept its terms at {page_of(repo)}, and log "
            "in with `hf auth login` or give `token`."
        )
    if isinstance(source, errors.RepositoryNotFoundError):
        return StatisticsNotFoundError, (
            f"There is no Hub repository {repo!r}, or it is private and the token in use does not open it. Check the "
            "name, or log in with `hf auth login`."
        )
    if isinstance(source, errors.RevisionNotFoundError):
        return StatisticsNotFoundError, (
            f"The Hub repository {repo!r} has no revision {revision!r}. Its commits are listed at "
            f"{page_of(repo)}/commits."
        )
    if isinstance(source, errors.HFValidationError):
        return StatisticsNotFoundError, f"{repo!r} is no name of a Hub repository, which looks like user/repo."
    if isinstance(source, errors.EntryNotFoundError) and not isinstance(source, errors.LocalEntryNotFoundError):
        return MissingFileError, no_file(repo, revision, file)
    return _unserved(status_of(source), where, offline)


def _unserved(status: int | None, where: str, offline: bool) -> tuple[Kind, str]:
    """Class and message where the Hub would not, could not or must not answer."""
    if offline:
        return StatisticsUnreachableError, (
            f"Not cached: {where}. The Hub is not asked, because of HF_HUB_OFFLINE or `local_files_only`. Load it once "
            "with a connection, or name a local folder."
        )
    if status in (401, 403):
        return StatisticsAccessError, (
            f"The Hub refuses {where}, status {status}: the token is wrong, has expired or lacks the permission. Log "
            "in anew with `hf auth login`, or give another `token`."
        )
    if status == 429:
        return StatisticsUnreachableError, (
            f"The Hub did not serve {where}, status 429: too many requests. Wait some minutes; more are allowed to "
            "those who log in with `hf auth login`."
        )
    reason = "{reason}" if status is None else f"status {status}"
    return StatisticsUnreachableError, (
        f"The Hub did not serve {where}: {reason}. Try again later, check the connection and HF_ENDPOINT, or name a "
        "local folder."
    )


def _named(repo: str, revision: str | None) -> str:
    return repr(f"{repo}@{revision}" if revision else repo)
