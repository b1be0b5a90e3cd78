"""`deis-sn tune`: plans for a model, beside its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffusers_deis_sn.cli import models
from diffusers_deis_sn.cli.choices import Precision
from diffusers_deis_sn.cli.kinds import a_path
from diffusers_deis_sn.cli.launching import check_number, launch, world
from diffusers_deis_sn.cli.passing import guidance_numbers, naming_flags, opened
from diffusers_deis_sn.cli.speaking import Speech
from diffusers_deis_sn.errors import CalibrationError

if TYPE_CHECKING:
    from diffusers_deis_sn.statistics.record import ScoreStatistics
    from diffusers_deis_sn.tuning.outcome import Tuning


def tune(
    ctx: typer.Context,
    model: models.Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=a_path,
            metavar="PATH",
            help="Folder, or .safetensors file, of the model's statistics; they are measured first if missing.",
        ),
    ],
    prompts: models.Prompts = None,
    steps: Annotated[
        str | None, typer.Option(help="Numbers of steps to tune for, up to 20, with commas.", show_default="5,6,8,10")
    ] = None,
    guidance_scale: Annotated[
        str | None,
        typer.Option(
            help="Guidance scale (CFG) that you use the model with; or several, such as 3,7.5: one file "
            "then serves all in between.",
            show_default="the pipeline's",
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time that all of it may take, such as 90s, 5m or 1h.", show_default="no limit")
    ] = None,
    num_samples: Annotated[int, typer.Option(help="Pictures to fit on; twice as many if these give no plan.")] = 24,
    num_held_out: Annotated[int, typer.Option(help="Pictures to test on, of other noise and prompts.")] = 16,
    batch_size: Annotated[int, typer.Option(help="Pictures drawn at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the first picture; the next ones have the next seeds.")] = 0,
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
        bool, typer.Option("--check", help="Tune nothing; test whether the plans in the file are better on this model.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted command.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Tune again where there is a plan already, and discard unfinished work.")
    ] = False,
    num_processes: Annotated[
        int, typer.Option(help="Processes that share the work on this machine, such as one per GPU.")
    ] = 1,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines for other programs instead of a progress bar.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors.")] = False,
) -> None:
    """Fit the sampler to a model at a fixed number of steps, and save the plan with its statistics if it is better.

    Numbers of steps that have a plan at this guidance are skipped. Progress is saved after each number of steps. Ctrl-C
    stops the one at hand; --resume continues with it.
    """
    from diffusers_deis_sn.collect.arguments import check_guidance, check_kinds
    from diffusers_deis_sn.collect.checkpoint import remove, unfinished
    from diffusers_deis_sn.collect.guidances import parts
    from diffusers_deis_sn.collect.places import further, tuning_beside
    from diffusers_deis_sn.collect.prompts import prompts_given
    from diffusers_deis_sn.hub.atomic_write import check_writable
    from diffusers_deis_sn.hub.source import destination
    from diffusers_deis_sn.tuning.arguments import check_budget, check_samples, seconds_of, steps_of

    with naming_flags([*signature(tune).parameters]):
        wanted, seconds = steps_of(steps), seconds_of(budget)
        check_budget(seconds)
        check_samples(num_samples, num_held_out, batch_size)
        check_kinds(seed=seed)
        scale = guidance_numbers(guidance_scale)
        check_guidance(scale)
        check_number(num_processes)
        speech = Speech(json, quiet)
        options = models.call_options(arg, {"guidance_scale": scale, "height": height, "width": width})
        texts, options = prompts_given(prompts, options)
        loading = models.loading(model, device, dtype, offload, variant, lora, vae, config, revision)
        path = destination(output)
        state = tuning_beside(path)
        states = parts(state, options)
        kept = [one for path in states for one in (path, further(path))]
        if check and not path.exists():
            raise CalibrationError(
                f"`check` tests plans of a file, and there is no {str(path)!r}. Leave it out to tune."
            )
        for one in () if resume or force or check else kept:
            unfinished(one)
        if not check:
            check_writable(path, CalibrationError)
        if num_processes > 1:
            launch(num_processes, ctx.obj or [])
            return

        from diffusers_deis_sn.collect.sharing import join, leave

        with speech.alone():
            writes, own = join(device)
            pipe = replace(loading, device=own).load()
            drawn: dict[str, Any] = {
                "num_held_out": num_held_out,
                "batch_size": batch_size,
                "seed": seed,
                "progress": speech.progress,
            }
            if check:
                _check(pipe, texts, path, [drawn | opened(one) for one in states.values()], speech if writes else None)
                leave()
                return

            from diffusers_deis_sn.tuning.run import tune as fit

            for one in kept if writes and force and not resume else ():
                remove(one)
            measure = {"batch_size": batch_size, "seed": seed, "base_model": loading.name, "revision": revision}
            measure |= {"resume": resume, "progress": speech.progress}
            record = _statistics(path, pipe, texts, measure | opened(options), writes)
            tuning = fit(
                pipe,
                texts,
                wanted,
                statistics=record,
                num_samples=num_samples,
                budget=seconds,
                anew=force,
                checkpoint=state,
                resume=resume,
                **drawn,
                **opened(options),
            )
        leave()
    if not writes:
        return
    if not tuning.outcomes:
        speech.say(f"{path} has plans for all these numbers of steps already. Use --force to tune them again.")
    else:
        _written(tuning, path, str(output), speech)
    for one in kept:
        remove(one)


def _written(tuning: Tuning, path: Path, output: str, speech: Speech) -> None:
    """The table, the statistics with the plans, the line to paste and the picture."""
    speech.say(str(tuning))
    speech.say("Distance to the long run, geometric mean / RMS, on noise and prompts that nothing was fitted on.")
    if not tuning.plans:
        speech.say(f"No plan passed the test, so nothing was added to {path}.")
        return
    tuning.statistics.save(path)
    by = f", by {world()} processes" if world() > 1 else ""
    accepted = f"{len(tuning.plans)} of {len(tuning.outcomes)} plans accepted in {tuning.seconds:.0f} s{by}"
    speech.say(f"{accepted}. Written to {path}. Use them:")
    speech.say(tuning.code(output))
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


def _check(pipe: Any, texts: Any, path: Path, calls: Sequence[dict[str, Any]], speech: Speech | None) -> None:
    """Say which plans are still better, at each guidance."""
    from diffusers_deis_sn.tuning.run import check_plans

    found = [check_plans(pipe, texts, statistics=path, **options) for options in calls]
    told = reduce(lambda one, later: one.and_then(later), found)
    if speech is not None:
        kept = f"{len(told.plans)} of {len(told.outcomes)} plans are still better"
        speech.say(f"{told}\n{kept}: keep these, tune the others again.")


def _statistics(path: Path, pipe: Any, texts: Any, options: dict[str, Any], writes: bool) -> ScoreStatistics:
    """The statistics that are there, or new ones, written at once: what comes after may be interrupted."""
    from diffusers_deis_sn.collect.checkpoint import remove
    from diffusers_deis_sn.collect.guidances import parts
    from diffusers_deis_sn.collect.places import checkpoint_beside
    from diffusers_deis_sn.collect.run import calibrate
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    if path.exists():
        return ScoreStatistics.load(path)
    state = checkpoint_beside(path)
    record = calibrate(pipe, texts, checkpoint=state, **options)
    if writes:
        record.save(path)
        for one in parts(state, options):
            remove(one)
    return record
