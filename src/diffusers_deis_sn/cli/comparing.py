"""`deis-sn compare`: schedulers on one's own model and prompts, as a page to look at."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Annotated

import typer

from diffusers_deis_sn.cli import models
from diffusers_deis_sn.cli.choices import Precision
from diffusers_deis_sn.cli.kinds import a_path
from diffusers_deis_sn.cli.passing import naming_flags, opened
from diffusers_deis_sn.cli.speaking import Speech


def compare(
    model: models.Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=a_path,
            metavar="PATH",
            help="Folder for the page and its files. If the comparison is there already, it is continued.",
        ),
    ],
    prompts: models.Prompts = None,
    steps: Annotated[str, typer.Option(help="Numbers of steps (network calls) to compare, with commas.")] = "6,8,10",
    stats: Annotated[
        str | None,
        typer.Option(
            help="Statistics of the model: a file, a folder or a Hub name.", show_default="measure them first"
        ),
    ] = None,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Tune first, on prompts and noise that are not compared. Takes minutes or more."),
    ] = False,
    tuning_prompts: Annotated[
        Path | None,
        typer.Option(
            parser=a_path,
            metavar="PATH",
            help="File with prompts to tune on.",
            show_default="half of --prompts, which are then not compared",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Time that --tune may take, such as 90s, 5m or 1h.", show_default="no limit"),
    ] = None,
    judged: Annotated[
        int | None,
        typer.Option(help="Number of steps that the recommendation is for.", show_default="the middle one of --steps"),
    ] = None,
    num_prompts: Annotated[
        int | None, typer.Option(help="Use only the first so many prompts.", show_default="all")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures drawn at once; halved if memory runs out.")] = 4,
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="Seed of the first picture; other than that of calibrate, so that other noise is compared."
        ),
    ] = 1000,
    guidance_scale: Annotated[
        float | None,
        typer.Option(help="Guidance scale (CFG) that you use the model with.", show_default="the pipeline's"),
    ] = None,
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
    force: Annotated[bool, typer.Option("--force", help="Discard another comparison in the folder.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before drawing more than 200 prompts.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines for other programs instead of progress bars.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors.")] = False,
) -> None:
    """Compare schedulers on your model and prompts: a page with pictures, a table and a recommendation.

    All draw the same prompts from the same noise in the same number of network calls, and are compared with a run of
    very many steps. Progress is saved after every batch: run the same command again to continue.
    """
    from diffusers_deis_sn.collect.arguments import check_guidance, check_kinds, numbers_of
    from diffusers_deis_sn.collect.prompts import prompts_given
    from diffusers_deis_sn.comparison.arguments import check_numbers, compared
    from diffusers_deis_sn.comparison.keeping import FILES, asked_of
    from diffusers_deis_sn.errors import ComparisonError
    from diffusers_deis_sn.hub.atomic_write import check_writable
    from diffusers_deis_sn.hub.local import path_of
    from diffusers_deis_sn.tuning.arguments import check_budget, seconds_of

    # What is bad is better known now than after the model is loaded.
    with naming_flags([*signature(compare).parameters]):
        speech = Speech(json, quiet)
        numbers, _ = compared(numbers_of(steps, "steps", "6,8,10", ComparisonError), judged)
        check_numbers(num_prompts, batch_size)
        check_kinds(seed=seed)
        check_guidance(guidance_scale)
        seconds = seconds_of(budget)
        check_budget(seconds)
        if not tune and (tuning_prompts or budget):
            raise ComparisonError(
                "`tuning_prompts` and `budget` need `tune`, which was not given. Give it too, or leave them out."
            )
        options = models.call_options(arg, {"guidance_scale": guidance_scale, "height": height, "width": width})
        texts, options = prompts_given(prompts, options)
        prompts_given(tuning_prompts, {})
        asked_of(path_of(output, "`output`", ComparisonError))
        check_writable(path_of(output, "`output`") / FILES[0], ComparisonError)
        if stats is not None:
            from diffusers_deis_sn.statistics.record import ScoreStatistics

            ScoreStatistics.load(stats)
        place = models.loading(model, device, dtype, offload, variant, lora, vae, config, revision)
        with speech.alone():
            from diffusers_deis_sn.comparison.run import compare as run

            result = run(
                place.load(),
                texts,
                list(numbers),
                stats,
                output=output,
                tune=tune,
                tuning_prompts=tuning_prompts,
                budget=seconds,
                judged=judged,
                num_prompts=num_prompts,
                batch_size=batch_size,
                seed=seed,
                base_model=place.name,
                force=force,
                yes=yes,
                progress=speech.progress,
                **opened(options),
            )
    speech.say(f"\n{result}\n")
    if result.measured:
        speech.say(f"Statistics were measured for it: {result.place}")
    if result.fitting is not None:
        speech.say(f"Plans were fitted for it; the statistics with those that are better: {result.place}")
    speech.say(f"Open {output / 'compare.html'} in a browser.")
