"""What is said of a run in the log, each once: what it goes without, what is at odds, what was fitted elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffusers_deis_sn.core.normal_data import failing
from diffusers_deis_sn.learn.following import TRUSTED
from diffusers_deis_sn.schedulers._planned_run import Run
from diffusers_deis_sn.schedulers._planner import Planner
from diffusers_deis_sn.schedulers._unfollowed import unfollowed
from diffusers_deis_sn.statistics.record import ScoreStatistics

UNMEASURED = "No score statistics given: a cautious recipe is used. Measure the model with `calibrate`."
UNMEASURED_OPTIONS = "No score statistics given: outputs are not normalised. Measure the model with `calibrate`."


def remarks(
    run: Run, planner: Planner, statistics: ScoreStatistics | None, *, seen: bool, silent: bool
) -> Iterator[tuple[str, str]]:
    """What is to be said of a run that was planned: topic, and words.

    Args:
        run: The run.
        planner: Of it, with the config.
        statistics: In use, of whatever guidances.
        seen: Whether a pipeline planned it, whose guidance could be read.
        silent: Whether to go without statistics is meant.
    """
    yield from unfollowed(planner.config, planner.process.kind)
    if run.overridden is not None:
        yield "given", run.overridden
    named = not (run.given or run.options.learns)  # what is followed was tried on the model itself
    wrong = None if run.follows else failing(run.recipe, run.plan.table, named)
    if wrong is not None:
        yield "failing", wrong
    fitted = None if run.tuned is None else run.tuned.run.shift
    if fitted is not None and not np.isclose(fitted, run.shift, rtol=1e-6):
        yield "shift", other_shift(fitted, run.shift)
    if statistics is None and not silent:
        yield "plain", UNMEASURED_OPTIONS if run.method is None else UNMEASURED
    if seen or run.options.guidance_scale is not None:
        for words in contradictions(planner.options.guidance_scale, run.guidance, statistics):
            yield words, words


def contradictions(said: float | None, seen: float | None, statistics: ScoreStatistics | None) -> list[str]:
    """What is to be warned about: guidance that is not that of the option, or of the statistics.

    Args:
        said: The option `guidance_scale`.
        seen: What the pipeline runs with, None where nobody knows.
        statistics: In use, or None.
    """
    found = []
    if said is not None and seen is not None and not np.isclose(said, seen):
        found.append(
            f"The option guidance_scale={said:g} differs from that of the pipeline, {seen:g}. Leave it out: the "
            "scheduler reads it from the pipeline."
        )
    used, known = seen if said is None else said, () if statistics is None else statistics.guidances
    if used is None or not known:
        return found
    beyond = used > TRUSTED * max(known[-1], 1.0)
    if len(known) > 1 and not known[0] * (1.0 - 1e-6) <= used <= known[-1] * (1.0 + 1e-6):
        nearest = known[0] if used < known[0] else known[-1]
        left = "without their recipes" if beyond else "as they are"
        found.append(
            f"The statistics cover guidance {known[0]:g} to {known[-1]:g} and the pipeline runs with {used:g}: those "
            f"of {nearest:g} are used, {left}. Measure a wider range: `deis-sn calibrate --guidance-scale "
            f"{','.join(f'{one:g}' for one in sorted({*known, used}))}`."
        )
    elif beyond:
        found.append(
            f"The statistics were measured at guidance {known[-1]:g} and the pipeline runs with {used:g}, so their "
            "recipes are not used. Measure at this guidance: `deis-sn calibrate --guidance-scale "
            f"{used:g}`."
        )
    return found


def other_shift(fitted: float, shift: float) -> str:
    """What to say of a plan in a run whose levels would be shifted otherwise than those of the plan."""
    return (
        f"The plan of this run was fitted at shift {fitted:g} and keeps its own times at shift {shift:g}: on the "
        "models that were tried errors were much smaller than without it, or with its times shifted. tuned=False "
        "leaves plans out and follows the shift."
    )


def other_size(statistics: ScoreStatistics | None, shape: tuple[int, ...]) -> str | None:
    """What to say of a plan on samples of another shape than it was fitted to; None where it is that one.

    Args:
        statistics: With the plan.
        shape: Of a sample, without the axis of the batch.
    """
    fitted = None if statistics is None or statistics.plans is None else statistics.plans.sample_shape
    if fitted is None or shape == fitted:
        return None
    return (
        f"The tuned plan of this run was fitted to samples of shape {fitted}, and these have shape {shape}. On the "
        "models that were tried plans were better than runs without at other sizes too. `deis-sn tune --check` tests "
        "it on yours; tuned=False ignores plans."
    )
