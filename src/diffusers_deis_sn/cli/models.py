"""Options that say which model is meant and what it is called with, the same for every command that draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffusers_deis_sn.cli.choices import Offload, Precision
from diffusers_deis_sn.cli.passing import pipeline_arguments
from diffusers_deis_sn.errors import CalibrationError

if TYPE_CHECKING:
    from diffusers_deis_sn.collect.loading import Loading

Model = Annotated[str, typer.Argument(help="Folder, Hub name or single file (.safetensors) of a pipeline.")]
Prompts = Annotated[
    Path | None, typer.Option(help="One prompt a line, or .csv, .tsv, .jsonl with columns prompt and negative_prompt.")
]
Height = Annotated[int | None, typer.Option(min=1, help="Height in pixels; the pipeline's default otherwise.")]
Width = Annotated[int | None, typer.Option(min=1, help="Width in pixels.")]
Arguments = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VALUE for the pipeline, such as class_labels=3 or image=cat.png; one given again is a list, for "
        "sample after sample."
    ),
]
Device = Annotated[str | None, typer.Option(help="Such as cuda or cpu; cuda where there is one.")]
Dtype = Annotated[Precision, typer.Option(help="Precision the networks are loaded in.")]
Offloaded = Annotated[
    Offload | None, typer.Option(help="Keep what is not at work in the CPU's memory: networks, or single layers.")
]
Variant = Annotated[str | None, typer.Option(help="Variant of the weights' files, such as fp16.")]
Loras = Annotated[list[str] | None, typer.Option(help="LoRA, FILE or FILE:WEIGHT; once for each.")]
Vae = Annotated[str | None, typer.Option(help="Folder, Hub name or file of another autoencoder.")]
Config = Annotated[
    str | None, typer.Option(help="For a single file: a pipeline of the same family, for all but the weights.")
]
Revision = Annotated[str | None, typer.Option(help="Commit, branch or tag of a Hub model.")]


def loading(
    model: str,
    device: str | None,
    dtype: Precision,
    offload: Offload | None,
    variant: str | None,
    lora: Sequence[str] | None,
    vae: str | None,
    config: str | None,
    revision: str | None,
) -> Loading:
    """Which pipeline is meant. Raises CalibrationError for what cannot be loaded."""
    from diffusers_deis_sn.collect.loading import Loading, Lora

    return Loading(
        model,
        revision=revision,
        variant=variant,
        dtype=dtype.value,
        device=device,
        offload=offload and offload.value,
        loras=tuple(map(Lora.of, lora or ())),
        vae=vae,
        config=config,
    )


def call_options(given: Sequence[str] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the pipeline: those given as NAME=VALUE, and those with options of their own that are not None.

    Raises:
        CalibrationError: One that is given twice, or is no NAME=VALUE.
    """
    options = pipeline_arguments(given or ())
    for name, value in named.items():
        if value is not None and options.setdefault(name, value) is not value:
            raise CalibrationError(f"`{name}` is given twice, by --arg as well. Leave one of them out.")
    return options
