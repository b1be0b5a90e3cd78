"""Options that say which model is meant and what it is called with, the same for every command that draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffusers_deis_sn.cli.choices import Offload, Precision
from diffusers_deis_sn.cli.kinds import MOST_PIXELS, a_path
from diffusers_deis_sn.cli.passing import pipeline_arguments
from diffusers_deis_sn.errors import CalibrationError

if TYPE_CHECKING:
    from diffusers_deis_sn.collect.loading import Loading

Model = Annotated[
    str,
    typer.Argument(help="The model: a pipeline's folder, its Hub name, or a single checkpoint file (.safetensors)."),
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        parser=a_path,
        metavar="PATH",
        help="File with one prompt per line, or .csv, .tsv, .jsonl with columns prompt and negative_prompt.",
    ),
]
Height = Annotated[
    int | None, typer.Option(min=1, max=MOST_PIXELS, help="Height in pixels.", show_default="the pipeline's")
]
Width = Annotated[
    int | None, typer.Option(min=1, max=MOST_PIXELS, help="Width in pixels.", show_default="the pipeline's")
]
Arguments = Annotated[
    list[str] | None,
    typer.Option(
        help="Any other argument of the pipeline, NAME=VALUE, such as class_labels=3 or image=cat.png. Give it several "
        "times to use a list, one value per sample in turn."
    ),
]
Device = Annotated[str | None, typer.Option(help="Such as cuda or cpu.", show_default="cuda if there is one")]
Dtype = Annotated[Precision, typer.Option(help="Precision in which the model is loaded.")]
Offloaded = Annotated[
    Offload | None,
    typer.Option(
        help="Save GPU memory: keep each network (model) or layer (sequential, slow) on the GPU only while it works."
    ),
]
Variant = Annotated[str | None, typer.Option(help="Variant of the weight files, such as fp16.")]
Loras = Annotated[list[str] | None, typer.Option(help="LoRA to load, FILE or FILE:WEIGHT; repeat it for several.")]
Vae = Annotated[str | None, typer.Option(help="Another VAE: a folder, a Hub name or a file.")]
Config = Annotated[
    str | None,
    typer.Option(
        help="For a single checkpoint file: a pipeline of its family (folder or Hub name), for configs and tokenizers."
    ),
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


def _own_arguments() -> set[str]:
    """What the commands pass to our functions beside the arguments of the pipeline."""
    from diffusers_deis_sn.collect.run import calibrate
    from diffusers_deis_sn.comparison.run import compare
    from diffusers_deis_sn.tuning.run import tune

    return {name for function in (calibrate, compare, tune) for name in signature(function).parameters}


def call_options(given: Sequence[str] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the pipeline: those given as NAME=VALUE, and those with options of their own that are not None.

    Raises:
        CalibrationError: One that is given twice, is no NAME=VALUE, or has the name of an argument of ours.
    """
    options = pipeline_arguments(given or ())
    for name in options.keys() & (_own_arguments() if options else ()):
        raise CalibrationError(f"--arg {name} is an argument of this package, and not of a pipeline. Leave it out.")
    for name, value in named.items():
        if value is not None and options.setdefault(name, value) is not value:
            raise CalibrationError(f"`{name}` is given twice, by --arg as well. Leave one of them out.")
    return options
