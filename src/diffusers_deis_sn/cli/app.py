"""`deis-sn`: measure, compare, import, read, draw and publish statistics, and print the schedules learned from them.

Each command imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from diffusers_deis_sn.cli import models, publishing, reading, tuning
from diffusers_deis_sn.cli.choices import Precision, Probed
from diffusers_deis_sn.cli.comparing import compare
from diffusers_deis_sn.cli.kinds import USAGE_ERROR, a_path, usage
from diffusers_deis_sn.cli.launching import check_number, launch, leads, world
from diffusers_deis_sn.cli.passing import guidance_numbers, naming_flags, opened
from diffusers_deis_sn.cli.serving import serve
from diffusers_deis_sn.cli.speaking import Speech, echo
from diffusers_deis_sn.errors import CalibrationInterruptedError, DeisSnError

app = typer.Typer(
    name="deis-sn",
    help="Measure, tune and compare DEIS-SN, a sampler for Diffusers pipelines that needs few steps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: with 0, or with 2 and one line on stderr where the input is at fault.

    With 130 where a measurement was interrupted and can be taken up again.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="deis-sn", obj=given, standalone_mode=False)
    except CalibrationInterruptedError as error:
        if leads():
            echo(f"deis-sn: {error}", err=True)
        sys.exit(130)
    except (DeisSnError, OSError, ImportError) as error:
        echo(f"deis-sn: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            echo(f"deis-sn: {usage(error, given)}", err=True)
        sys.exit(2)
    except typer.Abort:
        echo("deis-sn: Stopped.", err=True)
        sys.exit(130)
    sys.exit(code or 0)


def _print_version(wanted: bool) -> None:
    if wanted:
        from diffusers_deis_sn._version import __version__

        echo(f"diffusers-deis-sn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure, tune and compare DEIS-SN, a sampler for Diffusers pipelines that needs few steps."""


