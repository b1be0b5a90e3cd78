"""Who is compared: the scheduler that the pipeline came with, the usual ones of Diffusers, and ours.

Each is made as the two lines say that can be pasted, from the config of the pipeline's own scheduler. What that
scheduler left in the config which would change another (Karras sigmas, an order) is set back to the class's default,
and the lines say so too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from diffusers_deis_sn.collect.hush import hushed
from diffusers_deis_sn.escaping import literal
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.schedulers.score_optimal import ScoreOptimalScheduler
from diffusers_deis_sn.statistics.record import ScoreStatistics

STATISTICS = "STATISTICS"  # stands in lines of code for where the statistics are
PLAIN, WITH_PLANS, SCORE_OPTIMAL = "DEIS-SN", "DEIS-SN (tuned)", "ScoreOptimal"
TRAILING = {"timestep_spacing": "trailing"}
ZERO = TRAILING | {"final_sigmas_type": "zero"}
KARRAS = {"use_karras_sigmas": True, "final_sigmas_type": "zero"}
# What belongs to the model, or does nothing on the grids above: taken over from any config.
KEPT = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"),
    *("prediction_type", "thresholding", "dynamic_thresholding_ratio", "sample_max_value", "steps_offset"),
    *("sigma_min", "sigma_max", "sigma_data", "shift", "flow_shift", "shift_terminal", "use_dynamic_shifting"),
    *("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type", "invert_sigmas"),
)
NOISY = ("Ancestral", "SDE", "DDPM", "LCM", "TCD", "Repaint", "Cosine", "SASolver")


def to_paste(code: Sequence[str], place: str) -> tuple[str, ...]:
    """Lines of code with the place of the statistics in them."""
    return tuple(line.replace(f'"{STATISTICS}"', literal(place)) for line in code)


@dataclass(frozen=True)
class Contender:
    """One scheduler that takes part. Further ones, such as a tuned one, are values of this class as well.

    Args:
        name: As in tables.
        make: A new scheduler for one run.
        code: Lines to paste that put it into `pipe`, with `STATISTICS` for the place of the statistics.
        ours: Whether it is of this package; the others are rivals.
        note: What has to be known to read its row, such as that it draws noise; "" for nothing.
        calls: Numbers of network calls that it takes part in; None for all.
    """

    name: str
    make: Callable[[], Any] = field(compare=False)
    code: tuple[str, ...] = ()
    ours: bool = False
    note: str = ""
    calls: frozenset[int] | None = None

    def takes_part(self, calls: int) -> bool:
        """Whether it is compared in so many network calls."""
        return self.calls is None or calls in self.calls


@dataclass(frozen=True)
class Skipped:
    """A scheduler that does not take part, and why."""

    name: str
    reason: str


def family_of(scheduler: Any) -> str:
    """What process a pipeline's scheduler is for: "flow", "edm", or "betas"."""
    name, config = type(scheduler).__name__, scheduler.config
    flows = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if name.startswith("FlowMatch") or flows:
        return "flow"
    return "edm" if name.startswith("EDM") or config.get("sigma_data") is not None else "betas"


def contenders(
    scheduler: Any, statistics: ScoreStatistics | None, planned: Collection[int] = ()
) -> tuple[list[Contender], list[Skipped]]:
    """The schedulers for a pipeline, rivals first, and those that cannot serve it.

    Args:
        scheduler: The pipeline's own; it is not changed.
        statistics: Of its model; None for none.
        planned: Numbers of network calls that the statistics have plans for, in which DEIS-SN takes part with and
            without them.
    """
    found = [own(scheduler)]
    skipped = []
    for name, kind, options in _rivals(scheduler):
        if kind is None:
            skipped.append(Skipped(name, options))
            continue
        if kind is type(scheduler) and not options:  # which is there already
            continue
        one = of_class(name, kind, scheduler.config, options)
        try:
            with hushed(bars=False):
                one.make()
        except Exception as error:  # whatever a class says to a config that is not for it
            skipped.append(Skipped(name, said(error)))
        else:
            found.append(one)
    without = {"tuned": False} if planned else {}
    mine: list[tuple[str, type[ExponentialIntegrator], dict[str, Any]]] = [
        (PLAIN, DEISSNScheduler, without),
        *([] if statistics is None else [(SCORE_OPTIMAL, ScoreOptimalScheduler, {})]),
        *([(WITH_PLANS, DEISSNScheduler, {})] if planned else []),
    ]
    if statistics is None:
        skipped.append(Skipped(SCORE_OPTIMAL, "It learns its times from statistics, and there are none."))
    for name, ours, options in mine:
        one = of_ours(name, ours, scheduler.config, statistics, **options)
        if name == WITH_PLANS:
            one = replace(one, calls=frozenset(planned))
        try:
            one.make()
        except ValueError as error:
            skipped.append(Skipped(name, said(error)))
        else:
            found.append(one)
    return found, skipped


def own(scheduler: Any) -> Contender:
    """The pipeline's scheduler as it is."""
    kind = type(scheduler)
    sde = str(scheduler.config.get("algorithm_type", "")).startswith("sde")
    noisy = sde or any(word in kind.__name__ for word in NOISY)
    note = "It draws noise of its own, so its pictures are others, not worse ones." if noisy else ""
    word = kind.__name__.removesuffix("Scheduler").removesuffix("Discrete").removesuffix("Multistep")
    name = f"{word} (the pipeline's own)"
    ours = issubclass(kind, ExponentialIntegrator)
    return Contender(name, lambda: deepcopy(scheduler), ("# pipe.scheduler as it is",), ours, note)


