"""`deis-sn serve`: a page on this machine to draw on, two schedulers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Annotated

import typer

from diffusers_deis_sn.cli import models
from diffusers_deis_sn.cli.choices import Precision
from diffusers_deis_sn.cli.passing import naming_flags, opened
from diffusers_deis_sn.cli.speaking import echo
from diffusers_deis_sn.errors import CalibrationError, ConfigurationError

if TYPE_CHECKING:
    from diffusers_deis_sn.statistics.record import ScoreStatistics

HERE = ("127.0.0.1", "localhost", "::1")


def serve(
    model: Annotated[
        list[str], typer.Argument(help="One or more models: folders, Hub names or single checkpoint files.")
    ],
    stats: Annotated[
        list[str] | None,
        typer.Option(help="Statistics (file, folder or Hub name), once for each model, in the same order."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    height: models.Height = None,
    width: models.Width = None,
    arg: models.Arguments = None,
    device: models.Device = None,
    dtype: models.Dtype = Precision.float32,
    offload: models.Offloaded = None,
    variant: models.Variant = None,
    lora: models.Loras = None,
    vae: models.Vae = None,
    config: models.Config = None,
    revision: models.Revision = None,
) -> None:
    """Open a page in the browser that draws your prompt with two schedulers, side by side. Ctrl-C ends it.

    One model at a time is in memory.
    """
    from diffusers_deis_sn.web.address import check_address
    from diffusers_deis_sn.web.extra import needed

    with naming_flags([*signature(serve).parameters], (CalibrationError, ConfigurationError)):
        records = _records(model, stats or ())
        options = opened(models.call_options(arg, {"height": height, "width": width}))
        places = [models.loading(one, device, dtype, offload, variant, lora, vae, config, revision) for one in model]
        needed()
        check_address(host, port)

        from diffusers_deis_sn.web.app import serve as show
        from diffusers_deis_sn.web.studio import Offer, Studio

        offers = [
            Offer(name, place.load, record, where, options)
            for name, place, (record, where) in zip(model, places, records, strict=True)
        ]
        blocks = show(Studio(offers), host, port, browse)
    echo(f"http://{host}:{port}  Ctrl-C ends it.")
    if host not in HERE:
        echo("Whoever reaches this address can draw on this machine: there is no password.")
    blocks.block_thread()


def _records(names: Sequence[str], stats: Sequence[str]) -> list[tuple[ScoreStatistics | None, str]]:
    """The statistics of each model and where they are. Raises CalibrationError for too few or too many."""
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    if not stats:
        return [(None, "")] * len(names)
    if len(stats) != len(names):
        raise CalibrationError(f"`stats` must be given once for each of the {len(names)} models, got {len(stats)}.")
    return [(ScoreStatistics.load(one), one) for one in stats]
