"""The commands that read statistics: what is in them, the schedules learned from them, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusers_deis_sn.cli.choices import Cost, Form, Picture, Velocity
from diffusers_deis_sn.cli.kinds import a_path
from diffusers_deis_sn.cli.passing import end_of_run, naming_flags
from diffusers_deis_sn.cli.speaking import echo
from diffusers_deis_sn.errors import CalibrationError, ConfigurationError, DeisSnError, TimestepsError
from diffusers_deis_sn.escaping import utf8


def inspect(
    file: Annotated[str, typer.Argument(help="Statistics: a file, a folder or a Hub name.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON object, for other programs.")
    ] = False,
) -> None:
    """Print what a statistics file contains: model, noise schedule, guidance, recipes, plans, how precise it is."""
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    statistics = ScoreStatistics.load(file)
    if json:
        from diffusers_deis_sn.statistics.facts import as_json

        echo(as_json(statistics))
    else:
        echo(statistics.inspect())


AS_THEY_ARE = (
    "These are the levels of the calls. For a scheduler that shifts what it is given (its config's shift, or e^mu by "
    "resolution) print them with --shift, or make it one with shift=1.0, use_dynamic_shifting=False."
)


def schedule(
    file: Annotated[str, typer.Argument(help="Statistics with costs: a file, a folder or a Hub name.")],
    steps: Annotated[int, typer.Option(help="Number of steps (network calls).")] = 10,
    form: Annotated[
        Form, typer.Option("--format", help="Program that the list is for; json and csv print everything.")
    ] = Form.diffusers,
    cost: Annotated[
        Cost | None,
        typer.Option(help="Cost that is to be the same for all steps.", show_default="the solver's if known"),
    ] = None,
    velocity: Annotated[Velocity, typer.Option(help="Velocity v(sigma) in the cost.")] = Velocity.sigma,
    denoise: Annotated[
        float,
        typer.Option(help="As in ComfyUI: the last steps of a run of int(steps / denoise) steps; 1 is the whole run."),
    ] = 1.0,
    start: Annotated[
        float, typer.Option(help="Where the run starts, as a share of the process; 1 is pure noise.")
    ] = 1.0,
    end: Annotated[
        str,
        typer.Option(help="Where it ends: zero (clean picture), sigma_min (the cleanest measured level), or a share."),
    ] = "zero",
    spread: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the steps that is spread evenly over time.",
            show_default=".3 for the solver's cost",
        ),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(help="Guidance scale of your runs, if the statistics have several.", show_default="near 7.5"),
    ] = None,
    shift: Annotated[
        float,
        typer.Option(
            help="Flow-matching models: `shift` of the Diffusers scheduler that gets the list, or e^mu; undone here."
        ),
    ] = 1.0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", parser=a_path, metavar="PATH", help="File to write.", show_default="stdout"),
    ] = None,
) -> None:
    """Print learned sigmas as a plain list for Diffusers, ComfyUI, AUTOMATIC1111, Forge or other programs."""
    from diffusers_deis_sn.collect.arguments import check_guidance
    from diffusers_deis_sn.hub.atomic_write import check_writable, write_together
    from diffusers_deis_sn.hub.local import path_of
    from diffusers_deis_sn.learn import measured
    from diffusers_deis_sn.learn.export import schedule_summary, schedule_text
    from diffusers_deis_sn.learn.part import Part
    from diffusers_deis_sn.statistics.cost import preferred_cost
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    path = None if output is None else path_of(output, "`output`")
    if path is not None:
        if path.suffix.lower() == ".safetensors":  # of statistics, perhaps these, or of weights
            raise DeisSnError(f"{str(path)!r} is not the name of a list. Use one that ends in .txt, .json or .csv.")
        check_writable(path, DeisSnError)
    with naming_flags(
        ("steps", "denoise", "start", "end", "shift", "guidance_scale"),
        (CalibrationError, ConfigurationError, TimestepsError),
    ):
        check_guidance(guidance_scale)
        final, share = end_of_run(end)
        part = Part(start, share, denoise)
        statistics = ScoreStatistics.load(file).at(guidance_scale)
        chosen = cost.value if cost else preferred_cost(statistics.costs, velocity.value)
        text = schedule_text(statistics, steps, form.value, chosen, velocity.value, final, spread, part, shift)
        summary = schedule_summary(statistics, steps, chosen, velocity.value, spread, part)
        flow = measured.path_of(statistics) == "flow"
    # On stderr, so that stdout is the lists alone and can be piped.
    echo(summary, err=True)
    if flow and form is Form.diffusers and shift == 1.0:
        echo(AS_THEY_ARE, err=True)
    if path is None:
        echo(text)
    else:
        write_together({path: utf8(f"{text}\n")})


def plot(
    file: Annotated[str, typer.Argument(help="Statistics: a file, a folder or a Hub name.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=a_path,
            metavar="PATH",
            help="Picture to write.",
            show_default="the figure's name with .png",
        ),
    ] = None,
    figure: Annotated[Picture, typer.Option(help="What to draw; `schedule` needs costs.")] = Picture.normaliser,
    steps: Annotated[int, typer.Option(help="Steps (network calls) of the schedule.")] = 10,
    cost: Annotated[
        Cost | None, typer.Option(help="Cost that the schedule is learned from.", show_default="the solver's if known")
    ] = None,
    velocity: Annotated[Velocity, typer.Option(help="v(sigma) of the cost; the paper's is sigma.")] = Velocity.sigma,
    guidance_scale: Annotated[
        float | None,
        typer.Option(help="Guidance scale of your runs, if the statistics have several.", show_default="near 7.5"),
    ] = None,
) -> None:
    """Draw r(t), to see whether the measurement is good, or the learned schedule and the costs behind it."""
    from diffusers_deis_sn.collect.arguments import check_guidance
    from diffusers_deis_sn.hub.atomic_write import check_writable, write_together
    from diffusers_deis_sn.hub.local import path_of
    from diffusers_deis_sn.learn.part import check_steps
    from diffusers_deis_sn.plots.figures import normaliser_figure
    from diffusers_deis_sn.plots.schedule import schedule_figure
    from diffusers_deis_sn.plots.style import is_picture, picture
    from diffusers_deis_sn.statistics.record import ScoreStatistics

    with naming_flags(("steps", "guidance_scale"), (CalibrationError, TimestepsError)):
        check_steps(steps)
        check_guidance(guidance_scale)
    statistics = ScoreStatistics.load(file)
    path = path_of(output or f"{figure.value}.png", "`output`")
    if not is_picture(path):
        raise DeisSnError(f"{str(path)!r} is not the name of a picture. Use one that ends in .png, .svg or .pdf.")
    check_writable(path, DeisSnError)
    if figure is not Picture.normaliser or guidance_scale is not None:
        statistics = statistics.at(guidance_scale)
    if figure is Picture.normaliser:
        drawn = normaliser_figure(statistics)
    else:
        drawn = schedule_figure(statistics, steps, cost.value if cost else None, velocity.value)
    write_together({path: picture(drawn, path.suffix)})
    echo(f"Written to {path}")
