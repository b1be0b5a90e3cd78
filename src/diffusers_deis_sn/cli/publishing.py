"""The commands that give statistics and pipelines to other people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusers_deis_sn.cli.speaking import echo


def push(
    folder: Annotated[Path, typer.Argument(help="Folder with score_statistics.safetensors, or the file.")],
    repo: Annotated[str, typer.Argument(help="user/repo on the Hub, or user/repo/folder; made if need be.")],
    private: Annotated[bool, typer.Option(help="Make the repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask nobody, and only say what would go up.")] = False,
    new_card: Annotated[
        bool, typer.Option("--card", help="Make card and figures anew, instead of taking those of the folder.")
    ] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="First line of the commit.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Token that may write; that of `hf auth login` or HF_TOKEN otherwise.")
    ] = None,
) -> None:
    """Publish statistics on the Hub, with figures and a card: one commit, or none if nothing has changed."""
    from diffusers_deis_sn.publish.push import push_folder

    done = push_folder(
        folder,
        repo,
        new_card=new_card,
        private=private,
        dry_run=dry_run,
        create_pr=create_pr,
        revision=revision,
        commit_message=message,
        token=token,
    )
    for name, size in done.files.items():
        echo(f"{size:>10} bytes  {name}")
    said = {None: "Nothing was sent. It would go to", True: "Pushed to", False: "Nothing has changed at"}[done.changed]
    echo(f"{said} {done.url}")
    if not dry_run:
        echo(f'Use it with stats="{done.name}"')


def card(
    folder: Annotated[Path, typer.Argument(help="Folder with score_statistics.safetensors.")],
    name: Annotated[
        str, typer.Option(help="What `stats=` will be; `push` fills in where it goes instead of user/repo.")
    ] = "user/repo",
    notes: Annotated[Path | None, typer.Option(help="Text in Markdown for the end of the card.")] = None,
) -> None:
    """Write README.md, normaliser.png and, where there are costs, schedule.png beside the statistics of a folder."""
    from diffusers_deis_sn.errors import PublishError
    from diffusers_deis_sn.hub.atomic_write import check_writable
    from diffusers_deis_sn.hub.source import locate
    from diffusers_deis_sn.publish.folder import CARD, write_folder
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    file = locate(folder)
    check_writable(file.parent / CARD, PublishError)
    text = None if notes is None else _text(notes)
    changed = write_folder(ScoreStatistics.load(file), file.parent, name, notes=text)
    echo(f"Written: {', '.join(map(str, changed))}" if changed else "Nothing has changed")


def _text(path: Path) -> str:
    """Text of a file. Raises PublishError where it has none."""
    from diffusers_deis_sn.errors import PublishError

    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PublishError(f"`notes` must be a text in UTF-8, and {str(path)!r} is none. Save it as such.") from error


def package(
    folder: Annotated[Path, typer.Argument(help="Folder of a pipeline saved with a scheduler of this package.")],
    remote_code: Annotated[
        bool, typer.Option("--remote-code", help="Load our scheduler by code in the repository, on trust_remote_code.")
    ] = False,
    stats: Annotated[
        str | None, typer.Option(help="Hub name of the statistics, to be recorded in the scheduler's config.")
    ] = None,
) -> None:
    """Make a saved pipeline fit for sharing: with everybody as plain DEIS, or with our scheduler by remote code."""
    from diffusers_deis_sn.publish.package import package as make

    done = make(folder, remote_code=remote_code, stats=stats)
    for path in done.changed:
        echo(f"{'Written' if path.is_file() else 'Removed'}: {path}")
    if not done.changed:
        echo("Nothing has changed")
    if remote_code:
        echo(f"DiffusionPipeline.from_pretrained(..., trust_remote_code=True) has {done.scheduler}.")
    else:
        echo(f'Everybody can load it, as plain DEIS. {done.scheduler}.from_pretrained(..., subfolder="scheduler")')
        echo("gives the pipeline its own scheduler back.")
