"""`compare`: which scheduler is nearest to the converged picture on this model, in how many steps, by how much."""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffusers_deis_sn.collect.arguments import check_kinds
from diffusers_deis_sn.collect.calls import PipelineCalls, guidance_in_use, plan_calls
from diffusers_deis_sn.collect.fingerprint import describe, weights
from diffusers_deis_sn.collect.lending import lent, silenced
from diffusers_deis_sn.collect.progress import Progress, check_progress, telling
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.collect.signals import Interruptions
from diffusers_deis_sn.comparison.advice import advise
from diffusers_deis_sn.comparison.arguments import check_numbers, compared
from diffusers_deis_sn.comparison.contenders import Contender, contenders, family_of, yardsticks
from diffusers_deis_sn.comparison.course import Course
from diffusers_deis_sn.comparison.drawing import Easel
from diffusers_deis_sn.comparison.keeping import CONVERGED, Keeper
from diffusers_deis_sn.comparison.preparing import Preparation, compared_of, seed_of
from diffusers_deis_sn.comparison.preparing import others as to_fit_on
from diffusers_deis_sn.comparison.reference import Reference
from diffusers_deis_sn.comparison.result import Comparison, Setting
from diffusers_deis_sn.comparison.rows import Row
from diffusers_deis_sn.comparison.running import Runner
from diffusers_deis_sn.comparison.search import MOST
from diffusers_deis_sn.errors import CalibrationInterruptedError, ComparisonError
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.arguments import check_budget

logger = logging.getLogger("diffusers_deis_sn")

STEPS = (6, 8, 10)
SEED = 1000  # measurements begin at 0: what is chosen on some noise is judged on other
SHOWN = 8  # prompts with pictures
LARGE = 200  # prompts, more of which are asked for twice
"""What a comparison takes is said before more prompts than these are drawn."""


