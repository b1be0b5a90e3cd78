"""Uploading statistics to the Hub: file, figures and card in one commit, and nothing where nothing has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import PublishError
from diffusers_deis_sn.escaping import plain
from diffusers_deis_sn.hub.download import HubName
from diffusers_deis_sn.hub.errors import client_errors, harmless, is_secret, page_of, root_of, status_of
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.names import check_revision
from diffusers_deis_sn.hub.source import locate
from diffusers_deis_sn.publish.folder import CARD, NO_NAME, content, own_files
from diffusers_deis_sn.statistics.record import ScoreStatistics

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MESSAGE = "Upload score statistics"
WRITTEN = "be written"

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Published:
    """What an upload did, or would do.

    Args:
        name: What finds the statistics: "user/repo" or "user/repo/folder", with "@commit" once there is one.
        files: Size in bytes of each file, by its name in the repository.
        commit: The commit that has them; None for a dry run.
        url: Page of the commit, or of the pull request; of the repository for a dry run.
        changed: Whether a commit was made; False if the repository had all of it, None for a dry run.
    """

    name: str
    files: dict[str, int]
    commit: str | None
    url: str
    changed: bool | None


@checked(PublishError)
def push(
    statistics: ScoreStatistics,
    repo_id: str,
    *,
    files: dict[str, bytes] | None = None,
    notes: str | None = None,
    revision: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | bool | None = None,
    dry_run: bool = False,
) -> Published:
    """Publish statistics in a repository, which is made if need be.

    Everything is made and checked before the first request, and goes up in one commit. Pushing the same again makes no
    commit, as long as it is drawn by the same matplotlib.

    Args:
        statistics: The record.
        repo_id: "user/repo", or "user/repo/folder" for one folder of a repository.
        files: Card and figures to take as they are, by name; the others are made.
        notes: Markdown for the end of the card.
        revision: Branch to commit to; it must exist.
        private: Whether the repository shall be private; a public one is then refused.
        create_pr: Whether to open a pull request, to a repository that exists.
        commit_message: First line of the commit.
        token: A token that may write; by default the stored one.
        dry_run: Whether to make no request at all and only tell what would be uploaded.

    Returns:
        The name that finds the statistics, the files with their sizes, and the commit.

    Raises:
        PublishError: `repo_id` is no name on the Hub, or the upload failed; the message says what to do.
        MissingExtraError: matplotlib is not installed.
    """
    name = HubName.parse(repo_id)
    if name is None or name.revision is not None:
        raise PublishError(
            f"{repo_id!r} is no place to publish at. Name a repository, user/repo, or a folder in one, "
            "user/repo/folder; a branch is given by `revision`."
        )
    check_revision(revision, PublishError)
    made = content(statistics, repo_id, notes=notes, own=files)
    made[CARD] = made[CARD].replace(NO_NAME.encode(), repo_id.encode())
    sizes = {name.file(file): len(data) for file, data in made.items()}
    if dry_run:
        return Published(repo_id, sizes, None, page_of(name.repo), None)
    target = _Target(name.repo, revision, token)
    before = target.prepare(private=private, may_create=not create_pr and revision is None)
    with tempfile.TemporaryDirectory() as folder:
        for file, data in made.items():
            Path(folder, file).write_bytes(data)
        commit = target.call(
            WRITTEN,
            lambda api: api.upload_folder(
                repo_id=name.repo,
                folder_path=folder,
                path_in_repo=name.folder or None,
                commit_message=plain(commit_message or MESSAGE, None),
                revision=revision,
                create_pr=create_pr,
            ),
        )
    url = commit.pr_url or commit.commit_url
    return Published(f"{repo_id}@{commit.oid}", sizes, commit.oid, str(url), commit.oid != before)


@checked(PublishError)
def push_folder(
    folder: str | PathLike[str],
    repo_id: str,
    *,
    new_card: bool = False,
    files: dict[str, bytes] | None = None,
    **options: Any,
) -> Published:
    """Publish the statistics in a folder, or a statistics file.

    What the folder has of README.md, normaliser.png and schedule.png is uploaded as it is; what it has not is made. No
    other file goes up, and nothing is written into the folder.

    Args:
        folder: The folder, or the file alone.
        repo_id: As for `push`.
        new_card: Whether to make card and figures even if the folder has them.
        files: Card and figures to take instead of the folder's, by name.
        **options: As for `push`.

    Raises:
        StatisticsNotFoundError: There are no statistics.
        StatisticsError: They are damaged.
        PublishError: As for `push`.
    """
    path = path_of(folder, "`folder`", PublishError)
    file = locate(path)
    statistics = ScoreStatistics.load(file)
    own = {} if new_card or not path.is_dir() else own_files(file.parent)
    return push(statistics, repo_id, files=own | (files or {}), **options)


class _Target:
    """A repository to write to, with the client's errors turned into advice."""

    def __init__(self, repo: str, revision: str | None, token: str | bool | None) -> None:
        self.repo, self.revision, self.token = repo, revision, token
        self.created = False

    def prepare(self, *, private: bool, may_create: bool) -> str | None:
        """See to it that the repository is there, and as private as it shall be; its newest commit."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            info = self.call("be looked up", lambda api: api.repo_info(self.repo, revision=self.revision))
        except PublishError as error:
            missing = isinstance(error.__cause__, RepositoryNotFoundError)
            if not (may_create and missing) or isinstance(error.__cause__, GatedRepoError):
                raise
            # exist_ok, as a repository that this token may write to, but not see, would be one more reason to fail
            self.call("be created", lambda api: api.create_repo(self.repo, private=private, exist_ok=True))
            self.created = True
            return None
        if private and not info.private:
            raise PublishError(
                f"The Hub repository {self.repo!r} is public, and `private` was asked for. Make it private at "
                f"{page_of(self.repo)}/settings, or choose another name."
            )
        sha: str | None = info.sha
        return sha

    def call(self, purpose: str, action: Callable[[HfApi], _Result]) -> _Result:
        """The result of an action with the client. Raises PublishError where the Hub does not do it."""
        from huggingface_hub import HfApi

        try:
            return action(HfApi(token=self.token))
        except client_errors() as error:
            self.refuse(purpose, error)

    def refuse(self, purpose: str, error: Exception) -> NoReturn:
        """Raise PublishError: what could not be done, why, what to do, and what state this leaves the Hub in."""
        source = root_of(error)
        cause = error if not any(is_secret(str(one), self.token) for one in (error, source)) else None
        if status_of(source) is None and purpose == WRITTEN:  # the answer is what was lost, perhaps
            left = " Whether it was changed is not known; push again, which makes no commit if it was."
        else:
            left = " The repository was created and is empty." if self.created else " Nothing was changed."
        raise PublishError(
            f"The Hub repository {self.repo!r} could not {purpose}: {self.reason(source)}{left}"
        ) from cause

    def reason(self, source: BaseException) -> str:
        """What went wrong, and what to do."""
        from huggingface_hub import errors

        status = status_of(source)
        if isinstance(source, errors.OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set. Unset it."
        if isinstance(source, errors.RevisionNotFoundError):
            return f"it has no branch {self.revision!r}. Make the branch first, or leave `revision` out."
        if isinstance(source, errors.GatedRepoError):
            return f"it is gated. Accept its terms at {page_of(self.repo)}."
        if isinstance(source, errors.RepositoryNotFoundError) and status != 401:
            return "it does not exist, or the token in use does not open it. Check the name and the token."
        if status in (401, 403):
            return f"status {status}, the token is missing, wrong or may not write here. Log in with `hf auth login`."
        if status == 429:
            return "status 429, too many requests. Wait some minutes."
        told = f"status {status}, {harmless(source, self.token)}" if status else harmless(source, self.token)
        return f"{told}. Try again later, or check the connection and HF_ENDPOINT."
