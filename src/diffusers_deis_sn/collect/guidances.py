"""A measurement at several guidances: one after another, each with a checkpoint of its own, and one record of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from diffusers_deis_sn.collect.arguments import MOST_GUIDANCE
from diffusers_deis_sn.collect.checkpoint import unfinished
from diffusers_deis_sn.errors import CalibrationError, CheckpointError
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.statistics.format import MOST_MEMBERS
from diffusers_deis_sn.statistics.record import ScoreStatistics

P = ParamSpec("P")
LEAST = 1.0  # the network's own output, and no guidance
NAMES = ("guidance_scale", "true_cfg_scale")  # of arguments that an output is multiplied by


def guidances(arguments: Mapping[str, Any]) -> tuple[str, tuple[float, ...]] | None:
    """The argument of a pipeline that several guidances are given for, and these, rising; None where it is one.

    Raises:
        CalibrationError: Something else than different numbers from one on, or several of each.
    """
    given = [name for name in NAMES if isinstance(arguments.get(name), list | tuple)]
    if not given:
        return None
    name, scales = given[0], arguments[given[0]]
    sound = all(
        isinstance(one, int | float) and not isinstance(one, bool) and LEAST <= one < MOST_GUIDANCE for one in scales
    )
    if len(given) > 1 or not scales or not sound or len(set(scales)) < len(scales):
        raise CalibrationError(
            f"`{name}` must be a number, or different numbers from 1 on (which is no guidance), got {list(scales)!r}."
        )
    if len(scales) > MOST_MEMBERS:
        raise CalibrationError(f"`{name}` has {len(scales)} numbers, and a file at most {MOST_MEMBERS}. Take fewer.")
    return name, tuple(sorted(map(float, scales)))


def part(checkpoint: Path, guidance: float) -> Path:
    """The checkpoint of one of several guidances, beside the name that all have in common."""
    return checkpoint.with_name(f"{checkpoint.stem}.g{guidance:g}{checkpoint.suffix}")


def parts(checkpoint: Path, arguments: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """The checkpoints of a measurement and the arguments of the pipeline that each is of: one, or one a guidance.

    Raises:
        CalibrationError: As `guidances`.
    """
    several = guidances(arguments)
    if several is None:
        return {checkpoint: dict(arguments)}
    name, scales = several
    return {part(checkpoint, scale): {**arguments, name: scale} for scale in scales}


def at_each_guidance(measure: Callable[P, ScoreStatistics]) -> Callable[P, ScoreStatistics]:
    """A measurement, of keyword arguments for the pipeline among others, that takes several guidances as well."""

    @wraps(measure)
    def measured(*positional: P.args, **named: P.kwargs) -> ScoreStatistics:
        several = guidances(named)
        if several is None:
            return measure(*positional, **named)
        _check_pipeline(positional[0] if positional else named.get("pipe"), several[0])
        checkpoint: Any = named.get("checkpoint")
        calls = parts(path_of("none" if checkpoint is None else checkpoint, "`checkpoint`", CheckpointError), named)
        if checkpoint is not None and not named.get("resume"):
            for path in calls:  # before any of them is measured
                unfinished(path)
        records = []
        for path, arguments in calls.items():
            one: Any = arguments if checkpoint is None else {**arguments, "checkpoint": path}
            records.append(measure(*positional, **one))
        return ScoreStatistics.together(records)

    return measured


def _check_pipeline(pipe: Any, name: str) -> None:
    from diffusers_deis_sn.schedulers._guidance import is_distilled  # Diffusers takes seconds to import

    if name == "guidance_scale" and is_distilled(pipe):
        raise CalibrationError(
            f"The network of {type(pipe).__name__} takes the guidance scale as an input (it is distilled), so "
            "schedulers cannot tell several apart. Measure at one, that of its users: guidance_scale=3.5."
        )
