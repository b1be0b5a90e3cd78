"""`deis-sn tune`: plans for a model, beside its statistics."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffusers_deis_sn.cli import models
from diffusers_deis_sn.cli.choices import Precision
from diffusers_deis_sn.cli.passing import naming_flags, opened
from diffusers_deis_sn.cli.speaking import Speech
from diffusers_deis_sn.errors import CalibrationError

if TYPE_CHECKING:
    from diffusers_deis_sn.statistics.record import ScoreStatistics
    from diffusers_deis_sn.tuning.outcome import Tuning


def tune(
    model: models.Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder or file (.safetensors) of the model's statistics, measured if it is not there.",
        ),
    ],
    prompts: models.Prompts = None,
    steps: Annotated[str | None, typer.Option(help="Numbers of steps to tune, up to 20. [default: 5,6,8,10]")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Guidance that the model is used with; the pipeline's default otherwise.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time that all may take, such as 90s, 5m or 1h; as long as it takes otherwise.")
    ] = None,
    num_samples: Annotated[int, typer.Option(help="Samples to fit on.")] = 24,
    num_held_out: Annotated[int, typer.Option(help="Samples that decide, of other noise and prompts.")] = 16,
    batch_size: Annotated[int, typer.Option(help="Samples drawn at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the first sample.")] = 0,
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
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the plans that are there are better on this model.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Tune anew what has a plan already.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout for a program, instead of a bar.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Fit times and weights of few-step runs to a model, and keep them beside its statistics where they are better.

    Numbers of steps that have a plan at this guidance are left out, so that an interrupted command goes on.
    """
    from diffusers_deis_sn.collect.arguments import check_guidance
    from diffusers_deis_sn.collect.prompts import prompts_given
    from diffusers_deis_sn.hub.source import destination
    from diffusers_deis_sn.tuning.arguments import check_budget, check_samples, seconds_of, steps_of

    with naming_flags([*signature(tune).parameters]):
        wanted, seconds = steps_of(steps), seconds_of(budget)
        check_budget(seconds)
        check_samples(num_samples, num_held_out, batch_size)
        check_guidance(guidance_scale)
        speech = Speech(json, quiet)
        named = {"guidance_scale": guidance_scale, "height": height, "width": width}
        options = models.call_options(arg, named)
        texts, options = prompts_given(prompts, options)
        loading = models.loading(model, device, dtype, offload, variant, lora, vae, config, revision)
        path = destination(output)
        if check and not path.exists():
            raise CalibrationError(f"`check` looks at plans that are there, and {str(path)!r} is not. Leave it out.")
        with speech.alone():
            pipe = loading.load()

            from diffusers_deis_sn.collect.calls import guidance_in_use
            from diffusers_deis_sn.tuning.run import check_plans
            from diffusers_deis_sn.tuning.run import tune as fit

            held_out: dict[str, Any] = {
                "num_held_out": num_held_out,
                "batch_size": batch_size,
                "seed": seed,
                "progress": speech.progress,
                **opened(options),
            }
            if check:
                found = check_plans(pipe, texts, statistics=path, **held_out)
                speech.say(
                    f"{found}\n{len(found.plans)} of {len(found.outcomes)} plans are better: keep them, refit others."
                )
                return
            measure = {"batch_size": batch_size, "seed": seed, "base_model": loading.name, "revision": revision}
            record = _statistics(path, pipe, texts, measure, speech, opened(options))
            guidance = guidance_in_use(pipe, options)
            left = [one for one in wanted if force or record.plans is None or not record.plans.find(one, guidance)]
            if not left:
                speech.say(f"{path} has plans of all these numbers of steps. Use --force to tune them anew.")
                return
            tuning = fit(
                pipe,
                texts,
                left,
                statistics=record,
                num_samples=num_samples,
                budget=seconds,
                **held_out,
            )
    speech.say(str(tuning))
    speech.say("Geometric mean / RMS of the distances to the fine run, on samples that were held out.")
    if not tuning.plans:
        speech.say(f"No plan is better, so nothing was added to {path}.")
        return
    tuning.statistics.save(path)
    speech.say(
        f"{len(tuning.plans)} of {len(left)} plans accepted in {tuning.seconds:.0f} s. Written to {path}. Use them:"
    )
    speech.say(tuning.code(str(output)))
    picture = _drawn(tuning, path, speech)
    speech.tell("written", path=str(path), picture=picture, plans=[one.calls for one in tuning.plans])


def _drawn(tuning: Tuning, path: Path, speech: Speech) -> str | None:
    """The picture beside the statistics; None, and why, where nothing can draw one."""
    from diffusers_deis_sn.hub.atomic_write import write_together
    from diffusers_deis_sn.plots.style import png
    from diffusers_deis_sn.plots.tuning import tuning_figure

    picture = path.with_name(f"{path.stem}.tuning.png")
    try:
        write_together({picture: png(tuning_figure(tuning))})
    except ImportError as error:
        speech.say(f"No picture of it. {error}")
        return None
    speech.say(f"Error against calls, and the times of the plans: {picture}")
    return str(picture)


def _statistics(
    path: Path, pipe: Any, texts: Any, measure: dict[str, Any], speech: Speech, options: dict[str, Any]
) -> ScoreStatistics:
    """The statistics that are there, or new ones, written at once: what comes after may be interrupted."""
    from diffusers_deis_sn.collect.run import calibrate
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    if path.exists():
        return ScoreStatistics.load(path)
    record = calibrate(pipe, texts, progress=speech.progress, **measure, **options)
    record.save(path)
    return record
