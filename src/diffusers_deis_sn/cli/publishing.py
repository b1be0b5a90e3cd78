"""The commands that give statistics and pipelines to other people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusers_deis_sn.cli.kinds import a_path
from diffusers_deis_sn.cli.passing import naming_flags
from diffusers_deis_sn.cli.speaking import echo
from diffusers_deis_sn.errors import PublishError


def push(
    folder: Annotated[
        Path, typer.Argument(parser=a_path, help="Folder with score_statistics.safetensors, or that file.")
    ],
    repo: Annotated[
        str, typer.Argument(help="user/repo on the Hugging Face Hub, or user/repo/folder; created if missing.")
    ],
    private: Annotated[bool, typer.Option(help="Make the repository private.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be uploaded; do not contact the Hub.")
    ] = False,
    new_card: Annotated[
        bool, typer.Option("--card", help="Write a new card and new figures instead of uploading those in the folder.")
    ] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="First line of the commit.")] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Access token with write permission.", show_default="that of `hf auth login`, or HF_TOKEN"),
    ] = None,
) -> None:
    """Upload statistics to the Hugging Face Hub, with figures and a card, in one commit."""
    from diffusers_deis_sn.publish.push import push_folder

    with naming_flags(("private", "revision"), (PublishError,)):
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
    folder: Annotated[Path, typer.Argument(parser=a_path, help="Folder with score_statistics.safetensors.")],
    name: Annotated[
        str, typer.Option(help="Hub name to show on the card for `stats=`; `push` fills in the real one.")
    ] = "user/repo",
    notes: Annotated[
        Path | None, typer.Option(parser=a_path, metavar="PATH", help="Markdown file to add to the end of the card.")
    ] = None,
) -> None:
    """Write a model card (README.md) and figures into a folder of statistics, as `push` uploads them."""
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
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PublishError(f"--notes must be a text in UTF-8, and {str(path)!r} is none. Save it as such.") from error
    except OSError as error:
        raise PublishError(f"--notes is {str(path)!r}, which cannot be read: {error.strerror}. Correct it.") from error


def package(
    folder: Annotated[
        Path, typer.Argument(parser=a_path, help="Folder of a pipeline saved with a scheduler of this package.")
    ],
    remote_code: Annotated[
        bool,
        typer.Option("--remote-code", help="Instead: our scheduler, loaded by people who pass trust_remote_code=True."),
    ] = False,
    stats: Annotated[
        str | None, typer.Option(help="Hub name of the statistics, to save in the scheduler's config.")
    ] = None,
) -> None:
    """Prepare a saved pipeline for sharing, so that people without this package can load it too."""
    from diffusers_deis_sn.publish.package import package as make

    with naming_flags(("stats",), (PublishError,)):
        done = make(folder, remote_code=remote_code, stats=stats)
    for path in done.changed:
        echo(f"{'Written' if path.is_file() else 'Removed'}: {path}")
    if not done.changed:
        echo("Nothing has changed")
    if remote_code:
        echo(f"DiffusionPipeline.from_pretrained(..., trust_remote_code=True) loads it with {done.scheduler}.")
    else:
        echo("Everybody can load it, with DEIS of Diffusers.")
        echo(f'{done.scheduler}.from_pretrained(..., subfolder="scheduler") then gives it its own scheduler back.')