def of_class(name: str, kind: type, config: Mapping[str, Any], options: Mapping[str, Any]) -> Contender:
    """A scheduler of Diffusers, made from the config of another."""
    options = {**_set_back(kind, config, options), **options}
    words = "".join(f", {key}={value!r}" for key, value in options.items())
    code = (
        f"from diffusers import {kind.__name__}",
        f"pipe.scheduler = {kind.__name__}.from_config(pipe.scheduler.config{words})",
    )
    made: Any = kind

    def make() -> Any:
        with hushed(bars=False):  # it warns of every key that only the other class has
            return made.from_config(config, **options)

    return Contender(name, make, code)


def of_ours(
    name: str,
    kind: type[ExponentialIntegrator],
    config: Mapping[str, Any],
    statistics: ScoreStatistics | None,
    **options: Any,
) -> Contender:
    """A scheduler of this package, with statistics if there are any."""
    words = "" if statistics is None else f', stats="{STATISTICS}"'
    words += "".join(f", {key}={value!r}" for key, value in options.items())
    code = (
        f"from diffusers_deis_sn import {kind.__name__}",
        f"pipe.scheduler = {kind.__name__}.from_config(pipe.scheduler.config{words})",
    )
    return Contender(name, lambda: kind.from_config(config, stats=statistics, **options), code, ours=True)


def yardsticks(scheduler: Any) -> list[Contender]:
    """The samplers of Diffusers whose run of many steps all are held against, so that it is none of ours.

    Of betas DPM++ 2M on Karras' levels, which are dense where the last steps are: with trailing times a run of 200
    steps is as far from converged as one of 25 on these. Of flows UniPC on levels that are evenly spaced. Behind it the
    simplest there is, for pipelines that want something else of a scheduler than these have.
    """
    import diffusers

    family, config = family_of(scheduler), scheduler.config
    if family == "edm":
        return [
            of_class("EDM DPM++ 2M", diffusers.EDMDPMSolverMultistepScheduler, config, {}),
            of_class("EDM Euler", diffusers.EDMEulerScheduler, config, {}),
        ]
    if family == "flow":
        even = _flow(config) | {"flow_shift": 1.0}
        return [
            of_class("UniPC", diffusers.UniPCMultistepScheduler, config, even),
            of_class("FlowMatchEuler", diffusers.FlowMatchEulerDiscreteScheduler, config, _shift(config)),
        ]
    return [
        of_class("DPM++ 2M Karras", diffusers.DPMSolverMultistepScheduler, config, KARRAS),
        of_class("DDIM", diffusers.DDIMScheduler, config, TRAILING),
    ]


def calls_of(scheduler: Any, steps: int) -> int:
    """Network calls of a run of so many steps, as the scheduler plans it; one a step where it cannot be asked."""
    try:
        with hushed(bars=False):
            probe = deepcopy(scheduler)
            shifting = {"mu": 0.0} if probe.config.get("use_dynamic_shifting") else {}
            probe.set_timesteps(steps, **shifting)
            return len(probe.timesteps)
    except Exception:  # it may want what only its pipeline knows
        return steps


def steps_for(scheduler: Any, calls: int) -> int:
    """The most steps that make no more than so many network calls; PNDM makes one more than it has steps."""
    for steps in range(calls, 0, -1):
        if calls_of(scheduler, steps) <= calls:
            return steps
    return 1


def said(error: BaseException) -> str:
    """An error in one line, with its class where the text alone says little."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    return text if text.endswith(".") else f"{text}."


def _rivals(scheduler: Any) -> list[tuple[str, Any, Any]]:
    """Name, class and options; no class, and a reason, for one that does not know the process."""
    import diffusers

    family, config = family_of(scheduler), scheduler.config
    if family == "edm":
        return [
            ("EDM DPM++ 2M", diffusers.EDMDPMSolverMultistepScheduler, {}),
            ("UniPC", None, "Diffusers' UniPC does not know the preconditioning of EDM."),
            ("EDM Euler", diffusers.EDMEulerScheduler, {}),
        ]
    dpm, unipc = diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler
    if family == "flow":
        flow = _flow(config)
        euler = diffusers.FlowMatchEulerDiscreteScheduler
        return [("DPM++ 2M", dpm, flow), ("UniPC", unipc, flow), ("FlowMatchEuler", euler, _shift(config))]
    return [
        ("DPM++ 2M", dpm, ZERO),
        ("DPM++ 2M Karras", dpm, KARRAS),
        ("UniPC", unipc, ZERO),
        ("DEIS", diffusers.DEISMultistepScheduler, TRAILING),
        ("Euler", diffusers.EulerDiscreteScheduler, TRAILING),
    ]


def _flow(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a scheduler of betas is told of flow matching."""
    shift = float(config.get("shift", config.get("flow_shift", 1.0)) or 1.0)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    return flow | {"flow_shift": shift, "final_sigmas_type": "zero"}


def _shift(config: Mapping[str, Any]) -> dict[str, Any]:
    """The shift of a flow, where its config has it by the name that other classes know."""
    return {} if "shift" in config else {"shift": _flow(config)["flow_shift"]}


def _set_back(kind: type, config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the class that another scheduler left in the config, at the class's defaults."""
    left = set(config.get("_use_default_values", ()))
    return {
        name: one.default
        for name, one in inspect.signature(kind).parameters.items()
        if name in config and name not in (*KEPT, *options, *left) and one.default is not one.empty
        if config[name] != one.default
    }