@app.command()
def calibrate(
    ctx: typer.Context,
    model: models.Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=a_path,
            metavar="PATH",
            help="Folder, or .safetensors file, to write the statistics to.",
        ),
    ],
    prompts: models.Prompts = None,
    num_samples: Annotated[
        str | None,
        typer.Option(
            help="Number of pictures to draw, or auto: 8 to 64, until the result is precise.", show_default="auto"
        ),
    ] = None,
    num_inference_steps: Annotated[
        int | None,
        typer.Option("--num-inference-steps", "--steps", help="Steps of each of them.", show_default="50"),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures drawn at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the first picture; the next ones have the next seeds.")] = 0,
    guidance_scale: Annotated[
        str | None,
        typer.Option(
            help="Guidance scale (CFG) that you use the model with; or several, such as 1,3,5,7.5: one file "
            "then serves all in between.",
            show_default="the pipeline's",
        ),
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
    base_model: Annotated[
        str | None, typer.Option(help="Name of the model to save in the statistics.", show_default="its own")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence", "--license", help="Licence of the statistics, saved in the file and shown on the card."
        ),
    ] = None,
    costs: Annotated[
        list[Probed] | None,
        typer.Option(
            "--cost",
            "--costs",
            help="Measure this cost too, for learned time grids; repeat it for both. It takes 2 (corrector) or 16 "
            "(predictor) times the network calls.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Stop measuring costs once the path's length is known to this relative error.")
    ] = 0.03,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Pictures on which recipes for 4 to 20 steps are tried at the end; 0 skips this.", show_default="4"
        ),
    ] = None,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help="Draw 64 pictures of 200 steps, and try recipes on 8, unless the options above say otherwise.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted measurement.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the output, and discard an unfinished measurement.")
    ] = False,
    skip_invalid: Annotated[
        bool,
        typer.Option(
            "--skip-invalid", help="Skip samples with NaN or infinite values instead of stopping with an error."
        ),
    ] = False,
    num_processes: Annotated[
        int, typer.Option(help="Processes that share the work on this machine, such as one per GPU.")
    ] = 1,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say how long it would take and how much memory: times three network calls, writes nothing.",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines for other programs instead of a progress bar.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors.")] = False,
) -> None:
    """Measure a model once, and write what the scheduler needs to know of it: score_statistics.safetensors.

    Progress is saved after every batch. Ctrl-C finishes the batch first; --resume continues.
    """
    from diffusers_deis_sn.collect.arguments import Size, check_guidance, check_numbers, check_tolerance
    from diffusers_deis_sn.collect.checkpoint import remove_unfinished
    from diffusers_deis_sn.collect.fingerprint import asked
    from diffusers_deis_sn.collect.guidances import parts
    from diffusers_deis_sn.collect.places import choose_places, plans_lost
    from diffusers_deis_sn.collect.prompts import prompts_given

    # What is bad is better known now than after the model is loaded, or after the measurement.
    with naming_flags([*signature(calibrate).parameters]):
        size = Size.of(_count(num_samples), num_inference_steps, trials, thorough)
        check_numbers(size.num_samples, size.num_inference_steps, batch_size, seed, size.trials)
        check_tolerance(tolerance)
        scale = guidance_numbers(guidance_scale)
        check_guidance(scale)
        check_number(num_processes)
        speech = Speech(json, quiet)
        options = models.call_options(arg, {"guidance_scale": scale, "height": height, "width": width})
        texts, options = prompts_given(prompts, options)
        loading = models.loading(model, device, dtype, offload, variant, lora, vae, config, revision)
        place = choose_places(output, resume=resume, force=force, arguments=options)
        numbers, probed = (*size[:2], batch_size, seed), [one.value for one in costs or ()]
        for (path, found), arguments in zip(
            place.states.items(), parts(place.checkpoint, options).values(), strict=True
        ):
            if found is not None:
                facts = asked(texts, *numbers, probed, tolerance, size.trials, skip_invalid, opened(arguments))
                found.check_run(facts, str(path))

        if num_processes > 1 and not dry_run:  # which is of one process
            launch(num_processes, ctx.obj or [])
            return

        from diffusers_deis_sn.collect.sharing import join, leave

        with speech.alone():
            writes, own = join(device)
            pipe = replace(loading, device=own).load()
            if dry_run:
                from diffusers_deis_sn.collect.dry_run import dry_run as foretell

                forecast = foretell(pipe, texts, *numbers, costs=probed, trials=size.trials, **opened(options))
                if writes:
                    speech.answer(forecast)
                leave()
                return

            from diffusers_deis_sn.collect.run import calibrate as measure

            if writes and not resume:
                place.remove_states()
            if writes and (lost := plans_lost(place.output)):
                speech.say(lost)
            statistics = measure(
                pipe,
                texts,
                *numbers,
                base_model=base_model or loading.name,
                revision=revision,
                licence=licence,
                costs=probed,
                tolerance=tolerance,
                trials=size.trials,
                checkpoint=place.checkpoint,
                resume=resume,
                skip_invalid=skip_invalid,
                progress=speech.progress,
                **opened(options),
            )
        leave()
    if not writes:
        return
    path = statistics.save(output)
    place.remove_states()
    remove_unfinished(path)
    for name, local in statistics.costs.items():
        speech.say(f"The {name} cost from {local.num_samples} samples: length of path ± {local.uncertainty:.1%}")
    by = f", by {world()} processes" if world() > 1 else ""
    by += f", at guidance {', '.join(f'{one:g}' for one in statistics.guidances)}" if statistics.others else ""
    speech.say(f"Measured {statistics.most_samples} samples at {len(statistics)} times{by}. Written to {path}")
    speech.tell("written", path=str(path))


def _count(text: str | None) -> int | str | None:
    """A number where the text is one."""
    from diffusers_deis_sn.collect.arguments import is_decimal

    return int(text) if text is not None and is_decimal(text) else text


@app.command("import")
def import_published(
    file: Annotated[
        Path, typer.Argument(parser=a_path, help="File published with DEIS-SN, such as cifar10_Ls_score_abs.pt.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=a_path, metavar="PATH", help="Folder, or .safetensors file, to write to."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="Name of the model that was measured; not needed for the published files.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace statistics that are there.")] = False,
) -> None:
    """Convert the statistics that the authors of DEIS-SN published (.pt) to score_statistics.safetensors."""
    from diffusers_deis_sn.collect.places import choose_places, plans_lost
    from diffusers_deis_sn.statistics.published import read_published

    place = choose_places(output, resume=False, force=force)
    statistics = read_published(file, model)
    if lost := plans_lost(place.output):
        echo(lost)
    path = statistics.save(output)
    t, r = statistics.timesteps, statistics.mean_abs
    ends = f"r is {r[0]:.4f} at t = {t[0]:g} and {r[-1]:.4f} at t = {t[-1]:g}"
    echo(f"Imported {len(statistics)} times: {ends}. Written to {path}")


for command in (
    compare,
    serve,
    tuning.tune,
    reading.inspect,
    reading.schedule,
    reading.plot,
    publishing.card,
    publishing.push,
    publishing.package,
):
    app.command()(command)