def compare(
    pipe: Any,
    prompts: str | PathLike[str] | Sequence[str] | None = None,
    steps: Sequence[int] = STEPS,
    stats: ScoreStatistics | str | PathLike[str] | None = None,
    *,
    output: str | PathLike[str] | None = None,
    judged: int | None = None,
    num_prompts: int | None = None,
    batch_size: int = 4,
    seed: int = SEED,
    tune: bool = False,
    tuning_prompts: str | PathLike[str] | Sequence[str] | None = None,
    budget: float | None = None,
    further: Sequence[Contender] = (),
    base_model: str | None = None,
    force: bool = False,
    yes: bool = False,
    progress: bool | str | Progress = True,
    **pipeline_kwargs: Any,
) -> Comparison:
    """Compare schedulers on your pipeline's model and prompts: which is nearest to the converged result?

    The pipeline's own scheduler, DPM++ 2M, UniPC, Euler (or what Diffusers has for flow-matching and EDM models),
    DEIS-SN and ScoreOptimal draw the same prompts from the same noise with the same number of network evaluations. If
    the statistics hold plans for these numbers (see `tune`), DEIS-SN takes part with and without them. The distance is
    that of each final sample to the one of a converged run by a sampler of Diffusers. If one of ours is nearest beyond
    doubt, the nearest of the others is run with more steps, to see how many it needs.

    With `output` everything is kept in a folder, batch by batch: if the call is stopped, the same call continues and
    draws nothing twice. The pipeline gets its own scheduler back, also after an error.

    Args:
        pipe: Any pipeline with a scheduler; its class need not be known.
        prompts: Texts, or a file of them (.txt, .csv, .tsv, .jsonl); where the pipeline takes any.
        steps: Numbers of network calls to compare.
        stats: Score statistics as schedulers take them; measured first, with `calibrate`'s defaults, if None.
        output: Folder for the page, the document, pictures, and statistics that were measured. Nothing is kept if None.
        judged: Number of network calls that the recommendation is for; the middle one of `steps` if None.
        num_prompts: How many prompts, from the first on; all that are given if None, 8 for pipelines without.
        batch_size: Pictures drawn at once; one where the pipeline fails on several, half as many where a GPU's memory
            does not suffice.
        seed: Of the noise of the first prompt; not one that statistics were measured with.
        tune: Fit plans to the model first, for those of `steps` that have none, on other prompts and noise. They are
            kept with the statistics in the folder; the caller's own file stays as it is.
        tuning_prompts: What plans are fitted on, as `prompts`. If None half of the prompts are compared, or as many as
            `num_prompts` says, and plans are fitted on the rest.
        budget: Seconds that fitting may take, roughly; None for no limit.
        further: Other schedulers that take part.
        base_model: What to call the model; by default where the pipeline was loaded from.
        force: Throw away another comparison that is in the folder.
        yes: Draw more than 200 prompts without asking.
        progress: True for bars, False for nothing, "json" for lines on stdout, or a function of pictures drawn of a run
            and pictures in all.
        **pipeline_kwargs: Further arguments of the pipeline's call, such as `guidance_scale`, `height`, `image`.

    Returns:
        Distances of all runs, the recommendation and pictures; `print` it, or `save` it as a page.

    Raises:
        ComparisonError: Another comparison in the folder, many prompts without `yes`, numbers that make no comparison,
            or a pipeline whose noise does not come from a generator.
        CalibrationError: As `calibrate`: arguments that the pipeline lacks or does not take.
        CalibrationInterruptedError: Ctrl-C or SIGTERM, after a whole batch.
        StatisticsError: Statistics that cannot be read, or are of another model.

    Examples:
        >>> comparison = compare(pipe, steps=(4, 5), stats=statistics, num_prompts=2, progress=False)
        >>> comparison.save("comparison")[0].name
        'compare.html'
    """
    began = time.monotonic()
    check_kinds(prompts=prompts, tuning_prompts=tuning_prompts, steps=steps, judged=judged, seed=seed)
    check_kinds(tune=tune, force=force, yes=yes, progress=progress)
    check_progress(progress)
    numbers, judged = compared(steps, judged)
    check_numbers(num_prompts, batch_size)
    check_budget(budget)
    prompts, pipeline_kwargs = prompts_given(prompts, pipeline_kwargs)
    names = inspect.signature(compare).parameters
    calls = plan_calls(pipe, prompts, numbers[-1], seed, pipeline_kwargs, names)
    wanted = compared_of(prompts, num_prompts, tuning_prompts is not None) if tune else num_prompts
    count = _count(pipe, calls, wanted)
    others = to_fit_on(prompts, pipeline_kwargs, count, tuning_prompts) if tune else None
    with TemporaryDirectory() as nowhere, _not_kept(output is None):
        folder = Path(nowhere) if output is None else path_of(output, "`output`", ComparisonError)
        given = None if stats is None else _loaded(stats)
        keeper = Keeper(folder, _asked(pipe, calls, count, seed, given, others), force)
        before = Preparation(pipe, folder, output is not None, progress)
        known = before.statistics(stats, given, prompts, pipeline_kwargs)
        if others is not None:
            known = before.tuned(
                known, numbers, *others, seed=seed_of(seed, count), batch_size=batch_size, budget=budget
            )
        scheduler = pipe.scheduler
        with (
            Interruptions(True) as stop,
            telling(progress) as tell,
            lent(pipe),
            silenced(pipe),
            stop.acting(),
        ):
            easel = Easel(pipe, calls)
            entrants, skipped = contenders(scheduler, known.statistics, _planned(easel, known.statistics, numbers))
            entrants += further
            at_once = batch_size if calls.sized else 1
            runner = Runner(easel, keeper, count, min(SHOWN, count), at_once, stop)
            tell("start", model=_model(pipe, base_model), prompts=count, steps=list(numbers), seed=seed)
            if count > LARGE and not yes:
                raise _asking(runner, entrants[0], count, len(entrants), numbers)
            course = Course(runner, progress, tell, skipped)
            reference, fine = course.converged(yardsticks(scheduler), numbers[-1])
            course.columns(entrants, numbers)
            equal = course.equal(entrants, judged)
        advice = advise(course.rows, judged, entrants[0].name, equal)
        taking_part = _noted([one for one in entrants if any(row.scheduler == one.name for row in course.rows)], course)
        result = Comparison(
            setting=Setting(
                model=_model(pipe, base_model),
                pipeline=type(pipe).__name__,
                process=family_of(scheduler),
                prompts=None if calls.prompts is None else _in_turn(calls.prompts, count),
                num_prompts=count,
                seed=seed,
                arguments=_arguments(pipe, calls, pipeline_kwargs),
                device=_device(pipe),
                batch_size=runner.batch_size,
                seconds=time.monotonic() - began,
                versions=_versions(),
            ),
            reference=reference,
            rows=tuple(course.rows),
            contenders=taking_part,
            skipped=tuple(skipped),
            advice=advice,
            statistics=known.statistics.at(guidance_in_use(pipe, pipeline_kwargs)),
            place=known.place,
            measured=known.measured,
            fitting=known.fitting,
            pictures=_pictures(runner, taking_part, course.rows, fine, reference),
        )
        if output is not None:
            for path in result.save(folder):
                tell("written", path=str(path))
        tell("end", recommendation=advice.sentence, verdict=advice.verdict, scheduler=advice.scheduler)
    return result


# ------------------------------------------------------------------------------------------------------------- asked


def _count(pipe: Any, calls: PipelineCalls, wanted: int | None) -> int:
    """Number of pictures of each run."""
    if "generator" not in calls.takes:
        raise ComparisonError(
            f"{type(pipe).__name__} takes no `generator`, so no two schedulers can be given the same noise."
        )
    return wanted or (SHOWN if calls.prompts is None else len(calls.prompts))


def _asked(
    pipe: Any,
    calls: PipelineCalls,
    count: int,
    seed: int,
    statistics: ScoreStatistics | None,
    others: tuple[Any, dict[str, Any]] | None,
) -> dict[str, Any]:
    """What decides the numbers of each run; prompts that plans are fitted on, if they are."""
    fixed = {name: value for name, value in calls.fixed.items() if name not in ("num_inference_steps", "output_type")}
    texts = None if calls.prompts is None else "\n".join(_in_turn(calls.prompts, count))
    return {
        "model": weights(pipe),
        "pipeline": type(pipe).__name__,
        "scheduler": describe({"class": type(pipe.scheduler).__name__, **_plain(pipe.scheduler.config)}),
        "dtype": str(getattr(pipe, "dtype", None)),
        "prompts": describe(texts),
        "number of prompts": count,
        "seed": seed,
        "arguments": {name: describe(value) for name, value in sorted(fixed.items())},
        "statistics": "measured" if statistics is None else hashlib.sha256(statistics.to_bytes()).hexdigest()[:16],
        "versions": _versions(),
        **({} if others is None else {"prompts to tune on": describe(others[0])}),
    }


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "_use_default_values"}


def _asking(runner: Runner, one: Contender, count: int, entrants: int, steps: Sequence[int]) -> ComparisonError:
    """What it will take, as an error that asks for `yes`; a batch in few steps is drawn to know."""
    few = max(steps)
    runner.ends(one, few, min(runner.batch_size, count))
    calls = count * (entrants * sum(steps) + 2 * few * MOST + 100)
    hours = calls * runner.seconds_per_call / 3600.0
    spent = f"{hours:.1f} hours" if hours >= 1.0 else f"{max(60.0 * hours, 1.0):.0f} minutes"
    return ComparisonError(
        f"{count} prompts are some {calls} network calls, about {spent} here. {SHOWN} to 32 prompts tell as much: "
        "take `num_prompts`, or say `yes` to draw all."
    )


def _loaded(stats: ScoreStatistics | str | PathLike[str]) -> ScoreStatistics:
    return stats if isinstance(stats, ScoreStatistics) else ScoreStatistics.load(str(stats))


def _planned(easel: Easel, statistics: ScoreStatistics, numbers: Sequence[int]) -> tuple[int, ...]:
    """Numbers of calls in which runs of the pipeline follow plans of the statistics."""
    if statistics.plans is None:
        return ()
    config = easel.pipe.scheduler.config
    try:
        made = [(calls, DEISSNScheduler.from_config(config, stats=statistics)) for calls in numbers]
    except ValueError:  # it takes no part, and `contenders` says why
        return ()
    return tuple(calls for calls, scheduler in made if easel.plan(scheduler, calls) is not None)


# ------------------------------------------------------------------------------------------------------------ result


@contextmanager
def _not_kept(nowhere: bool) -> Iterator[None]:
    """Where nothing is kept, an error that says what is kept does not say so."""
    try:
        yield
    except CalibrationInterruptedError as error:
        if not nowhere:
            raise
        raise CalibrationInterruptedError(
            "Stopped, and nothing is kept. Give `output`, a folder to go on in."
        ) from error


def _pictures(
    runner: Runner, entrants: Sequence[Contender], rows: Sequence[Row], one: Contender, reference: Reference
) -> dict[tuple[str, int], tuple[bytes, ...]]:
    found = {}
    by_name = {one.name: one for one in entrants}
    for row in rows:
        pictures = runner.pictures(by_name[row.scheduler], row.steps)
        if pictures:
            found[row.scheduler, row.calls] = pictures
    kept = runner.keeper.run(CONVERGED, reference.steps, one.code)
    pictures = runner.keeper.pictures(kept, one.code, runner.shown)
    return {(CONVERGED, 0): pictures, **found} if pictures else {}


def _noted(entrants: Sequence[Contender], course: Course) -> tuple[Contender, ...]:
    """The contenders; one that draws the very pictures of one before it says so."""
    noted, seen = [], dict[str, dict[int, bytes]]()
    for one in entrants:
        rows = [row for row in course.rows if row.scheduler == one.name and not row.further]
        mine = {row.calls: row.distances.tobytes() for row in rows}
        before = next((name for name, theirs in seen.items() if mine.items() <= theirs.items()), one.name)
        seen[one.name] = mine
        note = f"The same pictures as {before}: on this model both do the same." if before != one.name else ""
        noted.append(replace(one, note=one.note or note))
    return tuple(noted)


def _in_turn(prompts: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(prompts[i % len(prompts)] for i in range(count))


def _arguments(pipe: Any, calls: PipelineCalls, options: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and texts that the pipeline was called with, and the guidance that it had by itself."""
    guidance = guidance_in_use(pipe, options)
    plain = {name: value for name, value in calls.fixed.items() if isinstance(value, int | float | str)}
    for name in ("num_inference_steps", "output_type"):
        plain.pop(name, None)
    return plain if guidance is None else {"guidance_scale": guidance, **plain}


def _model(pipe: Any, name: str | None) -> str:
    from diffusers_deis_sn.collect.run import model_name

    return name or model_name(pipe) or type(pipe).__name__


def _device(pipe: Any) -> str:
    import torch

    device = str(getattr(pipe, "device", "cpu"))
    return torch.cuda.get_device_name() if device.startswith("cuda") else device


def _versions() -> dict[str, str]:
    from diffusers_deis_sn.collect.versions import versions

    return dict(versions())
